"""The sampler: covers its context, outlives a sensor that fails, ends the programs of sensors."""

import itertools

import pytest

from edge.device.sensors import Reading, Sensor, SensorSampler


class Ramp:
    """A sensor that counts its readings."""

    def __init__(self) -> None:
        self.count = itertools.count()
        self.closed = False

    def read(self) -> tuple[Reading, ...]:
        return (Reading("ramp", "J", float(next(self.count))),)

    def close(self) -> None:
        self.closed = True


class Broken:
    """Fails in another way at each reading."""

    def __init__(self) -> None:
        self.errors = itertools.cycle([OSError("gone"), ValueError("garbage"), OverflowError("huge"), KeyError("x")])

    def read(self) -> tuple[Reading, ...]:
        raise next(self.errors)


class Odd:
    """Gives values that are no numbers."""

    def read(self) -> tuple[Reading, ...]:
        return (Reading("odd", "W", float("nan")), Reading("odd", "W", float("inf")), Reading("even", "W", 2.0))


def sample(sensors: dict[str, Sensor]) -> SensorSampler:
    clock = itertools.count(100)
    with SensorSampler(sensors, interval_s=0.001, clock=lambda: float(next(clock))) as sampler:
        while len([one for one in sampler.series() if one.name == "ramp" and len(one.values) >= 6]) < 1:
            pass
    return sampler


def test_sampler_covers_its_context() -> None:
    """If it fails, the first or last part of a run has no samples."""
    (series,) = sample({"r": Ramp()}).series()
    assert series.unit == "J"
    assert list(series.values) == [float(index) for index in range(len(series.values))]
    assert series.times_s[0] == 100.0
    assert list(series.times_s) == sorted(series.times_s)


def test_sampler_without_sensors_does_nothing() -> None:
    """If it fails, a device without sensors pays for a thread, or crashes."""
    with SensorSampler({}) as sampler:
        pass
    assert sampler.series() == ()


@pytest.mark.parametrize("first", [True, False])
def test_a_sensor_that_fails_stops_no_other(first: bool) -> None:
    """If it fails, one broken sensor ends all sampling in silence, or NaN gets into a result."""
    ramp = Ramp()
    pairs: list[tuple[str, Sensor]] = [("broken", Broken()), ("odd", Odd()), ("ramp", ramp)]
    series = {one.name: one for one in sample(dict(pairs if first else reversed(pairs))).series()}
    assert set(series) == {"ramp", "even"}
    assert len(series["even"].values) == len(series["ramp"].values)
    assert ramp.closed
