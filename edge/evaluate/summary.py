"""From scores of single cases to the figures of a suite, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge.evaluate.statistics import bootstrap, median_of, quartiles, wilson

Kind = Literal["mean", "share", "median", "total"]
Better = Literal["higher", "lower", "zero", "none"]
Scores = Mapping[str, float | None]
RESAMPLES = 2000


@dataclass(frozen=True)
class Metric:
    """One figure of a suite.

    kind: mean (bootstrap interval), share of cases (Wilson), median (bootstrap interval and quartiles) or total.
    better: which way is better; zero: nearer to 0. unit: what follows the number ("" for 0 to 1 scores).
    """

    name: str
    title: str
    kind: Kind
    better: Better
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A metric over all cases. value None: not measured, and reason says why. count: cases that had a value."""

    name: str
    title: str
    kind: Kind
    better: Better
    unit: str
    value: float | None
    low: float | None
    high: float | None
    count: int
    quartile_1: float | None = None
    quartile_3: float | None = None
    reason: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def summarise(metrics: Sequence[Metric], rows: Sequence[Scores], reasons: Mapping[str, str]) -> list[Figure]:
    """The figures of all metrics. reasons: why a metric has no value, by name."""
    return [figure(metric, rows, reasons.get(metric.name, "")) for metric in metrics]


def figure(metric: Metric, rows: Sequence[Scores], reason: str = "") -> Figure:
    """One metric over the cases that have it."""
    values = [float(value) for row in rows if (value := row.get(metric.name)) is not None]
    shown = (metric.name, metric.title, metric.kind, metric.better, metric.unit)
    if not values:
        return Figure(*shown, None, None, None, 0, reason=reason or "no case has it", note=metric.note)
    if metric.kind == "total":
        return Figure(*shown, sum(values), None, None, len(values), note=metric.note)
    if metric.kind == "share":
        share = wilson(sum(1 for value in values if value >= 0.5), len(values))
        return Figure(*shown, share.estimate, share.low, share.high, share.count, note=metric.note)
    over = median_of if metric.kind == "median" else None
    found = bootstrap(values, over, resamples=RESAMPLES)
    first, _, third = quartiles(values)
    low, high = (first, third) if metric.kind == "median" else (None, None)
    return Figure(*shown, found.estimate, found.low, found.high, found.count, low, high, note=metric.note)
