"""A made-up fleet for pictures and tests: three clinics, fifty tablets, four weeks, the same for a seed every time.

No number here was measured. What is real is everything that works on it: the rollouts are decided by the rollout's own
controller, hour by hour, on the results that the made-up devices send.

- reference-notes-pi5 goes from 1.0.0 to 1.1.0, which is slower and gets too hot: it is stopped in its canary ring.
- reference-notes (x86-64) goes from 1.0.0 to 1.1.0, which is a little faster: on its way through the second ring.
- a few boards run another model; two devices are emulated.
- some are offline, stale, new, revoked, noisy, unsteady, paused, have a wrong clock or messages that were not believed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from sqlalchemy import insert, select, update

from edge.fleet.rollout import desk
from edge.fleet.rollout.controller import published, tick
from edge.fleet.rollout.plan import RolloutPlan
from edge.fleet.store import tables
from edge.fleet.store.store import Store, time_text

NOW = datetime(2026, 11, 22, 12, 0, 3, 120_000, tzinfo=UTC)
DAYS, ROLLOUT_DAYS = 28, 5
Row = dict[str, Any]


@dataclass(frozen=True)
class Build:
    """A release and how a typical device does on it. limits: budget check -> limit."""

    release: str
    profile: str
    target: str
    ttft_ms: float
    decode_tokens_per_s: float
    floor_ratio: float
    celsius: float
    peak_rss_bytes: int
    limits: dict[str, float]

    @property
    def digest(self) -> str:
        """Of its bundle."""
        return hashlib.sha256(f"bundle {self.release}".encode()).hexdigest()


_PI = {"ttft_ms_max": 15_000, "decode_tokens_per_s_min": 8, "sustained": 0.7, "peak_rss_bytes_max": 1_100_000_000}
_X86 = {"ttft_ms_max": 12_000, "decode_tokens_per_s_min": 5, "sustained": 0.7, "peak_rss_bytes_max": 900_000_000}
_NANO = {"ttft_ms_max": 4_000, "decode_tokens_per_s_min": 15, "sustained": 0.7, "peak_rss_bytes_max": 3_500_000_000}
PI_OLD = Build("notes-pi5-1.0.0", "reference-notes-pi5", "raspberry-pi-5", 9_700, 11.4, 0.86, 71, 612_000_000, _PI)
PI_NEW = Build("notes-pi5-1.1.0", "reference-notes-pi5", "raspberry-pi-5", 10_500, 10.2, 0.703, 81, 655_000_000, _PI)
X86_OLD = Build("notes-1.0.0", "reference-notes", "x86_64-linux", 1_480, 47, 0.95, 63, 356_000_000, _X86)
X86_NEW = Build("notes-1.1.0", "reference-notes", "x86_64-linux", 1_330, 49.5, 0.95, 63, 356_000_000, _X86)
NANO = Build("llama-1b-1.0.2", "llama-3.2-1b-nano", "jetson-orin-nano", 2_350, 24, 0.93, 57, 2_400_000_000, _NANO)
PI4 = Build("notes-pi4-1.0.0", "reference-notes-pi4", "raspberry-pi-4", 0, 0, 0, 0, 0, {})
BUILDS = (PI_OLD, X86_OLD, NANO, PI4, PI_NEW, X86_NEW)
BY_DIGEST = {build.digest: build for build in BUILDS}
CLINICS = (("east", 19), ("hill", 16), ("river", 15))
PLAN = """\
# {why}
version: 1
rollout: {release}
release: {release}
profile: {profile}
rings:
  - name: canary
    devices: {{label: canary}}
    rate_per_h: 4
    open_next: {{passed_share_min: 0.65, devices_min: 3, within_h: 24, soak_h: 6}}
  - name: early
    devices: {{label: early}}
    rate_per_h: {rate}
    open_next: {{passed_share_min: 0.7, devices_min: 3, within_h: 96, soak_h: 18}}
  - name: rest
    devices: {{share: 1.0}}
    rate_per_h: 0.25
    open_next: {{passed_share_min: 0.7, devices_min: 3, within_h: 336}}
