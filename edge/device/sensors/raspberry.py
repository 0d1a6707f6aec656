"""Sensors of a Raspberry Pi that only its firmware knows, asked through `vcgencmd`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.device.sensors.base import Absent, Host, Reading, Sensor, celsius, number, watts
from edge.device.sensors.commands import Command, Commands

# Bit n of get_throttled says "now", bit n + 16 that it has occurred since the start of the system.
THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
OCCURRED_SHIFT = 16
NOW_MASK = (1 << len(THROTTLE_BITS)) - 1
# Under-voltage by itself slows nothing: where it does, the firmware sets the frequency cap as well.
SLOWED_MASK = 0b1110

THROTTLED = ("vcgencmd", "get_throttled")
TEMPERATURE = ("vcgencmd", "measure_temp")
PMIC = ("vcgencmd", "pmic_read_adc")

_PMIC_LINE = re.compile(r"^\s*(\w{1,40})_([AV])\s+(?:current|volt)\(\d{1,4}\)=([0-9.]{1,24})([AV])\s*$", re.ASCII)


@dataclass(frozen=True)
class Throttling:
    """now, occurred: names of THROTTLE_BITS, of this moment and since the start of the system."""

    now: tuple[str, ...]
    occurred: tuple[str, ...]


def throttle_names(bits: int) -> tuple[str, ...]:
    """The names of the lowest four bits of get_throttled."""
    return tuple(name for index, name in enumerate(THROTTLE_BITS) if bits >> index & 1)


def parse_throttled(text: str) -> int | None:
    """The bits of `throttled=0x50000`; None for anything else."""
    match = re.fullmatch(r"\s*throttled=0x([0-9a-fA-F]{1,8})\s*", text)
    return int(match[1], 16) if match else None


def throttling(bits: int) -> Throttling:
    """What the bits of get_throttled say."""
    return Throttling(throttle_names(bits), throttle_names(bits >> OCCURRED_SHIFT))


def parse_temperature(text: str) -> float | None:
    """degC of `temp=48.3'C`; None for anything else."""
    match = re.fullmatch(r"\s*temp=(-?\d{1,4}(?:\.\d{1,4})?)'C\s*", text)
    value = number(match[1]) if match else None
    return value if value is not None and celsius(value) else None


def parse_pmic(text: str) -> dict[str, float]:
    """W of each rail that has both a current (_A) and a voltage (_V) line; others (EXT5V_V, BATT_V) are left out."""
    values: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        match = _PMIC_LINE.match(line)
        value = number(match[3]) if match else None
        if match and match[2] == match[4] and value is not None:
            values.setdefault(match[1], {})[match[2]] = value
    powers = {name: pair["A"] * pair["V"] for name, pair in values.items() if len(pair) == 2}
    return {name: power for name, power in powers.items() if watts(power)}


class PmicSensor:
    """Power of all rails of the Pi 5's power management chip: not of what hangs on its 5 V (USB, fan, display)."""

    def __init__(self, commands: Commands, rails: frozenset[str]) -> None:
        self._commands, self._rails = commands, rails
        self._command = Command(PMIC, every_s=1.0)

    def read(self) -> tuple[Reading, ...]:
        powers = parse_pmic(self._commands.text(self._command) or "")
        # A round with a rail missing would be a lower power that nobody measured.
        if self._rails - set(powers):
            return ()
        core = [Reading("rail.VDD_CORE", "W", powers["VDD_CORE"])] if "VDD_CORE" in powers else []
        return Reading("pmic.rails", "W", sum(powers[rail] for rail in self._rails)), *core


def open_pmic(host: Host) -> Sensor | Absent:
    """Absent on boards without the chip, where vcgencmd answers with an error."""
    rails = frozenset(parse_pmic(host.commands.probe(PMIC) or ""))
    return PmicSensor(host.commands, rails) if rails else Absent("no PMIC")


class FirmwareTemperature:
    """The processor's temperature as the firmware tells it."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._command = Command(TEMPERATURE, every_s=2.0)

    def read(self) -> tuple[Reading, ...]:
        value = parse_temperature(self._commands.text(self._command) or "")
        return () if value is None else (Reading("vcgencmd.temperature", "degC", value),)


def open_temperature(host: Host) -> Sensor | Absent:
    """Used where the kernel's thermal zones are not readable."""
    text = host.commands.probe(TEMPERATURE)
    there = text is not None and parse_temperature(text) is not None
    return FirmwareTemperature(host.commands) if there else Absent("no vcgencmd")


class FirmwareThrottling:
    """The throttle bits: of now, and of what has occurred since the start of the system."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._command = Command(THROTTLED, every_s=4.0)

    def read(self) -> tuple[Reading, ...]:
        bits = parse_throttled(self._commands.text(self._command) or "")
        if bits is None:
            return ()
        return (
            Reading("throttling.now", "bits", float(bits & NOW_MASK)),
            Reading("throttling.since_start", "bits", float(bits >> OCCURRED_SHIFT & NOW_MASK)),
        )


def open_throttled(host: Host) -> Sensor | Absent:
    """get_throttled of the firmware."""
    text = host.commands.probe(THROTTLED)
    there = text is not None and parse_throttled(text) is not None
    return FirmwareThrottling(host.commands) if there else Absent("no vcgencmd")
