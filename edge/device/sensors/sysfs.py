"""Sensors that Linux shows as files on any board: RAPL, thermal zones, cpufreq, batteries, cooling devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.device.facts import read_text
from edge.device.sensors.base import Absent, Host, Reading, Sensor, celsius, watts, whole

# Cooling devices that slow a processor down (a fan is one too, and is no throttling).
PROCESSOR_COOLING = ("cpufreq-", "thermal-cpufreq-", "Processor")
# Above these no processor clocks and no cooling device counts: garbage.
MOST_KILOHERTZ = 20_000_000
MOST_COOLING_STEPS = 1000


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
            value = whole(path)
            # Outside its own range it is no counter, and the next right value would look like a wrap.
            if value is not None and 0 <= value <= counter.range_uj:
                readings.append(Reading(f"rapl.{name}", "J", counter.add(value)))
        return tuple(readings)


def open_rapl(host: Host) -> Sensor | Absent:
    """Packages only: `psys` and sub-domains (`intel-rapl:0:0`) count joules that a package counts already."""
    zones = sorted((host.root / "sys/class/powercap").glob("intel-rapl:*"))
    packages: dict[str, tuple[Path, int]] = {}
    unreadable = False
    for zone in zones:
        name = read_text(zone / "name") or ""
        limit = whole(zone / "max_energy_range_uj")
        if zone.name.count(":") != 1 or not name.startswith("package") or not limit or limit < 0:
            continue
        if whole(zone / "energy_uj") is None:
            unreadable = True
        else:
            packages[name] = (zone / "energy_uj", limit)
    if unreadable:  # one socket of two would be half of the energy
        return Absent("energy counter needs root", denied=True)
    return RaplSensor(packages) if packages else Absent("no RAPL energy counter")


class ThermalSensor:
    """Thermal zones in degC."""

    def __init__(self, zones: Mapping[str, Path]) -> None:
        self._zones = dict(zones)

    def read(self) -> tuple[Reading, ...]:
        values = {name: whole(path) for name, path in self._zones.items()}
        return tuple(
            Reading(f"thermal.{name}", "degC", value / 1000)
            for name, value in values.items()
            if value is not None and celsius(value / 1000)
        )


def open_thermal(host: Host) -> Sensor | Absent:
    """All thermal zones, named by their type (numbered when two share one); absent when none reads now."""
    zones: dict[str, Path] = {}
    folders = (host.root / "sys/class/thermal", host.root / "sys/devices/virtual/thermal")
    found = next((here for folder in folders if (here := sorted(folder.glob("thermal_zone*")))), [])
    for zone in found:
        kind = read_text(zone / "type") or zone.name
        if kind in zones:
            kind = f"{kind}.{zone.name.removeprefix('thermal_zone')}"
        zones[kind] = zone / "temp"
    sensor = ThermalSensor(zones)
    if sensor.read():
        return sensor
    return Absent("thermal zones that do not read", denied=True) if zones else Absent("no thermal zone")


class FrequencySensor:
    """Lowest and mean clock over the CPUs in MHz: the lowest shows throttling, the mean the state of all."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths

    def read(self) -> tuple[Reading, ...]:
        values = [whole(path) for path in self._paths]
        clocks = [value / 1000 for value in values if value is not None and 0 < value <= MOST_KILOHERTZ]
        if not clocks:
            return ()
        mean = sum(clocks) / len(clocks)
        return Reading("cpufreq.min", "MHz", min(clocks)), Reading("cpufreq.mean", "MHz", mean)


def open_frequency(host: Host) -> Sensor | Absent:
    """scaling_cur_freq of every CPU."""
    paths = tuple(sorted((host.root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")))
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
            charge = whole(folder / "capacity")
            if charge is not None and 0 <= charge <= 100:
                readings.append(Reading(f"{name}.charge", "%", float(charge)))
            tenths = whole(folder / "temp")
            if tenths is not None and celsius(tenths / 10):
                readings.append(Reading(f"{name}.temperature", "degC", tenths / 10))
            power = self._watts(folder)
            if power is not None and watts(power):
                readings.append(Reading(f"{name}.power", "W", power))
        return tuple(readings)

    @staticmethod
    def _watts(folder: Path) -> float | None:
        if read_text(folder / "status") != "Discharging":
            return None
        power_uw = whole(folder / "power_now")
        if power_uw:
            return abs(power_uw) / 1e6
        current_ua, voltage_uv = whole(folder / "current_now"), whole(folder / "voltage_now")
        # Drivers disagree on the sign of a discharging current.
        return abs(current_ua) * voltage_uv / 1e12 if current_ua and voltage_uv else None


def open_battery(host: Host) -> Sensor | Absent:
    """Every power supply of type Battery that powers the system (not a mouse's)."""
    folders = tuple(
        folder
        for folder in sorted((host.root / "sys/class/power_supply").glob("*"))
        if read_text(folder / "type") == "Battery" and read_text(folder / "scope") != "Device"
    )
    return BatterySensor(folders) if folders else Absent("no battery")


class CoolingSensor:
    """The steps by which the kernel slows the processors down because a zone is hot; 0: not now."""

    def __init__(self, devices: Mapping[str, Path]) -> None:
        self._devices = dict(devices)

    def read(self) -> tuple[Reading, ...]:
        values = [whole(path) for path in self._devices.values()]
        steps = [value for value in values if value is not None and 0 <= value <= MOST_COOLING_STEPS]
        return (Reading("throttling.cooling", "state", float(max(steps))),) if steps else ()


def open_cooling(host: Host) -> Sensor | Absent:
    """Cooling devices of the processors (of type cpufreq-cpuN, thermal-cpufreq-N or Processor)."""
    folders = sorted((host.root / "sys/class/thermal").glob("cooling_device*"))
    kinds = {folder.name: read_text(folder / "type") or "" for folder in folders}
    sensor = CoolingSensor(
        {folder.name: folder / "cur_state" for folder in folders if kinds[folder.name].startswith(PROCESSOR_COOLING)}
    )
    return sensor if sensor.read() else Absent("no cooling device of a processor")