stop: {{failed_share_max: 0.35, failed_max: 4}}
timeout_h: 20
retries: 1
"""


@dataclass
class Tablet:
    """One made-up device. speed: its own factor; shake: how much a run differs from the next; odd: what is wrong."""

    name: str
    ring: str
    build: Build
    speed: float
    shake: float = 0.012
    odd: str = ""
    seq: int = 0
    seen_version: int = 0
    last_result_seq: int = 0
    previous: str | None = None
    rows: list[Row] = field(default_factory=list)
    installs: list[Row] = field(default_factory=list)

    @property
    def epoch(self) -> str:
        """Of its outbox."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:8]


ODD = {
    2: "stale", 7: "noisy", 11: "golden", 16: "paused", 20: "unsteady", 24: "stale", 28: "forged", 30: "clock",
    31: "no_space", 36: "new", 40: "paused", 43: "revoked", 45: "emulated", 46: "emulated", 47: "offline",
}  # fmt: skip


def tablets(chance: random.Random) -> list[Tablet]:
    """Fifty of them, clinic by clinic."""
    names = [f"{clinic}-{number:02d}" for clinic, many in CLINICS for number in range(1, many + 1)]
    found = []
    for index, name in enumerate(names):
        odd = ODD.get(index, "")
        build = PI4 if odd == "emulated" else NANO if index % 12 == 5 else X86_OLD if index % 5 in (1, 3) else PI_OLD
        ring = "canary" if index % 10 in (0, 2, 3, 5, 8) and not odd else "early" if index % 3 == 1 else "rest"
        shake = 0.3 if odd == "unsteady" else 0.012
        found.append(Tablet(name, ring, build, chance.lognormvariate(0, 0.035), shake, odd))
    return found


def result(tablet: Tablet, at: datetime, chance: random.Random) -> Row:
    """One benchmark of what the tablet runs."""
    build = tablet.build
    emulated = tablet.odd == "emulated"
    tablet.seq += 1
    tablet.last_result_seq = tablet.seq
    pace = tablet.speed * chance.lognormvariate(0, tablet.shake)
    measured: dict[str, float | None] = dict.fromkeys(("ttft", "decode", "floor", "celsius"))
    if not emulated:
        measured = {
            "ttft": round(build.ttft_ms / pace, 1),
            "decode": round(build.decode_tokens_per_s * pace, 2),
            "floor": round(min(build.floor_ratio * chance.lognormvariate(0, 0.022) * tablet.speed**0.5, 0.995), 4),
            "celsius": round(build.celsius + chance.gauss(0, 1.4) - 25 * (tablet.speed - 1), 1),
        }
    golden = tablet.odd != "golden"
    checks = [_check("golden", 0.958 if golden else 0.871, 0.9, True), _check("bandwidth", 5.1e9, 9.9e9, False)]
    numbers = {
        "ttft_ms_max": (measured["ttft"], False),
        "decode_tokens_per_s_min": (measured["decode"], True),
        "sustained": (measured["floor"], True),
        "peak_rss_bytes_max": (None if emulated else build.peak_rss_bytes, False),
    }
    checks += [_check(name, numbers[name][0], limit, numbers[name][1]) for name, limit in build.limits.items()]
    if emulated:
        checks[1:] = [_check("decode_tokens_per_s_min", None, 3, True), _check("sustained", None, 0.7, True)]
    passed = all(check["outcome"] != "failed" for check in checks)
    return {
        "device": tablet.name, "epoch": tablet.epoch, "seq": tablet.seq, "received_at": time_text(at),
        "measured_at": None if tablet.odd == "clock" else time_text(at - timedelta(seconds=41)),
        "bundle_digest": build.digest, "behaviour_digest": build.digest[::-1], "profile": build.profile,
        "target": build.target, "device_class": build.target, "release": build.release, "passed": passed,
        "golden_passed": golden, "emulated": emulated, "ttft_ms": measured["ttft"],
        "ttft_prompt_tokens": None if emulated else 512, "decode_tokens_per_s": measured["decode"],
        "decode_context_tokens": None if emulated else 512,
        "tpot_p95_ms": None if measured["decode"] is None else round(1180 / measured["decode"], 2),
        "floor_ratio": measured["floor"],
        "floor_tokens_per_s": None if emulated else round((measured["decode"] or 0) * (measured["floor"] or 0), 2),
        "temperature_highest_celsius": measured["celsius"], "energy_j_per_token": None,
        "peak_rss_bytes": None if emulated else build.peak_rss_bytes + chance.randrange(4_000_000),
        "checks": json.dumps(checks),
    }  # fmt: skip


