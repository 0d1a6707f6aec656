"""The sum behind docs/scale.md. When these fail, a hospital buys the wrong number of machines."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet.capacity import Costs, Load, most_devices, plan

COSTS = Costs(0.002, 30_000, 0.00002, 0.00002, 3000, 6000)


def test_one_golden_fleet() -> None:
    """Fails when a unit is mixed up: 100,000 devices, one result a day and telemetry each quarter of an hour."""
    found = plan(COSTS, Load(), 100_000)
    assert round(found.messages_per_s, 2) == 112.27
    assert round(found.broker_memory_bytes / 1e9, 2) == 3.0
    assert round(found.reconnect_share, 3) == 0.667
    assert round(found.broker_share, 4) == round(100_000 / 30 * 0.00002 + 2 * 112.27 * 0.00002, 4)
    assert round(found.stored_bytes_per_year / 1e9) == 219
    assert (found.brokers, found.collectors) == (1, 1)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_devices_never_take_less(one: int, other: int) -> None:
    """Fails when the plan of a larger fleet is a smaller one."""
    small, large = (plan(COSTS, Load(), count) for count in sorted((one, other)))
    assert small.brokers <= large.brokers and small.collectors <= large.collectors
    assert small.stored_bytes_per_year <= large.stored_bytes_per_year


def test_where_one_machine_ends() -> None:
    """Fails when one device more than the most still fits, or the most itself does not."""
    for costs in (COSTS, replace(COSTS, collector_messages_per_s=30)):
        most = most_devices(costs, Load())
        ends = [plan(costs, Load(), count) for count in (most, most + 1)]
        assert [found.brokers + found.collectors for found in ends] == [2, 3]
