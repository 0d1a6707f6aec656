"""From the exported weights (what the ONNX route writes) to the tiles that the kernels read, and the proof of it.

The quantiser's codes, scales and zero points are the same numbers in both; only their order differs. `check_packed`
reads every tensor back from the written file and compares it with the export, bit by bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build.graph import matrix_name
from edge.build.quantise import QuantFormat, QuantisedRows, unpack_nibbles
from edge.build.readback import BuiltModel
from edge.build.tvm.decoder import Shape, weight_tensors
from edge.build.tvm.isa import BLOCK, TILE_ROWS, Isa
from edge.build.tvm.kernels.products import Matrix
from edge.build.tvm.layout import pack_rows, unpack_rows
from edge.build.weights_file import WeightsFile
from edge.errors import SourceError

WEIGHTS_FILE = "model.weights"
DESCRIPTION_FILE = "decoder.json"
CHUNK_BYTES = 16 << 20
SUFFIXES = ("", ".scales", ".zero_points")


def shape_of(exported: BuiltModel, context_tokens: int, where: str) -> Shape:
    """What an exported folder holds, as the compiler needs it.

    Errors: SourceError for what these kernels do not compute.
    """
    config = exported.config
    if config.sliding_window and config.sliding_window < context_tokens:
        raise _refused(f"attention slides over {config.sliding_window} tokens, the context is {context_tokens}", where)
    widths = {"hidden": config.hidden_size, "query": config.query_size, "inner": config.intermediate_size}
    for name, width in widths.items():
        if width % BLOCK:
            raise _refused(f"the {name} width {width} is no multiple of {BLOCK}", where)
    if config.head_dim % 8 or (config.query_size + 2 * config.kv_size) % TILE_ROWS:
        raise _refused(f"heads of {config.head_dim} numbers do not fill vectors", where)
    formats: dict[str, QuantFormat] = {}
    for layer in range(config.layers):
        for matrix in ("qkv", "o", "gate_up", "down"):
            name = matrix_name(layer, matrix)
            formats[name] = _known(exported.format(name), name, where)
    head = _known(exported.format("embedding" if config.tie_embeddings else "head"), "the output head", where)
    shape = Shape(config, formats, head, context_tokens)
    for name, form in formats.items():
        layer, matrix = int(name.split(".")[1]), name.split(".")[2]
        if shape.matrix(layer, matrix).cols % form.block_size:
            raise _refused(f"{name} is no multiple of its blocks of {form.block_size} wide", where)
    if config.hidden_size % head.block_size:
        raise _refused(f"the output head is no multiple of its blocks of {head.block_size} wide", where)
    return shape


def _known(form: QuantFormat | None, name: str, where: str) -> QuantFormat:
    if form is None:
        raise _refused(f"{name} is float32", where, "choose quantisation.scheme int4, int8 or mixed")
    return form


def _refused(what: str, where: str, mend: str = "use backend: onnx") -> SourceError:
    return SourceError(f"the tvm engine cannot compute this model ({what})", where=where, mend=mend)


def matrices(shape: Shape) -> Iterator[tuple[str, Matrix]]:
    """Every packed matrix and its name."""
    yield "embedding", shape.table
    for layer in range(shape.config.layers):
        for matrix in ("qkv", "o", "gate_up", "down"):
            yield matrix_name(layer, matrix), shape.matrix(layer, matrix)
    if not shape.config.tie_embeddings:
        yield "head", shape.table


def quantised_rows(
    exported: BuiltModel, name: str, form: QuantFormat, cols: int, start: int, stop: int
) -> QuantisedRows:
    """Rows of an exported matrix as the quantiser made them."""
    codes = np.asarray(exported.rows(name, start, stop), dtype=np.uint8)
    codes = unpack_nibbles(codes) if form.bits == 4 else codes
    # The look-up names the scales of its table so, with an axis more; beside a head of its own there are no others.
    of_scales = f"{name}.gather_scales" if name == "embedding" else f"{name}.scales"
    scales = np.asarray(exported.rows(of_scales, start, stop), dtype=np.float32).reshape(len(codes), -1)
    zero_points = None
    if not form.symmetric:
        packed = np.asarray(exported.rows(f"{name}.zero_points", start, stop), dtype=np.uint8)
        zero_points = unpack_nibbles(packed)[:, : scales.shape[1]] if form.bits == 4 else packed
    return QuantisedRows(form, cols, codes, scales, zero_points)


def _steps(matrix: Matrix) -> Iterator[tuple[int, int]]:
    """Row ranges of whole tiles, small enough for the memory of a build host."""
    step = max(TILE_ROWS, CHUNK_BYTES // matrix.cols // TILE_ROWS * TILE_ROWS)
    for start in range(0, matrix.rows, step):
        yield start, min(start + step, matrix.rows)


def pack_model(exported: BuiltModel, shape: Shape, isa: Isa, folder: Path) -> None:
    """Write model.weights and decoder.json into `folder`. Errors: ResourceError for a full disk."""
    packed = dict(matrices(shape))
    with WeightsFile(folder / WEIGHTS_FILE) as file:
        wanted = weight_tensors(shape, isa)
        for name, (of, _) in wanted.items():
            owner, suffix = _owner(name, packed)
            if owner is None or suffix == ".bias":
                file.append(name, _plain(exported, name, of))
            elif suffix == "":
                _append_matrix(file, exported, name, packed[name], isa, wanted)
        stored = file.tensors
    description = {
        "schema_version": 1,
        "packing": isa.packing,
        "vocab_size": shape.config.vocab_size,
        "hidden_size": shape.config.hidden_size,
        "layers": shape.config.layers,
        "kv_heads": shape.config.kv_heads,
        "head_dim": shape.config.head_dim,
        "capacity": shape.capacity,
        "context_tokens": shape.context_tokens,
        "tensors": [
            [name, str(np.dtype(dtype)), list(of), stored[name].offset_bytes, stored[name].size_bytes]
            for name, (of, dtype) in wanted.items()
        ],
    }
    (folder / DESCRIPTION_FILE).write_bytes((json.dumps(description, sort_keys=True, indent=1) + "\n").encode())


def _owner(name: str, packed: dict[str, Matrix]) -> tuple[str | None, str]:
    """(matrix, suffix) that a tensor belongs to, or (None, "")."""
    for suffix in ("", ".scales", ".zero_points", ".bias"):
        base = name.removesuffix(suffix) if suffix else name
        if name.endswith(suffix) and base in packed:
            return base, suffix
    return None, ""


def _append_matrix(
    file: WeightsFile, exported: BuiltModel, name: str, matrix: Matrix, isa: Isa, wanted: dict[str, Any]
) -> None:
    """Codes go out piece by piece; scales and zero points, a tenth of them, follow whole."""
    later: dict[str, list[npt.NDArray[np.generic]]] = {".scales": [], ".zero_points": []}

    def codes() -> Iterator[npt.NDArray[np.generic]]:
        for start, stop in _steps(matrix):
            rows = quantised_rows(exported, name, matrix.format, matrix.cols, start, stop)
            made = pack_rows(rows, isa.packing)
            for suffix, parts in later.items():
                if suffix in made:
                    parts.append(made[suffix].reshape(-1))
            yield made[""].reshape(-1).view(np.dtype(wanted[name][1]))

    file.append_chunks(name, np.dtype(wanted[name][1]), wanted[name][0], codes())
    for suffix, parts in later.items():
        if parts:
            file.append(name + suffix, np.concatenate(parts).reshape(wanted[name + suffix][0]))


def _plain(exported: BuiltModel, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A norm or a bias; a rotary table, cut or filled to the cache's capacity (no token ever reads the filling)."""
    values = np.asarray(exported.rows(name), dtype=np.float32)
    if name.startswith("rotary."):
        values = values[: shape[0]]
        values = np.pad(values, ((0, shape[0] - len(values)), (0, 0)))
    return values.reshape(shape)


