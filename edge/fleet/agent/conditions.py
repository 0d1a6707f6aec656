"""May this device measure or install now? Pure: readings in, one word out.

Rules, in this order; the first that does not hold is the reason
1. Nothing runs while an encounter is open, and nothing beside another run.
2. A benchmark needs a bundle.
3. On battery the charge is at least `battery_percent_min`; on mains any charge will do. No battery: mains. A benchmark
   that runs is stopped below LOW_SHARE of that, so that none begins and ends around one value.
4. The hottest sensor is at most `start_celsius_max`: a hot device measures its cooling and not the build.
5. Memory for the bundle and room on the disk are there. A reading that is not to be had stops nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from edge.fleet.wire.messages import PausedReason

JobKind = Literal["bench", "install", "rollback"]
# A next time is moved by up to this share of the interval, so that devices set up together drift apart.
SCHEDULE_SPREAD = 0.2
FIRST_WITHIN = timedelta(hours=1)
LOW_SHARE = 0.75


@dataclass(frozen=True)
class Limits:
    """What a run needs. memory_bytes_min: available, beside what the bundle needs."""

    battery_percent_min: float = 40.0
    start_celsius_max: float = 60.0
    memory_bytes_min: int = 256 << 20
    disk_bytes_min: int = 256 << 20


@dataclass(frozen=True)
class Installed:
    """What is in force, as the slots say. bundle_bytes: of its model, 0 where it is not known. pending: an install was
    cut short, or waits for a visit to end."""

    digest: str | None = None
    release: str | None = None
    previous_digest: str | None = None
    slot: Literal["a", "b"] | None = None
    bundle_bytes: int = 0
    pending: bool = False


@dataclass(frozen=True)
class Conditions:
    """The device now. charging: on mains; None for all that cannot be read."""

    encounter_open: bool = False
    battery_percent: float | None = None
    charging: bool | None = None
    hottest_celsius: float | None = None
    memory_available_bytes: int = 0
    disk_free_bytes: int = 0
    installed: Installed = Installed()


def refusal(kind: JobKind, conditions: Conditions, limits: Limits, *, running: bool) -> PausedReason:
    """Why `kind` may not begin now; "none" when it may."""
    if conditions.encounter_open:
        return "encounter_open"
    if running:
        return "running"
    if kind == "bench" and conditions.installed.digest is None:
        return "no_bundle"
    low = conditions.battery_percent is not None and conditions.battery_percent < limits.battery_percent_min
    if low and conditions.charging is not True:
        return "battery"
    if kind == "rollback":  # away from a bad build: heat, memory and disk are no reasons to keep it
        return "none"
    if conditions.hottest_celsius is not None and conditions.hottest_celsius > limits.start_celsius_max:
        return "heat"
    needed_bytes = limits.memory_bytes_min + conditions.installed.bundle_bytes
    if 0 < conditions.memory_available_bytes < needed_bytes:
        return "memory"
    if conditions.disk_free_bytes < limits.disk_bytes_min:
        return "disk"
    return "none"


def interruption(conditions: Conditions, limits: Limits) -> Literal["none", "encounter_open", "battery"]:
    """Why a benchmark that runs must end now; "none" when it may go on."""
    if conditions.encounter_open:
        return "encounter_open"
    charge = conditions.battery_percent
    low = charge is not None and charge < limits.battery_percent_min * LOW_SHARE
    return "battery" if low and conditions.charging is not True else "none"


def share_of(*words: object) -> float:
    """0 to 1, always the same for the same words and spread evenly over devices."""
    digest = hashlib.sha256("\n".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def next_bench(device: str, every: timedelta, last: datetime | None, began: datetime) -> datetime:
    """When the schedule wants the next benchmark.

    last: of the last one, None for none. began: when the agent began. Neither lies in the future: the caller begins
    to count anew there, else a device whose clock once stood at 2090 would never measure again.
    """
    if last is None:
        return began + min(every, FIRST_WITHIN) * share_of(device, "first")
    return last + every * (1 + SCHEDULE_SPREAD * (share_of(device, last.isoformat()) - 0.5))
