"""The HTML report of one result: one file, no script, nothing fetched; opens offline, in light and dark, prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bench import charts, gates
from edge.bench.gates import Check
from edge.bench.result import BenchResult
from edge.bench.words import device_name, duration, headline, quantity, remarks, short_digest
from edge.files import write_atomic

if TYPE_CHECKING:
    from edge.bundle.attestation import Attestation

TEMPLATE = "report.html.jinja"
ICONS: dict[gates.Outcome, str] = {"passed": "✓", "failed": "✕", "not_measured": "○"}


@dataclass(frozen=True)
class Chart:
    """One figure. svg: safe markup of charts.py; note: how to read it."""

    title: str
    svg: str
    note: str


def all_charts(result: BenchResult, budgets: Mapping[str, Any]) -> list[Chart]:
    """Every figure that this result can fill; none for an emulated device, whose figures are the emulator's."""
    if result.environment.emulated:
        return []
    limits = {name: value for name, value in budgets.items() if value is not None}
    parts: list[tuple[str, Callable[[], str | None], str]] = [
        (
            "Time to first token",
            lambda: charts.ttft_chart(result, limits),
            "Median; the band goes from the fastest to the slowest repetition.",
        ),
        ("Time per output token", lambda: charts.tpot_chart(result), "Every timed decode step of all repetitions."),
        (
            "Resident memory",
            lambda: charts.memory_chart(result, limits),
            "Sampled every 10 ms from outside the measuring process.",
        ),
        (
            "Sustained decode",
            lambda: charts.sustained_chart(result, limits),
            f"Decode without pause, in windows of {result.environment.workload.get('window_s', 5):g} s.",
        ),
        (
            "Predicted and measured memory",
            lambda: charts.ledger_chart(result),
            "The manifest's ledger, without the screen and with the KV cache as far as this run filled it.",
        ),
        (
            "Read bandwidth",
            lambda: charts.bandwidth_chart(result),
            "Each step reads every weight once, so decode cannot need more than the machine reads.",
        ),
        ("Temperature", lambda: charts.temperature_chart(result), "Thermal zones of the device."),
    ]
    drawn = [(title, draw(), note) for title, draw, note in parts]
    return [Chart(title, svg, note) for title, svg, note in drawn if svg is not None]


def speed_rows(result: BenchResult) -> list[tuple[str, str, str, str]]:
    """Prefill and decode in numbers: (what, median, from the slowest to the fastest, percentiles)."""
    rows = []
    for prompt in result.prefill:
        speed, ttft = prompt.tokens_per_s, quantity(prompt.ttft_ms.median, "ms")
        rows.append((f"prefill {prompt.prompt_tokens} tokens", speed, f"first token {ttft}"))
    for decode in result.decode:
        told = f"p50 {decode.tpot_p50_ms:.1f}, p95 {decode.tpot_p95_ms:.1f}, p99 {decode.tpot_p99_ms:.1f} ms"
        rows.append((f"decode with {decode.context_tokens} tokens read", decode.tokens_per_s, told))
    return [
        (
            name,
            quantity(spread.median, "tok/s"),
            f"{quantity(spread.minimum, '')} to {quantity(spread.maximum, '')}, {spread.count} times",
            told,
        )
        for name, spread, told in rows
    ]


def environment_rows(result: BenchResult) -> list[tuple[str, str]]:
    """The environment as (name, value)."""
    where, device = result.environment, result.environment.device
    use, load = result.memory, where.load_average_before
    workload = where.workload
    return [
        ("Device", device_name(result)),
        ("Device class", str(device.get("device_class", ""))),
        *([("Emulated", where.emulated)] if where.emulated else []),
        ("CPU", f"{device.get('cpu_model', '')}, {device.get('logical_cpus', '')} CPUs, {device.get('arch', '')}"),
        ("Memory", f"{quantity(float(device.get('memory_total_bytes', 0)), 'bytes')} in all"),
        ("System", f"{device.get('os', '')}, kernel {device.get('kernel', '')}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(where.versions.items()))),
        ("Engine", f"{where.threads} threads, context {where.context_tokens}, chunks of {where.prefill_chunk_tokens}"),
        ("Load before", " / ".join(f"{one:.2f}" for one in load) if load else "not told"),
        ("CPU governor", where.governor or "not told"),
        *((f"Sensor: {name}", told) for name, told in where.sensors.items()),
        (
            "Workload",
            f"{workload.get('name')}: {workload.get('repetitions')} repetitions, {workload.get('warmups')} warm-ups,"
            f" {workload.get('decode_tokens')} tokens decoded, seed {workload.get('seed')}",
        ),
        (
            "Process memory",
            f"{quantity(use.baseline_rss_bytes, 'bytes')} before the model, {quantity(use.loaded_rss_bytes, 'bytes')}"
            f" loaded, {quantity(use.growth_after_load_bytes, 'bytes')} growth",
        ),
        (
            "Shared out (PSS)",
            "not told" if use.peak_pss_bytes is None else f"{quantity(use.peak_pss_bytes, 'bytes')} at most",
        ),
    ]


def render_report(
    result: BenchResult,
    checks: Sequence[Check] = (),
    *,
    budgets: Mapping[str, Any] | None = None,
    attestation: Attestation | None = None,
) -> str:
    """The report as HTML.

    checks: of gates.check_all; without any, no verdict is shown. budgets: drawn into the charts. attestation:
    of this run, for its signature line.
    """
    from jinja2 import Environment, StrictUndefined

    source = files("edge.bench").joinpath(TEMPLATE).read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(source).render(
        result=result,
        checks=[(check, ICONS[check.outcome], gates.WORDS[check.outcome], row_of(check)) for check in checks],
        verdict=None if not checks else gates.passed(tuple(checks)),
        counts={outcome: sum(check.outcome == outcome for check in checks) for outcome in ICONS},
        charts=all_charts(result, budgets or {}),
        tiles=headline(result),
        speeds=speed_rows(result),
        environment=environment_rows(result),
        remarks=remarks(result),
        device=device_name(result),
        duration=duration(result.duration_s),
        short=short_digest,
        attestation=attestation,
        edge_version=result.environment.versions.get("edge-kit", ""),
    )


def row_of(check: Check) -> tuple[str, str]:
    """Measured value and limit of a check, in words."""
    measured = "" if check.measured is None else quantity(check.measured, check.unit)
    bound = "at least" if check.least else "at most"
    return measured, "" if check.limit is None else f"{bound} {quantity(check.limit, check.unit)}"


def write_report(
    path: Path,
    result: BenchResult,
    checks: Sequence[Check] = (),
    *,
    budgets: Mapping[str, Any] | None = None,
    attestation: Attestation | None = None,
) -> None:
    """Write the report whole or not at all. Errors: ResourceError when the place cannot be written."""
    html = render_report(result, checks, budgets=budgets, attestation=attestation)
    write_atomic(path, html.encode())