def check_packed(exported: BuiltModel, shape: Shape, isa: Isa, folder: Path) -> int:
    """Compare the written file with the export; returns how many matrices were equal. Errors: SourceError."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    places = {name: (dtype, of, offset) for name, dtype, of, offset, _ in description["tensors"]}
    stored = np.memmap(folder / WEIGHTS_FILE, mode="r", dtype=np.uint8)

    def tensor(name: str) -> npt.NDArray[np.generic]:
        dtype, of, offset = places[name]
        size = int(np.prod(of)) * np.dtype(dtype).itemsize
        return np.asarray(stored[offset : offset + size]).view(dtype)

    count = 0
    for name, matrix in matrices(shape):
        tiles: dict[str, npt.NDArray[np.generic]] = {
            "": tensor(name).view(np.uint8).reshape(matrix.tiles, matrix.blocks, -1),
            ".scales": tensor(f"{name}.scales").reshape(matrix.tiles, matrix.scale_blocks, TILE_ROWS),
        }
        if not matrix.format.symmetric:
            tiles[".zero_points"] = tensor(f"{name}.zero_points").reshape(matrix.tiles, -1, TILE_ROWS)
        for start, stop in _steps(matrix):
            some = {key: value[start // TILE_ROWS : -(-stop // TILE_ROWS)] for key, value in tiles.items()}
            found = unpack_rows(some, matrix.format, stop - start, matrix.cols, isa.packing)
            wanted = quantised_rows(exported, name, matrix.format, matrix.cols, start, stop)
            same = np.array_equal(found.codes, wanted.codes) and np.array_equal(found.scales, wanted.scales)
            if wanted.zero_points is not None and found.zero_points is not None:
                same = same and np.array_equal(found.zero_points, wanted.zero_points)
            if not same:
                raise SourceError(f"matrix '{name}' does not read back as it was written", where=WEIGHTS_FILE)
        count += 1
    packed = dict(matrices(shape))
    for name, (of, _) in weight_tensors(shape, isa).items():
        owner, suffix = _owner(name, packed)
        if (owner is None or suffix == ".bias") and tensor(name).tobytes() != _plain(exported, name, of).tobytes():
            raise SourceError(f"tensor '{name}' does not read back as it was written", where=WEIGHTS_FILE)
    return count
