"""Distributions of what devices measured, by target and build, and the change between two builds. Pure.

One device is one point: the median of its newest results on that build. Results of emulated devices are counted and
left out: an emulator has no clock. A time to first token belongs to a prompt length and a decode speed to a context
length; within a group only the length that most results have is shown, and the others are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge.fleet.page.checks import check_lines, limit_of
from edge.fleet.page.queries import FleetRows, Measured, Row, shown_builds
from edge.fleet.page.statistics import Change, compare, median, summary

POINTS = 240


@dataclass(frozen=True)
class Metric:
    """A column of results. at: the column with the length it was measured at; check: whose limit is its budget.

    ratio: a change is told in per cent; False: as a difference in its unit (a temperature has no zero to divide by).
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    at: str = ""
    at_words: str = ""
    check: str = ""
    ratio: bool = True


METRICS = (
    Metric("ttft_ms", "Time to first token", "ms", False, "ttft_prompt_tokens", "prompt tokens", "ttft_ms_max"),
    Metric(
        "decode_tokens_per_s",
        "Decode",
        "tok/s",
        True,
        "decode_context_tokens",
        "tokens read",
        "decode_tokens_per_s_min",
    ),
    Metric("floor_ratio", "Sustained floor", "share", True, check="sustained"),
    Metric("temperature_highest_celsius", "Highest temperature", "°C", False, ratio=False),
    Metric("tpot_p95_ms", "Slow tokens (p95)", "ms", False, "decode_context_tokens", "tokens read"),
    Metric("peak_rss_bytes", "Peak memory", "bytes", False, check="peak_rss_bytes_max"),
    Metric("energy_j_per_token", "Energy a token", "J", False),
)
CHARTED = METRICS[:6]


def targets(rows: FleetRows) -> list[dict[str, Any]]:
    """One entry for each profile on each target: its shown builds, newest first, with a distribution per metric."""
    names = {row["bundle_digest"]: row["release"] for row in rows.releases}
    by_build = _by_build(rows)
    limits = _limits(rows.builds)
    heard = Counter((build["target"], build["profile"]) for build in rows.builds)
    found = []
    for kept in targets_of(rows):
        target, profile = kept[0]["target"], kept[0]["profile"]
        results = {build["bundle_digest"]: by_build.get(build["bundle_digest"], []) for build in kept}
        real = {digest: [one for one in ones if not one.emulated] for digest, ones in results.items()}
        found.append(
            {
                "target": target,
                "profile": profile,
                "older_builds": heard[target, profile] - len(kept),
                "emulated_left_out": sum(len(results[digest]) - len(real[digest]) for digest in results),
                "builds": [_build(build, names) for build in kept],
                "metrics": [_distribution(metric, real, limits) for metric in CHARTED],
            }
        )
    return found


def changes(rows: FleetRows, old: str = "", new: str = "") -> list[dict[str, Any]]:
    """For each profile on each target its newest build against the one before, or `new` against `old` (digests) where
    both are shown builds of it: a line for each metric that both measured."""
    by_build, found = _by_build(rows), []
    for group in targets_of(rows):
        digests = [build["bundle_digest"] for build in group]
        chosen_new, chosen_old = (
            (new, old) if new in digests and old in digests and new != old else (*digests, "", "")[:2]
        )
        if not chosen_old:
            continue
        real = {digest: [one for one in by_build.get(digest, []) if not one.emulated] for digest in digests}
        lines = [_change(metric, real[chosen_old], real[chosen_new]) for metric in METRICS]
        found.append(
            {
                "target": group[0]["target"],
                "profile": group[0]["profile"],
                "old": chosen_old,
                "new": chosen_new,
                "choices": digests,
                "lines": [line for line in lines if line is not None],
            }
        )
    return found


