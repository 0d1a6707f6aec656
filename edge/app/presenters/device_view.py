"""The device screen as frozen values, and the pure functions that read figures, sensors and a result file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.app.engine.messages import BundleFacts, DeviceReading, Figures
from edge.app.i18n import tr, tr_n, translator

MOST_RESULT_BYTES = 8 << 20
DIGEST_SHOWN = 12


@dataclass(frozen=True)
class Fact:
    """A name with its value. tone: '' plain, good, warning or danger; icon: beside a value that has a tone. long: the
    whole value where `value` is its beginning."""

    name: str
    value: str
    tone: str = ""
    icon: str = ""
    long: str = ""


@dataclass(frozen=True)
class ModelCard:
    """One engine with its bundle. task: one that it serves; restart: it can be started again."""

    task: str
    title: str
    facts: tuple[Fact, ...]
    status: str = ""
    tone: str = ""
    restart: bool = False


@dataclass(frozen=True)
class BenchmarkCard:
    """The device test. reason: why it cannot be run now, '' when it can. fraction: None while it does not run.
    facts: figures of the last one; exported: words of the last export."""

    task: str = ""
    reason: str = ""
    can_close_patient: bool = False
    asking: bool = False
    fraction: float | None = None
    running_words: str = ""
    verdict: str = ""
    passed: bool = False
    words: str = ""
    facts: tuple[Fact, ...] = ()
    can_export: bool = False
    exported: tuple[str, ...] = ()
    export_error: str = ""


@dataclass(frozen=True)
class DeviceView:
    """The whole screen. graph: temperatures in degC, oldest first; hot: which of them were throttled."""

    models: tuple[ModelCard, ...] = ()
    speed: tuple[Fact, ...] = ()
    memory: tuple[Fact, ...] = ()
    temperature: tuple[Fact, ...] = ()
    graph: tuple[float, ...] = ()
    hot: tuple[bool, ...] = ()
    graph_words: str = ""
    storage: tuple[Fact, ...] = ()
    benchmark: BenchmarkCard = BenchmarkCard()


def number(value: float, decimals: int = 0) -> str:
    """A number with the decimal mark of the language in use."""
    text = f"{value:,.{decimals}f}"
    if translator.language == "de":
        text = text.translate(str.maketrans(",.", ".,"))
    return text


def size(count: float) -> str:
    """Bytes for a person, decimal MB or GB."""
    if count >= 1e9:
        return tr("device.bytes_gb", count=number(count / 1e9, 2))
    return tr("device.bytes_mb", count=number(count / 1e6))


def milliseconds(count: float) -> str:
    """Below ten seconds in ms, above in s."""
    if count < 10_000:
        return tr("device.milliseconds", count=number(count))
    return tr("device.seconds", count=number(count / 1000, 1))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, interpolated. Errors: ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def verified_fact(facts: BundleFacts) -> Fact:
    """The state of the device test in words, with its icon."""
    tone, icon = {
        "passed": ("good", "shield-check"),
        "failed": ("danger", "shield-alert"),
        "forced": ("warning", "shield-alert"),
    }.get(facts.verified, ("warning", "shield-off"))
    return Fact(tr("device.device_test"), tr(f"device.verified_{facts.verified}"), tone, icon)


def bundle_facts(facts: BundleFacts) -> tuple[Fact, ...]:
    """What a bundle is and whether it was tested here."""
    tasks = ", ".join(tr(f"device.task_{task}") for task in facts.tasks)
    return (
        Fact(tr("device.bundle"), facts.name),
        Fact(tr("device.profile"), facts.profile),
        Fact(tr("device.target"), facts.target),
        Fact(tr("device.tasks"), tasks),
        verified_fact(facts),
        Fact(
            tr("device.behaviour_digest"), facts.behaviour_digest[:DIGEST_SHOWN], "digest", long=facts.behaviour_digest
        ),
        Fact(tr("device.bundle_digest"), facts.bundle_digest[:DIGEST_SHOWN], "digest", long=facts.bundle_digest),
        Fact(tr("device.load_time"), milliseconds(facts.load_ms)),
        Fact(tr("device.context"), tr("device.context_tokens", count=number(facts.context_tokens))),
        Fact(tr("device.memory_planned"), size(facts.predicted_peak_bytes)),
    )


def speed_facts(runs: Iterable[tuple[str, Figures]]) -> tuple[Fact, ...]:
    """Speed of this session's runs, () before the first."""
    figures = [one for _, one in runs]
    first = [one.ttft_ms for one in figures if one.ttft_ms is not None]
    speeds = [one.tokens_per_s for one in figures if one.tokens_per_s is not None]
    out = []
    if first:
        out.append(Fact(tr("device.ttft"), milliseconds(percentile(first, 50))))
    for percent in (50, 95) if speeds else ():
        value = tr("device.tok_s", count=number(percentile(speeds, percent), 1))
        out.append(Fact(tr(f"device.tok_s_p{percent}"), value))
    if figures:
        out.append(Fact(tr("device.runs_title"), tr_n("device.runs", len(figures))))
    return tuple(out)


