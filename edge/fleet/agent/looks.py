"""What a person sees of an agent: read from its files and the device, without disturbing the one that runs."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from edge.fleet.agent import rules
from edge.fleet.agent.agent import MEMORY, RESULTS
from edge.fleet.agent.clock import utc_now
from edge.fleet.agent.config import AgentConfig
from edge.fleet.agent.enrolled import read_enrolled
from edge.fleet.agent.events import Settings
from edge.fleet.agent.memory import load_memory
from edge.fleet.agent.readings import Readings
from edge.fleet.agent.start import OUTBOX

LONGEST = 1000


def outbox_rows(home: Path) -> list[dict[str, Any]]:
    """The first LONGEST rows in the order in which they are sent. Errors: sqlite3.Error."""
    path = home / OUTBOX
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        found = database.execute(
            "SELECT epoch, seq, type, bytes, queued_at, aside FROM rows ORDER BY aside, priority, id LIMIT ?",
            (LONGEST,),
        )
        return [dict(row) for row in found]


def status_of(config: AgentConfig, now: datetime | None = None) -> dict[str, Any]:
    """Plain JSON types; None for what cannot be read."""
    memory, _ = load_memory(config.home / MEMORY)
    readings = Readings(
        profile=config.profile, slots=config.slots, bundle=config.bundle, lock_folder=config.lock_folder,
        disk=config.home, clock=time.monotonic,
    )  # fmt: skip
    here = readings.conditions()
    settings = Settings(config.device, config.profile, now or utc_now(), config.every, config.limits)
    enrolment, ends = "", None
    try:
        enrolled = read_enrolled(config.home)
        ends = enrolled.not_after.isoformat()
    except EdgeError as error:
        enrolment = error.what
    waiting = None
    with contextlib.suppress(sqlite3.Error):
        waiting = len(outbox_rows(config.home))
    files = list((config.home / RESULTS).glob("*.json"))
    return {
        "device": config.device,
        "profile": config.profile,
        "enrolled": enrolment or "yes",
        "certificate_ends": ends,
        "bundle": here.installed.digest,
        "release": here.installed.release,
        "phase": rules.phase(memory),
        "paused": rules.paused(memory, here, settings),
        "queue": [f"{job.kind} ({job.source})" for job in memory.queue],
        "last_benchmark": memory.last_bench,
        "desired_version": memory.desired_version,
        "events_waiting": waiting,
        "reports_as_files": len(files),
        "encounter_open": here.encounter_open,
        "battery_percent": here.battery_percent,
        "charging": here.charging,
        "hottest_celsius": here.hottest_celsius,
        "memory_available_bytes": here.memory_available_bytes,
        "disk_free_bytes": here.disk_free_bytes,
    }


def status_lines(found: dict[str, Any]) -> list[str]:
    """One line a value, for a terminal."""
    shown = {
        name: ", ".join(value) if isinstance(value, list) else "not known" if value is None else str(value)
        for name, value in found.items()
    }
    width = max(map(len, shown))
    return [f"{name.ljust(width)}  {value or '-'}" for name, value in shown.items()]
