"""Sensors of Android: what `dumpsys` says, run on the device or through adb, and BatteryManager's CURRENT_NOW.

The current's sign differs between makers, and some give mA instead of the documented uA: the size decides nothing, so a
current that no awake device can have is left out instead of being scaled by a guess. On a charger the battery's current
says nothing of what the device draws, so no power is given then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.device.sensors.base import Absent, Host, Reading, Sensor, celsius, number, watts
from edge.device.sensors.commands import Command, Commands, Runner

BATTERY = ("dumpsys", "battery")
THERMAL = ("dumpsys", "thermalservice")
# CURRENT_NOW in uA; the shell may ask one or the other, depending on maker and version.
CURRENTS = (("cat", "/sys/class/power_supply/battery/current_now"), ("cmd", "battery", "get", "current_now"))
CHARGING = 2
# 20 mA to 20 A: an awake tablet draws more than the one, its battery cannot give the other.
PLAUSIBLE_CURRENT_UA = (20_000, 20_000_000)
PLAUSIBLE_MILLIVOLTS = (2_500, 15_000)
# PowerManager.THERMAL_STATUS_*, by number.
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
FROZEN = "UPDATES STOPPED"  # somebody set values by hand: they are not the battery's
# How old voltage and charging state may be beside a fresh current.
STATE_S = 30.0

_FIELD = re.compile(r"^ {2}([A-Za-z][A-Za-z ]{0,40}): (\S{1,20})\s*$", re.ASCII | re.MULTILINE)
_STATUS = re.compile(r"^[ \t]*Thermal Status: (\d)\s*$", re.ASCII | re.MULTILINE)
_TEMPERATURE = re.compile(
    r"Temperature\{mValue=(-?\d{1,6}(?:\.\d{1,9})?), mType=-?\d{1,3}, mName=([^,}\n]{1,60}), mStatus=\d\}", re.ASCII
)
_PSS = re.compile(r"^[ \t]*TOTAL(?: PSS:)?[ \t]+(\d{1,12})\b", re.ASCII | re.MULTILINE)


@dataclass(frozen=True)
class AndroidBattery:
    """`dumpsys battery`; None where it is not told or cannot be. powered: by a charger of any kind."""

    charge_percent: float | None
    millivolts: int | None
    temperature_celsius: float | None
    charging: bool
    powered: bool


@dataclass(frozen=True)
class AndroidThermal:
    """`dumpsys thermalservice`. status: index of THERMAL_STATUS; zones_celsius: by name, as the hardware tells now."""

    status: int | None
    zones_celsius: dict[str, float] = field(default_factory=dict)


def parse_battery(text: str) -> AndroidBattery | None:
    """None when it is no battery's state, or a state that was set by hand."""
    fields = {name.strip().lower(): value for name, value in _FIELD.findall(text)}
    if "status" not in fields or FROZEN in text or fields.get("present") == "false":
        return None
    values = {name: number(value) for name, value in fields.items()}
    level, scale = values.get("level"), values.get("scale") or 100.0
    charge = None if level is None or not 0 <= level <= scale else 100 * level / scale
    millivolts, tenths = values.get("voltage"), values.get("temperature")
    volts_fit = millivolts is not None and PLAUSIBLE_MILLIVOLTS[0] <= millivolts <= PLAUSIBLE_MILLIVOLTS[1]
    return AndroidBattery(
        charge_percent=charge,
        millivolts=int(millivolts) if millivolts is not None and volts_fit else None,
        temperature_celsius=tenths / 10 if tenths is not None and celsius(tenths / 10) else None,
        charging=values["status"] == CHARGING,
        powered=any(name.endswith(" powered") and value == "true" for name, value in fields.items()),
    )


def parse_current(text: str) -> int | None:
    """uA without a sign of CURRENT_NOW; None when it is no number or cannot be a current in uA."""
    match = re.fullmatch(r"\s*[+-]?(\d{1,12})\s*", text, re.ASCII)
    value = int(match[1]) if match else 0
    return value if PLAUSIBLE_CURRENT_UA[0] <= value <= PLAUSIBLE_CURRENT_UA[1] else None


