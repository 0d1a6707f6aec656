"""What a generation loop needs of a compiled model, whichever backend made it.

An engine holds one sequence: a KV cache of fixed capacity and its current length. `forward` appends tokens,
`rewind` drops the newest ones by lowering the length, which costs nothing and makes drafts and prefix reuse
possible. An engine is not thread-safe; one thread calls it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge.errors import InputError

Logits = npt.NDArray[np.float32]
TokenIds = Sequence[int] | npt.NDArray[np.int64]
Forward = Callable[[TokenIds, Sequence[int]], Logits]


def default_threads(cores: int | None = None) -> int:
    """Threads for inference: all cores but one from four cores on, so that a touch screen stays quick.

    With one core taken by something else, engines that spin at barriers lose most; below four cores the
    lower priority of the engine's process does the same job.
    """
    available = cores if cores is not None else len(os.sched_getaffinity(0))
    return available - 1 if available >= 4 else max(1, available)


def checked_step(
    token_ids: TokenIds, wanted: Sequence[int], length: int, capacity: int, vocab_size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(ids [1, n], wanted rows [m]) of one call of an engine, before anything is computed.

    Errors: InputError for no tokens, a token outside the vocabulary (a quantised table would be read past its end
    without an error) or a full context; ValueError for rows outside the call.
    """
    ids = np.ascontiguousarray(token_ids, dtype=np.int64).reshape(1, -1)
    count = ids.shape[1]
    if count == 0:
        raise InputError("no tokens to read", mend="give a text that is not empty")
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise InputError(f"a token is not one of the model's {vocab_size}", mend="use the bundle's own tokenizer")
    if length + count > capacity:
        raise InputError(
            f"{length + count} tokens do not fit into the context of {capacity}",
            mend="shorten the text or build with a larger context_tokens",
        )
    index = np.asarray(wanted, dtype=np.int64)
    if len(index) and not 0 <= index.min() <= index.max() < count:
        raise ValueError(f"wanted rows lie outside 0..{count - 1}")
    return ids, index


class Engine(Protocol):
    """One loaded model with one KV cache."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def context_tokens(self) -> int:
        """Capacity of the KV cache."""
        ...

    @property
    def length(self) -> int:
        """Tokens now in the KV cache."""
        ...

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """Append `token_ids` ([n]) to the cache and return logits: [len(wanted), vocab] float32.

        wanted: positions within token_ids (0..n-1) whose next-token logits are needed, usually (n - 1,).
        Errors: InputError when the cache would overflow; the cache is then unchanged.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forget all tokens after the first `length` ones."""
        ...

    def close(self) -> None:
        """Free the model and the cache."""
        ...


@runtime_checkable
class ExactEngine(Engine, Protocol):
    """An engine whose results need not depend on how many tokens it reads at once."""

    def forward_exact(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """As `forward`, with logits and cache bit for bit the same however a text is cut into calls of it."""
        ...


@runtime_checkable
class PrefixEngine(Engine, Protocol):
    """An engine whose cache can be taken out and put back."""

    @property
    def held_ids(self) -> npt.NDArray[np.int64]:
        """The tokens in the cache, [length]; a copy."""
        ...

    @property
    def state_version(self) -> str:
        """What a saved cache depends on beside the model: backend and its version, kind of machine."""
        ...

    def prefix_shape(self, length: int) -> tuple[int, ...]:
        """Shape of what `save_prefix(length)` gives."""
        ...

    def save_prefix(self, length: int) -> npt.NDArray[np.float32]:
        """Keys and values of the first `length` tokens; a copy. Errors: ValueError when there are not so many."""
        ...

    def load_prefix(self, token_ids: TokenIds, state: npt.NDArray[np.floating]) -> None:
        """Hold `token_ids` and nothing else, as if they had just been read. Errors: ValueError for another shape."""
        ...


def forward_of(engine: Engine, *, exact: bool) -> Forward:
    """`forward_exact` where it is wanted and there is one, else `forward`."""
    return engine.forward_exact if exact and isinstance(engine, ExactEngine) else engine.forward
