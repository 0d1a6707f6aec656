"""Intervals and paired tests of the evaluation: Wilson, bootstrap, McNemar, Wilcoxon, Holm, non-inferiority.

Two builds are always compared on the same cases, pair by pair. Everything that draws is seeded, so that a result can
be written twice with the same bytes. scipy is loaded when a distribution is needed, not on import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.evaluate.extras import need

SEED = 20260103
RESAMPLES = 10_000
CONFIDENCE = 0.95
STATS = "a paired test"
# Below this many discordant pairs the chi-square of McNemar's test is not close enough: the binomial is exact.
EXACT_BELOW_PAIRS = 25

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval (95 % unless said otherwise), in the unit of the estimate."""

    estimate: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class PairedTest:
    """A paired test. statistic: of the named method; p_value: two-sided; count: pairs that took part."""

    method: str
    statistic: float
    p_value: float
    count: int


@dataclass(frozen=True)
class NonInferiority:
    """Is the candidate at most `margin` worse than the reference?

    difference: candidate minus reference, signed so that higher is better; lower_bound: one-sided 95 % bound of it.
    """

    difference: float
    lower_bound: float
    margin: float
    count: int

    @property
    def holds(self) -> bool:
        """The bound lies above minus the margin."""
        return self.lower_bound > -self.margin


def wilson(successes: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927). Errors: ValueError on impossible counts."""
    if count <= 0 or not 0 <= successes <= count:
        raise ValueError("wilson needs 0 <= successes <= count and a count above 0")
    z = _normal_quantile(0.5 + confidence / 2)
    share = successes / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # At the ends the bound is exactly 0 or 1; rounding must not push it past the estimate.
    low = 0.0 if successes == 0 else (middle - spread) / scale
    high = 1.0 if successes == count else (middle + spread) / scale
    return Interval(share, max(low, 0.0), min(high, 1.0), count)


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[Floats], Floats] | None = None,
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile bootstrap of a statistic (default: the mean).

    statistic: [resamples, count] float64 to [resamples] float64, over the last axis. Errors: ValueError when empty.
    """
    data = _floats(values)
    if data.size == 0:
        raise ValueError("bootstrap needs at least one value")
    over = statistic or _mean
    drawn = _resample(data, over, seed, resamples)
    edge = 50 * (1 - confidence)
    low, high = np.percentile(drawn, [edge, 100 - edge])
    return Interval(float(over(data[None, :])[0]), float(low), float(high), int(data.size))


def median_of(rows: Floats) -> Floats:
    """Median over the last axis, for bootstrap()."""
    return np.asarray(np.median(rows, axis=-1), dtype=np.float64)


def _mean(rows: Floats) -> Floats:
    return np.asarray(np.mean(rows, axis=-1), dtype=np.float64)


