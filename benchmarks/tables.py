"""The comparison as Markdown tables, and the numbers that must be reached. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Comparison, EngineRun, ExportCost, ShapeRun, StartTime, middle, ratio

PREFILL_TOKENS = (512, 1024)
DECODE_CONTEXTS = (0, 1024)
START_MAX_S = 1.0
RSS_RATIO_MAX = 1.15
PREFILL_RATIO_MIN = 0.9
DECODE_RATIO_MIN = 1.0
BUSY_SHARE = 0.1
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Check:
    """One number that must be reached. passed: None when it was not measured."""

    text: str
    passed: bool | None

    def line(self) -> str:
        """`PASS ...`, `FAIL ...` or `---- ...`."""
        return f"{'----' if self.passed is None else 'PASS' if self.passed else 'FAIL'}  {self.text}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text too; the first column to the left."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        parts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return "| " + " | ".join(parts) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{digits}f}"


def _megabytes(value: int) -> str:
    return f"{value / 1e6:.0f}" if value else "-"


def export_table(costs: Sequence[ExportCost]) -> str:
    """Cost of making the model, one row a route."""
    head = ("model, route", "user s", "CPU s", "wall s", "peak RSS MB", "file MB")
    rows = []
    for cost in costs:
        name = f"{cost.shape}, {cost.route}"
        if cost.reason:
            rows.append((f"{name}: {NOT_MEASURED} ({cost.reason})", "-", "-", "-", "-", "-"))
            continue
        times = (_number(cost.user_s), _number(cost.cpu_s), _number(cost.wall_s))
        rows.append((name, *times, _megabytes(cost.peak_rss_bytes), _megabytes(cost.file_bytes)))
    return table(head, rows)


def runtime_table(run: ShapeRun) -> str:
    """Speed and memory, one row an engine; `edge is` columns are edge's speed over the row's, per repetition."""
    edge = run.engines[0]
    head = (
        "engine",
        "file MB",
        "load s",
        "peak RSS MB",
        *(f"prefill {tokens}" for tokens in PREFILL_TOKENS),
        *(f"decode @{context}" for context in DECODE_CONTEXTS),
        f"edge is: prefill {PREFILL_TOKENS[0]}",
        f"decode @{DECODE_CONTEXTS[-1]}",
        "peak RSS",
        f"bandwidth @{DECODE_CONTEXTS[0]}",
        f"@{DECODE_CONTEXTS[-1]}",
    )
    rows = []
    for engine in run.engines:
        if engine.reason:
            rows.append((f"{engine.engine}: {NOT_MEASURED} ({engine.reason})", *["-"] * (len(head) - 1)))
            continue
        peak = engine.memory.get("peak_rss_bytes", 0)
        rows.append(
            (
                engine.engine,
                _megabytes(engine.file_bytes),
                _number(middle(engine.load_s), 2),
                _megabytes(peak),
                *(_number(middle(engine.prefill_tokens_per_s.get(str(t), []))) for t in PREFILL_TOKENS),
                *(_number(middle(engine.decode_tokens_per_s.get(str(c), []))) for c in DECODE_CONTEXTS),
                _times(prefill_ratio(edge, engine)),
                _times(decode_ratio(edge, engine)),
                _times(rss_ratio(edge, engine)),
                *(_percent(bandwidth_share(run, engine, context)) for context in DECODE_CONTEXTS),
            )
        )
    return table(head, rows)


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def prefill_ratio(edge: EngineRun, other: EngineRun) -> float | None:
    """edge's prefill speed over the other's at the shorter prompt."""
    key = str(PREFILL_TOKENS[0])
    return ratio(edge.prefill_tokens_per_s.get(key, []), other.prefill_tokens_per_s.get(key, []))


def decode_ratio(edge: EngineRun, other: EngineRun) -> float | None:
    """edge's decode speed over the other's at the longer context."""
    key = str(DECODE_CONTEXTS[-1])
    return ratio(edge.decode_tokens_per_s.get(key, []), other.decode_tokens_per_s.get(key, []))


def rss_ratio(edge: EngineRun, other: EngineRun) -> float | None:
    """edge's peak memory over the other's."""
    ours, theirs = edge.memory.get("peak_rss_bytes"), other.memory.get("peak_rss_bytes")
    return ours / theirs if ours and theirs else None


def bandwidth_share(run: ShapeRun, engine: EngineRun, context_tokens: int) -> float | None:
    """Bytes that decode reads per second over what the machine can read."""
    speed = middle(engine.decode_tokens_per_s.get(str(context_tokens), []))
    limit = run.bandwidth_bytes_per_s
    return speed * engine.bytes_per_token(context_tokens) / limit if speed and limit else None


def checks(comparison: Comparison) -> list[Check]:
    """Every number that must be reached, in the order of the tables."""
    found = [check for cost in comparison.exports for check in export_checks(cost)]
    for run in comparison.shapes:
        found += runtime_checks(run)
    return [*found, start_check(comparison.start)]


def export_checks(cost: ExportCost) -> list[Check]:
    """CPU time and peak memory of our own export."""
    if cost.cpu_s_max is None or cost.peak_rss_bytes_max is None:
        return []
    name = f"export of {cost.shape}"
    limits = f"at most {cost.cpu_s_max:.0f} CPU-s and {cost.peak_rss_bytes_max / 1e6:.0f} MB"
    if cost.reason:
        return [Check(f"{name}: {limits}: {NOT_MEASURED} ({cost.reason})", None)]
    return [
        Check(f"{name}: {cost.cpu_s:.1f} CPU-s (at most {cost.cpu_s_max:.0f})", cost.cpu_s <= cost.cpu_s_max),
        Check(
            f"{name}: peak RSS {cost.peak_rss_bytes / 1e6:.0f} MB (at most {cost.peak_rss_bytes_max / 1e6:.0f})",
            cost.peak_rss_bytes <= cost.peak_rss_bytes_max,
        ),
    ]


def runtime_checks(run: ShapeRun) -> list[Check]:
    """edge against each llama.cpp file. Decode is held against the file of the same bits, the pure one."""
    found = []
    edge = run.engines[0]
    for other in run.engines[1:]:
        if not other.engine.startswith("llama.cpp"):
            continue
        against = f"{run.shape}, edge over {other.engine}"
        decode, prefill, rss = decode_ratio(edge, other), prefill_ratio(edge, other), rss_ratio(edge, other)
        found.append(_at_least(f"{against}: decode @{DECODE_CONTEXTS[-1]}", decode, DECODE_RATIO_MIN))
        found.append(_at_least(f"{against}: prefill {PREFILL_TOKENS[0]}", prefill, PREFILL_RATIO_MIN))
        if run.shape == "1b":
            text = f"{against}: peak RSS {_times(rss)} (at most {RSS_RATIO_MAX}x)"
            found.append(Check(text, None if rss is None else rss <= RSS_RATIO_MAX))
    return found


def _at_least(name: str, value: float | None, limit: float) -> Check:
    return Check(f"{name} {_times(value)} (at least {limit}x)", None if value is None else value >= limit)


def start_check(start: StartTime) -> Check:
    """`edge run` reads the prompt within a second."""
    taken = middle(start.seconds)
    if taken is None:
        return Check(f"edge run starts to read within {START_MAX_S} s: {NOT_MEASURED} ({start.reason})", None)
    text = f"edge run starts to read after {taken:.2f} s, worst {max(start.seconds):.2f} s (within {START_MAX_S} s)"
    return Check(text, taken <= START_MAX_S)


def notes(run: ShapeRun) -> list[str]:
    """What each file holds, how busy the machine was, and what the memory consists of."""
    lines = []
    for engine in run.engines:
        if engine.reason:
            continue
        anonymous, mapped = (engine.memory.get(f"{kind}_bytes", 0) for kind in ("anonymous", "file"))
        lines.append(
            f"- {engine.engine}: {engine.holds}; resident at the end {_megabytes(anonymous)} MB own + "
            f"{_megabytes(mapped)} MB mapped; import {engine.import_s:.2f} s"
        )
    shares = [share for engine in run.engines for share in engine.others_share]
    if shares:
        busy, worst = middle(shares) or 0.0, max(shares)
        told = "; the machine was busy, these numbers are not to be quoted" if worst > BUSY_SHARE else ""
        lines.append(
            f"- other processes took {100 * busy:.0f} % of the CPU while measuring (worst {100 * worst:.0f} %){told}"
        )
    for reading in run.bandwidth:
        lines.append(
            f"- read bandwidth {reading['bytes_per_s'] / 1e9:.1f} GB/s from {reading['buffer_bytes'] / 1e6:.0f} MB "
            f"({reading['level']}, {reading['threads']} threads)"
        )
    return lines


def render(comparison: Comparison) -> str:
    """The whole report."""
    machine, settings = comparison.machine, comparison.settings
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine["versions"].items()))
    parts = [
        f"# edge against other engines, {comparison.measured_at}",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB; {versions}",
        f"{settings['threads']} threads, {settings['repetitions']} repetitions, engines interleaved in one run, "
        f"medians; decode over {settings['decode_steps']} steps, context {settings['context_tokens']}; "
        "load is from warm page cache to the first token",
        "## Making the model (int4, block 32, round to nearest)",
        export_table(comparison.exports),
        "\n".join(f"- {cost.shape}, {cost.route}: {cost.note}" for cost in comparison.exports if cost.note),
    ]
    for run in comparison.shapes:
        parts += [f"## {run.title}: tokens per second", runtime_table(run), "\n".join(notes(run))]
    parts += ["## Must reach", "\n".join(check.line() for check in checks(comparison))]
    return "\n\n".join(parts) + "\n"
