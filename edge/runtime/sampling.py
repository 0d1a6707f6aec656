"""From logits to a token: greedy, temperature, top-p, repetition penalty, all seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import InputError

HEAD_TOKENS = 512


@dataclass(frozen=True)
class SamplerSettings:
    """temperature 0 is greedy. top_p keeps the smallest set of tokens with that much probability.

    repetition_penalty: above 1 makes tokens of the last `repetition_window` generated ones less likely
    (Keskar et al. 2019, CTRL). seed: same seed, same tokens.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    repetition_window: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "temperature": (self.temperature, 0.0, 5.0),
            "top_p": (self.top_p, 0.0, 1.0),
            "repetition_penalty": (self.repetition_penalty, 1.0, 5.0),
            "repetition_window": (self.repetition_window, 0, 1 << 20),
            "seed": (self.seed, 0, 2**63 - 1),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise InputError(f"{name} is {value}", mend=f"give a value from {low:g} to {high:g}")
        if self.top_p == 0.0:
            raise InputError("top_p is 0", mend="give a value above 0, or temperature 0 for the likeliest token")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, for the bundle."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "repetition_penalty": self.repetition_penalty,
            "repetition_window": self.repetition_window,
            "seed": self.seed,
        }


class Allowed(Protocol):
    """What the sampler asks of a constraint (edge.runtime.constraint.Constraint)."""

    def allows(self, token: int) -> bool: ...

    def allowed(self) -> npt.NDArray[np.bool_]: ...


def _likeliest(probabilities: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.intp]:
    """Ids in falling order of probability, at least so many that they have `share` of it together; all ids in any
    order when that is all of it.

    Sorting a whole vocabulary takes as long as a decode step of a small model; a few hundred mostly do.
    """
    size = len(probabilities)
    if share >= 1.0:
        return np.arange(size)
    if size > HEAD_TOKENS:
        # By value and not by argpartition, whose choice among equals depends on the CPU.
        floor = np.partition(probabilities, size - HEAD_TOKENS)[size - HEAD_TOKENS]
        head = np.flatnonzero(probabilities >= floor)
        if probabilities[head].sum() > share:
            return head[np.argsort(-probabilities[head], kind="stable")]
    return np.argsort(-probabilities, kind="stable")


class Sampler:
    """Stateful only in its random generator."""

    def __init__(self, settings: SamplerSettings) -> None:
        self.settings = settings
        self._random = np.random.Generator(np.random.PCG64(settings.seed))

    def choose(self, logits: npt.NDArray[np.float32], generated: Sequence[int]) -> int:
        """One token id. logits: [vocab] float32; generated: ids so far, newest last."""
        return self._pick(self._penalised(logits, generated))

    def choose_allowed(
        self, logits: npt.NDArray[np.float32], generated: Sequence[int], constraint: Allowed
    ) -> int | None:
        """As `choose`, only from what the constraint allows now, after the penalty; None when that is nothing."""
        logits = self._penalised(logits, generated)
        if self.settings.temperature == 0.0:
            best = int(logits.argmax())
            if constraint.allows(best):  # mostly so, and much cheaper than asking for all
                return best
        candidates = np.flatnonzero(constraint.allowed()[: len(logits)])
        return int(candidates[self._pick(logits[candidates])]) if len(candidates) else None

    def _penalised(self, logits: npt.NDArray[np.float32], generated: Sequence[int]) -> npt.NDArray[np.float32]:
        settings = self.settings
        if settings.repetition_penalty > 1.0 and settings.repetition_window and generated:
            recent = np.unique(np.asarray(generated[-settings.repetition_window :], dtype=np.int64))
            logits = logits.copy()
            values = logits[recent]
            factor = np.float32(settings.repetition_penalty)
            logits[recent] = np.where(values > 0, values / factor, values * factor)
        return logits

    def _pick(self, logits: npt.NDArray[np.float32]) -> int:
        settings = self.settings
        if settings.temperature == 0.0:
            return int(logits.argmax())
        # The maximum goes first: a temperature near 0 must not overflow.
        probabilities = np.exp((logits.astype(np.float64) - float(logits.max())) / settings.temperature)
        probabilities /= probabilities.sum()
        order = _likeliest(probabilities, settings.top_p)
        cumulative = np.cumsum(probabilities[order])
        # At top_p 1 rounding may leave the whole sum below it.
        kept = min(int(np.searchsorted(cumulative, settings.top_p)) + 1, len(order))
        draw = self._random.random() * cumulative[kept - 1]
        return int(order[min(int(np.searchsorted(cumulative[:kept], draw, side="right")), kept - 1)])
