"""Sensors of this device: energy, temperature, clocks, battery. Local Linux; one opener each, in `SENSORS`.

Rules: a sensor that is not there, or that may not be read, is an `Absent` with its reason, never a reading of
0. A value that fails to read once is left out of that round. Energy counters are cumulative and survive their
wrap.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.device.facts import read_int, read_text

# Thermal zones report nonsense when their part is powered down (-274 degC) or faulty.
PLAUSIBLE_CELSIUS = (-40.0, 150.0)


@dataclass(frozen=True)
class Reading:
    """One value now. unit: "J" (cumulative since the sensor was opened), "W", "degC", "MHz" or "%"."""

    name: str
    unit: str
    value: float


@dataclass(frozen=True)
class Absent:
    """A sensor that this device does not have or does not let us read."""

    reason: str


class Sensor(Protocol):
    """An open sensor; `read` returns what could be read this time."""

    def read(self) -> tuple[Reading, ...]: ...


class EnergyCounter:
    """Joules since the first `add`, from a counter in microjoules that wraps at `range_uj`.

    Right as long as it is read more often than it wraps (at 100 W, 32 bits last 43 s).
    """

    def __init__(self, range_uj: int) -> None:
        self.range_uj = range_uj
        self._last_uj: int | None = None
        self._total_uj = 0

    def add(self, counter_uj: int) -> float:
        """Take the counter's value and return the joules so far."""
        if self._last_uj is not None:
            step = counter_uj - self._last_uj
            self._total_uj += step if step >= 0 else step + self.range_uj
        self._last_uj = counter_uj
        return self._total_uj / 1e6


class RaplSensor:
    """Energy of the CPU packages (Intel and AMD) from the power capping tree."""

    def __init__(self, packages: Mapping[str, tuple[Path, int]]) -> None:
        self._packages = {name: (path, EnergyCounter(limit)) for name, (path, limit) in packages.items()}
        self.read()

    def read(self) -> tuple[Reading, ...]:
        readings = []
        for name, (path, counter) in self._packages.items():
            value = read_int(path)
            if value is not None:
                readings.append(Reading(f"rapl.{name}", "J", counter.add(value)))
        return tuple(readings)


def open_rapl(root: Path) -> Sensor | Absent:
    """Packages only: `psys` and sub-domains (`intel-rapl:0:0`) count joules that a package counts already."""
    zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    packages: dict[str, tuple[Path, int]] = {}
    unreadable = False
    for zone in zones:
        name = read_text(zone / "name") or ""
        limit = read_int(zone / "max_energy_range_uj")
        if zone.name.count(":") != 1 or not name.startswith("package") or not limit:
            continue
        if read_int(zone / "energy_uj") is None:
            unreadable = True
        else:
            packages[name] = (zone / "energy_uj", limit)
    if packages:
        return RaplSensor(packages)
    return Absent("energy counter needs root" if unreadable else "no RAPL energy counter")


class ThermalSensor:
    """Thermal zones in degC."""

    def __init__(self, zones: Mapping[str, Path]) -> None:
        self._zones = dict(zones)

    def read(self) -> tuple[Reading, ...]:
        low, high = PLAUSIBLE_CELSIUS
        values = {name: read_int(path) for name, path in self._zones.items()}
        return tuple(
            Reading(f"thermal.{name}", "degC", value / 1000)
            for name, value in values.items()
            if value is not None and low <= value / 1000 <= high
        )


def open_thermal(root: Path) -> Sensor | Absent:
    """All thermal zones, named by their type (numbered when two share one); absent when none reads now."""
    zones: dict[str, Path] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind = read_text(zone / "type") or zone.name
        if kind in zones:
            kind = f"{kind}.{zone.name.removeprefix('thermal_zone')}"
        zones[kind] = zone / "temp"
    sensor = ThermalSensor(zones)
    return sensor if sensor.read() else Absent("no thermal zone that can be read")


class FrequencySensor:
    """Lowest and mean clock over the CPUs in MHz: the lowest shows throttling, the mean the state of all."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths

    def read(self) -> tuple[Reading, ...]:
        clocks = [value / 1000 for path in self._paths if (value := read_int(path))]
        if not clocks:
            return ()
        mean = sum(clocks) / len(clocks)
        return Reading("cpufreq.min", "MHz", min(clocks)), Reading("cpufreq.mean", "MHz", mean)


def open_frequency(root: Path) -> Sensor | Absent:
    """scaling_cur_freq of every CPU."""
    paths = tuple(sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")))
    sensor = FrequencySensor(paths)
    return sensor if sensor.read() else Absent("no cpufreq")


class BatterySensor:
    """Charge, temperature and, while it discharges, power of the batteries.

    On mains the battery's current says nothing of what the device draws, so no power is given then.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    def read(self) -> tuple[Reading, ...]:
        readings: list[Reading] = []
        for folder in self._folders:
            name = f"battery.{folder.name}"
            charge = read_int(folder / "capacity")
            if charge is not None:
                readings.append(Reading(f"{name}.charge", "%", float(charge)))
            tenths = read_int(folder / "temp")
            if tenths is not None and PLAUSIBLE_CELSIUS[0] <= tenths / 10 <= PLAUSIBLE_CELSIUS[1]:
                readings.append(Reading(f"{name}.temperature", "degC", tenths / 10))
            watts = self._watts(folder)
            if watts is not None:
                readings.append(Reading(f"{name}.power", "W", watts))
        return tuple(readings)

    @staticmethod
    def _watts(folder: Path) -> float | None:
        if read_text(folder / "status") != "Discharging":
            return None
        power_uw = read_int(folder / "power_now")
        if power_uw:
            return abs(power_uw) / 1e6
        current_ua, voltage_uv = read_int(folder / "current_now"), read_int(folder / "voltage_now")
        # Drivers disagree on the sign of a discharging current.
        return abs(current_ua) * voltage_uv / 1e12 if current_ua and voltage_uv else None


