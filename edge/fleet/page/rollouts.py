"""Rollouts as the page shows them: rings in the order of the plan, each decision with its evidence. Pure.

A plan or a state that cannot be read is left out, never guessed: the decisions stand on their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.fleet.page.checks import parsed
from edge.fleet.page.queries import Row

PLAN_BYTES = 64 * 1024


def plan_of(text: str | None) -> dict[str, Any]:
    """The plan's YAML as plain values; empty when it is none."""
    import yaml

    if text is None or len(text) > PLAN_BYTES:
        return {}
    try:
        plan = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def planned_rings(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Name and rule of each ring of a plan, in its order."""
    rings = plan.get("rings")
    named = [ring for ring in rings if isinstance(ring, dict)] if isinstance(rings, list) else []
    return [
        {"ring": str(ring.get("name")), "open_next": ring.get("open_next"), "rate_per_h": ring.get("rate_per_h")}
        for ring in named
    ]


def listed(rollout: Row) -> Row:
    """One rollout of the list: `rings` with their devices by status, in the order in which they were counted."""
    rings: dict[str, dict[str, int]] = {}
    for member in rollout["members"]:
        rings.setdefault(member["ring"], {})[member["status"]] = member["devices"]
    shown = {name: value for name, value in rollout.items() if name not in ("members", "plan")}
    order = [ring["ring"] for ring in planned_rings(plan_of(rollout.get("plan")))]
    names = [*(name for name in order if name in rings), *(name for name in rings if name not in order)]
    return shown | {"rings": [{"ring": name, "statuses": rings[name]} for name in names]}


def detailed(rollout: Row) -> Row:
    """One rollout with everything: plan, why it ended, rings in the plan's order, devices, decisions."""
    plan, state = plan_of(rollout["plan"]), parsed(rollout["state"])
    counted: dict[str, dict[str, int]] = {}
    for device in rollout["devices"]:
        statuses = counted.setdefault(device["ring"], {})
        statuses[device["status"]] = statuses.get(device["status"], 0) + 1
    rings = planned_rings(plan)
    known = {ring["ring"] for ring in rings}
    rings += [{"ring": name, "open_next": None, "rate_per_h": None} for name in counted if name not in known]
    shown = {name: value for name, value in rollout.items() if name != "state"}
    return shown | {
        "plan": plan,
        "plan_text": rollout["plan"],
        "reason": state.get("reason") if isinstance(state, dict) else None,
        "rings": [ring | {"statuses": counted.get(ring["ring"], {})} for ring in rings],
        "decisions": decisions(rollout["decisions"]),
    }


def decisions(rows: Sequence[Row]) -> list[Row]:
    """Decisions with their evidence as values."""
    return [row | {"evidence": parsed(row["evidence"])} for row in rows]
