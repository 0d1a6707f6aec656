"""Binomial shares and their intervals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.rollout.shares import at_most, caught_share, interval


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0, 1))
def test_at_most_is_the_sum(devices: int, failing: int, share: float) -> None:
    """Every printed probability would be wrong."""
    summed = math.fsum(
        math.comb(devices, count) * share**count * (1 - share) ** (devices - count)
        for count in range(min(failing, devices) + 1)
    )
    assert at_most(devices, failing, share) == pytest.approx(summed, abs=1e-9)


@pytest.mark.parametrize(
    ("hits", "devices", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (8, 10, 0.4439, 0.9748), (90, 100, 0.8238, 0.9510), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_clopper_and_pearsons(hits: int, devices: int, low: float, high: float) -> None:
    """Values of published tables; a decision would show an interval that is too narrow."""
    assert interval(hits, devices) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 200), st.data())
def test_intervals_hold_the_share(devices: int, data: st.DataObject) -> None:
    """The measured share lies inside, and more hits move both ends up."""
    hits = data.draw(st.integers(0, devices))
    low, high = interval(hits, devices)
    assert 0 <= low <= hits / devices <= high <= 1
    if hits < devices:
        above = interval(hits + 1, devices)
        assert low <= above[0] + 1e-12 and high <= above[1] + 1e-12


def test_caught_share() -> None:
    """The rule of three: with none of n failing, 3 / n is what 95 % can exclude."""
    assert caught_share(100, 0) == pytest.approx(0.0295, abs=1e-4)
    assert caught_share(20, 2) == pytest.approx(0.2826, abs=1e-4)
    assert caught_share(3, 3) == 1.0
