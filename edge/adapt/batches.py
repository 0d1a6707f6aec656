"""Examples as token ids, and batches of about equal cost: lengths bucketed, padded little, the order seeded.

Lengths of every size made the allocator and oneDNN's primitive cache grow until the kernel killed the run; so batches
are padded to a multiple of PAD_TO_TOKENS, and there are only so many shapes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

PAD_TO_TOKENS = 64


@dataclass(frozen=True)
class TokenExample:
    """prompt: what the model reads. answer: what it learns to write, its end token included."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Source:
    """Examples of one kind and how often each is seen (1.5: all once, half of them twice)."""

    examples: tuple[TokenExample, ...]
    epochs: float


def schedule(sources: Sequence[Source], tokens_per_step: int, seed: int) -> tuple[tuple[TokenExample, ...], ...]:
    """The whole training as batches of at most tokens_per_step padded tokens; the same for the same seed.

    Examples of like length share a batch (sorted within shuffled blocks), the batches themselves are shuffled.
    """
    random_source = random.Random(seed)  # noqa: S311 - an order, not a secret
    drawn: list[TokenExample] = []
    for source in sources:
        whole, part = divmod(source.epochs, 1)
        for _ in range(int(whole)):
            drawn.extend(source.examples)
        rest = list(source.examples)
        random_source.shuffle(rest)
        drawn.extend(rest[: round(part * len(rest))])
    random_source.shuffle(drawn)
    batches: list[tuple[TokenExample, ...]] = []
    block = 512
    for first in range(0, len(drawn), block):
        batch: list[TokenExample] = []
        for example in sorted(drawn[first : first + block], key=lambda item: item.length):
            if batch and padded(example.length) * (len(batch) + 1) > tokens_per_step:
                batches.append(tuple(batch))
                batch = []
            batch.append(example)
        if batch:
            batches.append(tuple(batch))
    random_source.shuffle(batches)
    return tuple(batches)


def padded(length: int) -> int:
    """The next multiple of PAD_TO_TOKENS."""
    return -(-length // PAD_TO_TOKENS) * PAD_TO_TOKENS
