"""A result on a terminal: a table, the verdict line by line, a progress bar. rich is imported when used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import IO

from edge.bench import gates
from edge.bench.gates import Check
from edge.bench.report import speed_rows
from edge.bench.result import BenchResult
from edge.bench.runner import Progress
from edge.bench.words import device_name, headline, remarks, short_digest

STYLES: dict[gates.Outcome, tuple[str, str]] = {
    "passed": ("✓", "green"),
    "failed": ("✕", "bold red"),
    "not_measured": ("○", "yellow"),
}


@contextlib.contextmanager
def bench_progress(file: IO[str] | None = None) -> Iterator[Progress]:
    """A progress bar for run_bench on `file` (default: standard error); nothing is drawn off a terminal."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(file=file or sys.stderr)
    columns = (TextColumn("{task.description:<44}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)

        def progress(label: str, fraction: float) -> None:
            bar.update(task, description=label, completed=fraction)

        yield progress


def print_result(result: BenchResult, checks: Sequence[Check] = (), file: IO[str] | None = None) -> None:
    """Print the key figures, the speeds and, where there are checks, the verdict."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    identity = f"behaviour {short_digest(result.bundle.behaviour_digest)}"
    console.print(Text(f"{result.bundle.profile} on {device_name(result)}, {identity}", style="bold"))
    figures = Table(show_header=False, box=None, pad_edge=False)
    for name, value, purpose in headline(result):
        figures.add_row(Text(name), Text(value, style="bold"), Text(purpose, style="dim"))
    console.print(figures)
    speeds = Table(box=None, pad_edge=False, header_style="dim")
    speeds.add_column("run")
    speeds.add_column("median", justify="right")
    speeds.add_column("slowest to fastest (tok/s)")
    speeds.add_column("latency")
    for row in speed_rows(result):
        speeds.add_row(*(Text(cell) for cell in row))
    if speeds.row_count:
        console.print()
        console.print(speeds)
    for remark in remarks(result):
        console.print(Text(f"! {remark}", style="yellow"))
    if checks:
        console.print()
        print_checks(checks, file)


def print_checks(checks: Sequence[Check], file: IO[str] | None = None) -> None:
    """Print each check as a line with its outcome, and the verdict."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False)
    for check in checks:
        icon, style = STYLES[check.outcome]
        console.print(
            Text(f"{icon} ", style=style) + Text(check.line, style="" if check.outcome == "passed" else style)
        )
    passed = gates.passed(tuple(checks))
    console.print(Text("Passed" if passed else "Failed", style="bold green" if passed else "bold red"))
