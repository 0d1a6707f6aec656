"""Rollouts in words, for a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from edge.fleet.rollout.desk import Preview
from edge.fleet.rollout.ring_facts import ring_facts, time_of
from edge.fleet.rollout.rules import failures_allowed, reached_ms
from edge.fleet.rollout.shares import caught_share
from edge.fleet.rollout.state import Device, State

SHOWN = 8
REASONS = {
    "": "",
    "failures": ": too many failures",
    "not_enough_evidence": ": not enough evidence",
    "by_operator": "",
}


def names(found: Sequence[str]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def preview_text(preview: Preview) -> str:
    """Which device falls into which ring, and what each ring can catch."""
    release = preview.release
    lines = [f"{preview.plan.rollout}: {release.release} (bundle {release.bundle_digest[:16]}) for {release.profile}"]
    for index, one in enumerate(preview.rings):
        count, rule = len(one.devices), one.ring.open_next
        allowed = failures_allowed(preview.plan, index, count)
        caught = caught_share(count, count - rule.needed(count))
        lines.append(
            f"  {one.ring.name}: {count} devices, {rule.needed(count)} must pass within {rule.within_h:g} h; more than "
            f"{min(allowed, preview.plan.stop.failed_max)} failures stop it; 95 % sure to stop a build that fails on "
            f"{caught:.0%} or more"
        )
        lines.append(f"    {names([device.device for device in one.devices])}")
    if preview.left_out:
        lines.append(f"  in no ring: {len(preview.left_out)} devices: {names(preview.left_out)}")
    if preview.no_way_back:
        stuck = preview.no_way_back
        lines.append(f"  cannot be set back, their build is no known release: {len(stuck)}: {names(stuck)}")
    return "\n".join(lines)


def ring_of(state: State, ring: int) -> list[Device]:
    """The devices of one ring."""
    return [device for device in state.devices.values() if device.ring == ring]


def status_json(state: State) -> dict[str, Any]:
    """A rollout as plain JSON: phase, and each ring with its counts; an open one with what its opening rests on."""
    rings = []
    for index, ring in enumerate(state.plan.rings):
        found = ring_of(state, index)
        value: dict[str, Any] = {
            "ring": ring.name,
            "open": index <= state.ring,
            "statuses": dict(Counter(device.status for device in found)),
        }
        if index <= state.ring:
            counted = sum(device.counts for device in found)
            value["facts"] = ring_facts(
                state.plan,
                index,
                found,
                opened_ms=state.rings[index].opened_ms,
                reached_ms=reached_ms(ring.open_next, found),
                failures_allowed=failures_allowed(state.plan, index, counted),
                failed_in_all=sum(device.has_failed for device in state.devices.values()),
            )
        rings.append(value)
    return {
        "rollout": state.plan.rollout,
        "release": state.plan.release,
        "profile": state.plan.profile,
        "phase": state.phase,
        "reason": state.reason,
        "rings": rings,
    }


def status_text(state: State) -> str:
    """A rollout in a few lines."""
    value = status_json(state)
    lines = [f"{value['rollout']}: {value['release']} is {state.phase}{REASONS[state.reason]}"]
    for ring in value["rings"]:
        if not ring["open"]:
            lines.append(f"  {ring['ring']}: not open, {sum(ring['statuses'].values())} devices")
            continue
        facts = ring["facts"]
        low, high = facts["interval"]
        share = "no device" if facts["passed_share"] is None else f"{facts['passed_share']:.0%} passed"
        lines.append(
            f"  {ring['ring']}: {facts['passed']} of {facts['devices']} passed, {facts['needed']} needed "
            f"({share}, 95 % interval {low:.0%} to {high:.0%}); {facts['failed']} failed, "
            f"{facts['failures_allowed']} allowed; {facts['without_result']} without a result; open since "
            f"{facts['opened_at']}"
        )
    if state.paused_at_ms is not None:
        lines.append(f"  paused since {time_of(state.paused_at_ms)}")
    return "\n".join(lines)


def decision_text(at: str, ring: str | None, decision: str, by: str, evidence: dict[str, Any]) -> str:
    """One decision in a line."""
    where = f" {ring}" if ring else ""
    said = ""
    if "passed" in evidence:
        low, high = evidence["interval"]
        said = (
            f": {evidence['passed']} of {evidence['devices']} passed ({low:.0%} to {high:.0%}), "
            f"{evidence['needed']} needed, {evidence['failed']} failed"
        )
        if "set_back" in evidence:
            reason = REASONS.get(evidence.get("reason", ""), "").removeprefix(": ")
            said += f"; {reason + ', ' if reason else ''}{len(evidence['set_back'])} devices set back"
    elif isinstance(evidence.get("devices"), list):
        said = f": {names(evidence['devices'])}"
    elif "release" in evidence:
        said = f": {evidence['release']}, bundle {evidence['bundle_digest'][:16]}"
    elif "paused_s" in evidence:
        said = f": after {evidence['paused_s']} s"
    return f"{at}  {decision}{where} by {by}{said}"
