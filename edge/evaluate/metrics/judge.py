"""A judge against people: signed median error and quartiles, as arXiv 2601.03266 reports them.

Error = consensus of the judge (mean of its samples) minus the human score, on the 1 to 5 scale. Above 0 the judge is
more lenient than the people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.evaluate.metrics.answers import consensus
from edge.evaluate.statistics import quartiles


@dataclass(frozen=True)
class SignedError:
    """Median and quartiles of the signed error in points; mean_absolute: mean of its size; count: cases scored."""

    median: float
    quartile_1: float
    quartile_3: float
    mean_absolute: float
    count: int


def signed_errors(runs: Sequence[Sequence[float | None]], human: Sequence[float]) -> list[float]:
    """Errors of the cases in which at least one sample gave a score. runs: [samples][cases]."""
    errors = []
    for index, truth in enumerate(human):
        score = consensus([run[index] for run in runs])
        if score is not None:
            errors.append(score - truth)
    return errors


def signed_error(errors: Sequence[float]) -> SignedError:
    """Summary of signed errors. Errors: ValueError when there is none."""
    first, median, third = quartiles(errors)
    return SignedError(median, first, third, sum(map(abs, errors)) / len(errors), len(errors))


def to_half(score: float) -> float:
    """The nearest score that the scale allows: 1 to 5 in halves."""
    return min(5.0, max(1.0, round(score * 2) / 2))
