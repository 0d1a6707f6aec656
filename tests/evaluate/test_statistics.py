"""Intervals and tests against published numbers and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.evaluate.statistics import (
    _tango_lower,
    bootstrap,
    holm,
    mcnemar,
    mcnemar_continuity,
    median_of,
    non_inferiority,
    non_inferiority_of_shares,
    paired_difference,
    quartiles,
    relative_change,
    wilcoxon,
    wilson,
)


def test_wilson_gives_the_published_interval() -> None:
    """arXiv 2601.03266: 179 of 207 is 86.5 % (81.1 to 90.5); else our intervals could not be laid beside theirs."""
    found = wilson(179, 207)
    assert [round(100 * value, 1) for value in (found.estimate, found.low, found.high)] == [86.5, 81.1, 90.5]


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_estimate_within_0_and_1(case: tuple[int, int]) -> None:
    """An interval that leaves out its own estimate, or leaves 0 to 1, is nonsense."""
    found = wilson(*case)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize(("successes", "count"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(successes: int, count: int) -> None:
    """A wrong count must not become a number."""
    with pytest.raises(ValueError, match="wilson"):
        wilson(successes, count)


def test_bootstrap_is_seeded_and_covers() -> None:
    """The same values give the same interval, to the last bit; its width is near that of the normal theory."""
    values = list(np.random.default_rng(1).normal(5.0, 2.0, 200))
    first, second = bootstrap(values), bootstrap(values)
    assert first == second
    theory = 2 * 1.96 * float(np.std(values)) / math.sqrt(200)
    assert first.high - first.low == pytest.approx(theory, rel=0.06)
    assert first.low < first.estimate < first.high


def test_bootstrap_in_blocks_is_the_same_statistic() -> None:
    """Many values are resampled in blocks; each row must still be a whole resample."""
    values = [0.0, 1.0] * 3000
    found = bootstrap(values, resamples=500)
    assert found.estimate == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(6000), rel=0.2)


def test_bootstrap_of_a_median() -> None:
    """The statistic is taken over each resample, not over the means."""
    found = bootstrap([1.0, 1.0, 1.0, 100.0, 1.0], median_of)
    assert (found.estimate, found.low) == (1.0, 1.0)


def test_bootstrap_needs_values() -> None:
    """No values: an error, not a NaN."""
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([])
    with pytest.raises(ValueError, match="at least one"):
        quartiles([])


def test_mcnemar_is_exact_for_few_and_corrected_for_many_pairs() -> None:
    """1 against 7 discordant pairs: the exact two-sided p is 0.0703; 30 against 10: chi-square 9.025."""
    first = [True] * 1 + [False] * 7 + [True] * 13
    second = [False] * 1 + [True] * 7 + [True] * 13
    few = mcnemar(first, second)
    assert few.method == "McNemar, exact"
    assert few.p_value == pytest.approx(18 / 256)
    many = mcnemar([True] * 30 + [False] * 10, [False] * 30 + [True] * 10)
    assert many.method == "McNemar, continuity"
    assert many.statistic == pytest.approx(9.025)
    assert many.p_value == pytest.approx(0.002663, abs=1e-5)


def test_mcnemar_without_discordant_pairs() -> None:
    """Two builds that answer alike do not differ."""
    assert mcnemar([True, False], [True, False]).p_value == 1.0
    assert mcnemar_continuity(0, 0, 5).p_value == 1.0
    assert mcnemar_continuity(1, 1, 5).p_value == 1.0


def test_wilcoxon_drops_ties_and_is_exact_for_few() -> None:
    """Six pairs, all in one direction: 2 of 64 sign patterns are as extreme."""
    found = wilcoxon([1.0, 2.1, 3.2, 4.3, 5.4, 6.5, 9.0], [0, 0, 0, 0, 0, 0, 9.0])
    assert found.p_value == pytest.approx(2 / 64)
    assert wilcoxon([1.0, 2.0], [1.0, 2.0]).p_value == 1.0


def test_holm_steps_down() -> None:
    """The textbook example, in the order given."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    """An adjusted p below its own p, or in another order, would make things significant that are not."""
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for i, p in enumerate(p_values):
        assert all(adjusted[i] <= adjusted[j] for j, q in enumerate(p_values) if p < q)


def test_paired_difference_and_relative_change() -> None:
    """Half the errors of the baseline is -50 %; a baseline of 0 has no relative change."""
    baseline, ours = [2.0, 4.0, 2.0, 4.0] * 10, [1.0, 2.0, 1.0, 2.0] * 10
    assert paired_difference(ours, baseline).estimate == -1.5
    change = relative_change(ours, baseline, resamples=300)
    assert change is not None
    assert (change.estimate, change.low, change.high) == pytest.approx((-0.5, -0.5, -0.5))
    assert relative_change([1.0], [0.0]) is None


def test_tango_bound_gives_the_published_interval() -> None:
    """Airway hyper-responsiveness (1 and 7 discordant of 21): Tango's 95 % interval begins at -0.517."""
    assert _tango_lower(1, 7, 21, 1.959964) == pytest.approx(-0.517, abs=5e-4)
    assert -_tango_lower(7, 1, 21, 1.959964) == pytest.approx(-0.026, abs=5e-4)


def test_non_inferiority_of_scores() -> None:
    """A build that lost 0.01 on all cases is within 0.02 and not within 0.005; where lower is better, it gained."""
    reference = list(np.linspace(0.3, 0.6, 40))
    ours = [value - 0.01 for value in reference]
    assert non_inferiority(ours, reference, 0.02).holds
    assert not non_inferiority(ours, reference, 0.005).holds
    assert non_inferiority(ours, reference, 0.005, higher_is_better=False).difference == pytest.approx(0.01)


def test_non_inferiority_of_shares_has_a_width_even_when_all_pairs_agree() -> None:
    """Ten equal pairs prove little: a bootstrap would call any margin held."""
    assert not non_inferiority_of_shares([True] * 10, [True] * 10, 0.05).holds
    assert non_inferiority_of_shares([True] * 400, [True] * 400, 0.05).holds
    lost = non_inferiority_of_shares([False] * 30 + [True] * 170, [True] * 200, 0.05)
    assert not lost.holds
    assert lost.difference == pytest.approx(-0.15)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_share_bound_lies_below_the_difference(pairs: list[tuple[bool, bool]]) -> None:
    """A lower bound above the estimate is none; the bound grows with the candidate's hits."""
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found = non_inferiority_of_shares(first, second, 0.1)
    assert -1 <= found.lower_bound <= found.difference
    better = non_inferiority_of_shares([True] * len(pairs), second, 0.1)
    assert better.lower_bound >= found.lower_bound - 1e-9


def test_unpaired_values_are_refused() -> None:
    """Values of different cases must never be compared as pairs."""
    for test in (mcnemar, wilcoxon, paired_difference):
        with pytest.raises(ValueError, match="differ in number"):
            test([1.0, 0.0], [1.0])  # type: ignore[operator]
    with pytest.raises(ValueError, match="margin"):
        non_inferiority([1.0], [1.0], 0.0)
