"""Sensors that are files on any board: what is there is read, what is not there is no sensor, never 0."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_boards import clocks, write, zone

from edge.device.sensors import Absent, EnergyCounter, Host, Reading
from edge.device.sensors.base import Opener
from edge.device.sensors.sysfs import open_battery, open_cooling, open_frequency, open_rapl, open_thermal


def rapl(root: Path, folder: str, name: str, energy: int, limit: int = 1000) -> Path:
    path = write(root / "sys/class/powercap" / folder, name=name, energy_uj=energy, max_energy_range_uj=limit)
    return path / "energy_uj"


def read(opener: Opener, root: Path) -> dict[str, float]:
    sensor = opener(Host(root))
    assert not isinstance(sensor, Absent)
    return {reading.name: reading.value for reading in sensor.read()}


@given(st.integers(2, 10**9), st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_energy_counter_survives_its_wrap(limit: int, steps: list[int]) -> None:
    """If it fails, a run over a wrap costs negative energy, or 262 kJ."""
    steps = [step % limit for step in steps]
    counter = EnergyCounter(limit)
    counter.add(limit - 1)
    total, joules = 0, 0.0
    for step in steps:
        total += step
        joules = counter.add((limit - 1 + total) % limit)
    assert joules == pytest.approx(total / 1e6)


def test_rapl_counts_packages_once(tmp_path: Path) -> None:
    """If it fails, cores, uncore and psys are added to the package that already holds them."""
    first = rapl(tmp_path, "intel-rapl:0", "package-0", 900)
    second = rapl(tmp_path, "intel-rapl:1", "package-1", 100)
    core = rapl(tmp_path, "intel-rapl:0:0", "core", 50)
    psys = rapl(tmp_path, "intel-rapl:2", "psys", 5)
    sensor = open_rapl(Host(tmp_path))
    assert not isinstance(sensor, Absent)
    for path, value in ((first, 150), (second, 300), (core, 999), (psys, 999)):
        path.write_text(str(value))
    assert sensor.read() == (
        Reading("rapl.package-0", "J", pytest.approx(250 / 1e6)),
        Reading("rapl.package-1", "J", pytest.approx(200 / 1e6)),
    )


@pytest.mark.parametrize("readable", [False, True])
def test_rapl_that_may_not_be_read(tmp_path: Path, readable: bool) -> None:
    """If it fails, an unreadable counter is 0 J instead of "needs root", or one socket of two passes for both."""
    if readable:
        rapl(tmp_path, "intel-rapl:1", "package-1", 100)
    path = rapl(tmp_path, "intel-rapl:0", "package-0", 900)
    path.unlink()
    path.mkdir()  # root may read any file, so a folder stands in for one that cannot be read
    assert open_rapl(Host(tmp_path)) == Absent("energy counter needs root", denied=True)


def test_a_counter_that_fails_once_is_left_out(tmp_path: Path) -> None:
    """If it fails, one failed read ends the run or makes a jump."""
    path = rapl(tmp_path, "intel-rapl:0", "package-0", 100)
    sensor = open_rapl(Host(tmp_path))
    assert not isinstance(sensor, Absent)
    for garbage in ("", "-5", "1001", "9" * 400, "x"):
        path.write_text(garbage)
        assert sensor.read() == ()
    path.unlink()
    assert sensor.read() == ()
    path.write_text("400")
    assert sensor.read()[0].value == pytest.approx(300 / 1e6)


def test_thermal_zones(tmp_path: Path) -> None:
    """If it fails, a powered-down zone shows -274 degrees or a faulty one stops all others."""
    zones = {0: ("cpu", "48300"), 1: ("gpu", "-274000"), 2: ("cpu", "51000"), 3: ("tj", ""), 4: ("soc", "0")}
    for number, (kind, value) in zones.items():
        zone(tmp_path, number, kind, value)
    assert read(open_thermal, tmp_path) == {"thermal.cpu": 48.3, "thermal.cpu.2": 51.0, "thermal.soc": 0.0}


def test_zones_below_devices(tmp_path: Path) -> None:
    """If it fails, a tree that has the zones only where the kernel keeps them has no temperature."""
    write(tmp_path / "sys/devices/virtual/thermal/thermal_zone0", type="tj-thermal", temp=45968)
    assert read(open_thermal, tmp_path) == {"thermal.tj-thermal": 45.968}


def test_zones_that_do_not_read_are_told_apart_from_none(tmp_path: Path) -> None:
    """If it fails, a board whose zones are closed to us looks like one without any."""
    assert open_thermal(Host(tmp_path)) == Absent("no thermal zone")
    zone(tmp_path, 0, "cpu", "9" * 5000)
    assert open_thermal(Host(tmp_path)) == Absent("thermal zones that do not read", denied=True)


def test_clocks(tmp_path: Path) -> None:
    """If it fails, one throttled core hides behind the others."""
    clocks(tmp_path, 2_400_000, 600_000)
    assert read(open_frequency, tmp_path) == {"cpufreq.min": 600.0, "cpufreq.mean": 1500.0}


def battery(root: Path, **files: object) -> Path:
    return write(root / "sys/class/power_supply/BAT0", type="Battery", **files)


def test_battery_that_discharges(tmp_path: Path) -> None:
    """If it fails, a tablet's power is wrong by a sign or by a factor of a thousand."""
    battery(tmp_path, status="Discharging", capacity=81, temp=305, current_now=-900_000, voltage_now=3_850_000)
    told = read(open_battery, tmp_path)
    assert told["battery.BAT0.power"] == pytest.approx(3.465)
    assert told["battery.BAT0.charge"] == 81
    assert told["battery.BAT0.temperature"] == 30.5


