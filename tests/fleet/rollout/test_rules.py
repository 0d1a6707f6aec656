"""Single rules of a rollout, each at its edge; the laws over everything at random are in test_rules_laws.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edge.fleet.rollout.evidence import Evidence
from edge.fleet.rollout.plan import RolloutPlan
from edge.fleet.rollout.rules import SetBack, SetDesired, abort, advance, failures_allowed
from edge.fleet.rollout.state import Device, RingState, State
from tests.fleet.rollout.small_fleet import NEW, changed_plan, plan_of

T0, HOUR_MS = 1_795_000_000_000, 3_600_000


def started(sizes: Sequence[int] = (10, 10), **changes: Any) -> State:
    """A rollout whose first ring's devices a0, a1, ... were all started at T0; the next ring's are b0, b1, ..."""
    changes = {"rings__0__open_next__soak_h": 0, "retries": 0, "stop__failed_share_max": 0.5} | changes
    plan: RolloutPlan = plan_of(changed_plan(**changes))
    devices = [
        Device(f"{'abc'[ring]}{index}", ring, "notes-1") for ring, size in enumerate(sizes) for index in range(size)
    ]
    devices = [replace(one, assigned_ms=T0, asked_ms=T0, asks=1) if one.ring == 0 else one for one in devices]
    return State(plan, NEW, "running", (RingState(T0, T0),), {one.name: one for one in devices})


def passed(count: int, at_ms: int = T0 + 1, first: int = 0) -> list[Evidence]:
    """Results of a0, a1, ... that passed."""
    return [Evidence(f"a{index}", f"e/{index}", at_ms, NEW, True, True) for index in range(first, first + count)]


def failed(count: int, at_ms: int = T0 + 1, first: int = 0) -> list[Evidence]:
    """Results whose golden cases failed."""
    return [Evidence(f"a{index}", f"f/{index}", at_ms, NEW, True, False) for index in range(first, first + count)]


@pytest.mark.parametrize(("size", "passes", "opens"), [(10, 7, False), (10, 8, True), (4, 2, False), (4, 3, True)])
def test_the_share_is_rounded_up(size: int, passes: int, opens: bool) -> None:
    """7 of 10 are not 75 %."""
    step = advance(started((size, 5)), T0 + 2, passed(passes))
    assert (step.state.ring == 1) == opens


def test_devices_min_holds_beside_the_share() -> None:
    """Two devices out of two are 100 %, and no evidence."""
    state = started((3, 5), rings__0__open_next__devices_min=3)
    assert advance(state, T0 + 2, passed(2), ["a2"]).state.reason == "not_enough_evidence"
    assert advance(state, T0 + 2, passed(3)).state.ring == 1


def test_evidence_from_before_the_assignment_never_counts() -> None:
    """A result of an earlier try of the same build opens the ring."""
    for at_ms in (T0 - HOUR_MS, T0):
        assert advance(started(), T0 + 2, passed(10, at_ms)).state.ring == 0
        assert advance(started(), T0 + 2, failed(10, at_ms)).state.phase == "running"


def test_evidence_after_the_time_limit_never_opens() -> None:
    """A tick that comes late counts what came too late."""
    limit_ms = T0 + 48 * HOUR_MS
    assert advance(started(), limit_ms + 9, passed(8, limit_ms)).state.ring == 1, "in time, read late"
    late = advance(started(), limit_ms + 9, [*passed(7, limit_ms), *passed(1, limit_ms + 1, first=7)])
    assert (late.state.reason, late.state.ring) == ("not_enough_evidence", 0)


def test_a_failure_outweighs_a_pass_in_both_orders() -> None:
    """The last message wins, and a device that fails every second time passes."""
    for messages in ([*passed(1), *failed(1, T0 + 5)], [*failed(1), *passed(1, T0 + 5)]):
        assert advance(started(), T0 + 6, messages).state.devices["a0"].status == "failed"


def test_a_failure_in_the_soak_keeps_the_ring_closed() -> None:
    """The soak is waited for and not watched."""
    state = advance(started(rings__0__open_next__soak_h=2), T0 + 2, passed(8)).state
    later = advance(state, T0 + HOUR_MS, failed(1)).state
    assert advance(later, T0 + 3 * HOUR_MS).state.ring == 0
    assert advance(later, T0 + 5 * HOUR_MS, passed(1, T0 + 3 * HOUR_MS, first=8)).state.ring == 1
    assert advance(later, T0 + 4 * HOUR_MS, passed(1, T0 + 3 * HOUR_MS, first=8)).state.ring == 0, "soaks anew"


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [({}, 2), ({"stop__failed_share_max": 0.1}, 1), ({"stop__failed_max": 0}, 0),
     ({"rings__0__open_next__passed_share_min": 1.0}, 0)],
    ids=["the ring's own share", "failed_share_max", "failed_max", "all must pass"],
)  # fmt: skip
def test_each_limit_stops(changes: dict[str, Any], allowed: int) -> None:
    """One of the limits is never looked at."""
    state = started(**changes)
    assert advance(state, T0 + 2, failed(allowed)).state.phase == "running"
    stopped = advance(state, T0 + 2, failed(allowed + 1))
    assert (stopped.state.phase, stopped.state.reason) == ("stopped", "failures")
    assert {effect.device for effect in stopped.effects if isinstance(effect, SetBack)} == {f"a{i}" for i in range(10)}


def test_failures_of_an_earlier_ring_stop_a_later_one() -> None:
    """Once the next ring is open, the first one is not watched any more."""
    opened = advance(started(), T0 + 2, passed(8)).state
    assert opened.ring == 1
    assert advance(opened, T0 + HOUR_MS, failed(3, T0 + 5)).state.reason == "failures"


def test_a_failure_of_a_device_that_left_still_counts() -> None:
    """Whoever revokes the tablets that failed gets the build through."""
    gone = ["a0", "a1", "a2"]
    assert advance(started(), T0 + 2, failed(3), gone).state.reason == "failures"
    state = advance(started(), T0 + 2, failed(2), gone).state
    assert state.phase == "running"
    facts = state.devices
    assert sum(one.counts for one in facts.values() if one.ring == 0) == 9, "a2 left without a failure"


def test_what_was_missed_is_caught_up_slowly() -> None:
    """After a night without a controller the whole ring is started at once."""
    state = started((10, 1000), rings__1__rate_per_h=120, rings__1__open_next__within_h=48)
    opened = advance(state, T0 + 2, passed(8)).state
    after_a_night = advance(opened, T0 + 10 * HOUR_MS)
    again = [effect for effect in after_a_night.effects if isinstance(effect, SetDesired)]
    assert len([one for one in again if one.device.startswith("b")]) <= 120 / 6 + 1


def test_abort_after_the_end_takes_back_what_stayed() -> None:
    """A build that was proven too early cannot be taken back."""
    ended = advance(started(), T0 + 49 * HOUR_MS, passed(3)).state
    assert ended.reason == "not_enough_evidence"
    back = [one.device for one in abort(ended, T0 + 50 * HOUR_MS, "anna").effects if isinstance(one, SetBack)]
    assert back == ["a0", "a1", "a2"]


def test_nothing_moves_an_ended_rollout() -> None:
    """A late message starts it again."""
    ended = advance(started(), T0 + 2, failed(5)).state
    assert advance(ended, T0 + 3, passed(10)).state is ended


def test_failures_allowed_is_the_tighter_limit() -> None:
    """The preview and the rule say different numbers."""
    plan = plan_of(changed_plan(stop__failed_share_max=0.1, rings__0__open_next__passed_share_min=0.8))
    assert [failures_allowed(plan, 0, size) for size in (5, 10, 20, 100)] == [0, 1, 2, 10]