def targets_of(rows: FleetRows) -> list[list[Row]]:
    """The shown builds of each profile on each target, newest first; those with most results first."""
    shown = set(shown_builds(rows.builds))
    groups: dict[tuple[str, str], list[Row]] = {}
    for build in rows.builds:
        if build["bundle_digest"] in shown:
            groups.setdefault((build["target"], build["profile"]), []).append(build)
    return sorted(groups.values(), key=lambda group: -sum(build["results"] for build in group))


def _by_build(rows: FleetRows) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for one in rows.recent:
        found.setdefault(one.bundle_digest, []).append(one)
    return found


def _change(metric: Metric, old: Sequence[Measured], new: Sequence[Measured]) -> dict[str, Any] | None:
    """One line; None where no device measured the metric on either build."""
    length = _common_length(metric, [*old, *new])
    before, after = device_values(metric, old, length), device_values(metric, new, length)
    if not before and not after:
        return None
    change: Change = compare(before, after, higher_is_better=metric.higher_is_better, ratio=metric.ratio)
    return {
        **_words(metric, length),
        "ratio": metric.ratio,
        "old_median": median(list(before.values())) if before else None,
        "new_median": median(list(after.values())) if after else None,
        "change": asdict(change),
    }


def _distribution(
    metric: Metric, real: Mapping[str, Sequence[Measured]], limits: Mapping[tuple[str, str], float]
) -> dict[str, Any]:
    """Points and five numbers of each build. real: digest -> results that are not emulated."""
    length = _common_length(metric, [one for ones in real.values() for one in ones])
    builds, left_out = [], 0
    for digest, ones in real.items():
        values = device_values(metric, ones, length)
        left_out += sum(
            1
            for one in ones
            if metric.at and getattr(one, metric.name) is not None and getattr(one, metric.at) != length
        )
        points = sorted(values.items(), key=lambda item: (item[1], item[0]))
        builds.append(
            {
                "bundle_digest": digest,
                "summary": asdict(summary(list(values.values()))) if values else None,
                "points": _thinned(points),
                "limit": limits.get((digest, metric.check)),
            }
        )
    return {**_words(metric, length), "left_out": left_out, "builds": builds}


def _words(metric: Metric, length: int | None) -> dict[str, Any]:
    at = f"{length:,} {metric.at_words}" if length is not None else ""
    return {
        "metric": metric.name,
        "title": metric.title,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "at": at,
    }


def _thinned(points: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """At most POINTS of them, evenly by rank, the ends kept."""
    if len(points) <= POINTS:
        return list(points)
    return [points[round(index * (len(points) - 1) / (POINTS - 1))] for index in range(POINTS)]


def _common_length(metric: Metric, ones: Sequence[Measured]) -> int | None:
    """The prompt or context length that most of these results have."""
    if not metric.at:
        return None
    seen = Counter(getattr(one, metric.at) for one in ones if getattr(one, metric.name) is not None)
    seen.pop(None, None)
    return max(seen, key=lambda length: (seen[length], length)) if seen else None


def device_values(metric: Metric, ones: Sequence[Measured], length: int | None) -> dict[str, float]:
    """Device -> median of its results at that length."""
    values: dict[str, list[float]] = {}
    for one in ones:
        value = getattr(one, metric.name)
        if value is not None and (not metric.at or getattr(one, metric.at) == length):
            values.setdefault(one.device, []).append(float(value))
    return {device: found[0] if len(found) == 1 else median(found) for device, found in values.items()}


def _build(build: Row, names: Mapping[str, str]) -> Row:
    kept = {name: value for name, value in build.items() if name != "checks"}
    return kept | {"release": names.get(build["bundle_digest"])}


def _limits(builds: Sequence[Row]) -> dict[tuple[str, str], float]:
    """(digest, check) -> its limit; budgets are part of the bundle."""
    limits: dict[tuple[str, str], float] = {}
    for build in builds:
        lines = check_lines(build["checks"])
        for metric in METRICS:
            limit = limit_of(lines, metric.check)
            if limit is not None:
                limits[build["bundle_digest"], metric.check] = limit
    return limits
