"""Power rails of a Jetson: the INA3221 monitors in /sys, and which rails make up the module.

Each monitor measures the voltage and current of three rails. On an Orin Nano or NX the rail VDD_IN is the input of the
whole module, and the others (VDD_CPU_GPU_CV, VDD_SOC) are parts of it: VDD_IN alone is the power.

An AGX Orin has no such rail. Its module is taken as VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0. The fourth rail,
VDDQ_VDD2_1V8AO (memory), is shown and not added: its monitor reads the 5 V of VIN_SYS_5V0, so it is taken for a part of
it, as others who measure this board do. If that were wrong, the sum would be too low by that rail, never too high. The
sum exists only in a round in which all three were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.device.facts import read_text
from edge.device.sensors.base import Absent, Host, Reading, Sensor, watts, whole

INPUT_RAIL = "VDD_IN"
AGX_RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
# in4 to in6 are shunt voltages and in7 and curr4 are sums of them, not rails.
CHANNELS = (1, 2, 3)
NOT_CONNECTED = ("", "NC")


def module_power(rails_w: Mapping[str, float]) -> Reading | None:
    """The power of the module from its rails in W; None where they do not make up a whole (see the module's text)."""
    if INPUT_RAIL in rails_w:
        return Reading(f"module.{INPUT_RAIL}", "W", rails_w[INPUT_RAIL])
    if all(rail in rails_w for rail in AGX_RAILS):
        return Reading(f"module.{'+'.join(AGX_RAILS)}", "W", sum(rails_w[rail] for rail in AGX_RAILS))
    return None


def rail_readings(rails_w: Mapping[str, float]) -> tuple[Reading, ...]:
    """The module's power, then each rail."""
    module = module_power(rails_w)
    rails = tuple(Reading(f"rail.{name}", "W", power) for name, power in sorted(rails_w.items()))
    return rails if module is None else (module, *rails)


class Ina3221Sensor:
    """Rails by label. rails: label to its hwmon folder and channel."""

    def __init__(self, rails: Mapping[str, tuple[Path, int]]) -> None:
        self._rails = dict(rails)

    def read(self) -> tuple[Reading, ...]:
        found: dict[str, float] = {}
        for label, (folder, channel) in self._rails.items():
            millivolts, milliamperes = whole(folder / f"in{channel}_input"), whole(folder / f"curr{channel}_input")
            if millivolts is None or milliamperes is None:
                continue
            power = millivolts * milliamperes / 1e6
            if millivolts >= 0 and watts(power):
                found[label] = power
        return rail_readings(found)


def monitors(root: Path) -> list[Path]:
    """The hwmon folders of all INA3221, below their driver or (an older or newer kernel) by name."""
    by_driver = sorted((root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*"))
    by_name = sorted((root / "sys/class/hwmon").glob("hwmon*"))
    return by_driver or [folder for folder in by_name if read_text(folder / "name") == "ina3221"]


def open_ina3221(host: Host) -> Sensor | Absent:
    """All labelled rails; absent where they do not give the module's power, so that another source is asked."""
    rails: dict[str, tuple[Path, int]] = {}
    for folder in monitors(host.root):
        for channel in CHANNELS:
            label = read_text(folder / f"in{channel}_label") or ""
            if label not in NOT_CONNECTED:
                rails.setdefault(label, (folder, channel))
    sensor = Ina3221Sensor(rails)
    if any(reading.name.startswith("module.") for reading in sensor.read()):
        return sensor
    if not rails:
        return Absent("no power rails")
    return Absent("power rails that do not read, or do not make up the module", denied=True)
