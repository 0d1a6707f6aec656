"""params_shard_*.bin and their index: every byte accounted for, every parameter of the decoder there, rows read back.

The index (tensor-cache.json, ndarray-cache.json before 2025) lists shards with their size, md5 and records. A float32
array is stored as bfloat16 (`f32-to-bf16`), all others as they are. A rounded matrix is two arrays: q_weight, uint32
with eight 4-bit codes each, the first in the lowest bits, and q_scale, one number for 32 columns; a weight is
(code - 7) * scale.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build.checkpoint.base import expected_tensors
from edge.build.mlc_llm.choices import ATTENTION, GROUP_SIZE, Mode
from edge.errors import SourceError
from edge.files import CHUNK_BYTES
from edge.specs.decoder import DecoderConfig

INDEX_FILES = ("tensor-cache.json", "ndarray-cache.json")
MEND = "build again; if it stays so, install another version of mlc_llm"
ZERO_CODE = 7
CODES_PER_WORD = 8
SHARD_PREFIX = "params_shard_"

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Record:
    """One array. dtype: as the runtime sees it; stored: numpy's name of how it lies in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    shard: str
    offset: int
    size_bytes: int


def expected_arrays(config: DecoderConfig, mode: Mode) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (shape, dtype) of every array that a decoder has in mlc_llm."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, (shape, _) in _fused(config).items():
        if len(shape) == 1 or not mode.grouped:
            found[name] = shape, mode.dtype
            continue
        groups = -(-shape[1] // GROUP_SIZE)
        stem = name.removesuffix(".weight")
        found[f"{stem}.q_weight"] = (shape[0], groups * (GROUP_SIZE // CODES_PER_WORD)), "uint32"
        found[f"{stem}.q_scale"] = (shape[0], groups), mode.dtype
    return found


def _fused(config: DecoderConfig) -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    """mlc_llm's parameter -> (shape, the checkpoint's tensors in row order)."""
    attention = ATTENTION[config.family]
    joins = {
        "self_attn.q_proj": f"self_attn.{attention}",
        "self_attn.k_proj": f"self_attn.{attention}",
        "self_attn.v_proj": f"self_attn.{attention}",
        "mlp.gate_proj": "mlp.gate_up_proj",
        "mlp.up_proj": "mlp.gate_up_proj",
    }
    found: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
    for tensor, shape in expected_tensors(config):
        name = tensor
        for part, whole in joins.items():
            name = name.replace(f".{part}.", f".{whole}.")
        before, parts = found.get(name, ((0, *shape[1:]), ()))
        found[name] = (before[0] + shape[0], *shape[1:]), (*parts, tensor)
    return found


def read_index(folder: Path, config: DecoderConfig, mode: Mode) -> tuple[Path, dict[str, Record]]:
    """Read the index and check it against every file and against the decoder.

    Errors: SourceError, one line: a missing or wrong shard (size, md5), records that leave gaps or overlap, a
    parameter that is missing, unknown, or of another shape or type.
    """
    path = next((folder / name for name in INDEX_FILES if (folder / name).is_file()), None)
    if path is None:
        raise SourceError(f"mlc_llm convert_weight wrote no {INDEX_FILES[0]}", mend=MEND)
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
        shards = [dict(shard) for shard in value["records"]]
        records = {
            record.name: record for shard in shards for record in _records(shard, f"{path.name}: {shard['dataPath']}")
        }
        count = sum(len(shard["records"]) for shard in shards)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"mlc_llm convert_weight wrote a broken {path.name}", mend=MEND) from error
    if count != len(records):
        raise SourceError(f"{path.name} lists a parameter twice", mend=MEND)
    for shard in shards:
        _check_shard(folder, shard)
    known = {str(shard["dataPath"]) for shard in shards}
    extra = sorted(item.name for item in folder.glob(f"{SHARD_PREFIX}*") if item.name not in known)
    if extra:
        raise SourceError(f"{extra[0]} is in no record of {path.name}", mend=MEND)
    wanted = expected_arrays(config, mode)
    for name, (shape, dtype) in wanted.items():
        if name not in records:
            raise SourceError(f"parameter {name} is missing from {path.name}", mend=MEND)
        record = records[name]
        if record.shape != shape or record.dtype != dtype:
            raise SourceError(
                f"parameter {name} is {record.dtype} {list(record.shape)}, the model needs {dtype} {list(shape)}",
                mend=MEND,
            )
    unknown = sorted(records.keys() - wanted.keys())
    if unknown:
        raise SourceError(f"parameter {unknown[0]} is not one of this model", mend=MEND)
    return path, records


def _records(shard: dict[str, Any], where: str) -> Iterator[Record]:
    """The records of a shard, which must fill it from its first byte to its last."""
    end = 0
    for item in shard["records"]:
        shape, dtype = tuple(int(size) for size in item["shape"]), str(item["dtype"])
        stored = "bfloat16" if dtype == "float32" and item["format"] == "f32-to-bf16" else dtype
        width = {"bfloat16": 2, "float16": 2, "float32": 4, "uint32": 4}.get(stored)
        offset, size = int(item["byteOffset"]), int(item["nbytes"])
        if width is None or size != width * prod(shape) or offset != end:
            raise SourceError(f"the record of {item['name']} has the wrong place or size", where=where, mend=MEND)
        end = offset + size
        yield Record(str(item["name"]), shape, dtype, stored, str(shard["dataPath"]), offset, size)
    if end != int(shard["nbytes"]):
        raise SourceError(f"its records hold {end} bytes, the shard {shard['nbytes']}", where=where, mend=MEND)


def _check_shard(folder: Path, shard: dict[str, Any]) -> None:
    name = str(shard["dataPath"])
    path = folder / name
    if Path(name).name != name or not name.startswith(SHARD_PREFIX):
        raise SourceError(f"a shard is named '{name[:60]}'", mend=MEND)
    if path.is_symlink() or not path.is_file():
        raise SourceError(f"{name} is missing", mend=MEND)
    size = path.stat().st_size
    if size != shard["nbytes"]:
        raise SourceError(f"{name} has {size} bytes, its record says {shard['nbytes']}", mend=MEND)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    if digest.hexdigest() != shard.get("md5sum"):
        raise SourceError(f"{name} is not what its record says (md5)", mend=MEND)


class ShardModel:
    """The weights as they lie in the shards, under the checkpoint's names: a WeightSource for reference.py.

    Rows are read with pread; float32, dequantised where they are rounded. A context manager.
    """

    def __init__(self, folder: Path, config: DecoderConfig, mode: Mode, records: dict[str, Record]) -> None:
        self.config = config
        self._mode, self._records = mode, records
        self._shapes = dict(expected_tensors(config))
        self._place: dict[str, tuple[str, int]] = {}  # tensor -> (parameter, its first row there)
        for name, (_, parts) in _fused(config).items():
            row = 0
            for part in parts:
                self._place[part] = name, row
                row += self._shapes[part][0]
        self._files: dict[str, int] = {}
        try:
            for shard in sorted({record.shard for record in records.values()}):
                self._files[shard] = os.open(folder / shard, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ShardModel:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        while self._files:
            os.close(self._files.popitem()[1])

    def names(self) -> tuple[str, ...]:
        return tuple(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Float32:
        """Rows start..stop of a checkpoint's tensor. Errors: SourceError where a value is not finite."""
        shape = self._shapes[name]
        stop = shape[0] if stop is None else min(stop, shape[0])
        parameter, row = self._place[name]
        first, last = row + start, row + stop
        if self._mode.grouped and len(shape) == 2:
            stem = parameter.removesuffix(".weight")
            words = self._rows(f"{stem}.q_weight", first, last).view(np.uint32)
            scales = _floats(self._rows(f"{stem}.q_scale", first, last), self._records[f"{stem}.q_scale"])
            values = dequantised(words, scales)[:, : shape[1]]
        else:
            values = _floats(self._rows(parameter, first, last), self._records[parameter])
        if not np.isfinite(values).all():
            raise SourceError(f"parameter {parameter} holds a value that is not finite", mend=MEND)
        return values

    def _rows(self, name: str, first: int, last: int) -> npt.NDArray[np.generic]:
        record = self._records[name]
        row_bytes = record.size_bytes // record.shape[0]
        size = (last - first) * row_bytes
        data = os.pread(self._files[record.shard], size, record.offset + first * row_bytes)
        if len(data) != size:
            raise SourceError(f"{record.shard} is cut short", mend=MEND)
        dtype = "<u2" if record.stored == "bfloat16" else {"float16": "<f2", "float32": "<f4"}.get(record.stored, "<u4")
        return np.frombuffer(data, dtype=dtype).reshape(last - first, *record.shape[1:])


def _floats(rows: npt.NDArray[np.generic], record: Record) -> Float32:
    if record.stored == "bfloat16":
        wide: Float32 = (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return wide
    return rows.astype(np.float32)


def dequantised(words: npt.NDArray[np.uint32], scales: Float32) -> Float32:
    """[rows, words] uint32 and [rows, groups] -> [rows, groups * 32] float32."""
    shifts = np.arange(CODES_PER_WORD, dtype=np.uint32) * np.uint32(4)
    codes = (words[..., None] >> shifts) & np.uint32(15)
    signed = codes.reshape(*scales.shape, GROUP_SIZE).astype(np.float32) - np.float32(ZERO_CODE)
    values: Float32 = (signed * scales[..., None]).reshape(len(words), scales.shape[1] * GROUP_SIZE)
    return values
