"""A result on a terminal: figures with intervals, groups, the comparison, progress. rich is imported when used."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import IO

from edge.evaluate.compare import Comparison
from edge.evaluate.result import EvaluationResult
from edge.evaluate.runner import Progress
from edge.evaluate.words import (
    change_words,
    difference_words,
    duration,
    interval_words,
    note_words,
    p_words,
    value_words,
    verdict_words,
)

PLAIN_STEPS = 10


@contextlib.contextmanager
def evaluation_progress(file: IO[str] | None = None) -> Iterator[Progress]:
    """A progress bar on `file` (default: standard error); off a terminal a line at every tenth of the way."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=file or sys.stderr)
    if not console.is_terminal:
        yield _plain_progress(file or sys.stderr)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("evaluating", total=None)

        def progress(done: int, total: int, label: str) -> None:
            # An id of a case is shown, as ids of data sets are; a text of a case never.
            bar.update(task, total=total, completed=done, description=f"evaluating {label[:24]}")

        yield progress


def _plain_progress(file: IO[str]) -> Progress:
    started = time.monotonic()
    told = -1

    def progress(done: int, total: int, label: str) -> None:
        nonlocal told
        step = done * PLAIN_STEPS // total
        if step > told:
            told = step
            print(f"{done}/{total} cases after {duration(time.monotonic() - started)}", file=file, flush=True)

    return progress


def print_result(result: EvaluationResult, comparison: Sequence[Comparison] = (), file: IO[str] | None = None) -> None:
    """Print the figures, the groups and, where there is a baseline, the comparison."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    data = result.data
    head = f"{result.suite}: {result.bundle['name']}, behaviour {result.bundle['behaviour_digest'][:12]}"
    console.print(Text(head, style="bold"))
    told = f"{data['evaluated']} cases of {data['file']} ({data['form']})"
    if result.seconds_per_case is not None:
        told += f", {duration(result.seconds_per_case)} a case"
    console.print(Text(told, style="dim"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("figure", "value", "95 % interval", "n", ""):
        table.add_column(title, justify="right" if title in ("value", "n") else "left", no_wrap=title in ("value", "n"))
    for figure in result.figures:
        style = "dim" if figure.value is None else ""
        cells = (figure.title, value_words(figure), interval_words(figure), str(figure.count), note_words(figure))
        table.add_row(*(Text(cell, style=style) for cell in cells))
    console.print(table)
    if result.groups:
        groups = Table(box=None, pad_edge=False, header_style="dim")
        for title in (result.groups[0].figure.title, "group", "value", "95 % interval", "n"):
            groups.add_column(title)
        for group in result.groups:
            figure = group.figure
            row = (group.grouping, group.group, value_words(figure), interval_words(figure), str(figure.count))
            groups.add_row(*(Text(cell) for cell in row))
        console.print()
        console.print(groups)
    for remark in result.remarks:
        console.print(Text(f"! {remark}", style="yellow"))
    if comparison:
        console.print()
        print_comparison(comparison, file)


def print_comparison(comparison: Sequence[Comparison], file: IO[str] | None = None) -> None:
    """Print the paired comparison with the baseline: two lines a figure, so that a narrow terminal cuts nothing."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False)
    console.print(Text("Against the baseline, on the same cases", style="bold"))
    for item in comparison:
        change = change_words(item)
        console.print(Text(f"{item.title}: {item.baseline:.3f} -> {item.value:.3f}, {change}"), soft_wrap=True)
        told = (
            f"  difference {difference_words(item.difference)}; {item.test.method}, n {item.test.count}: "
            f"p {p_words(item.test.p_value)}, after Holm {p_words(item.adjusted_p)}"
        )
        console.print(Text(told, style="dim"), soft_wrap=True)
        if item.verdict is not None:
            style = "green" if item.verdict.holds else "bold red"
            console.print(Text(f"  {verdict_words(item)}", style=style), soft_wrap=True)
