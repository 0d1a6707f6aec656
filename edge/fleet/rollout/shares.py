"""Shares of devices and what they can say: the binomial distribution and exact intervals. Pure.

A ring is a sample: with `devices` of them chosen without looking, what holds of the ring holds of the fleet within an
interval. Clopper and Pearson's is used because rings are small: it is never too narrow. For a ring whose devices were
picked by hand it describes these devices, not the fleet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

CONFIDENCE = 0.95
_HALVINGS = 60


def at_most(devices: int, failing: int, share: float) -> float:
    """Probability that at most `failing` of `devices` fail when each does so with probability `share`."""
    if failing < 0:
        return 0.0
    if failing >= devices or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    sure, not_sure = math.log(share), math.log1p(-share)
    whole = math.lgamma(devices + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(
                whole
                - math.lgamma(count + 1)
                - math.lgamma(devices - count + 1)
                + count * sure
                + (devices - count) * not_sure
            )
            for count in range(failing + 1)
        ),
    )


def interval(hits: int, devices: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share: (low, high). Of no devices nothing is known: (0, 1)."""
    if devices <= 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits <= 0 else _solve(lambda share: at_most(devices, hits - 1, share), 1 - tail)
    high = 1.0 if hits >= devices else _solve(lambda share: at_most(devices, hits, share), tail)
    return low, high


def _solve(falling: Callable[[float], float], wanted: float) -> float:
    """Where a function that falls from 1 to 0 over [0, 1] takes the value `wanted`."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if falling(middle) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def caught_share(devices: int, allowed: int, sure: float = CONFIDENCE) -> float:
    """The smallest share of failing devices that such a ring stops with probability `sure` or more.

    allowed: failed devices that the ring lets through. 1.0 when even a build that fails everywhere gets through.
    """
    return 1.0 if allowed >= devices else _solve(lambda share: at_most(devices, allowed, share), 1 - sure)
