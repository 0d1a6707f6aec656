"""Medians, ratios, must-reach lines and tables of the peer comparison."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.results import Comparison, EngineRun, ExportCost, ShapeRun, StartTime, middle, ratio
from benchmarks.tables import bandwidth_share, checks, export_checks, render, runtime_checks, runtime_table, table

SPEEDS = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=9)


def engine(name: str, prefill: float, decode: float, peak: int) -> EngineRun:
    """An engine whose three repetitions are around the given speeds."""
    around = [0.5, 1.0, 3.0]
    return EngineRun(
        name,
        "int4",
        file_bytes=80_000_000,
        weight_bytes=80_000_000,
        kv_bytes_per_position=1000,
        load_s=(0.2, 0.3, 0.9),
        memory={"peak_rss_bytes": peak, "anonymous_bytes": 1, "file_bytes": 1},
        prefill_tokens_per_s={"512": [prefill * one for one in around], "1024": [prefill]},
        decode_tokens_per_s={"0": [decode * one for one in around], "1024": [decode * one for one in around]},
        others_share=(0.0, 0.0, 0.02),
    )


def comparison(*engines: EngineRun, exports: tuple[ExportCost, ...] = ()) -> Comparison:
    """A whole run on the 1B shape."""
    reading = {"bytes_per_s": 20e9, "buffer_bytes": 1 << 30, "threads": 2, "level": "memory"}
    machine = {"cpu": "a CPU", "cores": 2, "memory_bytes": 8 << 30, "versions": {"numpy": "2"}}
    settings = {"threads": 2, "repetitions": 3, "decode_steps": 4, "context_tokens": 2048}
    run = ShapeRun("1b", "the shape", engines, (reading,))
    return Comparison("today", machine, settings, exports, (run,), StartTime(reason="no bundle"))


EDGE = engine("edge", 100.0, 20.0, 1_100)
LLAMA = engine("llama.cpp Q4_0", 110.0, 20.0, 1_000)
MISSING = EngineRun("onnxruntime-genai", "", reason="install with make bench")


@given(SPEEDS, st.floats(0.1, 10))
def test_ratio_is_taken_within_a_repetition(speeds: list[float], factor: float) -> None:
    """Fails when a slow repetition, which hits both engines, changes their ratio."""
    assert ratio([factor * one for one in speeds], speeds) == pytest.approx(factor)


@given(SPEEDS)
def test_middle_is_no_mean(speeds: list[float]) -> None:
    """Fails when one outlier moves the figure that is printed beyond its neighbours."""
    value = middle(speeds)
    assert value is not None
    assert min(speeds) <= value <= max(speeds)
    assert sum(one < value for one in speeds) <= len(speeds) / 2


def test_nothing_measured_has_no_middle() -> None:
    """Fails when an engine that did not run gets a number."""
    assert middle([]) is None
    assert ratio([1.0], []) is None
    assert ratio([1.0], [0.0]) is None


def test_checks_decide_at_the_limits() -> None:
    """Fails when a number that was missed is printed as reached, or the other way round."""
    run = comparison(EDGE, LLAMA, MISSING).shapes[0]
    passed = {check.text.split(": ")[1].split()[0]: check.passed for check in runtime_checks(run)}
    assert passed == {"decode": True, "prefill": True, "peak": True}
    slow = replace(run, engines=(engine("edge", 98.0, 19.9, 1_151), LLAMA))
    assert [check.passed for check in runtime_checks(slow)] == [False, False, False]


def test_unmeasured_peer_is_neither_reached_nor_missed() -> None:
    """Fails when a peer that is not installed makes the comparison pass or fail."""
    absent = EngineRun("llama.cpp Q4_0", "", reason="install with make bench")
    assert {check.passed for check in runtime_checks(comparison(EDGE, absent).shapes[0])} == {None}


def test_export_limits() -> None:
    """Fails when CPU time leaves out the system's part, or the peers are held to our limits."""
    cost = ExportCost("1b", "edge", 55.0, 6.0, 70.0, 1_400_000_000, 8, cpu_s_max=60.0, peak_rss_bytes_max=1_500_000_000)
    assert [check.passed for check in export_checks(cost)] == [False, True]
    assert export_checks(replace(cost, cpu_s_max=None)) == []
    assert [check.passed for check in export_checks(replace(cost, reason="no disk"))] == [None]


def test_share_of_the_bandwidth_counts_weights_and_cache() -> None:
    """Fails when the bytes of a step are not its weights and its whole cache."""
    run = comparison(EDGE).shapes[0]
    assert bandwidth_share(run, EDGE, 1024) == pytest.approx(20.0 * (80_000_000 + 1024 * 1000) / 20e9)
    assert bandwidth_share(replace(run, bandwidth=()), EDGE, 0) is None


def test_table_lines_up() -> None:
    """Fails when a table is not one of Markdown, or its columns do not line up in a terminal."""
    lines = table(("engine", "x"), [("a", "1"), ("long name", "1000")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| --------- | ---: |"


def test_missing_engine_is_a_row_that_says_so() -> None:
    """Fails when an engine that is not installed vanishes from the table."""
    text = runtime_table(comparison(EDGE, LLAMA, MISSING).shapes[0])
    assert "onnxruntime-genai: not measured (install with make bench)" in text
    assert "0.91x" in text  # edge's prefill over llama.cpp's


def test_report_holds_all_and_survives_json() -> None:
    """Fails when the report loses a section, or the JSON is not plain."""
    cost = ExportCost("1b", "edge", 5.0, 1.0, 7.0, 9, 8, "a note", 60.0, 1_500_000_000)
    whole = comparison(EDGE, LLAMA, MISSING, exports=(cost,))
    text = render(whole)
    for part in ("today", "a CPU, 2 cores", "## Making the model", "## the shape", "PASS  export of 1b", "---- "):
        assert part in text, part
    assert "not to be quoted" not in text
    assert json.loads(json.dumps(whole.to_json()))["schema_version"] == 1
    assert len(checks(whole)) == 6


def test_busy_machine_is_said() -> None:
    """Fails when numbers of a disturbed run look like any others."""
    assert "not to be quoted" in render(comparison(replace(EDGE, others_share=(0.0, 0.4)), LLAMA))
