"""What the fleet's rows say of each device: its verdict and the flags that ask for a look. Pure.

Flags, each by a rule that the page shows as it is written here:
- failing: its newest result broke a budget, a golden case or a rule that always holds
- unproven: the build that it reports has no result from it yet
- stale: no result within `stale_days`, or never one
- old_build: it reports another build than it is told to run; without such an order, another than the newest release of
  its profile, those left out that a rollout has not brought to its end
- install_failed: its newest install did not commit
- quarantined: messages of it were not believed within `stale_days`
- noisy: it sent more than its share within the last day
- unsteady: decode speeds of its newest results on one build differ by more than 15 % around their median
- clock_wrong: its clock was off by more than a day within `stale_days`
- paused: it says that it does not measure or install now, and why
- offline: the broker does not have it connected
- revoked: its certificate is revoked; a revoked device has no other flag and counts nowhere else
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edge.fleet.page.checks import check_lines, parsed
from edge.fleet.page.queries import FleetRows, Row
from edge.fleet.page.statistics import NOISY_LEAST, NOISY_SPREAD, spread
from edge.fleet.store.store import time_text

FLAGS = (
    "failing",
    "unproven",
    "stale",
    "old_build",
    "install_failed",
    "quarantined",
    "noisy",
    "unsteady",
    "clock_wrong",
    "paused",
    "offline",
    "revoked",
)
NOISY_FOR = timedelta(days=1)
# A device may stand in its list as paused for reasons that ask nobody for a look.
CALM_PAUSES = frozenset({"none", "running", "not_due"})


@dataclass(frozen=True)
class DeviceView:
    """One line of the device list. verdict: of the newest result, None before the first; numbers: of that result.

    release, bundle_digest, phase, slot, paused_reason, agent_version: as the device reports them.
    """

    device: str
    profile: str | None
    target: str | None
    ring: str | None
    flags: tuple[str, ...]
    verdict: str | None
    failed_checks: tuple[str, ...]
    emulated: bool
    online: bool | None
    last_seen_at: str | None
    last_result_at: str | None
    result_digest: str | None
    release: str | None
    bundle_digest: str | None
    desired_release: str | None
    desired_digest: str | None
    rollout: str | None
    phase: str | None
    slot: str | None
    paused_reason: str | None
    agent_version: str | None
    ttft_ms: float | None
    ttft_prompt_tokens: int | None
    decode_tokens_per_s: float | None
    decode_context_tokens: int | None
    floor_ratio: float | None
    temperature_highest_celsius: float | None
    install_outcome: str | None
    install_reason: str | None
    quarantined_messages: int
    quarantine_reasons: tuple[str, ...]
    enrolled_at: str
    revoked_at: str | None


def quarantine_since(now: datetime, stale_days: int) -> str:
    """From when on quarantined messages count."""
    return time_text(now - timedelta(days=stale_days))


def device_views(rows: FleetRows, now: datetime, stale_days: int) -> list[DeviceView]:
    """Every device that was ever enrolled, in the order of their names."""
    latest = {row["device"]: row for row in rows.latest}
    installs = {row["device"]: row for row in rows.installs}
    refused: dict[str, list[Row]] = {}
    for row in rows.quarantine:
        refused.setdefault(row["device"], []).append(row)
    speeds: dict[tuple[str, str], list[float]] = {}
    measured: set[tuple[str, str]] = set()
    for one in rows.recent:
        measured.add((one.device, one.bundle_digest))
        if one.decode_tokens_per_s is not None and not one.emulated:
            speeds.setdefault((one.device, one.bundle_digest), []).append(one.decode_tokens_per_s)
    digests = {row["release"]: row["bundle_digest"] for row in rows.releases}
    unfinished = {row["release"] for row in rows.rollouts if row["phase"] != "done"}
    kept = [row for row in rows.releases if row["release"] not in unfinished]
    newest = {row["profile"]: row["bundle_digest"] for row in kept}  # in the order of their adding
    since = quarantine_since(now, stale_days)
    noisy_since = time_text(now - NOISY_FOR)
    names = {row["bundle_digest"]: row["release"] for row in rows.releases}
    views = []
    for row in rows.devices:
        device = row["device"]
        result, install = latest.get(device), installs.get(device)
        reported = parsed(row["reported"])
        reported = reported if isinstance(reported, dict) else {}
        digest = reported.get("bundle_digest")
        desired = row["desired_digest"] or digests.get(row["desired_release"])
        wanted = desired or newest.get(row["profile"])
        steps = spread(speeds.get((device, str(digest)), [])[: 2 * NOISY_LEAST])
        paused = reported.get("paused_reason") or "none"
        known = (result is not None and result["bundle_digest"] == digest) or (device, digest) in measured
        rules = {
            "failing": result is not None and not result["passed"],
            "unproven": digest is not None and not known,
            "stale": result is None or result["received_at"] < since,
            "old_build": wanted is not None and digest is not None and digest != wanted,
            "install_failed": install is not None and install["outcome"] != "committed",
            "quarantined": device in refused,
            "noisy": (row["noisy_at"] or "") >= noisy_since,
            "unsteady": steps is not None and steps > NOISY_SPREAD,
            "clock_wrong": (row["clock_wrong_at"] or "") >= since,
            "paused": paused not in CALM_PAUSES,
            "offline": not row["online"],
        }
        flags = ("revoked",) if row["revoked_at"] else tuple(flag for flag in FLAGS if rules.get(flag))
        views.append(
            DeviceView(
                device=device,
                profile=row["profile"] or reported.get("profile"),
                target=row["target"] or (result["target"] if result else None),
                ring=row["ring"],
                flags=flags,
                verdict=None if result is None else "passed" if result["passed"] else "failed",
                failed_checks=_failed_checks(result),
                emulated=bool(result and result["emulated"]),
                online=row["online"],
                last_seen_at=row["last_seen_at"],
                last_result_at=result["received_at"] if result else None,
                result_digest=result["bundle_digest"] if result else None,
                release=reported.get("release") or names.get(digest),
                bundle_digest=digest,
                desired_release=row["desired_release"],
                desired_digest=desired,
                rollout=row["rollout"],
                phase=reported.get("phase"),
                slot=reported.get("slot"),
                paused_reason=None if paused == "none" else paused,
                agent_version=reported.get("agent_version"),
                ttft_ms=_number_of(result, "ttft_ms"),
                ttft_prompt_tokens=_number_of(result, "ttft_prompt_tokens"),
                decode_tokens_per_s=_number_of(result, "decode_tokens_per_s"),
                decode_context_tokens=_number_of(result, "decode_context_tokens"),
                floor_ratio=_number_of(result, "floor_ratio"),
                temperature_highest_celsius=_number_of(result, "temperature_highest_celsius"),
                install_outcome=install["outcome"] if install else None,
                install_reason=install["reason"] if install else None,
                quarantined_messages=sum(one["messages"] for one in refused.get(device, [])),
                quarantine_reasons=tuple(one["reason"] for one in refused.get(device, [])),
                enrolled_at=row["enrolled_at"],
                revoked_at=row["revoked_at"],
            )
        )
    return views


def _failed_checks(result: Row | None) -> tuple[str, ...]:
    if result is None or result["passed"]:  # the list of a thousand passing ones is not read
        return ()
    return tuple(line.name for line in check_lines(result["checks"]) if line.outcome == "failed")


def _number_of(result: Mapping[str, Any] | None, name: str) -> Any:
    """A speed of a real result: an emulated one says nothing about its device's."""
    return None if result is None or result["emulated"] else result[name]


