"""Figures in the words of the terminal and the report."""

from __future__ import annotations

from edge.evaluate.compare import Comparison
from edge.evaluate.statistics import Interval
from edge.evaluate.summary import Figure, Kind

ARROWS = {"higher": "higher is better", "lower": "lower is better", "zero": "nearer to 0 is better", "none": ""}


def number(value: float, kind: Kind, unit: str = "") -> str:
    """A value as its metric is read: shares in percent, totals whole, scores with three digits."""
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "total":
        return f"{value:,.0f}"
    digits = 0 if unit == "words" else 2 if unit else 3
    return f"{value:,.{digits}f}" + (f" {unit}" if unit else "")


def value_words(figure: Figure) -> str:
    """The value, or that it was not measured."""
    return "not measured" if figure.value is None else number(figure.value, figure.kind, figure.unit)


def interval_words(figure: Figure) -> str:
    """The 95 % interval, with the quartiles of a median."""
    if figure.low is None or figure.high is None:
        return ""
    told = f"{_plain(figure.low, figure)} to {_plain(figure.high, figure)}"
    if figure.quartile_1 is not None and figure.quartile_3 is not None:
        told += f"; IQR {figure.quartile_1:+.2f} to {figure.quartile_3:+.2f}"
    return told


def _plain(value: float, figure: Figure) -> str:
    return number(value, figure.kind, figure.unit).removesuffix(f" {figure.unit}").removesuffix(" %")


def note_words(figure: Figure) -> str:
    """Why it is not measured, or how to read it."""
    return figure.reason if figure.value is None else figure.note


def p_words(p_value: float) -> str:
    """A p-value."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def change_words(item: Comparison) -> str:
    """Relative change with its interval, in percent."""
    if item.relative is None:
        return "baseline is 0"
    return f"{_percent(item.relative.estimate)} ({_percent(item.relative.low)} to {_percent(item.relative.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def difference_words(interval: Interval) -> str:
    """A difference with its interval."""
    return f"{interval.estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def verdict_words(item: Comparison) -> str:
    """Non-inferiority in words, '' without a margin."""
    if item.verdict is None:
        return ""
    word = "holds" if item.verdict.holds else "does not hold"
    return f"not worse by more than {item.verdict.margin:g}: {word} (bound {item.verdict.lower_bound:+.3f})"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
