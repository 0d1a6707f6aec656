"""Whole boards from fake trees: which sensors open, in what units, and what is said of those that are not there."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sensor_boards import Clock, Programs, agx_orin, orin_nano, pi4, pi5, write, x86

import edge.device.sensors as package
from edge.device.sensors import SENSORS, Absent, Host, open_sensors, slowed_now
from edge.device.sensors.base import first_that_opens
from edge.device.sensors.throttling import words

TARGETS = Path(__file__).resolve().parents[3] / "targets"
UNITS = {
    "energy": {"J", "W"},
    "temperature": {"degC"},
    "frequency": {"MHz"},
    "battery": {"%", "degC", "W"},
    "throttling": {"bits", "level", "state"},
}


def board(name: str, root: Path, clock: Clock) -> Host:
    """A fake board by its target's name."""
    hosts = {
        "jetson-orin-nano": lambda: orin_nano(root),
        "jetson-agx-orin": lambda: agx_orin(root),
        "raspberry-pi-4": lambda: pi4(root, clock)[0],
        "raspberry-pi-5": lambda: pi5(root, clock)[0],
        "x86_64-linux": lambda: x86(root),
    }
    return hosts[name]()


NAMES = ["jetson-orin-nano", "jetson-agx-orin", "raspberry-pi-4", "raspberry-pi-5", "x86_64-linux"]


@pytest.mark.parametrize("name", NAMES)
def test_a_board_has_what_its_target_promises(tmp_path: Path, name: str) -> None:
    """If it fails, a target lists a sensor that is not read, or a unit is another than its kind has."""
    clock = Clock()
    present, absent = open_sensors(host=board(name, tmp_path, clock))
    target = yaml.safe_load((TARGETS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert {one["kind"] for one in target["sensors"]} <= set(present)
    assert set(present) | set(absent) == set(SENSORS)
    for kind, sensor in present.items():
        seen = []
        for _ in range(8):  # commands take turns
            clock.now_s += 1.0
            seen += sensor.read()
        assert {one.unit for one in seen} <= UNITS[kind]
        assert seen


def test_a_pi_4_says_that_it_has_no_power(tmp_path: Path) -> None:
    """If it fails, a board without a power sensor has 0 W, or no reason."""
    _, absent = open_sensors(host=pi4(tmp_path)[0])
    assert absent["energy"] == Absent("no power rails, tegrastats, RAPL energy counter or PMIC")


def test_nothing_there_is_no_sensor(tmp_path: Path) -> None:
    """If it fails, a device without sensors reports 0 W and 0 degrees."""
    present, absent = open_sensors(tmp_path)
    assert present == {}
    assert set(absent) == set(SENSORS)
    assert all(missing.reason.startswith("no ") for missing in absent.values())
    assert absent["frequency"].reason == "no cpufreq"


def test_what_may_not_be_read_is_told_before_what_is_not_there(tmp_path: Path) -> None:
    """If it fails, "needs root" drowns among sensors of other boards."""
    write(tmp_path / "sys/class/powercap/intel-rapl:0", name="package-0", max_energy_range_uj=9)
    _, absent = open_sensors(tmp_path)
    assert absent["energy"] == Absent("energy counter needs root", denied=True)


def test_every_part_of_a_board_may_vanish_while_it_is_read(tmp_path: Path) -> None:
    """If it fails, a driver that is unloaded during the run ends it."""
    present, _ = open_sensors(host=orin_nano(tmp_path))
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            path.unlink()
    assert all(sensor.read() == () for sensor in present.values())


def test_a_fake_tree_asks_no_program_of_this_machine(tmp_path: Path) -> None:
    """If it fails, the prefix of an emulated board shows this machine's sensors."""
    asked = Programs({})
    open_sensors(tmp_path, run=asked)
    assert {name for _, name in asked.started} >= {"vcgencmd get_throttled", "dumpsys thermalservice"}
    host = package.local_host(tmp_path)
    assert host.commands.run is None
    assert host.program("sh") is None
    assert package.local_host().commands.run is package.run_local


def test_only_the_kinds_that_are_asked_for_are_opened(tmp_path: Path) -> None:
    """If it fails, the screen starts the power program that only a measurement reads."""
    present, absent = open_sensors(host=pi5(tmp_path)[0], kinds=("temperature", "throttling"))
    assert set(present) == {"temperature", "throttling"}
    assert absent == {}


def test_the_first_source_that_opens_is_used(tmp_path: Path) -> None:
    """If it fails, a board with readable rails starts tegrastats beside them, or reads the rails of a chip."""
    orin_nano(tmp_path)
    host = Host(tmp_path, pi5(tmp_path)[0].commands)
    sensor = first_that_opens(SENSORS["energy"], host)
    assert not isinstance(sensor, Absent)
    assert sensor.read()[0].name == "module.VDD_IN"


def test_throttling_as_a_state_and_in_words(tmp_path: Path) -> None:
    """If it fails, a board that slows itself down says nothing, or an old event is told as now."""
    clock = Clock()
    host, programs = pi4(tmp_path, clock)
    present, _ = open_sensors(host=host, kinds=("throttling",))
    clock.now_s += 5
    assert slowed_now(present["throttling"].read()) is False  # 0x50000: it has occurred
    programs.answers["vcgencmd get_throttled"] = "throttled=0x50007\n"
    clock.now_s += 5
    told = present["throttling"].read()
    assert slowed_now(told) is True
    assert words(told[0].unit, told[0].value) == "under-voltage, frequency capped, throttled"
    assert slowed_now(()) is None
    assert (words("level", 3), words("level", 0), words("state", 2)) == (
        "thermal status severe",
        "",
        "processors cooled by 2 steps",
    )
    assert words("degC", 80) == ""


def test_under_voltage_alone_slows_nothing() -> None:
    """If it fails, a weak power supply is shown as heat."""
    assert slowed_now((package.Reading("throttling.now", "bits", 1.0),)) is False
    assert slowed_now((package.Reading("throttling.level", "level", 1.0),)) is True
    assert slowed_now((package.Reading("throttling.cooling", "state", 0.0),)) is False


def test_the_package_imports_little() -> None:
    """If it fails, reading a temperature loads the engine or half of the libraries."""
    code = "import edge.device.sensors, sys; print(*(m for m in ('numpy', 'yaml', 'pydantic') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", package.__all__)
def test_public_names(name: str) -> None:
    """If it fails, a name that others import is gone."""
    assert hasattr(package, name)
