"""A simulated fleet for run_rollout: 1,000 devices of mixed health, in simulated time, seen through the database.

Devices answer a desired state as real ones do: they fetch and install it, run the self-test, measure, and their
reports reach the collector when they are online. The rows are inserted as the collector inserts them; what it would
quarantine (speeds that cannot be) goes to the quarantine and is no evidence.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, insert, select

from edge.fleet.rollout.desk import Release, add_release
from edge.fleet.store.store import Store, time_text
from edge.fleet.store.tables import devices, installs, metadata, quarantine, results, rollout_devices
from edge.fleet.wire.messages import DesiredState, Publish

Health = Literal["good", "slow", "hot", "offline", "flapping", "lying", "no_install", "clock"]
# Shares of the fleet. slow: near the speed budget; hot: throttles in 3 of 10 measurements; offline: for days at a time;
# flapping: reports come late, twice and in any order; lying: speeds that cannot be; no_install: its
# installs fail, again and again; clock: years off.
MIX: dict[Health, float] = {
    "good": 0.70, "slow": 0.05, "hot": 0.04, "offline": 0.08, "flapping": 0.04, "lying": 0.02, "no_install": 0.03,
    "clock": 0.04,
}  # fmt: skip
HEALTHY: dict[Health, float] = {"good": 1.0}
HOT_FAILS = 0.3
# A build that is slower than its budget allows: on all slow devices, on so many of the others.
SLOW_BUILD_FAILS = 0.35
OLD, NEW = "a" * 64, "b" * 64
EPOCH = "5eed5eed"


@dataclass(frozen=True)
class Build:
    """What is rolled out. golden_fails: share of devices on which it fails its golden cases; slow: over budget."""

    name: str
    golden_fails: float = 0.0
    slow: bool = False


@dataclass
class Simulated:
    """One device. fails: whether this build cannot pass here, known to the simulation only."""

    name: str
    health: Health
    fails: bool
    online_from: datetime
    seq: int = 0
    version: int = 0
    runs_new: bool = False
    ever_ran_new: bool = False
    told_new: bool = False


@dataclass
class SimulatedFleet:
    """The devices of one seed and what is on its way from them. `rows`: (when, order, table, values)."""

    store: Store
    build: Build
    seed: int
    start: datetime
    mix: dict[Health, float] = field(default_factory=lambda: MIX)
    count: int = 1000

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        kinds = [kind for kind, share in self.mix.items() for _ in range(round(share * self.count))]
        self.random.shuffle(kinds)
        self.devices: dict[str, Simulated] = {}
        for index in range(self.count):
            health = kinds[index % len(kinds)]
            self.devices[f"d{index:04d}"] = Simulated(
                f"d{index:04d}", health, self._fails(health), self._online(health)
            )
        self.rows: list[tuple[datetime, int, Any, dict[str, Any] | str]] = []
        self.order = 0
        self._fresh_database()

    def _fails(self, health: Health) -> bool:
        golden = self.random.random() < self.build.golden_fails
        slow = self.build.slow and (health == "slow" or self.random.random() < SLOW_BUILD_FAILS)
        return golden or slow

    def _online(self, health: Health) -> datetime:
        """When the device can be reached next."""
        return self.start + timedelta(hours=self.random.expovariate(1 / 60) if health == "offline" else 0.0)

    def _fresh_database(self) -> None:
        """The same database for every seed, emptied: migrating takes longer than a rollout."""
        with self.store.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
            connection.execute(
                insert(devices),
                [
                    {"device": name, "public_key": b"k" * 32, "key_fingerprint": "0" * 16, "profile": "notes",
                     "enrolled_at": time_text(self.start),
                     "reported": json.dumps({"bundle_digest": OLD})}
                    for name in self.devices
                ],
            )  # fmt: skip
        for name, digest in (("notes-1", OLD), ("notes-2", NEW)):
            add_release(self.store, Release(name, "notes", digest, digest, "pi5-8gb"), self.start)

    def members(self, ring: str) -> list[Simulated]:
        """The devices of a ring of the rollout."""
        with self.store.reading() as connection:
            rows = connection.execute(select(rollout_devices.c.device).where(rollout_devices.c.ring == ring))
            return [self.devices[name] for name in rows.scalars()]

    # What a device does.

    def receive(self, message: Publish, now: datetime) -> None:
        """A retained desired state: read at once, or when the device is back; the newest version counts."""
        if not message.device:
            return  # a command
        wanted = DesiredState.from_bytes(message.payload, "simulation")
        device = self.devices[message.device]
        if wanted.desired_version <= device.version:
            return
        device.version = wanted.desired_version
        at = max(now, device.online_from)
        if device.health == "offline" and at == device.online_from:
            device.online_from = at + timedelta(hours=8)  # then away again
        if wanted.release == "notes-2":
            device.told_new = True
            self._install_new(device, at)
        else:
            self._later(at + timedelta(minutes=self.random.uniform(1, 20)), None, f"{device.name} {device.version}")

    def _install_new(self, device: Simulated, at: datetime) -> None:
        """Fetch, install, self-test, measure, report: an hour to half a day."""
        done = at + timedelta(hours=0.5 + self.random.expovariate(1 / 2.0))
        if device.health == "no_install":
            for hours in (0, 1, 3):  # the agent tries again by itself
                self._report_install(device, done + timedelta(hours=hours), "failed", "other")
            return
        if device.fails and not self.build.slow and self.random.random() < 0.5:  # the golden cases of the self-test
            self._report_install(device, done, "rolled_back", "self_test_failed")
            return
        device.runs_new = device.ever_ran_new = True
        self._report_install(device, done, "committed", "none")
        measured = done + timedelta(hours=0.2 + self.random.expovariate(1 / 1.5))
        throttled = device.health == "hot" and self.random.random() < HOT_FAILS
        golden = not (device.fails and not self.build.slow)
        passed = golden and not throttled and not (device.fails and self.build.slow)
        self._report_result(device, measured, passed, golden)

    def _report_install(self, device: Simulated, at: datetime, outcome: str, reason: str) -> None:
        self._send(device, at, installs, {
            "outcome": outcome, "reason": reason, "from_digest": OLD, "to_digest": NEW, "release": "notes-2",
            "rollout": "simulated", "moved_bytes": 0, "kept_bytes": 0, "duration_s": 60.0,
        })  # fmt: skip

    def _report_result(self, device: Simulated, at: datetime, passed: bool, golden: bool) -> None:
        if device.health == "lying":
            self._send(
                device, at, quarantine, {"reason": "implausible", "data": b"", "data_sha256": f"{device.seq:064x}"}
            )
            return
        wrong = device.health == "clock"
        self._send(device, at, results, {
            "measured_at": "1987-01-01T00:00:00.000Z" if wrong else time_text(at), "bundle_digest": NEW,
            "behaviour_digest": NEW, "profile": "notes", "target": "pi5-8gb", "device_class": "pi5",
            "release": "notes-2", "passed": passed, "golden_passed": golden, "emulated": False, "checks": "[]",
        })  # fmt: skip

    def _send(self, device: Simulated, at: datetime, table: Any, values: dict[str, Any]) -> None:
        device.seq += 1
        if device.health == "flapping":
            at += timedelta(hours=self.random.expovariate(1 / 6.0))
        self._later(at, table, {"device": device.name, "epoch": EPOCH, "seq": device.seq, **values})

    def _later(self, at: datetime, table: Any, what: dict[str, Any] | str) -> None:
        self.order += 1
        heapq.heappush(self.rows, (at, self.order, table, what))

    def deliver(self, now: datetime) -> None:
        """Insert what has arrived until now, in one transaction, as the collector does."""
        batches: dict[Any, list[dict[str, Any]]] = {}
        for at, table, what in self._due(now):
            if isinstance(what, str):
                name, version = what.split()
                if self.devices[name].version == int(version):
                    self.devices[name].runs_new = False
            else:
                batches.setdefault(table, []).append({**what, "received_at": time_text(at)})
        if batches:
            with self.store.writing() as connection:
                for table, found in batches.items():
                    connection.execute(insert(table), found)

    def _due(self, now: datetime) -> Iterator[tuple[datetime, Any, dict[str, Any] | str]]:
        while self.rows and self.rows[0][0] <= now:
            at, _, table, what = heapq.heappop(self.rows)
            yield at, table, what
