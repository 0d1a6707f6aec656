"""The header of a .safetensors file, read by pread and believed only after every number was checked.

Layout: 8 bytes little-endian header length, that many bytes of JSON {name: {dtype, shape, data_offsets}},
then the data, which the tensors must fill without a gap or an overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from typing import Any, TypeGuard

from edge.build.checkpoint.base import FETCH_AGAIN, Float32
from edge.build.checkpoint.rows import Bytes, RowFile, StoredTensor, decode_bf16, decode_f16, decode_f32
from edge.errors import SourceError

MAX_HEADER_BYTES = 100_000_000  # the format's own limit

DTYPES: dict[str, tuple[int, Callable[[Bytes], Float32]]] = {
    "BF16": (2, decode_bf16),
    "F16": (2, decode_f16),
    "F32": (4, decode_f32),
}


def read_header(file: RowFile) -> dict[str, StoredTensor]:
    """Tensors of an open safetensors file by name. Errors: SourceError."""
    length = int.from_bytes(file.bytes_at(0, 8, "the header length"), "little")
    if length > MAX_HEADER_BYTES:
        raise _corrupt(file, f"its header length is {length} bytes")
    raw = file.bytes_at(8, length, "the header")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _corrupt(file, "its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise _corrupt(file, "its header is not a JSON object")
    header.pop("__metadata__", None)
    data = 8 + length
    tensors: dict[str, StoredTensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        tensors[name], begin, end = _tensor(file, name, entry, data)
        spans.append((begin, end, name))
    at = 0
    for begin, end, name in sorted(spans):
        if begin != at:
            raise _corrupt(file, f"tensor {name} starts at {begin}, not at {at} where the one before it ends")
        at = end
    if data + at > file.size_bytes:
        raise file.truncated("the data", data + at)
    if data + at < file.size_bytes:
        raise _corrupt(file, f"{file.size_bytes - data - at} bytes follow the last tensor")
    return tensors


def _tensor(file: RowFile, name: str, entry: Any, data: int) -> tuple[StoredTensor, int, int]:
    if not isinstance(entry, dict):
        raise _corrupt(file, f"tensor {name} has no description")
    shape, offsets, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not (_counts(shape) and _counts(offsets)) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _corrupt(file, f"tensor {name} has an impossible shape or place")
    if dtype not in DTYPES:
        raise SourceError(
            f"tensor {name} has type {dtype} (known: {', '.join(DTYPES)})",
            where=str(file.path),
            mend="use the bf16, f16 or f32 version of the model",
        )
    item_bytes, decode = DTYPES[dtype]
    begin, end = offsets
    if not shape or prod(shape) * item_bytes != end - begin:
        raise _corrupt(file, f"tensor {name} has {end - begin} bytes for shape {shape} of {dtype}")
    return StoredTensor(tuple(shape), data + begin, prod(shape[1:]) * item_bytes, decode), begin, end


def _counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name comes twice")
    return result


def _corrupt(file: RowFile, what: str) -> SourceError:
    return SourceError(f"is corrupt: {what}", where=str(file.path), mend=FETCH_AGAIN)
