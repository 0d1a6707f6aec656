"""An engine without a model: its logits follow from what it has read, so a test knows every token beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge.errors import InputError

VOCAB = 50


class ScriptedEngine:
    """Implements edge.runtime.engine.Engine. rule: all ids read so far -> the likeliest next one."""

    def __init__(self, rule: Callable[[list[int]], int] = lambda ids: (ids[-1] + 1) % VOCAB, context: int = 64) -> None:
        self.rule, self.context_tokens, self.vocab_size = rule, context, VOCAB
        self.ids: list[int] = []
        self.calls: list[int] = []  # tokens of each forward
        self.closed = False

    @property
    def length(self) -> int:
        return len(self.ids)

    def forward(self, token_ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
        if self.length + len(token_ids) > self.context_tokens:
            raise InputError("does not fit")
        self.calls.append(len(token_ids))
        before = self.length
        self.ids += [int(index) for index in token_ids]
        logits = np.zeros((len(wanted), VOCAB), dtype=np.float32)
        for row, position in enumerate(wanted):
            logits[row, self.rule(self.ids[: before + position + 1])] = 10.0
        return logits

    def rewind(self, length: int) -> None:
        if length > len(self.ids):
            raise ValueError("rewind goes back")
        del self.ids[length:]

    def close(self) -> None:
        self.closed = True


class ExactScripted(ScriptedEngine):
    """Implements edge.runtime.engine.ExactEngine: a script does not round, so drafts may be used with it."""

    def forward_exact(self, token_ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
        return self.forward(token_ids, wanted)