def test_battery_on_mains_has_no_power(tmp_path: Path) -> None:
    """If it fails, the charging current is taken for what the device draws."""
    battery(tmp_path, status="Charging", capacity=81, power_now=12_000_000)
    assert "battery.BAT0.power" not in read(open_battery, tmp_path)


def test_battery_by_power_and_the_mouse(tmp_path: Path) -> None:
    """If it fails, a mouse's battery counts as the device's, or power_now is not read."""
    battery(tmp_path, status="Discharging", power_now=7_500_000)
    write(tmp_path / "sys/class/power_supply/mouse", type="Battery", scope="Device", capacity=5)
    write(tmp_path / "sys/class/power_supply/AC", type="Mains")
    assert read(open_battery, tmp_path) == {"battery.BAT0.power": 7.5}


def test_only_processors_that_are_cooled_count_as_throttling(tmp_path: Path) -> None:
    """If it fails, a running fan is called throttling, or a capped processor is not."""
    write(tmp_path / "sys/class/thermal/cooling_device0", type="pwm-fan", cur_state=3)
    assert isinstance(open_cooling(Host(tmp_path)), Absent)
    write(tmp_path / "sys/class/thermal/cooling_device1", type="cpufreq-cpu0", cur_state=0)
    write(tmp_path / "sys/class/thermal/cooling_device2", type="cpufreq-cpu4", cur_state=2)
    assert read(open_cooling, tmp_path) == {"throttling.cooling": 2.0}


FILES = [
    ("sys/class/thermal/thermal_zone0", "temp", open_thermal),
    ("sys/devices/system/cpu/cpu0/cpufreq", "scaling_cur_freq", open_frequency),
    ("sys/class/powercap/intel-rapl:0", "energy_uj", open_rapl),
    ("sys/class/power_supply/BAT0", "power_now", open_battery),
    ("sys/class/thermal/cooling_device0", "cur_state", open_cooling),
]


@given(st.sampled_from(FILES), st.one_of(st.binary(max_size=60), st.integers().map(lambda one: str(one).encode())))
def test_garbage_in_a_file(
    tmp_path_factory: pytest.TempPathFactory, where: tuple[str, str, Opener], raw: bytes
) -> None:
    """If it fails, a driver that writes nonsense stops the whole measurement, or makes a number of it."""
    folder, name, opener = where
    root = tmp_path_factory.mktemp("tree")
    write(root / folder, type="Battery" if "BAT" in folder else "cpufreq-x", name="package-0", status="Discharging")
    write(root / folder, max_energy_range_uj=1000, **{name: 5})
    sensor = opener(Host(root))
    assert not isinstance(sensor, Absent)
    (root / folder / name).write_bytes(raw)
    assert all(abs(reading.value) <= 20_000 for reading in sensor.read())
    (root / folder / name).unlink()
    assert sensor.read() == ()