@dataclass(frozen=True)
class Filter:
    """What of the list is wanted; empty fields want all. text: a part of the device's name."""

    text: str = ""
    profile: str = ""
    ring: str = ""
    target: str = ""
    verdict: str = ""
    flag: str = ""
    build: str = ""

    def takes(self, view: DeviceView) -> bool:
        """Whether the device is wanted. ring "-" wants those without one, verdict "none" those never measured."""
        return (
            self.text in view.device
            and self.profile in ("", view.profile or "-")
            and self.ring in ("", view.ring or "-")
            and self.target in ("", view.target or "-")
            and self.verdict in ("", view.verdict or "none")
            and (self.flag == "" or self.flag in view.flags)
            and (self.build == "" or (view.bundle_digest or "").startswith(self.build))
        )


SORTS = (
    "device",
    "profile",
    "ring",
    "verdict",
    "flags",
    "release",
    "ttft_ms",
    "decode_tokens_per_s",
    "floor_ratio",
    "temperature_highest_celsius",
    "last_result_at",
    "last_seen_at",
)


def ordered(views: Sequence[DeviceView], sort: str, *, descending: bool) -> list[DeviceView]:
    """Sorted by a column; devices without a value stand last either way, equal ones by name."""

    def value(view: DeviceView) -> Any:
        found = getattr(view, sort)
        if sort == "flags":
            # The gravest flag decides, then how many there are.
            return (-FLAGS.index(found[0]), len(found)) if found else None
        return found

    known = sorted((view for view in views if value(view) is not None), key=lambda view: view.device)
    known.sort(key=value, reverse=descending)
    return known + sorted((view for view in views if value(view) is None), key=lambda view: view.device)


def counts(views: Sequence[DeviceView]) -> dict[str, Any]:
    """How many devices of which kind. groups: by profile, target and ring, with verdicts; flags: by flag."""
    active = [view for view in views if "revoked" not in view.flags]
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for view in active:
        group = groups.setdefault(
            (view.profile or "-", view.ring or "-"), dict.fromkeys(("passed", "failed", "none"), 0)
        )
        group[view.verdict or "none"] += 1
    return {
        "devices": len(active),
        "online": sum(1 for view in active if view.online),
        "emulated": sum(1 for view in active if view.emulated),
        "verdicts": {word: sum(group[word] for group in groups.values()) for word in ("passed", "failed", "none")},
        "flags": {flag: sum(1 for view in views if flag in view.flags) for flag in FLAGS},
        "groups": [{"profile": profile, "ring": ring, **group} for (profile, ring), group in sorted(groups.items())],
    }
