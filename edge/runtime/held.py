"""What engines with one preallocated cache share: which tokens it holds, its lazy memory, the words for too little."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
import numpy.typing as npt

from edge.errors import EdgeError, ResourceError


class HeldTokens:
    """The part of edge.runtime.engine.Engine and PrefixEngine that only counts. A subclass sets the four fields."""

    _vocab: int
    _capacity: int
    _length: int
    _ids: npt.NDArray[np.int64]  # [capacity]

    @property
    def vocab_size(self) -> int:
        """See Engine.vocab_size."""
        return self._vocab

    @property
    def context_tokens(self) -> int:
        """See Engine.context_tokens."""
        return self._capacity

    @property
    def length(self) -> int:
        """See Engine.length."""
        return self._length

    @property
    def held_ids(self) -> npt.NDArray[np.int64]:
        """See PrefixEngine.held_ids."""
        return self._ids[: self._length].copy()

    def rewind(self, length: int) -> None:
        """See Engine.rewind; what lies past the length is overwritten by the next call."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot rewind to {length} of {self._length}")
        self._length = length


def lazy_zeros(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Zeros of which only the pages in use are resident. Errors: ResourceError.

    np.zeros would do, but for transparent huge pages: with them the first token of a head takes 2 MiB, and a
    cache for 8,192 tokens is resident almost whole after a few words (seen: 260 MB instead of 12).
    """
    try:
        pages = mmap.mmap(-1, int(np.prod(shape)) * 4)
    except (OSError, OverflowError) as error:
        raise no_memory("the KV cache") from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages refuses the advice
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype=np.float32).reshape(shape)


def no_memory(where: str) -> EdgeError:
    """The error of an engine that finds too little memory."""
    return ResourceError(
        "not enough free memory", where=where, mend="close other programs or use a smaller model or context"
    )
