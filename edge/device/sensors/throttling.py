"""What a reading of throttling means: slowed down now or not, and in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from edge.device.sensors.android import THERMAL_STATUS
from edge.device.sensors.base import Reading
from edge.device.sensors.raspberry import SLOWED_MASK, throttle_names

SINCE_START = "throttling.since_start"


def slowed_by(unit: str, value: float) -> bool:
    """Whether a reading of throttling says that the processors are slowed down."""
    if unit == "bits":
        return bool(int(value) & SLOWED_MASK)
    return unit in ("level", "state") and value >= 1


def slowed_now(readings: Iterable[Reading]) -> bool | None:
    """Whether the device slows itself down now; None when no reading tells."""
    told = [
        slowed_by(one.unit, one.value)
        for one in readings
        if one.name.startswith("throttling.") and one.name != SINCE_START
    ]
    return any(told) if told else None


def words(unit: str, value: float) -> str:
    """A reading of throttling for a person, "" when it says that nothing slows the device down."""
    if unit == "bits":
        return ", ".join(throttle_names(int(value)))
    if unit == "level" and 1 <= value < len(THERMAL_STATUS):
        return f"thermal status {THERMAL_STATUS[int(value)]}"
    if unit == "state" and value >= 1:
        return f"processors cooled by {int(value)} steps"
    return ""
