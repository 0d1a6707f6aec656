"""A result of an emulated device as a person reads it: what it is, and no figure of the emulator's clock."""

from __future__ import annotations

import io
from dataclasses import replace

from bench_dummies import make_result

from edge.bench.gates import check_all
from edge.bench.report import render_report
from edge.bench.result import BenchResult
from edge.bench.terminal import print_result
from edge.bench.words import headline, remarks

WORDS = "qemu-aarch64 8.2, -cpu cortex-a76"


def emulated() -> BenchResult:
    result = make_result()
    nothing = {"prefill": (), "decode": (), "sustained": None, "bandwidth": None}
    return replace(result, environment=replace(result.environment, emulated=WORDS), **nothing)  # type: ignore[arg-type]


def test_the_headline_has_no_speed() -> None:
    """If it fails, an emulator's speed is read as a board's."""
    tiles = {name: (value, told) for name, value, told in headline(emulated())}
    assert tiles["Speed"] == ("not measured", "emulated: there is no clock")
    assert tiles["Memory growth"][0] == "247.0 MB"
    assert not {"First token", "Decode", "Load", "Peak memory", "Energy"} & set(tiles)
    (first, *_) = remarks(emulated())
    assert WORDS in first


def test_report_and_terminal_say_so() -> None:
    """If it fails, somebody prints a report of an emulator and takes it for a board's."""
    result = emulated()
    checks = check_all({"decode_tokens_per_s_min": 5, "load_ms_max": 100}, result)
    html = render_report(result, checks)
    assert WORDS in html
    assert "<svg" not in html.partition("<body")[2].partition('class="charts"')[2]
    shown = io.StringIO()
    print_result(result, checks, shown)
    text = shown.getvalue()
    assert "not measured (emulated)" in text
    assert "median" not in text