def open_battery(root: Path) -> Sensor | Absent:
    """Every power supply of type Battery that powers the system (not a mouse's)."""
    folders = tuple(
        folder
        for folder in sorted((root / "sys/class/power_supply").glob("*"))
        if read_text(folder / "type") == "Battery" and read_text(folder / "scope") != "Device"
    )
    return BatterySensor(folders) if folders else Absent("no battery")


SENSORS: dict[str, Callable[[Path], Sensor | Absent]] = {
    "energy": open_rapl,
    "temperature": open_thermal,
    "frequency": open_frequency,
    "battery": open_battery,
}


def open_sensors(root: Path = Path("/")) -> tuple[dict[str, Sensor], dict[str, Absent]]:
    """Open every sensor of the registry below `root`: those that read, and why the others do not."""
    opened = {name: opener(root) for name, opener in SENSORS.items()}
    present = {name: sensor for name, sensor in opened.items() if not isinstance(sensor, Absent)}
    absent = {name: sensor for name, sensor in opened.items() if isinstance(sensor, Absent)}
    return present, absent


@dataclass(frozen=True)
class Series:
    """Samples of one reading. times_s: monotonic clock, ascending; values: in `unit`; both [n]."""

    name: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]


class SensorSampler:
    """A thread that reads sensors at an interval; a context manager.

    Parameters
    ----------
    sensors: as `open_sensors` gives them; may be empty, then no thread runs.
    interval_s: seconds between rounds.
    clock: monotonic seconds, injectable.
    """

    def __init__(
        self,
        sensors: Mapping[str, Sensor],
        *,
        interval_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensors = dict(sensors)
        self._interval_s = interval_s
        self._clock = clock
        self._stop = threading.Event()
        self._samples: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self._thread = threading.Thread(target=self._run, name="edge-sensors", daemon=True)

    def sample(self) -> None:
        """Read every sensor once."""
        for sensor in self._sensors.values():
            for reading in sensor.read():
                samples = self._samples.setdefault((reading.name, reading.unit), [])
                samples.append((self._clock(), reading.value))

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.sample()

    def __enter__(self) -> SensorSampler:
        if self._sensors:
            self.sample()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._sensors:
            self._stop.set()
            self._thread.join()
            self.sample()

    def series(self) -> tuple[Series, ...]:
        """All samples so far, by name. Call after the sampler has stopped."""
        return tuple(
            Series(name, unit, tuple(t for t, _ in samples), tuple(v for _, v in samples))
            for (name, unit), samples in sorted(self._samples.items())
        )


def _value_at(series: Series, time_s: float) -> float:
    """Linear interpolation inside the series; the caller has checked the range."""
    for index in range(1, len(series.times_s)):
        before, after = series.times_s[index - 1], series.times_s[index]
        if time_s <= after:
            share = (time_s - before) / (after - before) if after > before else 0.0
            return series.values[index - 1] + share * (series.values[index] - series.values[index - 1])
    return series.values[-1]


def joules_between(series: Series, start_s: float, end_s: float) -> float | None:
    """Energy of an interval from one series: a difference of a counter ("J") or an integral of power ("W").

    None when the series does not cover the interval or is neither.
    """
    covers = len(series.times_s) >= 2 and series.times_s[0] <= start_s < end_s <= series.times_s[-1]
    if not covers or series.unit not in ("J", "W"):
        return None
    first, last = _value_at(series, start_s), _value_at(series, end_s)
    if series.unit == "J":
        return last - first
    inside = [(t, v) for t, v in zip(series.times_s, series.values, strict=True) if start_s < t < end_s]
    points = [(start_s, first), *inside, (end_s, last)]
    return sum((t1 - t0) * (v0 + v1) / 2 for (t0, v0), (t1, v1) in itertools.pairwise(points))


def energy_j(series: tuple[Series, ...], start_s: float, end_s: float) -> tuple[float, str] | None:
    """Joules of the device in an interval and the sensors they come from; None without an energy sensor.

    Counters are preferred to power: package counters are summed (sockets), else batteries are summed.
    """
    for unit in ("J", "W"):
        parts = {
            one.name: joules
            for one in series
            if one.unit == unit and (joules := joules_between(one, start_s, end_s)) is not None
        }
        if parts:
            return sum(parts.values()), "+".join(sorted(parts))
    return None
