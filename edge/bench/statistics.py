"""Spreads and percentiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Lowest, middle and highest of `count` repetitions, in the unit of the field that holds it."""

    minimum: float
    median: float
    maximum: float
    count: int


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` (0..100) of `values` lie, interpolated between neighbours.

    Errors: ValueError when `values` is empty or `percent` is out of range.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError("percentile needs values and a percent between 0 and 100")
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def spread(values: Sequence[float]) -> Spread:
    """Minimum, median and maximum. Errors: ValueError when `values` is empty."""
    return Spread(min(values, default=0.0), percentile(values, 50), max(values, default=0.0), len(values))


def thin(times_s: Sequence[float], values: Sequence[float], limit: int) -> tuple[list[float], list[float]]:
    """At most `limit` points of a series: each of `limit` equal runs gives its highest point.

    Peaks survive, which is what a memory series is kept for. The first run keeps order and time.
    """
    if len(values) <= limit:
        return list(times_s), list(values)
    kept = []
    for run in range(limit):
        start, stop = run * len(values) // limit, (run + 1) * len(values) // limit
        kept.append(max(range(start, stop), key=lambda index: (values[index], -index)))
    return [times_s[index] for index in kept], [values[index] for index in kept]