def _check(name: str, measured: float | None, limit: float, least: bool) -> Row:
    if measured is None:
        return {"name": name, "outcome": "not_measured", "measured": None, "limit": limit}
    holds = measured >= limit if least else measured <= limit
    return {"name": name, "outcome": "passed" if holds else "failed", "measured": measured, "limit": limit}


def install(tablet: Tablet, to: str, rollout: str | None, at: datetime, chance: random.Random) -> Row:
    """How a tablet took a build; the one without space did not."""
    tablet.seq += 1
    full = tablet.odd == "no_space"
    row = {
        "device": tablet.name, "epoch": tablet.epoch, "seq": tablet.seq, "received_at": time_text(at),
        "outcome": "refused" if full else "committed", "reason": "no_space" if full else "none",
        "from_digest": tablet.build.digest, "to_digest": to, "release": BY_DIGEST[to].release, "rollout": rollout,
        "moved_bytes": 0 if full else chance.randrange(6_000_000, 19_000_000),
        "kept_bytes": 0 if full else chance.randrange(101_000_000, 118_000_000),
        "duration_s": round(chance.uniform(4, 160), 1),
    }  # fmt: skip
    if not full:
        tablet.previous, tablet.build = tablet.build.digest, BY_DIGEST[to]
    return row


def fill(store: Store, *, now: datetime = NOW, seed: int = 20261122) -> None:
    """Put the fleet into an empty store, as it is at `now`."""
    chance = random.Random(seed)
    fleet = tablets(chance)
    begin = now - timedelta(days=DAYS)
    enrol(store, fleet, begin, now)
    for build in BUILDS:
        added = begin if build in (PI_OLD, X86_OLD, NANO, PI4) else now - timedelta(days=ROLLOUT_DAYS, hours=2)
        known = desk.Release(build.release, build.profile, build.digest, build.digest[::-1], build.target, 97_000_000)
        desk.add_release(store, known, added)
    rows: list[Row] = []
    for day in range(DAYS - ROLLOUT_DAYS):
        for tablet in fleet:
            if _measures(tablet, begin + timedelta(days=day), now):
                at = begin + timedelta(days=day, hours=14, seconds=chance.randrange(9_000))
                rows.append(result(tablet, at, chance))
    _write(store, tables.results, rows)
    report(store, fleet)
    _roll_out(store, fleet, now, chance)
    _odd_messages(store, fleet, now, chance)
    report(store, fleet)
    _seen(store, fleet, now, chance)


def _measures(tablet: Tablet, at: datetime, now: datetime) -> bool:
    """Whether it measures in that night."""
    if tablet.odd == "new":
        return False
    return not (tablet.odd in ("stale", "revoked") and now - at < timedelta(days=12))


def enrol(store: Store, fleet: list[Tablet], begin: datetime, now: datetime) -> None:
    """Make them known."""
    rows = []
    for tablet in fleet:
        key = hashlib.sha256(f"key {tablet.name}".encode())
        enrolled = now - timedelta(hours=3) if tablet.odd == "new" else begin - timedelta(days=2)
        rows.append(
            {
                "device": tablet.name, "public_key": key.digest(), "key_fingerprint": key.hexdigest()[:16],
                "certificate_serial": key.hexdigest()[16:32], "profile": tablet.build.profile,
                "target": tablet.build.target, "ring": tablet.ring, "enrolled_at": time_text(enrolled),
            }
        )  # fmt: skip
    _write(store, tables.devices, rows)