def battery_watts(battery: AndroidBattery, current_ua: int | None) -> float | None:
    """W that the device draws; None on a charger, or where current or voltage is not known."""
    if battery.charging or battery.powered or battery.millivolts is None or current_ua is None:
        return None
    power = battery.millivolts * current_ua / 1e9
    return power if watts(power) else None


def parse_thermal(text: str) -> AndroidThermal | None:
    """Zones of the block "Current temperatures from HAL" where there is one: the cached ones before it may be old."""
    status = _STATUS.search(text)
    live = text.partition("Current temperatures from HAL:")[2] or text
    zones = {match[2].strip(): number(match[1]) for match in _TEMPERATURE.finditer(live)}
    known = {name: value for name, value in zones.items() if value is not None and celsius(value)}
    level = int(status[1]) if status and int(status[1]) < len(THERMAL_STATUS) else None
    return AndroidThermal(level, known) if known or level is not None else None


def parse_pss(text: str) -> int | None:
    """Bytes of "TOTAL PSS" of `dumpsys meminfo PACKAGE` (kB there); None when it has none."""
    match = _PSS.search(text)
    return int(match[1]) * 1024 if match else None


def pss_bytes(run: Runner, package: str) -> int | None:
    """Memory of an app, shared pages divided among those who share them; None where it cannot be asked."""
    return parse_pss(run(("dumpsys", "meminfo", package)) or "")


class AndroidBatterySensor:
    """Charge, temperature and, while it discharges, power."""

    def __init__(self, commands: Commands, current: Sequence[str] | None) -> None:
        self._commands = commands
        self._state = Command(BATTERY, every_s=10.0)
        self._current = Command(tuple(current), every_s=1.0) if current else None
        self._last: tuple[AndroidBattery, float] | None = None

    def read(self) -> tuple[Reading, ...]:
        readings: list[Reading] = []
        battery = parse_battery(self._commands.text(self._state) or "")
        now_s = self._commands.clock()
        if battery is not None:
            self._last = (battery, now_s)
            if battery.charge_percent is not None:
                readings.append(Reading("battery.android.charge", "%", battery.charge_percent))
            if battery.temperature_celsius is not None:
                readings.append(Reading("battery.android.temperature", "degC", battery.temperature_celsius))
        if self._current is not None and self._last is not None and now_s - self._last[1] <= STATE_S:
            power = battery_watts(self._last[0], parse_current(self._commands.text(self._current) or ""))
            if power is not None:
                readings.append(Reading("battery.android.power", "W", power))
        return tuple(readings)


def open_battery(host: Host) -> Sensor | Absent:
    """The battery of an Android device; without a current that can be read it gives no power."""
    if parse_battery(host.commands.probe(BATTERY) or "") is None:
        return Absent("no battery")
    readable = (argv for argv in CURRENTS if parse_current(host.commands.probe(argv) or "") is not None)
    return AndroidBatterySensor(host.commands, next(readable, None))


class AndroidThermalSensor:
    """Zones (degC) or, with `level`, the throttling level."""

    def __init__(self, commands: Commands, *, level: bool) -> None:
        self._commands, self._level = commands, level
        self._command = Command(THERMAL, every_s=5.0)

    def read(self) -> tuple[Reading, ...]:
        thermal = parse_thermal(self._commands.text(self._command) or "")
        if thermal is None:
            return ()
        if self._level:
            known = thermal.status is not None
            return (Reading("throttling.level", "level", float(thermal.status or 0)),) if known else ()
        return tuple(Reading(f"thermal.{name}", "degC", value) for name, value in thermal.zones_celsius.items())


def open_thermal(host: Host) -> Sensor | Absent:
    """Temperatures of dumpsys thermalservice."""
    thermal = parse_thermal(host.commands.probe(THERMAL) or "")
    there = thermal is not None and bool(thermal.zones_celsius)
    return AndroidThermalSensor(host.commands, level=False) if there else Absent("no dumpsys")


def open_throttling(host: Host) -> Sensor | Absent:
    """The throttling level of dumpsys thermalservice."""
    thermal = parse_thermal(host.commands.probe(THERMAL) or "")
    there = thermal is not None and thermal.status is not None
    return AndroidThermalSensor(host.commands, level=True) if there else Absent("no dumpsys")
