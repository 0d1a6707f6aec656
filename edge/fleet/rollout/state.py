"""Where a rollout stands: plain frozen objects, and the JSON in which the database keeps them.

Times are whole milliseconds since 1970 (UTC) by the collectors' clocks; no device's clock is ever read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from edge.errors import ResourceError
from edge.fleet.rollout.plan import RolloutPlan

VERSION = 1
Phase = Literal["running", "paused", "stopped", "aborted", "done"]
PHASES: tuple[Phase, ...] = get_args(Phase)
# Phases in which the controller works on a rollout, and which keep another of the same profile from starting.
ACTIVE: tuple[Phase, ...] = ("running", "paused")
Reason = Literal["", "failures", "not_enough_evidence", "by_operator"]
Status = Literal["waiting", "started", "passed", "failed", "install_failed", "timed_out", "left", "set_back"]


def to_ms(text: str) -> int:
    """RFC 3339 to milliseconds. Errors: ValueError."""
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def from_ms(at_ms: int) -> datetime:
    """Milliseconds to a time in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a rollout.

    ring: index. previous: the release it goes back to, None where it had none. assigned_ms: when it was first set to
    the new build, asked_ms: last, asks: how often. passed, failed: the message that says so (epoch/seq).
    install_failures, refused: messages of installs. broken: it will not get the build. left: revoked or gone. set_back:
    it was.
    """

    name: str
    ring: int
    previous: str | None = None
    assigned_ms: int | None = None
    asked_ms: int = 0
    asks: int = 0
    passed_ms: int | None = None
    passed: str = ""
    failed: str = ""
    install_failures: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    broken: bool = False
    timed_out: bool = False
    left: bool = False
    set_back: bool = False

    @property
    def has_failed(self) -> bool:
        """On the new build, or on the way to it."""
        return bool(self.failed) or self.broken

    @property
    def has_passed(self) -> bool:
        """Benchmark and golden cases passed on the new build, and nothing failed, before or after."""
        return self.passed_ms is not None and not self.has_failed and not self.left

    @property
    def counts(self) -> bool:
        """Whether it is in its ring's share. A device that left is not, unless it failed first."""
        return not self.left or self.has_failed

    @property
    def status(self) -> Status:
        """One word for the page; the order is what matters most to a reader."""
        if self.failed:
            return "failed"
        if self.broken:
            return "install_failed"
        if self.left:
            return "left"
        if self.set_back:
            return "set_back"
        if self.passed_ms is not None:
            return "passed"
        if self.assigned_ms is None:
            return "waiting"
        return "timed_out" if self.timed_out else "started"


@dataclass(frozen=True, slots=True)
class RingState:
    """A ring that is open. next_start_ms: before it no device is started (the rate). paused_ms: all pauses in it."""

    opened_ms: int
    next_start_ms: int
    paused_ms: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A rollout. ring: index of the newest open ring; rings: the open ones. paused_at_ms: None unless paused.

    digest: of the release's bundle. devices: all of the rollout, by ring and in the order in which they are started.
    revision counts up with every state that is written; read_ms: until when the evidence has been read.
    """

    plan: RolloutPlan
    digest: str
    phase: Phase
    rings: tuple[RingState, ...]
    devices: Mapping[str, Device]
    reason: Reason = ""
    paused_at_ms: int | None = None
    revision: int = 0
    read_ms: int = 0

    @property
    def ring(self) -> int:
        """Index of the newest open ring."""
        return len(self.rings) - 1

    def to_text(self) -> str:
        """JSON for the database. A device is a list; the fields after the ones that have their defaults are cut."""
        value = {
            "version": VERSION,
            "revision": self.revision,
            "phase": self.phase,
            "reason": self.reason,
            "digest": self.digest,
            "read_ms": self.read_ms,
            "paused_at_ms": self.paused_at_ms,
            "rings": [[ring.opened_ms, ring.next_start_ms, ring.paused_ms] for ring in self.rings],
            "plan": self.plan.model_dump(mode="json"),
            "devices": [_device_to_json(device) for device in self.devices.values()],
        }
        return json.dumps(value, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, where: str) -> State:
        """Inverse of to_text. Errors: ResourceError for a text of another edge or one that was changed."""
        try:
            value = json.loads(text)
            version = value["version"]
            if version == VERSION:
                return _from_json(value)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ResourceError(
                "the rollout's state cannot be read", where=where, mend="restore the database from a backup"
            ) from error
        raise ResourceError(
            f"the rollout's state is of version {str(version)[:10]} (known: {VERSION})",
            where=where,
            mend="use the edge that started it",
        )


def _device_to_json(device: Device) -> list[Any]:
    base: list[Any] = [device.name, device.ring, device.previous]
    if device.assigned_ms is None and not device.left:
        return base
    flags = device.broken | device.timed_out << 1 | device.left << 2 | device.set_back << 3
    return [
        *base,
        device.assigned_ms,
        device.asked_ms,
        device.asks,
        flags,
        device.passed_ms,
        device.passed,
        device.failed,
        len(device.refused),
        *device.refused,
        *device.install_failures,
    ]


@lru_cache(maxsize=1 << 17)
def _device_from_json(
    name: str,
    ring: int,
    previous: str | None,
    assigned_ms: int | None = None,
    asked_ms: int = 0,
    asks: int = 0,
    flags: int = 0,
    passed_ms: int | None = None,
    passed: str = "",
    failed: str = "",
    refusals: int = 0,
    *installs: str,
) -> Device:
    """Devices are immutable, and few of them change between two readings: the others are kept."""
    return Device(
        name,
        ring,
        previous,
        assigned_ms,
        asked_ms,
        asks,
        passed_ms,
        passed,
        failed,
        installs[refusals:],
        installs[:refusals],
        bool(flags & 1),
        bool(flags & 2),
        bool(flags & 4),
        bool(flags & 8),
    )


def _from_json(value: dict[str, Any]) -> State:
    devices = [_device_from_json(*one) for one in value["devices"]]
    if value["phase"] not in PHASES:
        raise ValueError(value["phase"])
    return State(
        plan=RolloutPlan.from_resolved(value["plan"]),
        digest=value["digest"],
        phase=value["phase"],
        rings=tuple(RingState(*ring) for ring in value["rings"]),
        devices={device.name: device for device in devices},
        reason=value["reason"],
        paused_at_ms=value["paused_at_ms"],
        revision=value["revision"],
        read_ms=value["read_ms"],
    )
