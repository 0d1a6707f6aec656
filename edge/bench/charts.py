"""The report's charts: each takes a result and gives inline SVG, or None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.bench.result import BenchResult, DecodeSpeed
from edge.bench.statistics import percentile
from edge.bench.svg import RIGHT, WIDTH, Canvas, nice_step, tick_text, tick_values
from edge.bench.words import LEDGER_WORDS, quantity

HISTOGRAM_BINS = 36
MAX_HISTOGRAMS = 3
SEGMENT_KINDS = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")
# A segment narrower than this has no room for its own label.
LABEL_WIDTH = 62


def ttft_chart(result: BenchResult, budgets: dict[str, Any]) -> str | None:
    """Time to first token by prompt length: median line, band from fastest to slowest, the budget as a mark."""
    rows = result.prefill
    if not rows:
        return None
    budget = budgets.get("ttft_ms_max")
    highest = max([row.ttft_ms.maximum for row in rows] + ([float(budget["ms"])] if budget else []))
    unit, scale = ("s", 1e3) if highest >= 3000 else ("ms", 1.0)
    canvas = Canvas("Time to first token by prompt length", y_high=highest / scale * 1.06)
    canvas.x_high = max(row.prompt_tokens for row in rows) * 1.04
    canvas.y_axis(unit)
    canvas.x_axis([row.prompt_tokens for row in rows], "prompt tokens")
    upper = [(canvas.x(row.prompt_tokens), canvas.y(row.ttft_ms.maximum / scale)) for row in rows]
    lower = [(canvas.x(row.prompt_tokens), canvas.y(row.ttft_ms.minimum / scale)) for row in rows]
    canvas.path([*upper, *reversed(lower)], "band", closed=True)
    middle = [(canvas.x(row.prompt_tokens), canvas.y(row.ttft_ms.median / scale)) for row in rows]
    canvas.path(middle, "curve")
    next_label_x = float("inf")
    for row, (x, y) in reversed(list(zip(rows, middle, strict=True))):
        spread = f"{quantity(row.ttft_ms.minimum, 'ms')} to {quantity(row.ttft_ms.maximum, 'ms')}"
        canvas.dot(x, y, "point", f"{row.prompt_tokens} tokens: median of {row.ttft_ms.count}, {spread}")
        if next_label_x - x < LABEL_WIDTH:
            continue  # crowded; the table below the charts has every figure
        next_label_x = x
        # Left of its point, where the rising line is not; beside the axis there is no room for that.
        near_axis = x < canvas.left + LABEL_WIDTH
        shift, rise, anchor = (6, 14, "start") if near_axis else (-8, 8, "end")
        canvas.text(x + shift, y - rise, quantity(row.ttft_ms.median, "ms"), kind="value", anchor=anchor)
    if budget:
        x, y = canvas.x(budget["prompt_tokens"]), canvas.y(float(budget["ms"]) / scale)
        canvas.line(x - 12, y, x + 12, y, "level limit")
        words = f"at most {quantity(float(budget['ms']), 'ms')}"
        if x > canvas.left + 2 * LABEL_WIDTH:
            canvas.text(x - 16, y + 4, words, kind="mark limit", anchor="end")
        else:
            canvas.text(x - 10, y - 8, words, kind="mark limit")
    return canvas.svg()


def bins_of(steps: Sequence[float], low: float, high: float) -> list[int]:
    """Counts in HISTOGRAM_BINS equal bins; values outside fall into the first or last."""
    counts = [0] * HISTOGRAM_BINS
    width = (high - low) / HISTOGRAM_BINS or 1.0
    for step in steps:
        counts[min(HISTOGRAM_BINS - 1, max(0, int((step - low) / width)))] += 1
    return counts


def tpot_chart(result: BenchResult) -> str | None:
    """Histograms of the time per output token, one row for each context, with p50, p95 and p99."""
    rows = [row for row in result.decode if row.step_ms][:MAX_HISTOGRAMS]
    if not rows:
        return None
    steps = [step for row in rows for step in row.step_ms]
    low, high = min(steps) * 0.96, max(percentile(steps, 99), max(row.tpot_p99_ms for row in rows)) * 1.06
    row_height = 112 if len(rows) > 1 else 214
    canvas = Canvas("Time per output token", height=row_height * len(rows) + 40, x_low=low, x_high=high, left=14)
    for index, row in enumerate(rows):
        _histogram(canvas, row, index * row_height, row_height)
    step = nice_step(high - low, 7)
    canvas.x_axis([index * step for index in range(int(high / step) + 1)], "ms a token")
    return canvas.svg()


def _histogram(canvas: Canvas, row: DecodeSpeed, top: int, row_height: int) -> None:
    base = top + row_height - 8
    counts = bins_of(row.step_ms, canvas.x_low, canvas.x_high)
    full = row_height - 54
    width = (WIDTH - canvas.left - RIGHT) / HISTOGRAM_BINS
    bin_ms = (canvas.x_high - canvas.x_low) / HISTOGRAM_BINS
    for index, count in enumerate(counts):
        if count:
            height = count / max(counts) * full
            start = canvas.x_low + index * bin_ms
            hint = f"{start:.1f} to {start + bin_ms:.1f} ms: {count} of {len(row.step_ms)} tokens"
            canvas.rect(canvas.left + index * width + 0.75, base - height, width - 1.5, height, "bar", hint)
    canvas.line(canvas.left, base, WIDTH - RIGHT, base, "base")
    canvas.text(canvas.left, top + 14, f"{row.context_tokens} tokens read before", kind="row")
    marks = (("p50", row.tpot_p50_ms), ("p95", row.tpot_p95_ms), ("p99", row.tpot_p99_ms))
    for _, value in marks:
        x = canvas.x(value)
        canvas.line(x, top + 38, x, base, "level plain")
    told = " · ".join(f"{name} {value:.1f}" for name, value in marks)
    canvas.text(WIDTH - RIGHT, top + 14, f"{told} ms", kind="value", anchor="end")
    for name, x in _spaced([(name, canvas.x(value)) for name, value in marks]):
        canvas.text(x, top + 33, name, kind="tick", anchor="middle")


def _spaced(marks: Sequence[tuple[str, float]], gap: float = 24) -> list[tuple[str, float]]:
    """Labels moved right where they would overlap the one before, and back inside the plot."""
    placed: list[tuple[str, float]] = []
    for name, x in marks:
        left = placed[-1][1] + gap if placed else 0.0
        placed.append((name, max(x, left)))
    over = max(0.0, placed[-1][1] - (WIDTH - RIGHT - 8)) if placed else 0.0
    return [(name, x - over) for name, x in placed]


def memory_chart(result: BenchResult, budgets: dict[str, Any]) -> str | None:
    """Resident memory over the run, with its peak, the phases, and the budget when it is near enough to show."""
    use = result.memory
    if not use.series_times_s:
        return None
    peak_mb = use.peak_rss_bytes / 1e6
    limit = budgets.get("peak_rss_bytes_max")
    highest = peak_mb
    if limit and limit / 1e6 < 2.2 * peak_mb:
        highest = max(highest, limit / 1e6)
    canvas = Canvas("Resident memory over the run", y_high=highest * 1.1)
    canvas.x_high = max(use.series_times_s[-1], 0.001)
    canvas.y_axis("MB")
    canvas.x_axis(tick_values(canvas.x_high, 6), "seconds")
    points = [
        (canvas.x(time_s), canvas.y(rss / 1e6))
        for time_s, rss in zip(use.series_times_s, use.series_rss_bytes, strict=True)
    ]
    canvas.path([(points[0][0], canvas.y(0)), *points, (points[-1][0], canvas.y(0))], "area", closed=True)
    canvas.path(points, "curve")
    for name, time_s in sorted(use.phases_s.items(), key=lambda item: item[1]):
        x = canvas.x(time_s)
        canvas.line(x, canvas.top, x, canvas.y(0), "phase")
        anchor = "end" if x > WIDTH - 120 else "start"
        canvas.text(x + (5 if anchor == "start" else -5), canvas.y(0) - 7, name, kind="onarea", anchor=anchor)
    canvas.level(peak_mb, f"peak {quantity(use.peak_rss_bytes, 'bytes')}", "plain")
    if limit and highest >= limit / 1e6:
        canvas.level(limit / 1e6, f"at most {quantity(limit, 'bytes')}", "limit")
    return canvas.svg()


def sustained_chart(result: BenchResult, budgets: dict[str, Any]) -> str | None:
    """Speed by window of the sustained run, its floor, and the floor that the budget asks for."""
    run = result.sustained
    if run is None or not run.tokens_per_s:
        return None
    canvas = Canvas("Decode speed in the sustained run", y_high=max(run.tokens_per_s) * 1.12)
    canvas.x_high = run.seconds
    canvas.y_axis("tok/s")
    canvas.x_axis(tick_values(run.seconds, 6), "seconds")
    share = run.seconds / len(run.tokens_per_s)
    gap = 3.0 if len(run.tokens_per_s) <= 40 else 0.4
    for index, speed in enumerate(run.tokens_per_s):
        x, end = canvas.x(index * share), canvas.x((index + 1) * share)
        hint = f"{index * share:.0f} to {(index + 1) * share:.0f} s: {speed:.1f} tok/s"
        kind = "bar low" if speed == run.floor_tokens_per_s else "bar"
        canvas.rect(x + gap / 2, canvas.y(speed), end - x - gap, canvas.y(0) - canvas.y(speed), kind, hint)
    floor = f"floor {run.floor_tokens_per_s:.1f} tok/s, {run.floor_ratio:.0%} of the first window"
    canvas.text(WIDTH - RIGHT, 12, floor, kind="value", anchor="end")
    canvas.level(run.floor_tokens_per_s, "floor", "over")
    budget = budgets.get("sustained")
    if budget:
        least = run.first_tokens_per_s * float(budget["floor_ratio_min"])
        canvas.level(least, f"needs {float(budget['floor_ratio_min']):.0%}", "overlimit", at_left=True)
    return canvas.svg()


def ledger_chart(result: BenchResult) -> str | None:
    """Predicted against measured memory as two bars of the same scale."""
    told = result.prediction
    if told is None:
        return None
    use = result.memory
    predicted = [(LEDGER_WORDS.get(name, name), size) for name, size in _by_size(told.expected_bytes)]
    measured = [
        ("process", use.baseline_rss_bytes),
        ("loaded model", use.loaded_rss_bytes - use.baseline_rss_bytes),
        ("while running", use.peak_rss_bytes - use.loaded_rss_bytes),
    ]
    canvas = Canvas("Predicted against measured memory", height=212, left=2)
    canvas.x_high = max(told.predicted_bytes, told.measured_bytes)
    _stack(canvas, 0, f"Predicted {quantity(told.predicted_bytes, 'bytes')}", predicted)
    _stack(canvas, 108, f"Measured {quantity(told.measured_bytes, 'bytes')}, {told.ratio:.0%} of it", measured)
    return canvas.svg()


def _by_size(sizes: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, size) for name, size in sizes.items() if size), key=lambda item: -item[1])


def _stack(canvas: Canvas, top: int, title: str, parts: Sequence[tuple[str, int]]) -> None:
    canvas.text(canvas.left, top + 16, title, kind="row")
    x = float(canvas.left)
    legend_x, legend_y = float(canvas.left), top + 76
    for index, (name, size) in enumerate(parts):
        kind = SEGMENT_KINDS[index % len(SEGMENT_KINDS)]
        width = canvas.x(max(0, size)) - canvas.x(0)
        words = f"{name} {quantity(size, 'bytes')}"
        canvas.rect(x, top + 26, width - 1.5, 32, f"segment {kind}", words)
        if width >= LABEL_WIDTH:
            canvas.text(x + 7, top + 46, f"{size / 1e6:,.0f} MB", kind=f"inside {kind}")
        x += width
        length = 20 + 6.3 * len(words)
        if legend_x + length > WIDTH - RIGHT:
            legend_x, legend_y = float(canvas.left), legend_y + 18
        canvas.rect(legend_x, legend_y - 9, 10, 10, f"segment {kind}")
        canvas.text(legend_x + 15, legend_y, words)
        legend_x += length + 8


def bandwidth_chart(result: BenchResult) -> str | None:
    """What decode needs of the machine's read bandwidth, against what was measured."""
    check = result.bandwidth
    if check is None:
        return None
    rows = [(f"decode reads ({check.decode_tokens_per_s:.1f} tok/s)", check.demand_bytes_per_s, "bar")]
    for reading in check.readings:
        size = quantity(reading.buffer_bytes, "bytes")
        where = "fits the cache" if reading.level == "cache" else "beyond the cache"
        rows.append((f"buffer of {size}, {where}", reading.bytes_per_s, "bar quiet"))
    canvas = Canvas("Read bandwidth", height=46 * len(rows) + 34, left=2, bottom=34)
    canvas.x_high = max(value for _, value, _ in rows) / 1e9 * 1.18
    for index, (name, value, kind) in enumerate(rows):
        top = index * 46
        canvas.text(canvas.left, top + 14, name, kind="row")
        width = canvas.x(value / 1e9) - canvas.x(0)
        canvas.rect(canvas.x(0), top + 21, width, 16, kind, quantity(value, "bytes/s"))
        canvas.text(canvas.x(value / 1e9) + 7, top + 34, quantity(value, "bytes/s"), kind="value")
    canvas.x_axis(tick_values(canvas.x_high, 6), "GB/s")
    return canvas.svg()


def temperature_chart(result: BenchResult) -> str | None:
    """Temperatures over the run; None without a sensor."""
    zones = [one for one in result.sensor_series if one.unit == "degC" and len(one.values) > 1][:4]
    if not zones:
        return None
    canvas = Canvas("Temperature over the run", y_high=max(max(zone.values) for zone in zones) * 1.15)
    canvas.x_high = max(zone.times_s[-1] for zone in zones)
    canvas.y_axis("°C")
    canvas.x_axis(tick_values(canvas.x_high, 6), "seconds")
    for index, zone in enumerate(zones):
        points = [(canvas.x(t), canvas.y(v)) for t, v in zip(zone.times_s, zone.values, strict=True)]
        canvas.path(points, f"curve c{index + 1}")
        name = f"{zone.name.partition('.')[2]} {tick_text(round(max(zone.values), 1))}"
        canvas.text(WIDTH - RIGHT, points[-1][1] - 6, name, kind="value", anchor="end")
    return canvas.svg()
