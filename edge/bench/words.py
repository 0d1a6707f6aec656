"""Numbers and remarks of a result in the words that report, terminal and gates share. Pure."""

from __future__ import annotations

from edge.bench.result import BenchResult
from edge.device.sensors.throttling import SINCE_START
from edge.device.sensors.throttling import words as throttling_words

LEDGER_WORDS = {
    "weights": "weights",
    "scales": "scales",
    "kv_cache": "KV cache",
    "activations": "activations",
    "runtime": "runtime",
    "ui": "screen",
    "file_pages": "file pages",
    "load_pages": "loading",
}


def quantity(value: float, unit: str) -> str:
    """A number with its unit for a person: two or three digits, bytes in MB or GB, shares in per cent.

    points: a difference of shares, in percentage points.
    """
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB" if abs(value) >= 1e9 else f"{value / 1e6:.1f} MB"
    if unit == "bytes/s":
        return f"{value / 1e9:.1f} GB/s"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "points":
        return f"{100 * value:+.2f} points"
    if abs(value) >= 100:
        text = f"{value:,.0f}"
    elif abs(value) >= 1:
        # A ratio near 1 lives in its second decimal.
        text = f"{value:.1f}".removesuffix(".0") if unit else f"{value:.3g}"
    else:
        text = f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{text} {unit}".strip()


def duration(seconds: float) -> str:
    """ "58 s" or "10 min 3 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def short_digest(digest: str) -> str:
    """The first 12 hex digits, as shown on screens."""
    return digest[:12]


def device_name(result: BenchResult) -> str:
    """The board where it has a name, else the CPU."""
    device = result.environment.device
    return str(device.get("board") or device.get("cpu_model") or device.get("arch"))


def remarks(result: BenchResult) -> tuple[str, ...]:
    """What a reader must know before trusting the speeds."""
    if result.environment.emulated:
        left_out = [f"Left out: {reason}." for reason in result.skipped]
        told = f"Emulated ({result.environment.emulated}): no time, energy or memory of it is the device's."
        return (told, *left_out)
    found = []
    cpus = int(result.environment.device.get("logical_cpus", 1))
    load = result.environment.load_average_before
    if load is not None and load[0] > 0.5 * cpus:
        found.append(
            f"The device was busy before the run (load {load[0]:.1f} on {cpus} CPUs), so speeds may be too low."
        )
    governor = result.environment.governor
    if governor and governor != "performance":
        found.append(f"The CPU governor is '{governor}': clocks may change during the run.")
    if result.bandwidth is not None and result.bandwidth.decided_by == "cache":
        found.append("The last-level cache can hold the model, so the bandwidth limit is that of the cache.")
    found += throttling_remarks(result)
    found += [f"Left out: {reason}." for reason in result.skipped]
    return tuple(found)


def throttling_remarks(result: BenchResult) -> list[str]:
    """That the device slowed itself down during the run, and by what; none without such a sensor."""
    seen = []
    for series in result.sensor_series:
        if series.name.startswith("throttling.") and series.name != SINCE_START:
            told = dict.fromkeys(throttling_words(series.unit, value) for value in series.values)
            seen += [words for words in told if words]
    if not seen:
        return []
    return [f"The device slowed itself down or lacked power during the run: {'; '.join(dict.fromkeys(seen))}."]


def headline(result: BenchResult) -> tuple[tuple[str, str, str], ...]:
    """Key figures: (name, value, what it is for). A missing sensor says so; an emulated device has no speeds."""
    if result.environment.emulated:
        return emulated_headline(result)
    tiles = []
    if result.prefill:
        longest = result.prefill[-1]
        tiles.append(
            ("First token", quantity(longest.ttft_ms.median, "ms"), f"after a prompt of {longest.prompt_tokens} tokens")
        )
    if result.decode:
        slowest = min(result.decode, key=lambda one: one.tokens_per_s.median)
        value = quantity(slowest.tokens_per_s.median, "tok/s")
        tiles.append(("Decode", value, f"with {slowest.context_tokens} tokens read"))
    memory = result.memory
    tiles.append(("Peak memory", quantity(memory.peak_rss_bytes, "bytes"), f"{memory.samples:,} samples"))
    if result.suite is not None and result.suite.ids:
        build = sum(result.suite.build) / len(result.suite.build)
        source = sum(result.suite.source) / len(result.suite.source)
        what = f"{result.suite.suite} suite, {result.suite.metric}; source {quantity(source, 'share')}"
        tiles.append(("Clinical", quantity(build, "share"), what))
    tiles.append(("Load", quantity(result.load.load_ms.median, "ms"), "tokenizer and model"))
    if result.sustained is not None:
        run = result.sustained
        tiles.append(("Speed kept", quantity(run.floor_ratio, "share"), f"slowest window of {duration(run.seconds)}"))
    energy = result.energy
    if energy.j_per_token is None:
        tiles.append(("Energy", "no sensor", energy.reason.removeprefix("no sensor: ")))
    else:
        without = f", without {energy.leaves_out}" if energy.leaves_out else ""
        tiles.append(("Energy", quantity(energy.j_per_token, "J"), f"per token, {energy.source}{without}"))
    if energy.prompt is not None and energy.prompt.joules is not None:
        per_token = energy.prompt.joules / energy.prompt.read_tokens
        tiles.append(("Energy to read", quantity(per_token, "J"), f"per token of {energy.prompt.read_tokens} read"))
    if energy.note is not None and energy.note.joules is not None:
        shape = f"{energy.note.read_tokens} tokens read, {energy.note.written_tokens} written"
        tiles.append(("Energy of a note", quantity(energy.note.joules, "J"), shape))
    heat = result.temperature
    if heat.highest_celsius is None:
        tiles.append(("Temperature", "no sensor", heat.reason.removeprefix("no sensor: ")))
    else:
        tiles.append(("Temperature", f"{heat.highest_celsius:.0f} °C", f"highest, {heat.source}"))
    tiles.append(("On disk", quantity(result.bundle.disk_bytes, "bytes"), "the whole bundle"))
    return tuple(tiles)


def emulated_headline(result: BenchResult) -> tuple[tuple[str, str, str], ...]:
    """The figures that an emulated device may show."""
    tiles = [("Speed", "not measured", "emulated: there is no clock")]
    if result.golden is not None:
        tiles.append(("Golden", quantity(result.golden.top1_agreement, "share"), "same top token as at the build"))
    grown = result.memory.peak_rss_bytes - result.memory.baseline_rss_bytes
    tiles.append(("Memory growth", quantity(grown, "bytes"), "since the imports, with the emulator's own"))
    tiles.append(("On disk", quantity(result.bundle.disk_bytes, "bytes"), "the whole bundle"))
    return tuple(tiles)
