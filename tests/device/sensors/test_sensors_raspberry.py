"""vcgencmd: the lines that real boards write, and everything else left out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_boards import PMIC, TEMPERATURE, THROTTLED, Clock, pi4, pi5

from edge.device.sensors import Absent, Commands, Host
from edge.device.sensors import raspberry as pi

RAILS = ("3V7_WL_SW", "3V3_SYS", "1V8_SYS", "DDR_VDD2", "DDR_VDDQ", "1V1_SYS", "0V8_SW", "VDD_CORE")


def test_throttle_bits() -> None:
    """If it fails, "has occurred" is told as now, or a bit has another's name."""
    bits = pi.parse_throttled(THROTTLED)
    assert bits == 0x50000
    assert pi.throttling(bits) == pi.Throttling(now=(), occurred=("under-voltage", "throttled"))
    assert pi.throttling(0x5) == pi.Throttling(now=("under-voltage", "throttled"), occurred=())
    assert pi.throttle_names(0xF) == pi.THROTTLE_BITS
    assert pi.throttle_names(0) == ()


@given(st.integers(0, 0xFFFFF))
def test_every_bit_pattern_is_kept(bits: int) -> None:
    """If it fails, a combination of bits is read as another."""
    told = pi.throttling(pi.parse_throttled(f"throttled={bits:#x}\n") or 0)
    back = sum(1 << index for index, name in enumerate(pi.THROTTLE_BITS) if name in told.now)
    back |= sum(1 << index + 16 for index, name in enumerate(pi.THROTTLE_BITS) if name in told.occurred)
    assert back == bits & 0xF000F


def test_temperature() -> None:
    """If it fails, the firmware's temperature is misread."""
    assert pi.parse_temperature(TEMPERATURE) == 48.3
    assert pi.parse_temperature("temp=-5'C") == -5
    assert pi.parse_temperature("temp=999.0'C") is None


def test_pmic_pairs() -> None:
    """If it fails, a rail with a voltage alone (5 V input, clock battery) is power, or pairs are mixed up."""
    rails = pi.parse_pmic(PMIC)
    assert len(rails) == 12
    assert {"EXT5V", "BATT"}.isdisjoint(rails)
    assert set(RAILS) < set(rails)
    assert rails["VDD_CORE"] == pytest.approx(0.94657990 * 0.72097620)
    assert rails["DDR_VDDQ"] == 0.0
    assert sum(rails.values()) == pytest.approx(2.0171, abs=0.0001)


PARSERS = st.sampled_from([pi.parse_throttled, pi.parse_temperature, pi.parse_pmic])
GOLDEN = st.sampled_from([THROTTLED, TEMPERATURE, PMIC])
MANGLED = st.builds(
    lambda text, at, put: text[: at % len(text)] + put + text[at % len(text) :], GOLDEN, st.integers(0), st.text()
)


@given(PARSERS, st.one_of(st.text(), MANGLED))
def test_garbage(parser: object, text: str) -> None:
    """If it fails, a firmware's error line ends the sampler, or is taken for a number."""
    found = parser(text)  # type: ignore[operator]
    values = found.values() if isinstance(found, dict) else [found]
    assert all(value is None or -40 <= value < 1 << 32 for value in values)


@pytest.mark.parametrize("text", ["", 'error=1 error_msg="Command not registered"\n', "throttled=", "throttled=0xZZ"])
def test_errors_of_the_firmware(text: str) -> None:
    """If it fails, a board without a command has a sensor for it."""
    assert pi.parse_throttled(text) is None
    assert pi.parse_temperature(text) is None
    assert pi.parse_pmic(text) == {}


def test_a_round_with_a_rail_missing_is_left_out(tmp_path: Path) -> None:
    """If it fails, a cut answer looks like a board that needs less."""
    clock = Clock()
    host, programs = pi5(tmp_path, clock)
    sensor = pi.open_pmic(host)
    assert not isinstance(sensor, Absent)
    clock.now_s += 1
    assert [one.name for one in sensor.read()] == ["pmic.rails", "rail.VDD_CORE"]
    programs.answers["vcgencmd pmic_read_adc"] = PMIC.replace("1V1_SYS_A", "XXX")
    clock.now_s += 1
    assert sensor.read() == ()


def test_a_pi_4_has_no_power_and_a_pc_no_firmware(tmp_path: Path) -> None:
    """If it fails, a board without the chip has 0 W."""
    host, _ = pi4(tmp_path)
    assert pi.open_pmic(host) == Absent("no PMIC")
    pc = Host(tmp_path, Commands(lambda _argv: None))
    for opener in (pi.open_pmic, pi.open_temperature, pi.open_throttled):
        assert isinstance(opener(pc), Absent)


def test_readings_in_time(tmp_path: Path) -> None:
    """If it fails, throttle bits or the firmware's temperature are not given."""
    clock = Clock()
    host, _ = pi4(tmp_path, clock)
    throttled, temperature = pi.open_throttled(host), pi.open_temperature(host)
    assert not isinstance(throttled, Absent)
    assert not isinstance(temperature, Absent)
    clock.now_s += 1
    assert {one.name: (one.unit, one.value) for one in throttled.read()} == {
        "throttling.now": ("bits", 0.0),
        "throttling.since_start": ("bits", 5.0),
    }
    clock.now_s += 1
    assert [(one.unit, one.value) for one in temperature.read()] == [("degC", 48.3)]
