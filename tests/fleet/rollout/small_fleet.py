"""A small fleet in a real database, with rows as the collector writes them."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import insert, select, update

from edge.fleet.rollout import desk
from edge.fleet.rollout.controller import published, tick
from edge.fleet.rollout.plan import RolloutPlan, load_plan
from edge.fleet.rollout.rows import read_state
from edge.fleet.rollout.state import State
from edge.fleet.store.store import Store, open_store, time_text
from edge.fleet.store.tables import decisions, desired, devices, installs, results
from edge.fleet.wire.messages import DesiredState, Publish

T0 = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
EPOCH = "1a2b3c4d"

PLAN: dict[str, Any] = {
    "version": 1,
    "rollout": "notes-2",
    "release": "notes-2",
    "profile": "notes",
    "rings": [
        {
            "name": "first",
            "devices": {"share": 0.2},
            "rate_per_h": 3600,
            "open_next": {"passed_share_min": 0.75, "devices_min": 3, "within_h": 48, "soak_h": 2},
        },
        {
            "name": "rest",
            "devices": {"share": 1.0},
            "rate_per_h": 3600,
            "open_next": {"passed_share_min": 0.75, "devices_min": 3, "within_h": 48},
        },
    ],
    "stop": {"failed_share_max": 0.25, "failed_max": 5},
    "timeout_h": 12,
    "retries": 1,
}


def changed_plan(**changes: Any) -> dict[str, Any]:
    """PLAN with other values; `rings__0__rate_per_h=1` reaches inside."""
    plan = copy.deepcopy(PLAN)
    for key, value in changes.items():
        place: Any = plan
        *way, last = [int(part) if part.isdigit() else part for part in key.split("__")]
        for part in way:
            place = place[part]
        place[last] = value
    return plan


def write_plan(folder: Path, plan: dict[str, Any] | None = None) -> Path:
    """A plan as a file."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan or PLAN, sort_keys=False), encoding="utf-8")
    return path


def plan_of(plan: dict[str, Any] | None = None) -> RolloutPlan:
    """A plan without a file."""
    return RolloutPlan.from_resolved(plan or PLAN)


class SmallFleet:
    """Devices d00, d01, ... of one profile, and a clock that the test moves."""

    def __init__(self, store: Store, count: int = 20) -> None:
        self.store, self.now, self.seq = store, T0, 0
        for name, digest in (("notes-1", OLD), ("notes-2", NEW), ("notes-3", OTHER)):
            desk.add_release(store, desk.Release(name, "notes", digest, digest, "pi5-8gb"), T0)
        self.names = [f"d{index:02d}" for index in range(count)]
        for name in self.names:
            self.add_device(name)

    def add_device(self, name: str, **changes: Any) -> None:
        """Enrol one; it runs notes-1."""
        values = {
            "device": name, "public_key": b"k" * 32, "key_fingerprint": "0" * 16, "profile": "notes",
            "enrolled_at": time_text(T0), "online": False, "reported_version": 1,
            "reported": json.dumps({"bundle_digest": OLD, "desired_version": 0}),
        } | changes  # fmt: skip
        with self.store.writing() as connection:
            connection.execute(insert(devices).values(**values))

    def start(self, folder: Path, plan: dict[str, Any] | None = None, **options: Any) -> desk.Preview:
        """Start a plan now."""
        path = write_plan(folder, plan)
        return desk.start(self.store, load_plan(path), path.read_text(), self.now, "tester", **options)

    def tick(self, hours: float = 0.0, confirm: bool = True) -> tuple[Publish, ...]:
        """Move the clock, tick, and publish what came."""
        self.now += timedelta(hours=hours)
        found = tick(self.store, self.now)
        if confirm:
            published(self.store, *found)
        return found

    def tick_until_started(self, count: int) -> list[str]:
        """Ticks of a minute until so many devices are set to the new build."""
        for _ in range(200):
            started = self.on("notes-2")
            if len(started) >= count:
                return started
            self.tick(1 / 60)
        raise AssertionError(f"only {len(self.on('notes-2'))} started")

    def result(self, device: str, **changes: Any) -> str:
        """A result arrives a second later; gives its message id."""
        self.seq += 1
        self.now += timedelta(seconds=1)
        values = {
            "device": device, "epoch": EPOCH, "seq": self.seq, "received_at": time_text(self.now),
            "bundle_digest": NEW, "behaviour_digest": NEW, "profile": "notes", "target": "pi5-8gb",
            "device_class": "pi5", "release": "notes-2", "passed": True, "golden_passed": True, "emulated": False,
            "checks": "[]",
        } | changes  # fmt: skip
        with self.store.writing() as connection:
            connection.execute(insert(results).values(**values))
        return f"{device}/{values['epoch']}/{values['seq']}"

    def install(self, device: str, outcome: str, reason: str = "none", **changes: Any) -> str:
        """An install report arrives a second later."""
        self.seq += 1
        self.now += timedelta(seconds=1)
        values = {
            "device": device, "epoch": EPOCH, "seq": self.seq, "received_at": time_text(self.now), "outcome": outcome,
            "reason": reason, "from_digest": OLD, "to_digest": NEW, "release": "notes-2", "rollout": "notes-2",
            "moved_bytes": 1, "kept_bytes": 1, "duration_s": 1.0,
        } | changes  # fmt: skip
        with self.store.writing() as connection:
            connection.execute(insert(installs).values(**values))
        return f"{device}/{EPOCH}/{self.seq}"

    def revoke(self, device: str) -> None:
        """Its certificate is no longer good."""
        with self.store.writing() as connection:
            connection.execute(
                update(devices).where(devices.c.device == device).values(revoked_at=time_text(self.now), online=False)
            )

    def state(self, rollout: str = "notes-2") -> State:
        """As the database has it."""
        with self.store.reading() as connection:
            return read_state(connection, rollout)[1]

    def on(self, release: str) -> list[str]:
        """Devices that shall run a release."""
        with self.store.reading() as connection:
            rows = connection.execute(select(desired.c.device).where(desired.c.release == release))
            return sorted(rows.scalars())

    def versions(self) -> dict[str, int]:
        """Desired versions."""
        with self.store.reading() as connection:
            return {row.device: row.version for row in connection.execute(select(desired))}

    def decided(self, rollout: str = "notes-2") -> list[str]:
        """Kinds of the decisions, in order."""
        with self.store.reading() as connection:
            rows = connection.execute(
                select(decisions.c.decision).where(decisions.c.rollout == rollout).order_by(decisions.c.id)
            )
            return list(rows.scalars())


def sqlite_fleet(folder: Path, count: int = 20) -> SmallFleet:
    """A fleet in a SQLite file."""
    return SmallFleet(open_store(f"sqlite:///{folder / 'fleet.db'}"), count)


def desired_of(message: Publish) -> DesiredState:
    """What a message asks for."""
    return DesiredState.from_bytes(message.payload, "test")
