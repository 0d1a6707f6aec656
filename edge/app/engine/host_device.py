"""The device while the engine runs: temperature, clock, memory, and whether the device slows itself down.

Throttled is one of
- heat and a slow clock: the processors' mean clock is below 0.8 of the highest one while a run is at work (at this
  reading and the one before, so that one that has just begun does not count) and the hottest zone has 75 degC or more;
- a thermal zone at or above its passive trip point, from which on the kernel lowers the clock;
- what the board itself says: the throttle bits of a Raspberry Pi, or that the kernel cools a processor by slowing it.
It stays said for three readings after, so that the word does not come and go. Without a sensor nothing is claimed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.app.engine.host_process import resident_bytes
from edge.app.engine.messages import DeviceReading
from edge.device.facts import local_facts, read_int, read_text
from edge.device.sensors import Reading, open_sensors, slowed_now

INTERVAL_S = 2.0
HOT_CELSIUS = 75.0
SLOW_SHARE = 0.8
READ = ("temperature", "frequency", "throttling")
HELD_READINGS = 3


@dataclass(frozen=True)
class Sample:
    """One look at the device. max_mhz: of the slowest kind of core; passive: a zone has reached its trip point; slowed:
    the board says that it slows itself down."""

    temperature_c: float | None
    frequency_mhz: float | None
    max_mhz: float | None
    passive: bool
    busy: bool
    slowed: bool = False


class ThrottleRule:
    """The rule of this module over one sample after the other."""

    def __init__(self) -> None:
        self._was_busy = False
        self._held = 0

    def add(self, sample: Sample) -> bool:
        """Whether the device is throttled now."""
        busy = sample.busy and self._was_busy
        self._was_busy = sample.busy
        slow = (
            sample.frequency_mhz is not None
            and sample.max_mhz is not None
            and sample.frequency_mhz < SLOW_SHARE * sample.max_mhz
        )
        hot = sample.temperature_c is not None and sample.temperature_c >= HOT_CELSIUS
        now = (busy and slow and hot) or sample.passive or sample.slowed
        self._held = HELD_READINGS if now else max(0, self._held - 1)
        return now or self._held > 0


def passive_tripped(root: Path) -> bool:
    """Whether a thermal zone is at or above a trip point of type passive."""
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        temperature = read_int(zone / "temp")
        if temperature is None:
            continue
        for kind in zone.glob("trip_point_*_type"):
            if read_text(kind) == "passive":
                limit = read_int(zone / kind.name.replace("_type", "_temp"))
                if limit is not None and 0 < limit <= temperature:
                    return True
    return False


def mean_max_mhz(root: Path) -> float | None:
    """The mean of the highest clocks of all processors; None where they are not told."""
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq")
    found = [value / 1000 for path in paths if (value := read_int(path))]
    return sum(found) / len(found) if found else None


class DeviceWatch:
    """Reads the device. root: where /proc and /sys are; busy: whether a run is at work."""

    def __init__(self, root: Path, busy: Callable[[], bool]) -> None:
        self._root, self._busy = root, busy
        self._sensors, _ = open_sensors(root, kinds=READ)
        self._max_mhz = mean_max_mhz(root)
        self._rule = ThrottleRule()

    def read(self) -> DeviceReading:
        """A reading now."""
        found: list[Reading] = []
        for sensor in self._sensors.values():
            found.extend(sensor.read())
        zones = [one.value for one in found if one.unit == "degC"]
        clocks = [one.value for one in found if one.name == "cpufreq.mean"]
        sample = Sample(
            max(zones, default=None),
            clocks[0] if clocks else None,
            self._max_mhz,
            passive_tripped(self._root),
            self._busy(),
            slowed_now(found) is True,
        )
        return DeviceReading(
            temperature_c=sample.temperature_c,
            throttled=self._rule.add(sample),
            free_bytes=local_facts(self._root).memory_available_bytes,
            rss_bytes=resident_bytes(),
            frequency_mhz=sample.frequency_mhz,
        )

    def watch(self, send: Callable[[DeviceReading], None], ended: threading.Event) -> None:
        """A reading now and every INTERVAL_S until `ended`."""
        send(self.read())
        while not ended.wait(INTERVAL_S):
            send(self.read())
