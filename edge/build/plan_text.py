"""Plans as plain text for a terminal: one in full, or many as a table."""

from __future__ import annotations

from collections.abc import Sequence

from edge.build.ledger import LedgerItem
from edge.build.plan import Plan

LABELS = {
    "weights": "Weights",
    "scales": "Scales",
    "adapter": "Adapter",
    "kv_cache": "KV cache",
    "activations": "Activations",
    "runtime": "Runtime",
    "ui": "User interface",
    "file_pages": "File pages",
}
LABEL_WIDTH = 16
NUMBER_WIDTH = 12


def megabytes(size_bytes: float) -> str:
    """Bytes as "86.3 MB" or "15.06 GB" (powers of ten)."""
    return f"{size_bytes / 1e9:,.2f} GB" if size_bytes >= 9.9995e8 else f"{size_bytes / 1e6:,.1f} MB"


def millions(count: int) -> str:
    """A parameter count as "134.5 M" or "20.91 B"."""
    return f"{count / 1e9:.2f} B" if count >= 999_950_000 else f"{count / 1e6:.1f} M"


def _span(low: float, high: float, unit: str = "", digits: int = 1) -> str:
    low_text, high_text = f"{low:,.{digits}f}", f"{high:,.{digits}f}"
    text = high_text if low_text == high_text else f"{low_text} to {high_text}"
    return f"{text} {unit}".rstrip()


def _line(label: str, text: str) -> str:
    return f"  {label:<{LABEL_WIDTH}}{text}".rstrip()


def _numbers(low_bytes: int, size_bytes: int, ranged: bool) -> str:
    low = f"{megabytes(low_bytes):>{NUMBER_WIDTH}}" if ranged else ""
    return f"{low}{megabytes(size_bytes):>{NUMBER_WIDTH}}"


def _ledger_line(item: LedgerItem, ranged: bool) -> str:
    # A reclaimable item is in brackets: it is not part of the sum below it.
    numbers = _numbers(item.low_bytes, item.size_bytes, ranged)
    label = f"({LABELS[item.name]})" if item.reclaimable else LABELS[item.name]
    return _line(label, f"{numbers}   {item.note}")


def _ttft_text(plan: Plan) -> str:
    bound = f"at least {plan.ttft_ms_bound / 1e3:.2f} s to read the weights once"
    if plan.ttft_ms_expected is None:
        return f"not known (no compute figure for this target); {bound}"
    return f"about {plan.ttft_ms_expected / 1e3:.1f} s; {bound}"


def _decode_text(plan: Plan) -> str:
    ceilings = _span(plan.decode_ceiling_low_tokens_per_s, plan.decode_ceiling_tokens_per_s, "tok/s")
    bytes_read = _span(plan.low_token_read_bytes / 1e6, plan.token_read_bytes / 1e6, "MB")
    return f"at most {ceilings} (bandwidth; {bytes_read} read a token at half context)"


def render(plan: Plan) -> str:
    """One plan in full: the verdict first, then the ledger, then speed and notes."""
    ranged = plan.ranged
    counts = plan.parameters
    active = "" if counts.active == counts.total else f", {millions(counts.active)} active for a token"
    lines = [
        f"{plan.profile} on {plan.target}",
        f"  {plan.reason}",
        "",
        _line("Model", f"{plan.family}, {millions(counts.total)} parameters{active}"),
        _line("Quantisation", plan.quantisation),
        _line("Context", f"{plan.context_tokens:,} tokens, prefill by {plan.prefill_chunk_tokens}"),
        "",
    ]
    heads = ("smallest", "largest") if ranged else ("bytes",)
    lines.append(_line("Memory", "".join(f"{head:>{NUMBER_WIDTH}}" for head in heads)))
    lines += [_ledger_line(item, ranged) for item in plan.ledger]
    lines += [
        _line("Needed", _numbers(plan.low_needed_bytes, plan.needed_bytes, ranged)),
        _line("Available", " " * (NUMBER_WIDTH * ranged) + f"{megabytes(plan.available_bytes):>{NUMBER_WIDTH}}"),
        _line(
            "Peak RSS",
            f"{_numbers(plan.low_peak_rss_bytes, plan.peak_rss_bytes, ranged)}   as a sampler sees it, with file pages",
        ),
        "",
        _line("Download", f"{megabytes(plan.download_bytes)} ({plan.download_note})"),
        _line("Disk", _disk_text(plan)),
        _line("Decode", _decode_text(plan)),
        _line(f"TTFT at {plan.ttft_prompt_tokens}", _ttft_text(plan)),
    ]
    lines += [_line("Note" if index == 0 else "", note) for index, note in enumerate(plan.notes)]
    return "\n".join(lines) + "\n"


def _disk_text(plan: Plan) -> str:
    if plan.low_disk_bytes == plan.disk_bytes:
        return megabytes(plan.disk_bytes)
    return f"{megabytes(plan.low_disk_bytes)} to {megabytes(plan.disk_bytes)}"


def render_table(plans: Sequence[Plan]) -> str:
    """Many plans, a row each; memory and disk are those of the largest build that mixed may give."""
    head = ("profile", "target", "fits", "memory", "disk", "ceiling tok/s", "reason")
    right = (3, 4, 5)
    rows = [
        (
            plan.profile,
            plan.target,
            "yes" if plan.fits else "no",
            megabytes(plan.needed_bytes),
            megabytes(plan.disk_bytes),
            f"{plan.decode_ceiling_tokens_per_s:.1f}",
            plan.reason,
        )
        for plan in plans
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, tuple("-" * width for width in widths), *rows]:
        cells = [
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
