"""A weights file of a bundle, written tensor by tensor.

Tensors are aligned (to 4096 bytes if nothing else is said), so that a runtime can map them; the padding is zeros, so
that two builds give the same file. A tensor may be appended in row chunks, which bounds memory by the chunk.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edge.files import resource_error

ALIGNMENT_BYTES = 4096


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in the weights file."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    offset_bytes: int
    size_bytes: int


class WeightsFile:
    """Append-only writer; `tensors` lists what was written, in order."""

    def __init__(self, path: Path, *, alignment_bytes: int = ALIGNMENT_BYTES) -> None:
        self.path = path
        self._alignment_bytes = alignment_bytes
        self.tensors: dict[str, StoredTensor] = {}
        self._position = 0
        try:
            self._file = path.open("xb", buffering=1 << 20)
        except OSError as error:
            raise resource_error(error, str(path)) from error

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        except OSError as error:
            raise resource_error(error, str(self.path)) from error
        finally:
            with contextlib.suppress(OSError):  # it tries once more to write what did not fit
                self._file.close()

    def append(self, name: str, array: npt.NDArray[np.generic]) -> StoredTensor:
        """Write one whole tensor."""
        return self.append_chunks(name, array.dtype, array.shape, [array])

    def append_chunks(
        self,
        name: str,
        dtype: np.dtype[np.generic],
        shape: tuple[int, ...],
        chunks: Iterable[npt.NDArray[np.generic]],
    ) -> StoredTensor:
        """Write a tensor whose row chunks come one after another."""
        padding = -self._position % self._alignment_bytes
        size = 0
        try:
            self._file.write(bytes(padding))
            for chunk in chunks:
                little = np.ascontiguousarray(chunk, dtype=dtype.newbyteorder("<"))
                self._file.write(little.data.cast("B"))
                size += little.nbytes
        except OSError as error:
            raise resource_error(error, str(self.path)) from error
        expected = int(np.prod(shape)) * dtype.itemsize
        if size != expected:
            raise ValueError(f"{name}: wrote {size} bytes of a {expected}-byte tensor")
        stored = StoredTensor(name, dtype, shape, self._position + padding, size)
        self._position = stored.offset_bytes + size
        self.tensors[name] = stored
        return stored
