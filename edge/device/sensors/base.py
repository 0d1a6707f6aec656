"""What every sensor shares: readings with units, absence with its reason, and numbers that can be believed.

Rules: a sensor that is not there, or that may not be read, is an `Absent` with its reason, never a reading of 0. A
value that fails to read once, or that no device can have, is left out of that round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge.device.facts import read_int
from edge.device.sensors.commands import Commands

# Thermal zones report nonsense when their part is powered down (-274 degC) or faulty.
PLAUSIBLE_CELSIUS = (-40.0, 150.0)
# A rail that draws nothing reads a little below zero; no device of ours draws a kilowatt.
PLAUSIBLE_WATTS = (-1.0, 1000.0)
# Past this a file holds no counter of ours, and a float of it may overflow.
LARGEST = 1 << 63


@dataclass(frozen=True)
class Reading:
    """One value now.

    unit: "J" (cumulative since the sensor was opened), "W", "degC", "MHz", "%", and of throttling "bits" (the Raspberry
    Pi's, see raspberry.py), "level" (Android's 0 to 6) or "state" (steps that a cooling device takes, 0: none).
    """

    name: str
    unit: str
    value: float


@dataclass(frozen=True)
class Absent:
    """A sensor that this device does not have or does not let us read. denied: it is there and may not be read."""

    reason: str
    denied: bool = False


class Sensor(Protocol):
    """An open sensor; `read` returns what could be read this time. One that holds a process has `close` as well."""

    def read(self) -> tuple[Reading, ...]: ...


@dataclass(frozen=True)
class Host:
    """Where sensors are looked for.

    root: below it /proc and /sys are read. commands: runs programs of the device (none for a fake tree). program: the
    path of a program of the device that runs beside us and writes lines, None where it is not installed.
    """

    root: Path
    commands: Commands = field(default_factory=lambda: Commands(None))
    program: Callable[[str], str | None] = lambda _name: None


Opener = Callable[[Host], Sensor | Absent]


def whole(path: Path) -> int | None:
    """A whole number of a file of /sys, None where it is absent, unreadable, no number or absurdly large."""
    value = read_int(path)
    return value if value is not None and abs(value) < LARGEST else None


def celsius(value: float) -> bool:
    """Whether a temperature can be one."""
    return PLAUSIBLE_CELSIUS[0] <= value <= PLAUSIBLE_CELSIUS[1]


def watts(value: float) -> bool:
    """Whether a power can be one of our devices'."""
    return PLAUSIBLE_WATTS[0] <= value <= PLAUSIBLE_WATTS[1]


def number(text: str) -> float | None:
    """A finite decimal number, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def first_that_opens(openers: tuple[Opener, ...], host: Host) -> Sensor | Absent:
    """The first of several sensors of one kind that is there; else why there is none.

    What is there and may not be read says more than what is not there, so only such reasons are told then. The
    others begin with "no ".
    """
    missing: list[Absent] = []
    for opener in openers:
        found = opener(host)
        if not isinstance(found, Absent):
            return found
        missing.append(found)
    denied = [one.reason for one in missing if one.denied]
    if denied:
        return Absent(", ".join(denied), denied=True)
    names = list(dict.fromkeys(one.reason.removeprefix("no ") for one in missing))
    return Absent("no " + " or ".join(filter(None, (", ".join(names[:-1]), names[-1]))))
