"""Percentiles and spreads: every figure of a result rests on them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.statistics import percentile, spread, thin

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(NUMBERS, st.floats(0, 100))
def test_percentile_stays_within_the_values(values: list[float], percent: float) -> None:
    """If it fails, a p99 can be larger than the slowest step."""
    assert min(values) <= percentile(values, percent) <= max(values)


def test_percentile_agrees_with_its_definition() -> None:
    """If it fails, p50 is not the median and p95 is not between its neighbours."""
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([1, 2, 3, 4], 50) == 2.5
    assert percentile(list(range(101)), 95) == 95
    assert percentile([7], 99) == 7


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 101), ([1.0], -1)])
def test_percentile_refuses_nonsense(values: list[float], percent: float) -> None:
    """If it fails, an empty measurement turns into a number."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


@given(NUMBERS)
def test_spread_is_ordered(values: list[float]) -> None:
    """If it fails, a report shows a minimum above its median."""
    found = spread(values)
    assert found.minimum <= found.median <= found.maximum
    assert found.count == len(values)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=400), st.integers(1, 60))
def test_thinning_keeps_the_peak_and_the_order(values: list[float], limit: int) -> None:
    """If it fails, the memory plot hides the peak that the table shows."""
    times, kept = thin(list(range(len(values))), values, limit)
    assert len(kept) <= limit or len(kept) == len(values)
    assert max(kept) == max(values)
    assert times == sorted(times)
    assert all(values[int(time)] == value for time, value in zip(times, kept, strict=True))
