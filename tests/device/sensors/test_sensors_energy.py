"""Energy from samples: the laws of integration, the order of the sources, and nothing that nobody measured."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device.sensors import Series, energy_j, joules_between, measured_energy
from edge.device.sensors.energy import LONGEST_GAP_S

STEPS = st.lists(st.tuples(st.floats(0.01, LONGEST_GAP_S - 0.1), st.floats(0, 100)), min_size=3, max_size=30)


def series_of(unit: str, steps: list[tuple[float, float]], start_s: float = 50.0) -> Series:
    """A series from (seconds since the last sample, value)."""
    times = tuple(itertools.accumulate((step for step, _ in steps), initial=start_s))[1:]
    return Series("module.VDD_IN", unit, times, tuple(value for _, value in steps))


@given(st.floats(0.1, 50), st.floats(0.1, 9), st.floats(0.1, 9))
def test_energy_of_constant_power(watts: float, start: float, length: float) -> None:
    """If it fails, a counter and a power sensor of the same device disagree."""
    times = tuple(index * 0.5 for index in range(41))
    power = Series("p", "W", times, tuple(watts for _ in times))
    counter = Series("c", "J", times, tuple(watts * time_s for time_s in times))
    wanted = pytest.approx(watts * length)
    assert joules_between(power, start, start + length) == wanted
    assert joules_between(counter, start, start + length) == wanted


@given(st.sampled_from(["J", "W"]), STEPS, st.tuples(*[st.floats(0, 1)] * 3))
def test_energy_adds_up_over_intervals(unit: str, steps: list[tuple[float, float]], shares: tuple[float, ...]) -> None:
    """If it fails, the energy of a run is not that of its parts."""
    series = series_of(unit, steps)
    span_s = series.times_s[-1] - series.times_s[0]
    first, middle, last = sorted(series.times_s[0] + share * span_s for share in shares)
    if not first < middle < last <= series.times_s[-1]:
        return
    whole = joules_between(series, first, last)
    one, other = joules_between(series, first, middle), joules_between(series, middle, last)
    assert whole is not None
    assert one is not None
    assert other is not None
    assert one + other == pytest.approx(whole, abs=1e-6, rel=1e-6)
    if unit == "W":
        low, high = min(series.values), max(series.values)
        assert low * (last - first) - 1e-6 <= whole <= high * (last - first) + 1e-6


@given(STEPS, st.floats(0.1, 10))
def test_twice_the_power_is_twice_the_energy(steps: list[tuple[float, float]], factor: float) -> None:
    """If it fails, the integral is not linear."""
    series = series_of("W", steps)
    more = Series(series.name, "W", series.times_s, tuple(factor * value for value in series.values))
    start_s, end_s = series.times_s[0], series.times_s[-1]
    assert joules_between(more, start_s, end_s) == pytest.approx(factor * (joules_between(series, start_s, end_s) or 0))


def test_energy_outside_the_samples_is_unknown() -> None:
    """If it fails, energy is guessed for a time without samples."""
    series = Series("c", "J", (1.0, 2.0), (0.0, 5.0))
    assert joules_between(series, 0.5, 1.5) is None
    assert joules_between(series, 1.5, 2.5) is None
    assert joules_between(series, 1.5, 1.5) is None
    assert joules_between(Series("t", "degC", (1.0, 2.0), (1.0, 1.0)), 1.0, 2.0) is None
    assert joules_between(Series("c", "J", (1.0,), (1.0,)), 1.0, 1.0) is None


def test_a_long_gap_has_no_energy() -> None:
    """If it fails, a sensor that hung for half of the run gives the energy of the other half twice."""
    power = Series("module.VDD_IN", "W", (0.0, 1.0, 2.0, 30.0, 31.0), (5.0,) * 5)
    assert joules_between(power, 0.0, 2.0) == 10.0
    assert joules_between(power, 30.0, 31.0) == 5.0
    assert joules_between(power, 1.0, 31.0) is None
    counter = Series("rapl.package-0", "J", power.times_s, (0.0, 5.0, 10.0, 150.0, 155.0))
    assert joules_between(counter, 1.0, 31.0) == 150.0  # a counter counts while nobody looks


TIMES = tuple(float(second) for second in range(11))


def constant(name: str, watts: float) -> Series:
    return Series(name, "W", TIMES, (watts,) * len(TIMES))


def counter(name: str, watts: float) -> Series:
    return Series(name, "J", TIMES, tuple(watts * time_s for time_s in TIMES))


MODULE = constant("module.VDD_IN", 5.0)
SOCKETS = (counter("rapl.package-0", 10.0), counter("rapl.package-1", 5.0))
PMIC = constant("pmic.rails", 2.0)
BATTERY = constant("battery.BAT0.power", 40.0)


def test_the_best_source_is_used_and_sockets_add_up() -> None:
    """If it fails, package and battery energy are added, the second socket is free, or a part beats the whole."""
    parts = (constant("rail.VDD_SOC", 1.8), constant("rail.VDD_IN", 5.0))
    assert energy_j((BATTERY, *SOCKETS, PMIC, MODULE, *parts), 0.0, 10.0) == (50.0, "module.VDD_IN")
    assert energy_j((BATTERY, *SOCKETS, PMIC), 0.0, 10.0) == (150.0, "rapl.package-0+rapl.package-1")
    assert energy_j((BATTERY, PMIC), 0.0, 10.0) == (20.0, "pmic.rails")
    assert energy_j((BATTERY,), 0.0, 10.0) == (400.0, "battery.BAT0.power")
    assert energy_j(parts, 0.0, 10.0) is None
    assert energy_j((), 0.0, 10.0) is None


def test_every_source_says_what_it_leaves_out() -> None:
    """If it fails, the rails of a Pi pass for all that it draws."""
    for one, words in ((MODULE, "carrier board"), (SOCKETS[0], "memory modules"), (PMIC, "5 V"), (BATTERY, "charger")):
        found = measured_energy((one,), 0.0, 10.0)
        assert found is not None
        assert words in found.leaves_out


def test_one_socket_of_two_is_no_energy() -> None:
    """If it fails, a counter that vanished halves the energy."""
    cut = Series("rapl.package-1", "J", TIMES[:5], SOCKETS[1].values[:5])
    assert energy_j((SOCKETS[0], cut), 0.0, 10.0) is None
    assert energy_j((SOCKETS[0], cut, BATTERY), 0.0, 10.0) == (400.0, "battery.BAT0.power")


def test_too_short_for_the_sensor() -> None:
    """If it fails, a second of work has the energy of its neighbours."""
    assert measured_energy((MODULE,), 0.5, 5.5, least_samples=4) is not None
    assert measured_energy((MODULE,), 0.5, 3.5, least_samples=4) is None
