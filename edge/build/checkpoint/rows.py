"""Rows of a tensor out of a file by pread: bounded memory, checked lengths, plain float32."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.build.checkpoint.base import FETCH_AGAIN, Float32
from edge.errors import SourceError
from edge.files import resource_error

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

# Values decoded at a time. The raw bytes and the decoder's temporaries are a few times this; the result
# itself is the caller's choice of rows.
SLAB_VALUES = 1 << 19


def decode_f32(raw: Bytes) -> Float32:
    """[rows, bytes] -> [rows, values]"""
    return raw.view("<f4").astype(np.float32, copy=False)


def decode_f16(raw: Bytes) -> Float32:
    """[rows, bytes] -> [rows, values], exact"""
    return raw.view("<f2").astype(np.float32)


def decode_bf16(raw: Bytes) -> Float32:
    """[rows, bytes] -> [rows, values], exact: bf16 is the upper half of a float32"""
    return (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies and how its rows become float32.

    shape: as the model wants it; a row is one index of the first axis. offset: of row 0, in bytes.
    stored_rows: wanted rows -> rows as they lie in the file, a permutation within groups of `group` rows.
    """

    shape: tuple[int, ...]
    offset: int
    row_bytes: int
    decode: Callable[[Bytes], Float32]
    stored_rows: Callable[[Rows], Rows] | None = None
    group: int = 1


class RowFile:
    """An open file that is read only at given places. Thread-safe (pread has no position)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.size_bytes = os.fstat(self._descriptor).st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceError("is missing", where=str(path), mend="check the path, or fetch it again") from error
        except OSError as error:
            raise resource_error(error, str(path)) from error

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def truncated(self, what: str, end: int) -> SourceError:
        """The error for a file that ends before byte `end`."""
        return SourceError(
            f"is truncated or corrupt: {what} ends at byte {end}, the file has {self.size_bytes} bytes",
            where=str(self.path),
            mend=FETCH_AGAIN,
        )

    def bytes_at(self, offset: int, count: int, what: str) -> bytes:
        """`count` bytes from `offset`; the length is checked before anything is allocated."""
        if count < 0 or offset + count > self.size_bytes:
            raise self.truncated(what, offset + count)
        buffer = bytearray(count)
        self._fill(memoryview(buffer), offset, what)
        return bytes(buffer)

    def read(self, name: str, tensor: StoredTensor, start: int, stop: int | None) -> Float32:
        """Rows start..stop, [rows, ...] float32."""
        rows = tensor.shape[0]
        stop = rows if stop is None else stop
        if not 0 <= start <= stop <= rows:
            raise IndexError(f"rows {start}..{stop} of {name}, which has {rows}")
        values = prod(tensor.shape[1:])
        result = np.empty((stop - start, values), dtype=np.float32)
        slab = max(SLAB_VALUES // max(values, 1), 1)
        slab = max(slab // tensor.group, 1) * tensor.group
        first = start
        while first < stop:
            last = min(first - first % slab + slab, stop)  # aligned, so that a group is read once
            part = result[first - start : last - start]
            self._read_slab(name, tensor, first, last, part)
            if not np.isfinite(part).all():
                raise SourceError(
                    f"tensor {name} holds a value that is not finite", where=str(self.path), mend=FETCH_AGAIN
                )
            first = last
        return result.reshape((stop - start, *tensor.shape[1:]))

    def _read_slab(self, name: str, tensor: StoredTensor, first: int, last: int, into: Float32) -> None:
        low, high, wanted = first, last, None
        if tensor.stored_rows is not None:
            wanted = tensor.stored_rows(np.arange(first, last))
            low, high = int(wanted.min()), int(wanted.max()) + 1
        raw = np.empty((high - low, tensor.row_bytes), dtype=np.uint8)
        self._fill(raw.reshape(-1).data, tensor.offset + low * tensor.row_bytes, f"tensor {name}")
        with np.errstate(all="ignore"):  # what a damaged scale makes is found and said by `read`
            decoded = tensor.decode(raw)
        into[...] = decoded if wanted is None else decoded[wanted - low]

    def _fill(self, buffer: memoryview, offset: int, what: str) -> None:
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            except OSError as error:
                raise resource_error(error, str(self.path)) from error
            if count == 0:
                raise self.truncated(what, offset + len(buffer))
            done += count