def memory_facts(last: DeviceReading | None, peak_bytes: int) -> tuple[Fact, ...]:
    """Memory of the engines and of the device."""
    waits = tr("device.not_measured")
    return (
        Fact(tr("device.memory_now"), size(last.rss_bytes) if last and last.rss_bytes else waits),
        Fact(tr("device.memory_peak"), size(peak_bytes) if peak_bytes else waits),
        Fact(tr("device.memory_free"), size(last.free_bytes) if last and last.free_bytes else waits),
    )


def heat_facts(readings: Sequence[DeviceReading]) -> tuple[Fact, ...]:
    """Temperature now and at its highest, clock, and whether heat slows the device down."""
    if not readings:
        return (Fact(tr("device.temperature"), tr("device.not_measured")),)
    last = readings[-1]
    known = [one.temperature_c for one in readings if one.temperature_c is not None]
    out = []
    if last.temperature_c is not None:
        out.append(Fact(tr("device.temperature"), tr("device.temperature_now", count=number(last.temperature_c))))
    if known:
        out.append(
            Fact(tr("device.temperature_highest"), tr("device.temperature_now", count=number(max(known)))),
        )
    else:
        out.append(Fact(tr("device.temperature"), tr("device.temperature_none")))
    if last.frequency_mhz:
        out.append(Fact(tr("device.frequency"), tr("device.megahertz", count=number(last.frequency_mhz))))
    share = sum(one.throttled for one in readings) / len(readings)
    if last.throttled:
        out.append(Fact(tr("device.state"), tr("device.throttled_now"), "warning", "fire"))
    elif share:
        words = tr("device.throttled_share", percent=max(1, round(100 * share)))
        out.append(Fact(tr("device.state"), words, "warning", "fire"))
    else:
        out.append(Fact(tr("device.state"), tr("device.throttled_no"), "good", "check-circle"))
    return tuple(out)


def heat_graph(readings: Sequence[DeviceReading]) -> tuple[tuple[float, ...], tuple[bool, ...], str]:
    """Temperatures, which of them were throttled, and the graph in words; all empty below two readings."""
    known = [(one.temperature_c, one.throttled) for one in readings if one.temperature_c is not None]
    if len(known) < 2:
        return (), (), ""
    values = tuple(value for value, _ in known)
    words = tr("device.graph_words", count=len(values), lowest=number(min(values)), highest=number(max(values)))
    return values, tuple(hot for _, hot in known), words


def read_result(path: Path) -> Mapping[str, Any] | None:
    """A result file as plain JSON; None when it cannot be read. The file's own reader needs the engine's libraries,
    which this process must not load."""
    try:
        if path.stat().st_size > MOST_RESULT_BYTES:
            return None
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def result_facts(result: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Key figures of a result; a figure that the file does not have is left out."""
    out = []
    load = _at(result, "load", "load_ms", "median")
    if load is not None:
        out.append(Fact(tr("device.result_load"), milliseconds(load)))
    prefill = [one for one in result.get("prefill") or () if isinstance(one, dict)]
    if prefill and (first := _at(prefill[-1], "ttft_ms", "median")) is not None:
        name = tr("device.result_first", count=prefill[-1].get("prompt_tokens", 0))
        out.append(Fact(name, milliseconds(first)))
    speeds = [
        (speed, one.get("context_tokens", 0))
        for one in result.get("decode") or ()
        if isinstance(one, dict) and (speed := _at(one, "tokens_per_s", "median")) is not None
    ]
    if speeds:
        slowest, context = min(speeds)
        value = tr("device.tok_s", count=number(slowest, 1))
        out.append(Fact(tr("device.result_decode", count=context), value))
    if (peak := _at(result, "memory", "peak_rss_bytes")) is not None:
        out.append(Fact(tr("device.result_memory"), size(peak)))
    if (kept := _at(result, "sustained", "floor_ratio")) is not None:
        out.append(Fact(tr("device.result_kept"), tr("device.percent", count=number(100 * kept))))
    if isinstance(result.get("temperature"), dict):
        heat = _at(result, "temperature", "highest_celsius")
        value = tr("device.result_no_sensor") if heat is None else tr("device.temperature_now", count=number(heat))
        out.append(Fact(tr("device.result_heat"), value))
    golden = result.get("golden")
    if isinstance(golden, dict) and isinstance(golden.get("passed"), bool):
        same = golden["passed"]
        out.append(
            Fact(
                tr("device.result_golden"),
                tr("device.result_same" if same else "device.result_differs"),
                "good" if same else "danger",
                "check-circle" if same else "alert",
            )
        )
    return tuple(out)


def _at(value: Any, *names: str) -> float | None:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
