"""A BenchResult from what the measuring process said and what was sampled beside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.bench.bandwidth import BandwidthCheck, BandwidthReading, bytes_read_per_token, check_bandwidth
from edge.bench.clinical_gate import SelfTest, SuiteScores
from edge.bench.golden import GoldenOutcome
from edge.bench.measure import SUSTAINED_CONTEXT_TOKENS, SUSTAINED_CYCLE_TOKENS, fitting
from edge.bench.memory import MemorySample, MemoryUse, Rollup, memory_use
from edge.bench.plain import dataclass_from_plain
from edge.bench.result import (
    DecodeSpeed,
    Energy,
    LoadTime,
    Prediction,
    PrefillSpeed,
    SensorSeries,
    Sustained,
    Temperature,
    WorkEnergy,
)
from edge.bench.source_fidelity import SourceFidelity
from edge.bench.statistics import percentile, spread, thin
from edge.bench.workload import Workload
from edge.device.sensors import MeasuredEnergy, Series, measured_energy
from edge.errors import BundleError, ResourceError

LEDGER = ("weights", "scales", "kv_cache", "activations", "runtime", "ui", "file_pages", "load_pages")
# The measuring process has no screen, so the ledger's share for it is not held against the peak.
NOT_IN_WORKER = ("ui",)
SENSOR_POINTS = 300
# The ends of a piece of work are interpolated between two samples: a shorter one has no energy of its own.
WORK_SAMPLES = 4


@dataclass
class Events:
    """The measuring process's events, sorted by kind as they come."""

    by_kind: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, event: dict[str, Any]) -> None:
        """Keep one event."""
        self.by_kind.setdefault(str(event.get("event")), []).append(event)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Events of a kind in the order they came; empty when there were none."""
        return self.by_kind.get(kind, [])

    def one(self, kind: str) -> dict[str, Any]:
        """The first event of a kind. Errors: BundleError when the process never sent one."""
        for event in self.all(kind):
            return event
        raise BundleError(f"the measuring process ended without '{kind}'", mend="measure again")


def load_time(events: Events) -> LoadTime:
    """All loads; the first is that of the measured engine."""
    times = [event["ms"] for event in (*events.all("loaded"), *events.all("load"))]
    return LoadTime(import_ms=events.one("started")["import_ms"], load_ms=spread(times))


def prefill_speeds(events: Events) -> tuple[PrefillSpeed, ...]:
    """One entry for each prompt length, shortest first."""
    by_length: dict[int, list[float]] = {}
    for event in events.all("prefill"):
        by_length.setdefault(event["tokens"], []).append(event["ms"])
    return tuple(
        PrefillSpeed(tokens, spread(times), spread([tokens * 1e3 / ms for ms in times]))
        for tokens, times in sorted(by_length.items())
    )


def decode_speeds(events: Events) -> tuple[DecodeSpeed, ...]:
    """One entry for each context length, shortest first."""
    by_context: dict[int, list[list[float]]] = {}
    for event in events.all("decode"):
        by_context.setdefault(event["context"], []).append(event["step_ms"])
    speeds = []
    for context, repetitions in sorted(by_context.items()):
        steps = [ms for repetition in repetitions for ms in repetition]
        speeds.append(
            DecodeSpeed(
                context_tokens=context,
                tokens_per_s=spread([len(one) * 1e3 / sum(one) for one in repetitions]),
                tpot_p50_ms=percentile(steps, 50),
                tpot_p95_ms=percentile(steps, 95),
                tpot_p99_ms=percentile(steps, 99),
                step_ms=tuple(round(ms, 3) for ms in steps),
            )
        )
    return tuple(speeds)


def sustained_run(events: Events, window_s: float) -> Sustained | None:
    """The sustained run; None when the workload has none."""
    windows = events.all("window")
    if not windows or not events.all("sustained"):
        return None
    speeds = [event["tokens"] / event["seconds"] for event in windows]
    return Sustained(
        seconds=sum(event["seconds"] for event in windows),
        window_s=window_s,
        tokens=sum(event["tokens"] for event in windows),
        tokens_per_s=tuple(speeds),
        first_tokens_per_s=speeds[0],
        floor_tokens_per_s=min(speeds),
        floor_ratio=min(speeds) / speeds[0],
    )


def sustained_interval(events: Events) -> tuple[float, float] | None:
    """Start and end of the sustained run on the monotonic clock."""
    for event in events.all("sustained"):
        return event["start"], event["end"]
    return None


def memory(events: Events, samples: list[MemorySample], rollups: list[Rollup]) -> MemoryUse:
    """The memory of the process up to its `measured` event. Errors: ResourceError without a sample."""
    if not samples:
        raise ResourceError("the memory of the measuring process cannot be read", mend="check that /proc is mounted")
    measured = events.one("measured")
    return memory_use(
        samples,
        rollups,
        started_s=events.one("started")["t"],
        loaded_s=events.one("loaded")["t"],
        measured_s=measured["t"],
        sustained=sustained_interval(events),
        high_water=measured["high_water_bytes"],
    )


def energy(events: Events, series: tuple[Series, ...], sensors: Mapping[str, str]) -> Energy:
    """Joules per token over the sustained run, per prompt and per note, or why there are none."""
    interval = sustained_interval(events)
    prompt, note = (work_energy(pieces, series, sensors) for pieces in (longest_prompt(events), note_shaped(events)))
    if interval is None:
        return Energy(None, None, 0, "", "no sustained run", prompt=prompt, note=note)
    tokens = int(events.one("sustained")["tokens"])
    found = measured_energy(series, *interval)
    if found is None:
        return Energy(None, None, tokens, "", no_energy(series, sensors), prompt=prompt, note=note)
    return Energy(found.joules / tokens, found.joules, tokens, found.source, "", found.leaves_out, prompt, note)


def no_energy(series: Sequence[Series], sensors: Mapping[str, str]) -> str:
    """Why an interval has no energy."""
    if any(one.unit in ("J", "W") for one in series):
        return "no sensor: its samples do not cover the run"
    reason = sensors.get("energy", "no sensor")
    return reason if reason != "present" else "no sensor: gave no value"


def longest_prompt(events: Events) -> list[dict[str, Any]]:
    """The pieces of work that read the longest prompt and wrote nothing."""
    prompts = [event for event in events.all("work") if not event["written"]]
    longest = max((event["read"] for event in prompts), default=0)
    return [event for event in prompts if event["read"] == longest]


def note_shaped(events: Events) -> list[dict[str, Any]]:
    """The pieces of work that read most before they wrote."""
    notes = [event for event in events.all("work") if event["written"]]
    longest = max((event["read"] for event in notes), default=0)
    return [event for event in notes if event["read"] == longest]


def work_energy(
    pieces: Sequence[Mapping[str, Any]], series: tuple[Series, ...], sensors: Mapping[str, str]
) -> WorkEnergy | None:
    """Mean energy of pieces of one shape; None when there are none.

    All pieces or none: the longer of them would be the ones with enough samples.
    """
    if not pieces:
        return None
    read, written = int(pieces[0]["read"]), int(pieces[0]["written"])
    found: list[MeasuredEnergy] = []
    for piece in pieces:
        measured = measured_energy(series, piece["start"], piece["end"], least_samples=WORK_SAMPLES)
        if measured is None:
            covered = measured_energy(series, piece["start"], piece["end"]) is not None
            seconds = piece["end"] - piece["start"]
            reason = f"{seconds:.1f} s is too short for the sensor" if covered else no_energy(series, sensors)
            return WorkEnergy(read, written, None, 0, "", reason)
        found.append(measured)
    sources = "+".join(sorted({measured.source for measured in found}))
    return WorkEnergy(read, written, sum(one.joules for one in found) / len(found), len(found), sources, "")


def temperature(series: Sequence[Series], sensors: Mapping[str, str]) -> Temperature:
    """The sensor that got hottest, or why there is none."""
    zones = [one for one in series if one.unit == "degC" and one.values]
    if not zones:
        reason = sensors.get("temperature", "no sensor")
        return Temperature(None, None, "", reason if reason != "present" else "no sensor: gave no value")
    hottest = max(zones, key=lambda one: max(one.values))
    return Temperature(hottest.values[0], max(hottest.values), hottest.name, "")


def sensor_series(series: Sequence[Series], started_s: float) -> tuple[SensorSeries, ...]:
    """The samples of all sensors, thinned, from the start of the run."""
    kept = []
    for one in series:
        times, values = thin(one.times_s, one.values, SENSOR_POINTS)
        kept.append(
            SensorSeries(
                one.name,
                one.unit,
                tuple(round(time_s - started_s, 3) for time_s in times),
                tuple(round(value, 3) for value in values),
            )
        )
    return tuple(kept)


def ledger_of(predicted_memory: Mapping[str, Any]) -> dict[str, int]:
    """The known items of a manifest's predicted_memory in bytes.

    Read as `edge plan` writes them: a list of {name, size_bytes} or a mapping, plain or below "ledger".
    """
    items = predicted_memory.get("ledger", predicted_memory)
    if isinstance(items, Mapping):
        pairs = [(str(name).removesuffix("_bytes"), value) for name, value in items.items()]
    else:
        pairs = [(str(item.get("name")), item.get("size_bytes")) for item in items]
    return {name: int(value) for name, value in sorted(pairs) if name in LEDGER and isinstance(value, int)}


def touched_tokens(workload: Workload, context_tokens: int) -> int:
    """The highest number of places of the KV cache that a workload fills."""
    prompts, contexts, _ = fitting(workload, context_tokens)
    ends = [*prompts, *(context + workload.decode_tokens for context in contexts)]
    if workload.sustained_s:
        ends.append(SUSTAINED_CONTEXT_TOKENS + SUSTAINED_CYCLE_TOKENS)
    return min(context_tokens, max(ends, default=0))


def prediction(
    predicted_memory: Mapping[str, Any], use: MemoryUse, touched: int, context_tokens: int
) -> Prediction | None:
    """Predicted against measured; None when the manifest predicts nothing."""
    ledger = ledger_of(predicted_memory)
    expected = {name: value for name, value in ledger.items() if name not in NOT_IN_WORKER}
    if "kv_cache" in expected:
        expected["kv_cache"] = expected["kv_cache"] * touched // context_tokens
    predicted = sum(expected.values())
    if not predicted:
        return None
    ratio = use.peak_rss_bytes / predicted
    return Prediction(ledger, expected, touched, predicted, use.peak_rss_bytes, ratio)


def bandwidth(
    decode: tuple[DecodeSpeed, ...],
    readings: tuple[BandwidthReading, ...],
    model_bytes: int,
    decoder: Mapping[str, Any],
    decode_tokens: int,
) -> BandwidthCheck | None:
    """The plausibility rule on the context that demands most; None without a decode or a reading."""
    checks = []
    for speed in decode if readings else ():
        # The cache grows by decode_tokens while it is timed: its middle stands for the run.
        middle = speed.context_tokens + decode_tokens // 2
        per_token = bytes_read_per_token(model_bytes, decoder, middle)
        checks.append(check_bandwidth(readings, per_token, speed.tokens_per_s.median, speed.context_tokens))
    return max(checks, key=lambda check: check.share, default=None)


def fidelity(events: Events) -> SourceFidelity | None:
    """This device's fidelity; None when the bundle carries no opinion of its source."""
    for event in events.all("fidelity"):
        measured = dataclass_from_plain(SourceFidelity, event["measured"], "fidelity")
        if isinstance(measured, SourceFidelity):
            return measured
    return None


def golden(events: Events) -> GoldenOutcome | None:
    """The outcome of the golden cases; None when they did not run."""
    for event in events.all("golden"):
        outcome = dataclass_from_plain(GoldenOutcome, event["outcome"], "golden")
        if isinstance(outcome, GoldenOutcome):
            return outcome
    return None


def self_test(events: Events) -> SelfTest | None:
    """The clinical self-test; None when the bundle has no cases."""
    for event in events.all("self_test"):
        outcome = dataclass_from_plain(SelfTest, event["outcome"], "self_test")
        if isinstance(outcome, SelfTest):
            return outcome
    return None


def suite(events: Events) -> SuiteScores | None:
    """The clinical suite's scores; None when the bundle has none."""
    for event in events.all("suite"):
        scores = dataclass_from_plain(SuiteScores, event["scores"], "suite")
        if isinstance(scores, SuiteScores):
            return scores
    return None
