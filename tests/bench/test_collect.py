"""From events and samples to figures."""

from typing import Any

import pytest
from bench_dummies import CONFIG, SMALL, make_result

from edge.bench import collect
from edge.bench.bandwidth import BandwidthReading
from edge.bench.collect import Events
from edge.bench.workload import BUILT_IN
from edge.device.sensors import Series
from edge.errors import BundleError, ResourceError


def events(*all_of_them: dict[str, Any]) -> Events:
    kept = Events()
    for event in all_of_them:
        kept.add(event)
    return kept


SUSTAINED = (
    {"event": "window", "tokens": 100, "seconds": 5.0},
    {"event": "window", "tokens": 70, "seconds": 5.0},
    {"event": "window", "tokens": 90, "seconds": 6.0},
    {"event": "sustained", "start": 10.0, "end": 26.0, "tokens": 260},
)


def test_missing_events_are_named() -> None:
    """If it fails, a process that stopped half way gives a result with holes."""
    with pytest.raises(BundleError, match="'started'"):
        collect.load_time(events())


def test_load_counts_every_load() -> None:
    """If it fails, the spread of load times leaves out the first or the repeated loads."""
    load = collect.load_time(
        events(
            {"event": "started", "import_ms": 40.0},
            {"event": "loaded", "ms": 300.0},
            {"event": "load", "ms": 100.0},
            {"event": "load", "ms": 200.0},
        )
    )
    assert (load.load_ms.minimum, load.load_ms.median, load.load_ms.count) == (100.0, 200.0, 3)


def test_speeds_from_events() -> None:
    """If it fails, tok/s and ms of a table do not belong together."""
    kept = events(
        {"event": "prefill", "tokens": 512, "ms": 1000.0},
        {"event": "prefill", "tokens": 64, "ms": 100.0},
        {"event": "prefill", "tokens": 512, "ms": 2000.0},
        {"event": "decode", "context": 0, "step_ms": [10.0, 30.0]},
        {"event": "decode", "context": 0, "step_ms": [20.0, 20.0]},
    )
    short, long = collect.prefill_speeds(kept)
    assert (short.prompt_tokens, short.tokens_per_s.median) == (64, 640.0)
    assert (long.ttft_ms.median, long.tokens_per_s.minimum, long.tokens_per_s.maximum) == (1500.0, 256.0, 512.0)
    (decode,) = collect.decode_speeds(kept)
    assert decode.tokens_per_s.median == 50.0
    assert decode.tpot_p50_ms == 20.0
    assert decode.step_ms == (10.0, 30.0, 20.0, 20.0)


def test_sustained_floor() -> None:
    """If it fails, a device that throttles in the middle looks steady."""
    run = collect.sustained_run(events(*SUSTAINED), 5.0)
    assert run is not None
    assert run.tokens_per_s == (20.0, 14.0, 15.0)
    assert run.floor_ratio == pytest.approx(0.7)
    assert collect.sustained_run(events(), 5.0) is None


def test_energy_of_the_sustained_run_only() -> None:
    """If it fails, joules of the load or of the prompts are charged to the tokens."""
    times = tuple(float(second) for second in range(40))
    series = (Series("rapl.package-0", "J", times, tuple(13.0 * second for second in times)),)
    told = collect.energy(events(*SUSTAINED), series, {"energy": "present"})
    assert told.joules == pytest.approx(16 * 13)
    assert told.j_per_token == pytest.approx(16 * 13 / 260)
    assert told.source == "rapl.package-0"


@pytest.mark.parametrize("told", ["no sensor: energy counter needs root", "present"])
def test_no_energy_is_never_zero(told: str) -> None:
    """If it fails, a device without a sensor seems to need no energy."""
    energy = collect.energy(events(*SUSTAINED), (), {"energy": told})
    assert energy.j_per_token is None
    assert energy.reason.startswith("no sensor")
    assert collect.energy(events(), (), {}).reason == "no sustained run"


def test_the_hottest_zone_counts() -> None:
    """If it fails, the skin sensor hides a throttling CPU."""
    series = (
        Series("thermal.skin", "degC", (0.0, 1.0), (30.0, 31.0)),
        Series("thermal.cpu", "degC", (0.0, 1.0), (40.0, 81.0)),
        Series("cpufreq.min", "MHz", (0.0,), (1000.0,)),
    )
    heat = collect.temperature(series, {})
    assert (heat.start_celsius, heat.highest_celsius, heat.source) == (40.0, 81.0, "thermal.cpu")
    assert collect.temperature((), {"temperature": "no sensor: x"}).highest_celsius is None
    assert collect.temperature((), {"temperature": "present"}).reason.startswith("no sensor")


def test_sensor_series_start_at_the_run() -> None:
    """If it fails, plots show the machine's uptime."""
    (kept,) = collect.sensor_series((Series("n", "W", (105.0, 106.0), (1.0, 2.0)),), 100.0)
    assert kept.times_s == (5.0, 6.0)


@pytest.mark.parametrize(
    "predicted",
    [
        {"weights": 100, "kv_cache": 40, "ui": 7, "total": 147, "fits": True},
        {"weights_bytes": 100, "kv_cache_bytes": 40, "ui_bytes": 7},
        {"ledger": {"weights": 100, "kv_cache": 40, "ui": 7}, "needed_bytes": 999},
        {"ledger": [{"name": n, "size_bytes": b} for n, b in (("weights", 100), ("kv_cache", 40), ("ui", 7))]},
    ],
)
def test_the_ledger_as_the_plan_writes_it(predicted: dict[str, Any]) -> None:
    """If it fails, totals count twice or the prediction is empty, and memory is never compared."""
    assert collect.ledger_of(predicted) == {"weights": 100, "kv_cache": 40, "ui": 7}
    told = collect.prediction(predicted, make_result().memory, 64, 256)
    assert told is not None
    assert told.expected_bytes == {"weights": 100, "kv_cache": 10}
    assert told.predicted_bytes == 110
    assert collect.prediction({}, make_result().memory, 64, 256) is None


def test_the_part_of_the_cache_that_a_workload_fills() -> None:
    """If it fails, memory that no run touches hides a ledger that is too small."""
    assert collect.touched_tokens(BUILT_IN["quick"], 2048) == 576
    assert collect.touched_tokens(BUILT_IN["full"], 4096) == 2048
    assert collect.touched_tokens(BUILT_IN["quick"], 300) == 300
    assert collect.touched_tokens(SMALL, 64) == 64


def test_memory_without_samples() -> None:
    """If it fails, a system without /proc reports 0 bytes."""
    with pytest.raises(ResourceError, match="/proc"):
        collect.memory(events(), [], [])


def test_bandwidth_takes_the_context_that_needs_most() -> None:
    """If it fails, the rule is checked where it is easiest to meet."""
    readings = (BandwidthReading(10, 1, 1e9, "memory"),)
    decode = make_result().decode
    for model_bytes, context in ((1_000_000, 0), (1_000, 512)):
        check = collect.bandwidth(decode, readings, model_bytes, CONFIG.to_json(), 64)
        assert check is not None
        assert check.decode_context_tokens == context
    assert collect.bandwidth((), readings, 1, CONFIG.to_json(), 64) is None
    assert collect.bandwidth(decode, (), 1, CONFIG.to_json(), 64) is None
