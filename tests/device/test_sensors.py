"""Sensors from fake trees: what is there is read, what is not there is "no sensor", never 0."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device.sensors import (
    SENSORS,
    Absent,
    EnergyCounter,
    Reading,
    SensorSampler,
    Series,
    energy_j,
    joules_between,
    open_sensors,
)


def write(root: Path, **files: object) -> Path:
    for name, value in files.items():
        path = root / name.replace("__", "/").replace("_COLON_", ":")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def rapl(root: Path, zone: str, name: str, energy: int, limit: int = 1000) -> Path:
    folder = root / "sys/class/powercap" / zone
    write(folder, name=name, energy_uj=energy, max_energy_range_uj=limit)
    return folder / "energy_uj"


def read(root: Path, name: str) -> dict[str, float]:
    sensor = SENSORS[name](root)
    assert not isinstance(sensor, Absent)
    return {reading.name: reading.value for reading in sensor.read()}


def test_nothing_there_is_no_sensor(tmp_path: Path) -> None:
    """If it fails, a device without sensors reports 0 W and 0 degrees."""
    present, absent = open_sensors(tmp_path)
    assert present == {}
    assert set(absent) == set(SENSORS)
    assert all(missing.reason for missing in absent.values())


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
    sensor = SENSORS["energy"](tmp_path)
    assert not isinstance(sensor, Absent)
    for path, value in ((first, 150), (second, 300), (core, 999), (psys, 999)):
        path.write_text(str(value))
    assert sensor.read() == (
        Reading("rapl.package-0", "J", pytest.approx(250 / 1e6)),
        Reading("rapl.package-1", "J", pytest.approx(200 / 1e6)),
    )


def test_rapl_that_may_not_be_read(tmp_path: Path) -> None:
    """If it fails, an unreadable counter is 0 J instead of "needs root"."""
    path = rapl(tmp_path, "intel-rapl:0", "package-0", 900)
    path.unlink()
    path.mkdir()  # root may read any file, so a folder stands in for one that cannot be read
    sensor = SENSORS["energy"](tmp_path)
    assert isinstance(sensor, Absent)
    assert "root" in sensor.reason


def test_a_counter_that_fails_once_is_left_out(tmp_path: Path) -> None:
    """If it fails, one failed read ends the run or makes a jump."""
    path = rapl(tmp_path, "intel-rapl:0", "package-0", 100)
    sensor = SENSORS["energy"](tmp_path)
    assert not isinstance(sensor, Absent)
    path.write_text("")
    assert sensor.read() == ()
    path.write_text("400")
    assert sensor.read()[0].value == pytest.approx(300 / 1e6)


def test_thermal_zones(tmp_path: Path) -> None:
    """If it fails, a powered-down zone shows -274 degrees or a faulty one stops all others."""
    zones = {0: ("cpu", "48300"), 1: ("gpu", "-274000"), 2: ("cpu", "51000"), 3: ("tj", ""), 4: ("soc", "0")}
    for number, (kind, value) in zones.items():
        write(tmp_path / f"sys/class/thermal/thermal_zone{number}", type=kind, temp=value)
    assert read(tmp_path, "temperature") == {"thermal.cpu": 48.3, "thermal.cpu.2": 51.0, "thermal.soc": 0.0}


def test_clocks(tmp_path: Path) -> None:
    """If it fails, one throttled core hides behind the others."""
    for cpu, clock in enumerate([2_400_000, 600_000]):
        write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq", scaling_cur_freq=clock)
    assert read(tmp_path, "frequency") == {"cpufreq.min": 600.0, "cpufreq.mean": 1500.0}


def battery(root: Path, **files: object) -> Path:
    return write(root / "sys/class/power_supply/BAT0", type="Battery", **files)


def test_battery_that_discharges(tmp_path: Path) -> None:
    """If it fails, a tablet's power is wrong by a sign or by a factor of a thousand."""
    battery(tmp_path, status="Discharging", capacity=81, temp=305, current_now=-900_000, voltage_now=3_850_000)
    told = read(tmp_path, "battery")
    assert told["battery.BAT0.power"] == pytest.approx(3.465)
    assert told["battery.BAT0.charge"] == 81
    assert told["battery.BAT0.temperature"] == 30.5


