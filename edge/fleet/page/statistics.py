"""What a set of measurements says: five-number summaries, and the change from one build to another. Pure.

Rules
- One device is one observation: its value on a build is the median of its results there, so that a device that
  measures every hour does not outvote one that measures once.
- Devices that measured both builds are compared with themselves (paired); the change is that of the typical device.
  Where too few did, the devices that measured only one of them are compared as groups (unpaired), and it is said.
- A change is a ratio: the logarithms are compared, and the change is shown in per cent of the old build. Of a
  temperature it is a difference in degrees.
- Intervals are of ranks (Wilcoxon signed rank for pairs, Mann-Whitney for groups; the estimate is that of Hodges and
  Lehmann): no normal distribution is assumed, and one absurd device moves nothing. They are exact for small numbers.
- Where the ranks cannot give the wanted confidence (fewer than 6 pairs at 95 %), there is no interval and no verdict.
- A build is called worse or better only when the whole interval lies on that side of "no change".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.bench.statistics import percentile

CONFIDENCE = 0.95
# Up to here the distribution of the rank statistic is counted out; above it is normal to three digits.
EXACT_PAIRS, EXACT_GROUP = 50, 20
BISECTIONS = 60
# A device whose last results on one build spread wider than this is called noisy.
NOISY_SPREAD, NOISY_LEAST = 0.15, 5

Verdict = Literal["worse", "better", "no_clear_change", "too_little_data"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Lowest, quartiles and highest of `count` values, in their unit."""

    lowest: float
    first: float
    median: float
    third: float
    highest: float
    count: int


@dataclass(frozen=True)
class Change:
    """From an old build to a new one. estimate, low, high: new / old, 1.0 is no change, or new - old; None with too
    little data.

    paired: devices compared with themselves; old_devices, new_devices: how many took part (equal when paired).
    """

    verdict: Verdict
    paired: bool
    old_devices: int
    new_devices: int
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = CONFIDENCE


def summary(values: Sequence[float]) -> Summary:
    """Five numbers of a set. Errors: ValueError when it is empty."""
    if not len(values):
        raise ValueError("a summary needs at least one value")
    low, first, middle, third, high = (float(one) for one in np.percentile(_floats(values), [0, 25, 50, 75, 100]))
    return Summary(low, first, middle, third, high, len(values))


def median(values: Sequence[float]) -> float:
    """The middle value. Errors: ValueError when there is none."""
    return percentile(values, 50)  # a handful of values, thousands of times: numpy would take ten times as long


def spread(values: Sequence[float]) -> float | None:
    """Half the way from the 10th to the 90th percentile over the median; None below NOISY_LEAST values."""
    if len(values) < NOISY_LEAST:
        return None
    low, middle, high = (percentile(values, percent) for percent in (10, 50, 90))
    return (high - low) / 2 / middle if middle > 0 else None


def compare(
    old: Mapping[str, float], new: Mapping[str, float], *, higher_is_better: bool, ratio: bool = True
) -> Change:
    """How the new build differs. old, new: device -> its value; ratio: values not above 0 are left out."""
    before, after = ({device: one for device, one in side.items() if one > 0 or not ratio} for side in (old, new))
    back: Callable[[float], float] = math.exp if ratio else float
    scaled: Callable[[Sequence[float]], Floats] = (lambda side: np.log(_floats(side))) if ratio else _floats
    both = sorted(before.keys() & after.keys())
    if _signed_rank_cut(len(both), CONFIDENCE) >= 1:
        steps = np.sort(scaled([after[one] for one in both]) - scaled([before[one] for one in both]))
        ends = [back(end) for end in _interval_of_pairs(steps, CONFIDENCE)]
        verdict = _verdict(ends[1], ends[2], back(0.0), higher_is_better)
        return Change(verdict, True, len(both), len(both), *ends)
    # Too few pairs: the devices that measured one build only, so that the two groups share nobody.
    only_old = [one for device, one in before.items() if device not in after]
    only_new = [one for device, one in after.items() if device not in before]
    if _mann_whitney_cut(len(only_old), len(only_new), CONFIDENCE) >= 1:
        groups = np.sort(scaled(only_old)), np.sort(scaled(only_new))
        ends = [back(end) for end in _interval_of_groups(*groups, CONFIDENCE)]
        verdict = _verdict(ends[1], ends[2], back(0.0), higher_is_better)
        return Change(verdict, False, len(only_old), len(only_new), *ends)
    if both:
        return Change("too_little_data", True, len(both), len(both))
    return Change("too_little_data", False, len(only_old), len(only_new))


def _verdict(low: float, high: float, same: float, higher_is_better: bool) -> Verdict:
    """The word for an interval; `same`: where nothing changed."""
    if low > same:
        return "better" if higher_is_better else "worse"
    if high < same:
        return "worse" if higher_is_better else "better"
    return "no_clear_change"


