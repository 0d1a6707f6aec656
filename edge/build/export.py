"""Native export: checkpoint tensors to a quantised ONNX decoder, tensor by tensor.

Each matrix is read in row chunks, rounded, packed and appended to the weights file before the next chunk is
read, so peak memory depends on the chunk (and, for calibrated rounding, on the largest matrix), never on the
model. The vendor's builder holds 6.8 bytes a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.build.graph import WEIGHTS_FILE, ExportPlan, build_graph, matrix_name, save_graph
from edge.build.lora import Dtype, FactorSource, write_adapter
from edge.build.quantise import QuantFormat, QuantisedRows, quantise_rtn
from edge.build.reference import MATRICES, WeightSource, head_name, matrix_parts, rotary_tables
from edge.build.weights_file import StoredTensor, WeightsFile
from edge.errors import SourceError
from edge.specs.decoder import NATIVE_FAMILIES, DecoderConfig

CHUNK_BYTES = 16 << 20  # of float32 read at once

Progress = Callable[[str, int, int], None]
Rounded = Callable[[int, str], QuantisedRows | None]


def uniform_formats(config: DecoderConfig, format: QuantFormat | None) -> dict[str, QuantFormat | None]:
    """Every matrix of every layer in one format."""
    return {matrix_name(layer, matrix): format for layer in range(config.layers) for matrix in MATRICES}


def check_native(config: DecoderConfig, source: WeightSource, where: str) -> None:
    """Refuse what the native graph does not compute. Errors: SourceError."""
    if config.family not in NATIVE_FAMILIES or config.experts:
        raise SourceError(
            f"architecture '{config.family}' has no native export (native: {', '.join(NATIVE_FAMILIES)})",
            where=where,
            mend="use `export: optimum`",
        )
    names = set(source.names())
    expected: dict[str, tuple[int, ...]] = {
        head_name(source): (config.vocab_size, config.hidden_size),
        "model.embed_tokens.weight": (config.vocab_size, config.hidden_size),
        "model.norm.weight": (config.hidden_size,),
    }
    for layer in range(config.layers):
        expected.update(_part_shapes(config, layer))
    for name, shape in expected.items():
        if name not in names:
            raise SourceError(f"tensor '{name}' is missing", where=where, mend="fetch the checkpoint again")
        if source.shape(name) != shape:
            raise SourceError(
                f"tensor '{name}' is {list(source.shape(name))}, the config says {list(shape)}",
                where=where,
                mend="check that config and weights belong together",
            )


def _part_shapes(config: DecoderConfig, layer: int) -> dict[str, tuple[int, int]]:
    q, k, v = matrix_parts(layer, "qkv")
    (o,) = matrix_parts(layer, "o")
    gate, up = matrix_parts(layer, "gate_up")
    (down,) = matrix_parts(layer, "down")
    hidden, inner = config.hidden_size, config.intermediate_size
    return {
        q: (config.query_size, hidden),
        k: (config.kv_size, hidden),
        v: (config.kv_size, hidden),
        o: (hidden, config.query_size),
        gate: (inner, hidden),
        up: (inner, hidden),
        down: (hidden, inner),
    }


def export_native(
    source: WeightSource,
    plan: ExportPlan,
    folder: Path,
    *,
    rounded: Rounded | None = None,
    adapter: FactorSource | None = None,
    factor_dtype: Dtype | None = None,
    progress: Progress | None = None,
) -> None:
    """Write model.onnx and model.weights into `folder`, and adapter.weights for an adapter that stays unmerged.

    rounded: gives a calibrated matrix ready made, or None to round to nearest here. adapter: its factors,
    stored as factor_dtype (default: float16); `source` is then the base alone.
    """
    config = source.config
    with WeightsFile(folder / WEIGHTS_FILE) as file:
        writer = _Writer(source, file)
        writer.embedding(plan.head_format)
        for layer in range(config.layers):
            if progress:
                progress("export", layer, config.layers)
            writer.layer(layer, plan.formats, rounded)
        file.append("final_norm", source.read("model.norm.weight"))
        cos, sin = rotary_tables(config, plan.context_tokens)
        file.append("rotary.cos", cos.astype(np.float32))
        file.append("rotary.sin", sin.astype(np.float32))
        if not config.tie_embeddings:
            writer.matrix("head", ("lm_head.weight",), plan.head_format)
        tensors = file.tensors
    factors = write_adapter(adapter, factor_dtype or np.dtype(np.float16), folder) if adapter is not None else None
    model = build_graph(config, plan, tensors, factors)
    save_graph(model, folder)


class _Writer:
    def __init__(self, source: WeightSource, file: WeightsFile) -> None:
        self.source, self.file = source, file
        self.names = set(source.names())

    def layer(self, layer: int, formats: dict[str, QuantFormat | None], rounded: Rounded | None) -> None:
        prefix, target = f"model.layers.{layer}", f"layers.{layer}"
        self.file.append(f"{target}.input_norm", self.source.read(f"{prefix}.input_layernorm.weight"))
        for matrix in MATRICES:
            if matrix == "gate_up":
                post = self.source.read(f"{prefix}.post_attention_layernorm.weight")
                self.file.append(f"{target}.post_norm", post)
            name = matrix_name(layer, matrix)
            ready = rounded(layer, matrix) if rounded else None
            if ready is not None:
                self.quantised(name, [ready], ready.codes.shape[0], ready.cols, ready.format)
            else:
                self.matrix(name, matrix_parts(layer, matrix), formats[name])
        for label in ("q_norm", "k_norm"):
            if f"{prefix}.self_attn.{label}.weight" in self.names:
                self.file.append(f"{target}.{label}", self.source.read(f"{prefix}.self_attn.{label}.weight"))
        if self.source.config.attention_bias:
            parts = [self.source.read(f"{prefix}.self_attn.{p}_proj.bias") for p in ("q", "k", "v")]
            self.file.append(f"{matrix_name(layer, 'qkv')}.bias", np.concatenate(parts))

    def matrix(self, name: str, parts: tuple[str, ...], format: QuantFormat | None) -> None:
        """Round to nearest and write, chunk by chunk; parts are stacked by rows."""
        shapes = [self.source.shape(part) for part in parts]
        rows, cols = sum(shape[0] for shape in shapes), shapes[0][1]
        chunks = self._chunks(parts)
        if format is None:
            self.file.append_chunks(name, np.dtype(np.float32), (rows, cols), chunks)
        else:
            self.quantised(name, (quantise_rtn(chunk, format) for chunk in chunks), rows, cols, format)

    def _chunks(self, parts: tuple[str, ...]) -> Iterator[npt.NDArray[np.float32]]:
        for part in parts:
            rows, cols = self.source.shape(part)
            step = max(1, CHUNK_BYTES // (4 * cols))
            for start in range(0, rows, step):
                yield self.source.read(part, start, min(start + step, rows))

    def quantised(
        self,
        name: str,
        pieces: Iterator[QuantisedRows] | list[QuantisedRows],
        rows: int,
        cols: int,
        format: QuantFormat,
    ) -> StoredTensor:
        blocks = format.blocks(cols)
        scales: list[npt.NDArray[np.float32]] = []
        zero_points: list[npt.NDArray[np.uint8]] = []

        def codes() -> Iterator[npt.NDArray[np.uint8]]:
            for piece in pieces:
                scales.append(piece.scales)
                packed = piece.packed_zero_points()
                if packed is not None:
                    zero_points.append(packed)
                yield piece.packed_codes()

        shape = (rows, blocks, format.block_size * format.bits // 8)
        stored = self.file.append_chunks(name, np.dtype(np.uint8), shape, codes())
        self.file.append(f"{name}.scales", np.concatenate(scales).reshape(rows, blocks))
        if zero_points:
            self.file.append(f"{name}.zero_points", np.concatenate(zero_points))
        return stored

    def embedding(self, format: QuantFormat | None) -> None:
        self.matrix("embedding", ("model.embed_tokens.weight",), format)
        if format is not None:
            scales = self.file.tensors["embedding.scales"]
            # The same bytes under the shape that the look-up wants: [vocab, blocks, 1].
            self.file.tensors["embedding.gather_scales"] = StoredTensor(
                "embedding.gather_scales",
                scales.dtype,
                (*scales.shape, 1),
                scales.offset_bytes,
                scales.size_bytes,
            )
