"""Sensors of this device: energy, temperature, clocks, battery, throttling. One file a family, all in `SENSORS`.

Rules: a sensor that is not there, or that may not be read, is an `Absent` with its reason, never a reading of 0. A
value that fails to read once is left out of that round. Energy counters are cumulative and survive their wrap. Of
several sources of one kind the first that opens is used: for energy that is the order of what they cover.
docs/sensors.md lists them with their units, and how each was checked.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from edge.device.sensors import android, raspberry
from edge.device.sensors.base import (
    PLAUSIBLE_CELSIUS,
    Absent,
    Host,
    Opener,
    Reading,
    Sensor,
    first_that_opens,
)
from edge.device.sensors.commands import Commands, Runner, adb_runner, run_local
from edge.device.sensors.energy import MeasuredEnergy, energy_j, joules_between, measured_energy
from edge.device.sensors.jetson import open_ina3221
from edge.device.sensors.sampler import SensorSampler, Series, close_sensors
from edge.device.sensors.sysfs import (
    BatterySensor,
    EnergyCounter,
    FrequencySensor,
    RaplSensor,
    ThermalSensor,
    open_battery,
    open_cooling,
    open_frequency,
    open_rapl,
    open_thermal,
)
from edge.device.sensors.tegrastats import open_tegrastats
from edge.device.sensors.throttling import slowed_now

__all__ = [
    "PLAUSIBLE_CELSIUS",
    "SENSORS",
    "Absent",
    "BatterySensor",
    "Commands",
    "EnergyCounter",
    "FrequencySensor",
    "Host",
    "MeasuredEnergy",
    "RaplSensor",
    "Reading",
    "Runner",
    "Sensor",
    "SensorSampler",
    "Series",
    "ThermalSensor",
    "adb_runner",
    "close_sensors",
    "energy_j",
    "joules_between",
    "local_host",
    "measured_energy",
    "open_battery",
    "open_frequency",
    "open_rapl",
    "open_sensors",
    "open_thermal",
    "run_local",
    "slowed_now",
]

SENSORS: dict[str, tuple[Opener, ...]] = {
    "energy": (open_ina3221, open_tegrastats, open_rapl, raspberry.open_pmic),
    "temperature": (open_thermal, raspberry.open_temperature, android.open_thermal),
    "frequency": (open_frequency,),
    "battery": (open_battery, android.open_battery),
    "throttling": (raspberry.open_throttled, android.open_throttling, open_cooling),
}


def local_host(root: Path = Path("/"), run: Runner | None = None) -> Host:
    """The device below `root`. run: of its commands; by default programs are run only where root is this system's."""
    here = root == Path("/")
    if run is None and not here:
        return Host(root)
    return Host(root, Commands(run or run_local), shutil.which if here and run is None else lambda _name: None)


def open_sensors(
    root: Path = Path("/"),
    *,
    run: Runner | None = None,
    host: Host | None = None,
    kinds: Collection[str] | None = None,
) -> tuple[dict[str, Sensor], dict[str, Absent]]:
    """Open the sensors of the registry: those that read, and why the others do not.

    root: where /proc and /sys of the device are read. run: runs the device's commands (vcgencmd, dumpsys), as with
    `adb_runner`; by default they run here where root is this system's, else not at all. host: all of it at once.
    kinds: only these of SENSORS, for one who reads no others.
    """
    device = host or local_host(root, run)
    opened = {
        name: first_that_opens(openers, device) for name, openers in SENSORS.items() if kinds is None or name in kinds
    }
    present = {name: sensor for name, sensor in opened.items() if not isinstance(sensor, Absent)}
    absent = {name: sensor for name, sensor in opened.items() if isinstance(sensor, Absent)}
    return present, absent