def _floats(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64)


# Each interval is made of the n-th smallest of all pairwise averages (pairs) or differences (groups). They are never
# written out, there would be half a million of them for 1,000 devices: counting how many lie below a point is quick
# on sorted values, and halving the range finds the point with the wanted count.


def _smallest(count_below: Callable[[float], int], low: float, high: float, rank: int) -> float:
    """The `rank`-th smallest (from 1) of a multiset within [low, high] of which `count_below(x)` counts those <= x."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if count_below(middle) >= rank:
            high = middle
        else:
            low = middle
    # Values that are equal on both devices are equal to the last bit; the search ends within one bit of them.
    return 0.0 if abs(high) < 1e-12 else high


def _middle(count_below: Callable[[float], int], low: float, high: float, total: int) -> float:
    """The median of such a multiset of `total` values."""
    lower = _smallest(count_below, low, high, (total + 1) // 2)
    return lower if total % 2 else (lower + _smallest(count_below, low, high, total // 2 + 1)) / 2


def _interval_of_pairs(steps: Floats, confidence: float) -> tuple[float, float, float]:
    """Estimate and ends. steps: [pairs] float64, sorted."""
    count, low, high = len(steps), float(steps[0]) - 1e-9, float(steps[-1]) + 1e-9
    total = count * (count + 1) // 2
    positions = np.arange(count)

    def below(point: float) -> int:
        """Averages of i <= j that are at most `point`."""
        reach = np.searchsorted(steps, 2 * point - steps + 1e-15, side="right")
        return int(np.maximum(reach - positions, 0).sum())

    cut = _signed_rank_cut(count, confidence)
    ends = _smallest(below, low, high, cut), _smallest(below, low, high, total + 1 - cut)
    return _middle(below, low, high, total), *ends


def _interval_of_groups(first: Floats, second: Floats, confidence: float) -> tuple[float, float, float]:
    """Estimate and ends of second minus first. first, second: [devices] float64, sorted."""
    total = len(first) * len(second)
    low, high = float(second[0] - first[-1]) - 1e-9, float(second[-1] - first[0]) + 1e-9

    def below(point: float) -> int:
        """Differences that are at most `point`."""
        return int(np.searchsorted(second, first + point + 1e-15, side="right").sum())

    cut = _mann_whitney_cut(len(first), len(second), confidence)
    ends = _smallest(below, low, high, cut), _smallest(below, low, high, total + 1 - cut)
    return _middle(below, low, high, total), *ends


def _cut(weights: Sequence[float], tail: float) -> int:
    """How many of the lowest outcomes hold at most `tail` of the probability. weights: of the outcomes 0, 1, 2, ..."""
    whole, running = sum(weights), 0.0
    for outcome, weight in enumerate(weights):
        running += weight
        if running > tail * whole:
            return outcome
    return len(weights)


@lru_cache(maxsize=256)
def _signed_rank_cut(count: int, confidence: float) -> int:
    """Rank of the lower end among the averages of `count` pairs; 0 when they cannot give that confidence."""
    if count == 0:
        return 0
    tail = (1 - confidence) / 2
    if count > EXACT_PAIRS:
        spread_of_sum = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
        return math.floor(count * (count + 1) / 4 - NormalDist().inv_cdf(1 - tail) * spread_of_sum)
    ways = [1.0]
    for rank in range(1, count + 1):
        longer = ways + [0.0] * rank
        for index, number in enumerate(ways):
            longer[index + rank] += number
        ways = longer
    return _cut(ways, tail)


@lru_cache(maxsize=256)
def _mann_whitney_cut(first: int, second: int, confidence: float) -> int:
    """Rank of the lower end among the differences of two groups; 0 when they cannot give that confidence."""
    if first == 0 or second == 0:
        return 0
    tail = (1 - confidence) / 2
    if first > EXACT_GROUP or second > EXACT_GROUP:
        spread_of_sum = math.sqrt(first * second * (first + second + 1) / 12)
        return max(math.floor(first * second / 2 - NormalDist().inv_cdf(1 - tail) * spread_of_sum), 0)
    # Ways to reach a count of wins: a path through the merged order; table[i][u], one column of `second` at a time.
    table = [[1.0] for _ in range(first + 1)]
    for column in range(1, second + 1):
        fresh = [[1.0]]
        for row in range(1, first + 1):
            ways = [0.0] * (row * column + 1)
            for index, number in enumerate(table[row]):
                ways[index + row] += number
            for index, number in enumerate(fresh[row - 1]):
                ways[index] += number
            fresh.append(ways)
        table = fresh
    return _cut(table[first], tail)
