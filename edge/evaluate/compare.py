"""Two builds on the same cases, pair by pair: differences, relative changes, tests, Holm over all of them.

Shares are tested with McNemar, means and absolute errors with Wilcoxon; every difference has a paired bootstrap
interval. A margin turns a difference into a verdict of non-inferiority.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge.errors import InputError
from edge.evaluate.result import EvaluationResult
from edge.evaluate.statistics import (
    Interval,
    NonInferiority,
    PairedTest,
    holm,
    mcnemar,
    non_inferiority,
    non_inferiority_of_shares,
    paired_difference,
    relative_change,
    wilcoxon,
)
from edge.evaluate.summary import Figure

RESAMPLES = 2000
TESTED = ("mean", "share", "median")


@dataclass(frozen=True)
class Comparison:
    """One metric of two builds. difference: this minus baseline; relative: difference over the baseline's value,
    None where that is 0; adjusted_p: after Holm; verdict: non-inferiority where a margin was given.
    """

    name: str
    title: str
    unit: str
    better: str
    baseline: float
    value: float
    difference: Interval
    relative: Interval | None
    test: PairedTest
    adjusted_p: float
    verdict: NonInferiority | None = None


def compare(
    result: EvaluationResult, baseline: EvaluationResult, margins: Mapping[str, float] | None = None
) -> list[Comparison]:
    """All metrics that both have. margins: metric to how much worse is still allowed, in its unit.

    Errors: InputError when the two are not of the same suite and data, have no case in common, or a margin names an
    unknown metric.
    """
    mend = "evaluate both builds on the same file"
    if (result.suite, result.data["sha256"]) != (baseline.suite, baseline.data["sha256"]):
        raise InputError("the baseline is of another suite or another data file", mend=mend)
    mine = {case.id: case.scores for case in result.cases}
    theirs = {case.id: case.scores for case in baseline.cases}
    shared = [name for name in mine if name in theirs]
    if not shared:
        raise InputError("the baseline has no case in common with this run", mend=mend)
    known = {figure.name for figure in result.figures if figure.kind in TESTED and figure.better != "none"}
    for name in margins or {}:
        if name not in known:
            raise InputError(f"no metric '{name}' to give a margin to", mend=f"use one of: {', '.join(sorted(known))}")
    found = []
    for figure in result.figures:
        if figure.name in known:
            pairs = [(mine[case].get(figure.name), theirs[case].get(figure.name)) for case in shared]
            both = [(a, b) for a, b in pairs if a is not None and b is not None]
            if both:
                found.append(_one(figure, both, (margins or {}).get(figure.name)))
    adjusted = holm([item.test.p_value for item in found])
    return [replace(item, adjusted_p=p_value) for item, p_value in zip(found, adjusted, strict=True)]


def _one(figure: Figure, pairs: Sequence[tuple[float, float]], margin: float | None) -> Comparison:
    # A signed error is better nearer to 0: its size is what is compared.
    size = figure.better == "zero"
    first = [abs(a) if size else a for a, _ in pairs]
    second = [abs(b) if size else b for _, b in pairs]
    higher = figure.better == "higher"
    if figure.kind == "share":
        mine, theirs = [a >= 0.5 for a in first], [b >= 0.5 for b in second]
        test = mcnemar(mine, theirs)
        verdict = None if margin is None else non_inferiority_of_shares(mine, theirs, margin, higher_is_better=higher)
    else:
        test = wilcoxon(first, second)
        verdict = None if margin is None else non_inferiority(first, second, margin, higher_is_better=higher)
    return Comparison(
        name=figure.name,
        title=f"{figure.title}, size" if size else figure.title,
        unit=figure.unit,
        better="lower" if size else figure.better,
        baseline=sum(second) / len(second),
        value=sum(first) / len(first),
        difference=paired_difference(first, second, resamples=RESAMPLES),
        relative=relative_change(first, second, resamples=RESAMPLES),
        test=test,
        adjusted_p=test.p_value,
        verdict=verdict,
    )