def _roll_out(store: Store, fleet: list[Tablet], now: datetime, chance: random.Random) -> None:
    """Hour by hour the controller ticks, devices install what they are told to and measure it; at night all measure."""
    by_name = {tablet.name: tablet for tablet in fleet}
    away = {tablet.name for tablet in fleet if tablet.odd in ("stale", "revoked", "offline", "new")}
    for hour in range(ROLLOUT_DAYS * 24):
        at = now - timedelta(days=ROLLOUT_DAYS) + timedelta(hours=hour)
        if hour == 70:
            _start(store, X86_NEW, "A faster build: straight on.", at, rate=2)
        if hour == 62:
            _start(store, PI_NEW, "A longer context.", at, rate=6)
        published(store, *tick(store, at))
        with store.reading() as connection:
            wanted = connection.execute(select(tables.desired).order_by(tables.desired.c.device)).mappings().all()
        results, installs = [], []
        for row in wanted:
            tablet = by_name[row["device"]]
            if row["version"] <= tablet.seen_version or tablet.name in away or chance.random() < 0.2:
                continue
            tablet.seen_version = row["version"]
            if row["bundle_digest"] and row["bundle_digest"] != tablet.build.digest:
                soon = at + timedelta(minutes=chance.randrange(4, 20))
                installs.append(install(tablet, row["bundle_digest"], row["rollout"], soon, chance))
                if tablet.odd != "no_space":
                    results.append(result(tablet, soon + timedelta(minutes=chance.randrange(8, 30)), chance))
        if hour % 24 == 14:
            for tablet in fleet:
                if _measures(tablet, at, now):
                    results.append(result(tablet, at + timedelta(seconds=chance.randrange(3_000)), chance))
        _write(store, tables.results, results)
        _write(store, tables.installs, installs)


def _start(store: Store, build: Build, why: str, at: datetime, rate: int) -> None:
    text = PLAN.format(why=why, release=build.release, profile=build.profile, rate=rate)
    plan = RolloutPlan.from_resolved(yaml.safe_load(text))
    desk.start(store, plan, text, at, "operator", without_way_back=True)


def _odd_messages(store: Store, fleet: list[Tablet], now: datetime, chance: random.Random) -> None:
    """What the collector did not believe."""
    said = [(one.name, "forged", 5) for one in fleet if one.odd == "forged"]
    said += [(one.name, "implausible", 1) for one in fleet if one.odd == "forged"]
    said += [("spare-77", "unknown_device", 2)]
    rows = []
    for device, reason, many in said:
        for number in range(many):
            data = f"{device} {reason} {number}".encode() * chance.randrange(20, 60)
            rows.append(
                {
                    "device": device, "epoch": "7f3a10c2", "seq": 400 + number, "type": "org.edge-kit.result.v1",
                    "received_at": time_text(now - timedelta(hours=5, minutes=11 * number)), "reason": reason,
                    "data": data, "data_sha256": hashlib.sha256(data).hexdigest(),
                }
            )  # fmt: skip
    _write(store, tables.quarantine, rows)


def report(store: Store, fleet: list[Tablet]) -> None:
    """What each says of itself."""
    with store.writing() as connection:
        for tablet in fleet:
            if tablet.odd == "new":
                continue
            state = {
                "version": 1, "state_version": 10 + tablet.seq, "agent_version": "0.1.0",
                "profile": tablet.build.profile, "release": tablet.build.release,
                "bundle_digest": tablet.build.digest, "previous_digest": tablet.previous,
                "slot": "b" if tablet.previous else "a", "phase": "idle", "desired_version": tablet.seen_version,
                "last_result_seq": tablet.last_result_seq,
                "paused_reason": "encounter_open" if tablet.odd == "paused" else "none",
            }  # fmt: skip
            changed = update(tables.devices).where(tables.devices.c.device == tablet.name)
            connection.execute(changed.values(reported=json.dumps(state), reported_version=state["state_version"]))


def _seen(store: Store, fleet: list[Tablet], now: datetime, chance: random.Random) -> None:
    """Presence, and what the collector noted about them."""
    gone = {"stale": 12 * 24, "revoked": 13 * 24, "offline": 9}
    with store.writing() as connection:
        for tablet in fleet:
            hours = gone.get(tablet.odd)
            last = now - (timedelta(hours=hours) if hours else timedelta(seconds=chance.randrange(2, 240)))
            values: Row = {"online": hours is None, "last_seen_at": time_text(last)}
            if tablet.odd == "noisy":
                values["noisy_at"] = time_text(now - timedelta(hours=2))
            if tablet.odd == "clock":
                values["clock_wrong_at"] = time_text(now - timedelta(hours=22))
            if tablet.odd == "revoked":
                values["revoked_at"] = time_text(now - timedelta(days=12))
            connection.execute(update(tables.devices).where(tables.devices.c.device == tablet.name).values(**values))


def _write(store: Store, table: Any, rows: Iterable[Row]) -> None:
    kept = list(rows)
    if kept:
        with store.writing() as connection:
            connection.execute(insert(table), kept)
