"""Vital signs: ranges that colour, steps that stay inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.encounter.vitals import VITALS, grade

names = st.sampled_from(sorted(VITALS))


@pytest.mark.parametrize("name", sorted(VITALS))
def test_ranges_are_in_order(name: str) -> None:
    """A threshold on the wrong side colours an ordinary value, or none."""
    spec = VITALS[name]
    low = spec.least if spec.critical_low is None else spec.critical_low
    high = spec.most if spec.critical_high is None else spec.critical_high
    assert spec.least <= low <= spec.normal_low <= spec.normal_high <= high <= spec.most
    assert spec.least <= spec.start <= spec.most
    assert spec.source


# NEWS2's chart: each value at the edge of a 3-point band, and the one beside it.
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("respiratory_rate", 8, "critical"),
        ("respiratory_rate", 9, "low"),
        ("respiratory_rate", 12, "normal"),
        ("respiratory_rate", 20, "normal"),
        ("respiratory_rate", 24, "high"),
        ("respiratory_rate", 25, "critical"),
        ("spo2", 91, "critical"),
        ("spo2", 92, "low"),
        ("spo2", 96, "normal"),
        ("bp_systolic", 90, "critical"),
        ("bp_systolic", 91, "low"),
        ("bp_systolic", 111, "normal"),
        ("bp_systolic", 219, "high"),
        ("bp_systolic", 220, "critical"),
        ("heart_rate", 40, "critical"),
        ("heart_rate", 41, "low"),
        ("heart_rate", 90, "normal"),
        ("heart_rate", 130, "high"),
        ("heart_rate", 131, "critical"),
        ("temperature_c", 35.0, "critical"),
        ("temperature_c", 35.1, "low"),
        ("temperature_c", 38.0, "normal"),
        ("temperature_c", 38.1, "high"),
    ],
)
def test_news2(name: str, value: float, expected: str) -> None:
    """A value that NEWS2 gives 3 points is not shown as critical."""
    assert grade(name, value) == expected


@given(names, st.floats(0, 1), st.floats(0, 1))
def test_worse_is_never_better(name: str, first: float, second: float) -> None:
    """A value farther from the ordinary range has a milder colour."""
    spec = VITALS[name]
    rank = {"normal": 0, "low": 1, "high": 1, "critical": 2}
    low, high = sorted((first, second))
    above = [spec.normal_high + share * (spec.most - spec.normal_high) for share in (low, high)]
    below = [spec.normal_low - share * (spec.normal_low - spec.least) for share in (low, high)]
    for near, far in (above, below):
        assert rank[grade(name, near)] <= rank[grade(name, far)]


def test_no_adult_range_for_a_child() -> None:
    """An infant's ordinary pulse of 140 is shown as critical."""
    assert grade("heart_rate", 140, age_years=1) == "normal"
    assert grade("heart_rate", 140, age_years=40) == "critical"


@given(names, st.lists(st.tuples(st.sampled_from([1, -1]), st.booleans()), max_size=40))
def test_steps_stay_inside(name: str, taps: list[tuple[int, bool]]) -> None:
    """Holding a button enters a value that cannot be, or one that edits refuse."""
    value: float | None = None
    spec = VITALS[name]
    for direction, big in taps:
        value = spec.stepped(value, direction, big)
        assert spec.least <= value <= spec.most
        assert float(spec.text(value)) == pytest.approx(value)
