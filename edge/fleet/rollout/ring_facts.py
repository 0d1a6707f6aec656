"""What a decision rests on, as it is kept with it: counts, shares with their interval, limits, message ids. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge.fleet.rollout.plan import RolloutPlan
from edge.fleet.rollout.shares import CONFIDENCE, interval
from edge.fleet.rollout.state import Device, from_ms

# Plain JSON types.
Facts = dict[str, Any]


def time_of(at_ms: int) -> str:
    """Milliseconds as RFC 3339 in UTC."""
    at = from_ms(at_ms)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def passed_messages(devices: Iterable[Device]) -> list[str]:
    """CloudEvents ids of the results that passed."""
    return [f"{one.name}/{one.passed}" for one in devices if one.has_passed]


def failed_messages(devices: Iterable[Device]) -> list[str]:
    """CloudEvents ids of the results and installs that failed."""
    return [
        f"{one.name}/{message}"
        for one in devices
        if one.has_failed
        for message in ((one.failed,) if one.failed else (*one.refused, *one.install_failures))
    ]


def devices_facts(devices: Iterable[Device]) -> Facts:
    """Some devices and what they said."""
    found = list(devices)
    return {
        "devices": [one.name for one in found],
        "failed_messages": failed_messages(found),
    }


def ring_facts(
    plan: RolloutPlan,
    ring: int,
    devices: list[Device],
    *,
    opened_ms: int,
    reached_ms: int | None,
    failures_allowed: int,
    failed_in_all: int,
) -> Facts:
    """A ring's counts and shares beside its limits. The interval is of the passed share of the counted devices."""
    rule = plan.rings[ring].open_next
    counted = sum(one.counts for one in devices)
    passed = sum(one.has_passed for one in devices)
    failed = sum(one.has_failed for one in devices)
    low, high = interval(passed, counted)
    return {
        "devices": counted,
        "waiting": sum(one.status == "waiting" for one in devices),
        "passed": passed,
        "failed": failed,
        "install_failed": sum(one.status == "install_failed" for one in devices),
        "timed_out": sum(one.status == "timed_out" for one in devices),
        "without_result": counted - passed - failed,
        "left": sum(not one.counts for one in devices),
        "passed_share": round(passed / counted, 4) if counted else None,
        "passed_share_min": rule.passed_share_min,
        "devices_min": rule.devices_min,
        "needed": rule.needed(counted),
        "interval": [round(low, 4), round(high, 4)],
        "confidence": CONFIDENCE,
        "failures_allowed": failures_allowed,
        "failed_share_max": plan.stop.failed_share_max,
        "failed_in_all": failed_in_all,
        "failed_max": plan.stop.failed_max,
        "opened_at": time_of(opened_ms),
        "reached_at": None if reached_ms is None else time_of(reached_ms),
        "within_h": rule.within_h,
        "soak_h": rule.soak_h,
        "passed_messages": passed_messages(devices),
        "failed_messages": failed_messages(devices),
    }
