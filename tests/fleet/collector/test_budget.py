"""One device may not take what belongs to all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.collector.budget import Budget, Pass


def test_ten_thousand_of_one_device() -> None:
    """If not: a device gone mad fills the disk; or another is refused because of it."""
    budget = Budget()
    passed = [budget.take("mad", telemetry=False, now_s=0.0) for _ in range(10_000)]
    assert passed.count(Pass.JUDGE) == 2000
    assert set(passed[2000:]) == {Pass.LATER}
    assert budget.take("calm", telemetry=False, now_s=0.0) is Pass.JUDGE


def test_telemetry_goes_first() -> None:
    """If not: telemetry takes the place of results."""
    budget = Budget(burst=100)
    telemetry = [budget.take("a", telemetry=True, now_s=0.0) for _ in range(100)]
    assert telemetry.count(Pass.JUDGE) == 51
    assert set(telemetry[51:]) == {Pass.NEWEST_ONLY}
    assert [budget.take("a", telemetry=False, now_s=0.0) for _ in range(49)].count(Pass.JUDGE) == 49


def test_what_is_sent_back_is_taken_later() -> None:
    """If not: a device that was mad once is never heard again."""
    budget = Budget(burst=10, per_s=0.5)
    while budget.take("a", telemetry=False, now_s=0.0) is Pass.JUDGE:
        pass
    assert budget.take("a", telemetry=False, now_s=1.0) is Pass.LATER
    assert budget.take("a", telemetry=False, now_s=2.1) is Pass.JUDGE
    assert budget.take("a", telemetry=False, now_s=2.2) is Pass.LATER


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=200))
def test_never_more_than_burst_and_rate(steps: list[tuple[float, bool]]) -> None:
    """If not: some order of messages gets round the budget."""
    budget = Budget(burst=20, per_s=0.1)
    now_s = granted = 0.0
    for wait_s, telemetry in steps:
        now_s += wait_s
        granted += budget.take("a", telemetry=telemetry, now_s=now_s) is Pass.JUDGE
        assert granted <= 20 + now_s * 0.1 + 1e-6


def test_memory_is_bounded() -> None:
    """If not: each name that was ever seen stays in memory."""
    budget = Budget(per_s=1.0)
    for number in range(120_000):
        budget.take(f"d{number}", telemetry=False, now_s=number * 0.001)
    assert len(budget._held) <= 50_000
