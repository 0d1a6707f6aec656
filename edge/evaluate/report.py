"""The HTML report of one evaluation: one file, no script, nothing fetched; light, dark and print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from edge.evaluate import words
from edge.evaluate.compare import Comparison
from edge.evaluate.result import EvaluationResult, Group
from edge.evaluate.suites import SUITES
from edge.evaluate.summary import Figure
from edge.files import write_atomic

TEMPLATE = "report.html.jinja"
WIDTH, ROW, LEFT, RIGHT = 560, 26, 232, 96


@dataclass(frozen=True)
class Chart:
    """One figure. svg: safe markup; note: how to read it."""

    title: str
    svg: str
    note: str


def interval_chart(label: str, rows: Sequence[tuple[str, Figure]]) -> str:
    """Values with their intervals as dots on one scale. Rows without a value are left out; '' when none has one."""
    shown = [(name, figure) for name, figure in rows if figure.value is not None]
    if not shown:
        return ""
    ends = [end for _, figure in shown for end in (figure.low, figure.high, figure.value, 0.0) if end is not None]
    low, high = min(ends), max(ends)
    if all(figure.kind == "share" for _, figure in shown):
        low, high = 0.0, 1.0
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return LEFT + (value - low) / span * (WIDTH - LEFT - RIGHT)

    height = ROW * len(shown) + 24
    parts = [f'<line x1="{x(0.0):.1f}" y1="4" x2="{x(0.0):.1f}" y2="{height - 20}" class="base"/>']
    for index, (name, figure) in enumerate(shown):
        y = ROW * index + 18
        value = figure.value or 0.0
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" class="row" text-anchor="end">{escape(name[:34])}</text>')
        if figure.low is not None and figure.high is not None:
            parts.append(f'<line x1="{x(figure.low):.1f}" y1="{y}" x2="{x(figure.high):.1f}" y2="{y}" class="curve"/>')
        hint = f"{escape(name)}: {escape(words.value_words(figure))}"
        parts.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="5" class="point"><title>{hint}</title></circle>')
        told = escape(words.value_words(figure))
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y + 4}" class="value">{told}</text>')
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return f"{head}<title>{escape(label)}</title>{''.join(parts)}</svg>"


def all_charts(result: EvaluationResult) -> list[Chart]:
    """Scores, shares, and the headline by group."""
    scores = [(figure.title, figure) for figure in result.figures if figure.kind == "mean" and not figure.unit]
    shares = [(figure.title, figure) for figure in result.figures if figure.kind == "share"]
    parts = [
        ("Scores", scores, "Mean over cases; the line is the 95 % bootstrap interval."),
        ("Shares of cases", shares, "The line is the 95 % Wilson interval."),
    ]
    groupings: dict[str, list[Group]] = {}
    for group in result.groups:
        groupings.setdefault(group.grouping, []).append(group)
    for grouping, groups in groupings.items():
        title = f"{groups[0].figure.title} by {grouping}"
        rows = [(f"{group.group[:26]} ({group.figure.count})", group.figure) for group in groups]
        parts.append((title, rows, "Number of cases in brackets."))
    charts = [Chart(title, interval_chart(title, rows), note) for title, rows, note in parts]
    return [chart for chart in charts if chart.svg]


def tiles(result: EvaluationResult) -> list[tuple[str, str, str]]:
    """Headline figures as (name, value, interval)."""
    names = SUITES[result.suite].headline
    found = {figure.name: figure for figure in result.figures}
    shown = [(found[name].title, words.value_words(found[name]), words.interval_words(found[name])) for name in names]
    if result.seconds_per_case is not None:
        shown.append(("Time a case", words.duration(result.seconds_per_case), "median, of the model"))
    return shown


def environment_rows(result: EvaluationResult) -> list[tuple[str, str]]:
    """What the figures depend on, as (name, value)."""
    data, settings = result.data, result.settings
    learned = ", ".join(name for name, measured in settings["learned"].items() if measured) or "none"
    return [
        ("Data", f"{data['file']} ({data['form']}), {data['evaluated']} of {data['cases']} cases"),
        ("Data sha256", str(data["sha256"])),
        ("Split", str(settings["split"])),
        ("Samples a case", str(settings["samples"])),
        ("Models that score", learned),
        ("Device", result.device or "not told"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))),
    ]


def render_report(result: EvaluationResult, comparison: Sequence[Comparison] = ()) -> str:
    """The report as HTML. comparison: with a baseline, or nothing."""
    from jinja2 import Environment, StrictUndefined

    source = files("edge.evaluate").joinpath(TEMPLATE).read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(source).render(
        result=result,
        title=SUITES[result.suite].title,
        tiles=tiles(result),
        charts=all_charts(result),
        comparison=comparison,
        environment=environment_rows(result),
        words=words,
    )


def write_report(path: Path, result: EvaluationResult, comparison: Sequence[Comparison] = ()) -> None:
    """Write the report whole or not at all. Errors: ResourceError when the place cannot be written."""
    write_atomic(path, render_report(result, comparison).encode())
