"""A thread that reads sensors at an interval, and the series that it makes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.device.sensors.base import Sensor


@dataclass(frozen=True)
class Series:
    """Samples of one reading. times_s: monotonic clock, ascending; values: in `unit`; both [n]."""

    name: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]


def close_sensors(sensors: Mapping[str, Sensor]) -> None:
    """End the programs that sensors run."""
    for sensor in sensors.values():
        close = getattr(sensor, "close", None)
        if close is not None:
            close()


class SensorSampler:
    """A thread that reads sensors at an interval; a context manager. At its end the sensors are closed.

    Parameters
    ----------
    sensors: as `open_sensors` gives them; may be empty, then no thread runs.
    interval_s: seconds between rounds.
    clock: monotonic seconds, injectable.
    """

    def __init__(
        self,
        sensors: Mapping[str, Sensor],
        *,
        interval_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sensors = dict(sensors)
        self._interval_s = interval_s
        self._clock = clock
        self._stop = threading.Event()
        self._samples: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self._thread = threading.Thread(target=self._run, name="edge-sensors", daemon=True)

    def sample(self) -> None:
        """Read every sensor once. One that fails, and a value that is no number, is left out of this round."""
        for sensor in self._sensors.values():
            try:
                readings = sensor.read()
            except (OSError, ValueError, ArithmeticError, LookupError):
                continue
            now_s = self._clock()
            for reading in readings:
                if math.isfinite(reading.value):
                    self._samples.setdefault((reading.name, reading.unit), []).append((now_s, reading.value))

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.sample()

    def __enter__(self) -> SensorSampler:
        if self._sensors:
            self.sample()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._sensors:
            self._stop.set()
            self._thread.join()
            self.sample()
            close_sensors(self._sensors)

    def series(self) -> tuple[Series, ...]:
        """All samples so far, by name. Call after the sampler has stopped."""
        return tuple(
            Series(name, unit, tuple(t for t, _ in samples), tuple(v for _, v in samples))
            for (name, unit), samples in sorted(self._samples.items())
        )
