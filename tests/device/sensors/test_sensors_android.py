"""Android: what dumpsys writes, the battery's current without guesses, and commands through adb."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_boards import BATTERY, MEMINFO, THERMAL, Clock, android

from edge.device.sensors import Absent, Commands, Host, adb_runner, open_sensors
from edge.device.sensors import android as droid


def test_battery_state() -> None:
    """If it fails, tenths of degrees, the scale of the level or the charger are misread."""
    state = droid.parse_battery(BATTERY)
    assert state == droid.AndroidBattery(87.0, 3870, 30.1, charging=False, powered=False)
    charging = droid.parse_battery(
        BATTERY.replace("status: 3", "status: 2").replace("USB powered: false", "USB powered: true")
    )
    assert charging is not None
    assert (charging.charging, charging.powered) == (True, True)
    half = droid.parse_battery(BATTERY.replace("scale: 100", "scale: 174"))
    assert half is not None
    assert half.charge_percent == 50.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Can't find service: battery\n",
        BATTERY.replace("present: true", "present: false"),
        BATTERY.replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n"),
    ],
)
def test_no_battery_and_values_set_by_hand(text: str) -> None:
    """If it fails, a tablet without battery, or one in a test stand, shows a made-up charge."""
    assert droid.parse_battery(text) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-905000\n", 905_000),
        ("905000", 905_000),
        ("-905", None),
        ("0", None),
        ("99999999", None),
        ("x", None),
        ("", None),
    ],
)
def test_current(text: str, wanted: int | None) -> None:
    """If it fails, a maker's mA pass for uA, and a tablet draws 3 mW."""
    assert droid.parse_current(text) == wanted


def test_power_only_off_the_charger() -> None:
    """If it fails, the charging current is taken for what the device draws."""
    state = droid.parse_battery(BATTERY)
    assert state is not None
    assert droid.battery_watts(state, 905_000) == pytest.approx(3.502, abs=0.001)
    assert droid.battery_watts(state, None) is None
    for changed in (
        BATTERY.replace("status: 3", "status: 2"),
        BATTERY.replace("AC powered: false", "AC powered: true"),
    ):
        plugged = droid.parse_battery(changed)
        assert plugged is not None
        assert droid.battery_watts(plugged, 905_000) is None


def test_thermal_service() -> None:
    """If it fails, old cached temperatures or -99.9 of a missing part are shown."""
    assert droid.parse_thermal(THERMAL) == droid.AndroidThermal(2, {"CPU0": 52.5, "SKIN": 33.61866})
    assert droid.parse_thermal("Can't find service: thermalservice") is None
    assert droid.parse_thermal("Thermal Status: 9\n") is None


def test_memory_of_an_app() -> None:
    """If it fails, kB are taken for bytes."""
    assert droid.parse_pss(MEMINFO) == 345678 * 1024
    assert droid.parse_pss("No process found for: org.example") is None
    asked: list[Sequence[str]] = []
    assert droid.pss_bytes(lambda argv: asked.append(argv) or MEMINFO, "org.example") == 345678 * 1024  # type: ignore[func-returns-value]
    assert asked == [("dumpsys", "meminfo", "org.example")]


PARSERS = st.sampled_from([droid.parse_battery, droid.parse_thermal, droid.parse_pss, droid.parse_current])
GOLDEN = st.sampled_from([BATTERY, THERMAL, MEMINFO])
MANGLED = st.builds(
    lambda text, at, put: text[: at % len(text)] + put + text[at % len(text) :], GOLDEN, st.integers(0), st.text()
)


@given(PARSERS, st.one_of(st.text(), MANGLED))
def test_garbage(parser: object, text: str) -> None:
    """If it fails, another maker's output ends the sampler."""
    parser(text)  # type: ignore[operator]


@given(st.text(), st.text())
def test_a_mangled_battery_has_no_impossible_values(before: str, after: str) -> None:
    """If it fails, garbage in a field becomes a charge or a power."""
    state = droid.parse_battery(BATTERY.replace("level: 87", f"level: {before}").replace("3870", after))
    if state is not None:
        assert state.charge_percent is None or 0 <= state.charge_percent <= 100
        assert state.millivolts is None or 2_500 <= state.millivolts <= 15_000


def test_a_tablet_behind_adb() -> None:
    """If it fails, sensors of a tablet cannot be read from the builder's machine."""
    clock = Clock()
    programs = android(clock)
    seen: list[Sequence[str]] = []

    def adb(argv: Sequence[str]) -> str | None:
        seen.append(argv)
        return programs(argv[4].split())

    commands = Commands(adb_runner("R52", adb), clock)
    present, absent = open_sensors(host=Host(Path("/nowhere"), commands))
    assert set(present) == {"temperature", "battery", "throttling"}
    assert absent["energy"].reason.startswith("no ")
    assert all(list(argv[:4]) == ["adb", "-s", "R52", "shell"] for argv in seen)
    told: dict[str, tuple[str, float]] = {}
    for _ in range(12):
        clock.now_s += 0.5
        for sensor in present.values():
            told |= {one.name: (one.unit, one.value) for one in sensor.read()}
    assert told["battery.android.power"] == ("W", pytest.approx(3.502, abs=0.001))
    assert told["battery.android.charge"] == ("%", 87.0)
    assert told["thermal.SKIN"] == ("degC", pytest.approx(33.6, abs=0.1))
    assert told["throttling.level"] == ("level", 2.0)


def test_a_current_that_nobody_may_read_is_no_power() -> None:
    """If it fails, a tablet that hides its current draws 0 W."""
    clock = Clock()
    programs = android(clock)
    programs.answers["cat /sys/class/power_supply/battery/current_now"] = None
    sensor = droid.open_battery(Host(Path("/nowhere"), Commands(programs, clock)))
    assert not isinstance(sensor, Absent)
    clock.now_s += 1
    assert [one.name for one in sensor.read()] == ["battery.android.charge", "battery.android.temperature"]
    clock.now_s += 1
    assert sensor.read() == ()


def test_an_old_charging_state_gives_no_power() -> None:
    """If it fails, power is told for a tablet that was put on its charger meanwhile."""
    clock = Clock()
    programs = android(clock)
    sensor = droid.open_battery(Host(Path("/nowhere"), Commands(programs, clock)))
    assert not isinstance(sensor, Absent)
    clock.now_s += 1
    sensor.read()
    clock.now_s += 1
    assert [one.name for one in sensor.read()] == ["battery.android.power"]
    programs.answers["dumpsys battery"] = None
    for _ in range(droid.STATE_S.__ceil__() + 2):
        clock.now_s += 1
        sensor.read()
    clock.now_s += 1
    assert sensor.read() == ()
