"""Energy of an interval from samples, from the best source that covers it. Pure.

Sources in order: the input of the whole module, then its supply rails, then package counters, then the rails of a power
management chip, then batteries. Nothing is guessed: an interval that the samples do not reach over, or in which power
was not read for more than LONGEST_GAP_S, has no energy.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from edge.device.sensors.sampler import Series

LONGEST_GAP_S = 5.0


@dataclass(frozen=True)
class EnergySource:
    """Series whose name begins and ends so are summed. leaves_out: what of the device they do not measure."""

    begins: str
    unit: str
    leaves_out: str
    ends: str = ""

    def has(self, series: Series) -> bool:
        """Whether a series is one of this source."""
        return series.unit == self.unit and series.name.startswith(self.begins) and series.name.endswith(self.ends)


SOURCES = (
    EnergySource("module.VDD_IN", "W", "the carrier board, display and USB devices"),
    EnergySource("module.", "W", "the carrier board, display and USB devices"),
    EnergySource("rapl.package", "J", "memory modules, disks, display and the power supply's losses"),
    EnergySource("pmic.rails", "W", "what hangs on the 5 V (USB, fan, display) and the converters' losses"),
    EnergySource("battery.", "W", "the charger's losses", ends=".power"),
)


@dataclass(frozen=True)
class MeasuredEnergy:
    """Joules of an interval.

    source: the sensors they come from, joined by "+". leaves_out: what of the device they do not measure.
    """

    joules: float
    source: str
    leaves_out: str


def _value_at(series: Series, time_s: float) -> float:
    """Linear interpolation inside the series; the caller has checked the range."""
    for index in range(1, len(series.times_s)):
        before, after = series.times_s[index - 1], series.times_s[index]
        if time_s <= after:
            share = (time_s - before) / (after - before) if after > before else 0.0
            return series.values[index - 1] + share * (series.values[index] - series.values[index - 1])
    return series.values[-1]


def _longest_gap_s(series: Series, start_s: float, end_s: float) -> float:
    """The longest time between two samples that lies, in part, in the interval."""
    steps = itertools.pairwise(series.times_s)
    return max((after - before for before, after in steps if before < end_s and after > start_s), default=0.0)


def joules_between(series: Series, start_s: float, end_s: float) -> float | None:
    """Energy of an interval from one series: a difference of a counter ("J") or an integral of power ("W").

    None when the series does not cover the interval, has a long gap in it (power only), or is neither.
    """
    covers = len(series.times_s) >= 2 and series.times_s[0] <= start_s < end_s <= series.times_s[-1]
    if not covers or series.unit not in ("J", "W"):
        return None
    first, last = _value_at(series, start_s), _value_at(series, end_s)
    if series.unit == "J":
        return last - first
    if _longest_gap_s(series, start_s, end_s) > LONGEST_GAP_S:
        return None
    inside = [(t, v) for t, v in zip(series.times_s, series.values, strict=True) if start_s < t < end_s]
    points = [(start_s, first), *inside, (end_s, last)]
    return sum((t1 - t0) * (v0 + v1) / 2 for (t0, v0), (t1, v1) in itertools.pairwise(points))


def samples_between(series: Series, start_s: float, end_s: float) -> int:
    """How many samples lie inside an interval."""
    return sum(start_s < time_s < end_s for time_s in series.times_s)


def measured_energy(
    series: tuple[Series, ...], start_s: float, end_s: float, *, least_samples: int = 0
) -> MeasuredEnergy | None:
    """Joules of the device in an interval, from the first of SOURCES whose series all cover it; None without one.

    All of them: one of two sockets is no energy of the device. least_samples: a shorter interval has no energy either,
    because its ends are interpolated.
    """
    for source in SOURCES:
        parts = {one.name: one for one in series if source.has(one)}
        joules = [joules_between(one, start_s, end_s) for one in parts.values()]
        known = [value for value in joules if value is not None]
        enough = all(samples_between(one, start_s, end_s) >= least_samples for one in parts.values())
        if parts and enough and len(known) == len(joules):
            return MeasuredEnergy(sum(known), "+".join(sorted(parts)), source.leaves_out)
    return None


def energy_j(series: tuple[Series, ...], start_s: float, end_s: float) -> tuple[float, str] | None:
    """Joules of the device in an interval and the sensors they come from; None without an energy sensor."""
    found = measured_energy(series, start_s, end_s)
    return None if found is None else (found.joules, found.source)
