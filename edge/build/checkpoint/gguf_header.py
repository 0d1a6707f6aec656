"""The header of a GGUF file (version 2 and 3, little-endian), by a reader of our own.

The gguf package maps the file and builds an array object for every one of some hundred thousand tokens and
merges (2 s here, with no check of lengths). This one reads through a 1 MiB window and checks every length
and count against the size of the file before it allocates.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.build.checkpoint.base import FETCH_AGAIN
from edge.build.checkpoint.rows import RowFile
from edge.errors import SourceError

WINDOW_BYTES = 1 << 20
VERSIONS = (2, 3)
MAX_DIMENSIONS = 4

STRING, ARRAY = 8, 9
SCALARS: dict[int, str] = {  # type number in the file -> numpy type
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_MIN_ENTRY_BYTES = 8 + 4 + 1  # key length, type, one byte of value
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # name length, dimension count, one dimension, type, offset


@dataclass(frozen=True)
class GgufTensor:
    """shape: rows first (the file has it the other way round); offset: from the start of the file."""

    shape: tuple[int, ...]
    type_number: int
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """metadata: numbers, bools, strings, lists of them; float32 values as float. tensors: by name."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_header(file: RowFile) -> GgufHeader:
    """Parse the header of an open GGUF file. Errors: SourceError."""
    cursor = _Cursor(file)
    if cursor.take(4, "the magic") != b"GGUF":
        raise SourceError("is not a GGUF file", where=str(file.path), mend="check the path, or fetch it again")
    version = cursor.unsigned(4, "the version")
    if version & 0xFFFF == 0:
        raise SourceError("is a big-endian GGUF", where=str(file.path), mend="use the little-endian file")
    if version not in VERSIONS:
        raise SourceError(
            f"has GGUF version {version} (known: {', '.join(map(str, VERSIONS))})",
            where=str(file.path),
            mend="convert the model again with a current llama.cpp",
        )
    tensor_count = cursor.unsigned(8, "the tensor count")
    entry_count = cursor.unsigned(8, "the metadata count")
    cursor.require(entry_count * _MIN_ENTRY_BYTES + tensor_count * _MIN_TENSOR_BYTES, "the header")
    metadata: dict[str, Any] = {}
    for _ in range(entry_count):
        key = cursor.string("a metadata key")
        if key in metadata:
            raise cursor.corrupt(f"metadata key {key} comes twice")
        metadata[key] = cursor.value(cursor.unsigned(4, f"metadata {key}"), f"metadata {key}")
    described = [_tensor(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise cursor.corrupt(f"general.alignment is {alignment}")
    data = -(-cursor.at // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    for name, shape, type_number, offset in described:
        if name in tensors:
            raise cursor.corrupt(f"tensor {name} comes twice")
        if offset % alignment:
            raise cursor.corrupt(f"tensor {name} starts at {offset}, which is not a multiple of {alignment}")
        tensors[name] = GgufTensor(shape, type_number, data + offset)
    return GgufHeader(metadata, tensors)


def _tensor(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.string("a tensor name")
    what = f"the description of tensor {name}"
    dimensions = cursor.unsigned(4, what)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.corrupt(f"tensor {name} has {dimensions} dimensions")
    shape = tuple(cursor.unsigned(8, what) for _ in range(dimensions))[::-1]
    return name, shape, cursor.unsigned(4, what), cursor.unsigned(8, what)


class _Cursor:
    """Reads forward through a window; never asks for bytes that the file does not have."""

    def __init__(self, file: RowFile) -> None:
        self.at = 0
        self._file = file
        self._window = b""
        self._window_at = 0

    def corrupt(self, what: str) -> SourceError:
        return SourceError(f"is corrupt: {what}", where=str(self._file.path), mend=FETCH_AGAIN)

    def require(self, count: int, what: str) -> None:
        if self.at + count > self._file.size_bytes:
            raise self._file.truncated(what, self.at + count)

    def take(self, count: int, what: str) -> bytes:
        begin = self.at - self._window_at
        if begin + count > len(self._window):
            self.require(count, what)
            size = min(max(count, WINDOW_BYTES), self._file.size_bytes - self.at)
            self._window, self._window_at, begin = self._file.bytes_at(self.at, size, what), self.at, 0
        self.at += count
        return self._window[begin : begin + count]

    def unsigned(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "little")

    def string(self, what: str) -> str:
        raw = self.take(self.unsigned(8, what), what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt(f"{what} is not UTF-8") from error

    def value(self, type_number: int, what: str) -> Any:
        if type_number == STRING:
            return self.string(what)
        if type_number == ARRAY:
            item_type = self.unsigned(4, what)
            return self._array(item_type, self.unsigned(8, what), what)
        return self._numbers(type_number, 1, what)[0]

    def _array(self, item_type: int, count: int, what: str) -> list[Any]:
        if item_type != STRING:
            return self._numbers(item_type, count, what)
        self.require(8 * count, what)
        unpack = struct.Struct("<Q").unpack
        take = self.take
        try:
            return [take(unpack(take(8, what))[0], what).decode("utf-8") for _ in range(count)]
        except UnicodeDecodeError as error:
            raise self.corrupt(f"{what} is not UTF-8") from error

    def _numbers(self, type_number: int, count: int, what: str) -> list[Any]:
        if type_number not in SCALARS:
            raise self.corrupt(f"{what} has type {type_number}")
        dtype = np.dtype(SCALARS[type_number])
        raw = self.take(count * dtype.itemsize, what)
        values: list[Any] = np.frombuffer(raw, dtype).tolist()
        if type_number == 6:  # a float32 such as 1e-5 as the decimal that was meant, not its float64 expansion
            return [float(np.format_float_scientific(np.float32(value), unique=True)) for value in values]
        return values
