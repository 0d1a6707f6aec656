"""Two builds on the same cases, and how result, terminal and report show them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.errors import InputError
from edge.evaluate.compare import compare
from edge.evaluate.predictors import ScriptedPredictor
from edge.evaluate.report import interval_chart, render_report, write_report
from edge.evaluate.result import EvaluationResult, load_result
from edge.evaluate.runner import Identity, load_data, run_suite
from edge.evaluate.suites import SUITES
from edge.evaluate.summary import Metric, figure
from edge.evaluate.terminal import evaluation_progress, print_result
from edge.evaluate.words import interval_words, p_words, value_words


def result_of(path: Path, folder: Path, name: str, hits: int) -> EvaluationResult:
    """A run in which the first `hits` cases are right."""
    suite = SUITES["diagnosis"]
    _, data = load_data(path, suite)
    good = {case.id for case in data.cases[:hits]}

    def answer(case: Any, sample: int) -> dict[str, Any]:
        order = sorted(case.candidates, key=lambda one: (one == case.answer) != (case.id in good))
        return {"ranked": order}

    who = Identity(name, name, name[0] * 64)
    return run_suite(suite, data, ScriptedPredictor(answer), who, folder=folder)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Sixty cases in DxBench's form."""
    cases = [
        {
            "id": f"Ours_{n}",
            "department": f"<b>{n % 3}",
            "explicit_symptoms": [["ear pain", "True"]],
            "implicit_symptoms": [],
            "candidate_diseases": ["Otitis Media", "Mastoiditis", "Cerumen Impaction"],
            "disease": "Otitis Media",
        }
        for n in range(60)
    ]
    path = tmp_path / "many.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    return path


def test_a_better_build_is_better_by_a_paired_test(many: Path, tmp_path: Path) -> None:
    """20 against 50 right of 60: 30 discordant pairs, all in one direction; +150 %."""
    base, ours = result_of(many, tmp_path, "base", 20), result_of(many, tmp_path, "ours", 50)
    found = {item.name: item for item in compare(ours, base, {"top1": 0.05})}
    top1 = found["top1"]
    assert top1.difference.estimate == pytest.approx(0.5)
    assert top1.relative is not None
    assert top1.relative.estimate == pytest.approx(1.5)
    assert top1.test.method == "McNemar, continuity"
    assert top1.test.p_value < top1.adjusted_p < 0.001
    assert top1.verdict is not None and top1.verdict.holds
    worse = {item.name: item for item in compare(base, ours, {"top1": 0.05})}["top1"]
    assert worse.verdict is not None and not worse.verdict.holds
    assert "chance_top1" not in found


def test_unlike_results_are_not_compared(many: Path, dx_file: Path, tmp_path: Path) -> None:
    """Another file, no common case, or an unknown margin: refused in one line."""
    ours = result_of(many, tmp_path, "ours", 50)
    with pytest.raises(InputError, match="another data file"):
        compare(ours, result_of(dx_file, tmp_path, "base", 2))
    with pytest.raises(InputError, match="no case in common"):
        compare(ours, replace(ours, cases=()))
    with pytest.raises(InputError, match="no metric 'rouge1'"):
        compare(ours, ours, {"rouge1": 0.1})


def test_a_result_is_read_back(many: Path, tmp_path: Path) -> None:
    """A baseline file gives the very result; another version, kind or a broken file is refused."""
    ours = result_of(many, tmp_path, "ours", 50)
    path = tmp_path / "r.json"
    path.write_bytes(ours.to_bytes())
    assert load_result(path).to_bytes() == ours.to_bytes()
    value = ours.to_json()
    for change, message in (
        ({"schema_version": 9}, "version 9 is not known"),
        ({"kind": "x"}, "not a result"),
        ({"figures": [{"name": 1}]}, "missing or wrong keys"),
    ):
        path.write_text(json.dumps(value | change), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            load_result(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not readable JSON"):
        load_result(path)


def test_terminal_and_report_show_it_all(many: Path, tmp_path: Path) -> None:
    """Figures, intervals, groups, comparison; nothing of the data can become markup; nothing is fetched."""
    base, ours = result_of(many, tmp_path, "base", 20), result_of(many, tmp_path, "ours", 50)
    comparison = compare(ours, base, {"top1": 0.05})
    out = io.StringIO()
    print_result(ours, comparison, out)
    told = out.getvalue()
    assert "83.3 %" in told
    assert "Top-1: 0.333 -> 0.833, +150.0 %" in told
    assert "McNemar, continuity, n 60: p < 0.001, after Holm < 0.001" in told
    assert "not worse by more than 0.05: holds" in told
    assert "…" not in told
    html = render_report(ours, comparison)
    assert "83.3 %" in html
    assert "not worse by more than 0.05: holds" in html
    assert "<b>0" not in html and "&lt;b&gt;0" in html
    assert "<script" not in html and "http" not in html.replace("http-equiv", "")
    assert html.count("<svg") == html.count("</svg>") >= 2
    write_report(tmp_path / "r.html", ours)
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_words_of_figures() -> None:
    """Shares in percent, medians with quartiles, what is not measured with its reason."""
    rows = [{"a": 1.0, "b": 0.25}, {"a": 0.0, "b": -0.5}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": None}]
    share = figure(Metric("a", "A", "share", "higher"), rows)
    assert value_words(share) == "75.0 %"
    assert interval_words(share) == "30.1 to 95.4"
    median = figure(Metric("b", "B", "median", "zero", "points"), rows)
    assert (median.value, median.count) == (0.0, 3)
    assert "IQR -0.25 to +0.12" in interval_words(median)
    none = figure(Metric("c", "C", "mean", "higher"), rows, "no model folder was given")
    assert (value_words(none), none.reason) == ("not measured", "no model folder was given")
    assert interval_chart("x", [("c", none)]) == ""
    assert figure(Metric("a", "A", "total", "lower"), rows).value == 3.0
    assert (p_words(0.0004), p_words(0.04)) == ("< 0.001", "0.040")


def test_progress_off_a_terminal_is_a_few_lines() -> None:
    """A log of a night's run must not hold a line a case, nor nothing."""
    out = io.StringIO()
    with evaluation_progress(out) as progress:
        for done in range(101):
            progress(done, 100, "id")
    assert len(out.getvalue().splitlines()) == 11