def _floats(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _resample(data: Floats, over: Callable[[Floats], Floats], seed: int, resamples: int) -> Floats:
    """Statistic of `resamples` draws with replacement, in blocks that stay below some 8 MB."""
    generator = np.random.default_rng(seed)
    block = max(1, 1_000_000 // data.size)
    parts = []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        parts.append(over(data[generator.integers(0, data.size, size=(rows, data.size))]))
    return np.concatenate(parts)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """25th, 50th and 75th percentile, linear between neighbours. Errors: ValueError when empty."""
    if not len(values):
        raise ValueError("quartiles need at least one value")
    first, middle, third = np.percentile(_floats(values), [25, 50, 75])
    return float(first), float(middle), float(third)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> PairedTest:
    """McNemar's test on right/wrong pairs: exact binomial below 25 discordant pairs, else chi-square with continuity
    correction (McNemar 1947, Edwards 1948). Errors: ValueError on unequal lengths.
    """
    _same_length(first, second)
    only_first = sum(1 for a, b in zip(first, second, strict=True) if a and not b)
    only_second = sum(1 for a, b in zip(first, second, strict=True) if b and not a)
    discordant = only_first + only_second
    if discordant == 0:
        return PairedTest("McNemar, no discordant pair", 0.0, 1.0, len(first))
    if discordant < EXACT_BELOW_PAIRS:
        result = need("scipy.stats", STATS).binomtest(min(only_first, only_second), discordant, 0.5)
        return PairedTest("McNemar, exact", float(min(only_first, only_second)), float(result.pvalue), len(first))
    return mcnemar_continuity(only_first, only_second, len(first))


def mcnemar_continuity(only_first: int, only_second: int, count: int) -> PairedTest:
    """The chi-square form with continuity correction at any number of discordant pairs (the published papers' form)."""
    discordant = only_first + only_second
    if discordant == 0:
        return PairedTest("McNemar, no discordant pair", 0.0, 1.0, count)
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / discordant
    return PairedTest(
        "McNemar, continuity", float(statistic), float(need("scipy.stats", STATS).chi2.sf(statistic, 1)), count
    )


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Wilcoxon signed rank test of paired values; pairs without a difference are left out (Wilcoxon 1945)."""
    _same_length(first, second)
    differences = _floats(first) - _floats(second)
    moved = differences[differences != 0]
    if moved.size == 0:
        return PairedTest("Wilcoxon, no difference", 0.0, 1.0, len(first))
    result = need("scipy.stats", STATS).wilcoxon(moved)
    return PairedTest("Wilcoxon signed rank", float(result.statistic), float(result.pvalue), len(first))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: (p_values[index], index))
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def paired_difference(
    candidate: Sequence[float], reference: Sequence[float], *, seed: int = SEED, resamples: int = RESAMPLES
) -> Interval:
    """Mean of candidate minus reference with its bootstrap interval, cases drawn as pairs."""
    _same_length(candidate, reference)
    return bootstrap(list(_floats(candidate) - _floats(reference)), seed=seed, resamples=resamples)


def relative_change(
    candidate: Sequence[float], reference: Sequence[float], *, seed: int = SEED, resamples: int = RESAMPLES
) -> Interval | None:
    """(mean candidate - mean reference) / mean reference, with a paired bootstrap interval; None when the reference
    is 0. Draws in which the reference is 0 are left out.
    """
    _same_length(candidate, reference)
    a, b = _floats(candidate), _floats(reference)
    if b.size == 0 or float(b.mean()) == 0.0:
        return None
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = generator.integers(0, a.size, size=a.size)
        base = float(b[chosen].mean())
        if base != 0.0:
            drawn.append((float(a[chosen].mean()) - base) / base)
    low, high = np.percentile(_floats(drawn), [50 * (1 - CONFIDENCE), 100 - 50 * (1 - CONFIDENCE)])
    estimate = (float(a.mean()) - float(b.mean())) / float(b.mean())
    return Interval(estimate, float(low), float(high), int(a.size))


def non_inferiority(
    candidate: Sequence[float],
    reference: Sequence[float],
    margin: float,
    *,
    higher_is_better: bool = True,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> NonInferiority:
    """Paired non-inferiority of scores: one-sided 95 % bootstrap bound of the mean difference against `margin`.

    margin: above 0, in the unit of the scores. Errors: ValueError on unequal lengths, no pair or a margin not above 0.
    """
    _same_length(candidate, reference)
    if margin <= 0 or not len(candidate):
        raise ValueError("non-inferiority needs pairs and a margin above 0")
    sign = 1.0 if higher_is_better else -1.0
    differences = sign * (_floats(candidate) - _floats(reference))
    drawn = _resample(differences, _mean, seed, resamples)
    bound = float(np.percentile(drawn, 100 * (1 - CONFIDENCE)))
    return NonInferiority(float(differences.mean()), bound, margin, int(differences.size))


def non_inferiority_of_shares(
    candidate: Sequence[bool], reference: Sequence[bool], margin: float, *, higher_is_better: bool = True
) -> NonInferiority:
    """Paired non-inferiority of proportions: one-sided 95 % score bound of Tango (1998), which stays sound when
    nearly all pairs agree, where a bootstrap has no width.
    """
    _same_length(candidate, reference)
    if margin <= 0 or not len(candidate):
        raise ValueError("non-inferiority needs pairs and a margin above 0")
    good = [bool(a) if higher_is_better else not a for a in candidate]
    base = [bool(b) if higher_is_better else not b for b in reference]
    gained = sum(1 for a, b in zip(good, base, strict=True) if a and not b)
    lost = sum(1 for a, b in zip(good, base, strict=True) if b and not a)
    count = len(good)
    bound = _tango_lower(gained, lost, count, _normal_quantile(CONFIDENCE))
    return NonInferiority((gained - lost) / count, bound, margin, count)


def _tango_lower(gained: int, lost: int, count: int, z: float) -> float:
    """The difference at which Tango's score statistic equals z, found by bisection."""

    def score(difference: float) -> float:
        # Maximum likelihood of the share of lost pairs under the difference (Tango 1998, equation 8).
        linear = -(gained + lost) + (2 * count - gained + lost) * difference
        constant = -lost * difference * (1 - difference)
        root = math.sqrt(max(linear * linear - 8 * count * constant, 0.0))
        share = max((root - linear) / (4 * count), 0.0)
        variance = count * (2 * share + difference * (1 - difference))
        distance = gained - lost - count * difference
        if variance <= 0:
            return math.inf if distance > 0 else 0.0
        return distance / math.sqrt(variance)

    low, high = -1.0, (gained - lost) / count
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > z else (low, middle)
    return low


def _same_length(first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise ValueError(f"paired values differ in number: {len(first)} and {len(second)}")