def test_battery_on_mains_has_no_power(tmp_path: Path) -> None:
    """If it fails, the charging current is taken for what the device draws."""
    battery(tmp_path, status="Charging", capacity=81, power_now=12_000_000)
    assert "battery.BAT0.power" not in read(tmp_path, "battery")


def test_battery_by_power_and_the_mouse(tmp_path: Path) -> None:
    """If it fails, a mouse's battery counts as the device's, or power_now is not read."""
    battery(tmp_path, status="Discharging", power_now=7_500_000)
    write(tmp_path / "sys/class/power_supply/mouse", type="Battery", scope="Device", capacity=5)
    write(tmp_path / "sys/class/power_supply/AC", type="Mains")
    assert read(tmp_path, "battery") == {"battery.BAT0.power": 7.5}


class Ramp:
    """A sensor that counts its readings."""

    def __init__(self) -> None:
        self.count = itertools.count()

    def read(self) -> tuple[Reading, ...]:
        return (Reading("ramp", "J", float(next(self.count))),)


def test_sampler_covers_its_context() -> None:
    """If it fails, the first or last part of a run has no samples."""
    clock = itertools.count(100)
    with SensorSampler({"r": Ramp()}, interval_s=0.001, clock=lambda: float(next(clock))) as sampler:
        while len(sampler.series()[0].values) < 3:
            pass
    (series,) = sampler.series()
    assert series.unit == "J"
    assert list(series.values) == [float(index) for index in range(len(series.values))]
    assert series.times_s[0] == 100.0
    assert list(series.times_s) == sorted(series.times_s)


def test_sampler_without_sensors_does_nothing() -> None:
    """If it fails, a device without sensors pays for a thread, or crashes."""
    with SensorSampler({}) as sampler:
        pass
    assert sampler.series() == ()


@given(st.floats(0.1, 50), st.floats(0.1, 9), st.floats(0.1, 9))
def test_energy_of_constant_power(watts: float, start: float, length: float) -> None:
    """If it fails, a counter and a power sensor of the same device disagree."""
    times = tuple(index * 0.5 for index in range(41))
    power = Series("p", "W", times, tuple(watts for _ in times))
    counter = Series("c", "J", times, tuple(watts * time_s for time_s in times))
    wanted = pytest.approx(watts * length)
    assert joules_between(power, start, start + length) == wanted
    assert joules_between(counter, start, start + length) == wanted


def test_energy_outside_the_samples_is_unknown() -> None:
    """If it fails, energy is guessed for a time without samples."""
    series = Series("c", "J", (1.0, 2.0), (0.0, 5.0))
    assert joules_between(series, 0.5, 1.5) is None
    assert joules_between(series, 1.5, 2.5) is None
    assert joules_between(series, 1.5, 1.5) is None
    assert joules_between(Series("t", "degC", (1.0, 2.0), (1.0, 1.0)), 1.0, 2.0) is None
    assert joules_between(Series("c", "J", (1.0,), (1.0,)), 1.0, 1.0) is None


def test_counters_before_batteries_and_sockets_add_up() -> None:
    """If it fails, package and battery energy are added, or the second socket is free."""
    first = Series("rapl.package-0", "J", (0.0, 10.0), (0.0, 100.0))
    second = Series("rapl.package-1", "J", (0.0, 10.0), (0.0, 50.0))
    drain = Series("battery.BAT0.power", "W", (0.0, 10.0), (40.0, 40.0))
    assert energy_j((first, second, drain), 0.0, 10.0) == (150.0, "rapl.package-0+rapl.package-1")
    assert energy_j((drain,), 0.0, 10.0) == (400.0, "battery.BAT0.power")
    assert energy_j((), 0.0, 10.0) is None
