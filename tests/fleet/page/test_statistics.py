"""What is called worse or better. When these fail, the page cries wolf or hides a regression."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.fleet.page.statistics import _mann_whitney_cut, _signed_rank_cut, compare, spread, summary

VALUES = st.floats(0.01, 1e6)


def test_ranks_are_those_of_the_published_tables() -> None:
    """Fails when intervals are wider or narrower than 95 %: critical values of Wilcoxon and of Mann and Whitney."""
    assert [_signed_rank_cut(count, 0.95) for count in range(4, 13)] == [0, 0, 1, 3, 4, 6, 9, 11, 14]
    assert [_mann_whitney_cut(count, count, 0.95) for count in range(3, 11)] == [0, 1, 3, 6, 9, 14, 18, 24]
    # Far beyond the counted ones the normal form joins on.
    assert abs(_signed_rank_cut(51, 0.95) - _signed_rank_cut(50, 0.95)) < 25


@given(st.lists(st.tuples(VALUES, VALUES), min_size=6, max_size=12), st.booleans())
def test_pairs_against_all_averages_written_out(pairs: list[tuple[float, float]], higher: bool) -> None:
    """Fails when the search finds another estimate or end than sorting every pairwise average does."""
    old = {f"d{index}": pair[0] for index, pair in enumerate(pairs)}
    new = {f"d{index}": pair[1] for index, pair in enumerate(pairs)}
    found = compare(old, new, higher_is_better=higher)
    steps = [math.log(after) - math.log(before) for before, after in pairs]
    walsh = sorted((steps[i] + steps[j]) / 2 for i in range(len(steps)) for j in range(i, len(steps)))
    cut = _signed_rank_cut(len(steps), 0.95)
    middle = (walsh[(len(walsh) - 1) // 2] + walsh[len(walsh) // 2]) / 2
    assert found.estimate is not None and found.low is not None and found.high is not None
    for told, wanted in ((found.estimate, middle), (found.low, walsh[cut - 1]), (found.high, walsh[-cut])):
        assert math.log(told) == pytest.approx(wanted, abs=1e-8)
    assert found.paired and found.low <= found.estimate <= found.high


@given(st.lists(VALUES, min_size=4, max_size=9), st.lists(VALUES, min_size=4, max_size=9))
def test_groups_against_all_differences_written_out(old: list[float], new: list[float]) -> None:
    """Fails when devices that measured only one build are compared wrongly."""
    found = compare(
        {f"a{index}": one for index, one in enumerate(old)}, {f"b{index}": one for index, one in enumerate(new)},
        higher_is_better=False, ratio=False,
    )  # fmt: skip
    steps = sorted(after - before for before in old for after in new)
    cut = _mann_whitney_cut(len(old), len(new), 0.95)
    assert not found.paired and found.low is not None and found.high is not None
    room = 1e-9 * max(*old, *new) + 2e-9
    assert found.low == pytest.approx(steps[cut - 1], abs=room) and found.high == pytest.approx(steps[-cut], abs=room)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=6, max_size=10), st.floats(0.001, 1000))
def test_unit_and_direction_change_nothing(pairs: list[tuple[float, float]], unit: float) -> None:
    """Fails when seconds and milliseconds, or a comparison read backwards, give another verdict."""
    old = {str(index): pair[0] for index, pair in enumerate(pairs)}
    new = {str(index): pair[1] for index, pair in enumerate(pairs)}
    one = compare(old, new, higher_is_better=True)
    other = compare(
        {name: value * unit for name, value in old.items()}, {name: value * unit for name, value in new.items()},
        higher_is_better=True,
    )  # fmt: skip
    back = compare(new, old, higher_is_better=True)
    assert one.estimate is not None and other.estimate is not None and back.estimate is not None
    assert other.estimate == pytest.approx(one.estimate, rel=1e-6)
    assert back.estimate == pytest.approx(1 / one.estimate, rel=1e-6)
    if min(abs(math.log(end)) for end in (one.low or 1, one.high or 1)) > 1e-6:
        swapped = {"worse": "better", "better": "worse"}
        assert back.verdict == swapped.get(one.verdict, one.verdict) and other.verdict == one.verdict


@settings(max_examples=25)
@given(st.integers(0, 5), st.integers(0, 3))
def test_too_little_data_says_so(pairs: int, others: int) -> None:
    """Fails when a verdict rests on five devices, however large the change."""
    old = {f"d{index}": 1.0 for index in range(pairs)} | {f"o{index}": 1.0 for index in range(others)}
    new = {f"d{index}": 100.0 for index in range(pairs)} | {f"n{index}": 100.0 for index in range(others)}
    found = compare(old, new, higher_is_better=False)
    assert found.verdict == "too_little_data" and found.estimate is None and found.low is None


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Fails when "95 %" is not: 600 seeded experiments with eight devices, whose noise has a long tail."""
    chance = random.Random(5)
    held = 0
    for _ in range(600):
        old = {str(index): chance.lognormvariate(0, 0.5) for index in range(8)}
        new = {name: value * 1.07 * math.exp(0.05 * chance.gauss(0, 1) * chance.choice((1, 1, 5)))
               for name, value in old.items()}  # fmt: skip
        found = compare(old, new, higher_is_better=False)
        held += (found.low or 0) <= 1.07 <= (found.high or 0)
    assert held / 600 > 0.93


def test_direction_of_worse() -> None:
    """Fails when slower counts as better, or the reverse."""
    old = {str(index): 10.0 + index / 10 for index in range(8)}
    new = {name: value * 1.2 for name, value in old.items()}
    assert compare(old, new, higher_is_better=True).verdict == "better"
    assert compare(old, new, higher_is_better=False).verdict == "worse"
    assert compare(old, old, higher_is_better=False).verdict == "no_clear_change"


def test_one_absurd_device_moves_nothing() -> None:
    """Fails when a single broken clock makes a regression."""
    old = {str(index): 10.0 + index / 7 for index in range(12)}
    new = {name: value * (1 + 0.01 * (-1) ** int(name)) for name, value in old.items()} | {"3": 1e6}
    assert compare(old, new, higher_is_better=False).verdict == "no_clear_change"


def test_thousand_devices_are_quick_enough_to_ask_for() -> None:
    """Fails when half a million averages are written out: the answer is the same, the memory is not."""
    chance = random.Random(1)
    old = {str(index): chance.lognormvariate(8, 0.2) for index in range(20_000)}
    found = compare(old, {name: value * 1.01 for name, value in old.items()}, higher_is_better=False)
    assert found.verdict == "worse" and found.estimate == pytest.approx(1.01)


def test_summary_and_spread() -> None:
    """Fails when the box is drawn at other quartiles, or a device is called unsteady on four values."""
    assert summary([4, 1, 3, 2, 5]).first == 2 and summary([4, 1, 3, 2, 5]).median == 3
    assert spread([10, 10, 10, 40]) is None
    assert spread([10.0] * 5) == 0 and (spread([6, 10, 10, 10, 14]) or 0) > 0.15
    with pytest.raises(ValueError, match="at least one"):
        summary([])
