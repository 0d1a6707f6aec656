"""The clinical gate: a build that is worse than its source fails, an equal one passes, the margin decides between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_dummies import make_result, write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_worker import VOCAB, ScriptedEngine, next_token

from edge.bench.clinical_gate import (
    CLINICAL_FILE,
    SUITE_FILE,
    SelfTest,
    SelfTestCase,
    SuiteScores,
    load_clinical,
    non_inferiority,
    run_self_test,
    run_suite,
)
from edge.bench.collect import Events, self_test, suite
from edge.bench.gates import check_clinical
from edge.bench.report import render_report
from edge.clinical.gate_suite import NOTE, Suite, SuiteCase
from edge.clinical.scoring import ScoringVariant
from edge.errors import BundleError, InputError
from edge.runtime.text import ChatTokenizer
from edge.specs.budget import ClinicalBudget

BUDGET = ClinicalBudget(suite="note").model_dump(mode="json")
SCORES = tuple(0.4 + 0.02 * index for index in range(20))
shares = st.floats(0, 1).map(lambda value: round(value, 4))


def scores(build: Sequence[float], source: Sequence[float] = SCORES, name: str = "note") -> SuiteScores:
    """A suite's scores as a device sends them."""
    ids = tuple(f"c{index}" for index in range(len(source)))
    blank = (0.0,) * len(source)
    return SuiteScores(name, "own first choice", "second", ids, tuple(source), tuple(build), blank, blank)


def outcome(build: Sequence[float], **changes: Any) -> str:
    return check_clinical(BUDGET | changes, scores(build)).outcome


# ---- the statistic ---------------------------------------------------------------------------------------------


def test_an_equal_build_passes_and_a_worse_one_fails() -> None:
    """If it fails, the gate lets through what it is there to stop, or stops what is the same."""
    assert outcome(SCORES) == "passed"
    assert outcome([value + 0.05 for value in SCORES]) == "passed"
    assert outcome([value - 0.05 for value in SCORES]) == "failed"


def test_the_margin_decides_by_the_bound_and_not_by_the_mean() -> None:
    """If it fails, few and scattered cases prove a build that nobody knows anything of."""
    steady = [value - 0.01 for value in SCORES]
    scattered = [value - 0.01 + (0.3 if index % 2 else -0.3) for index, value in enumerate(SCORES)]
    assert np.mean(steady) == pytest.approx(np.mean(scattered))
    assert (outcome(steady), outcome(steady, margin=0.009)) == ("passed", "failed")
    assert outcome(scattered) == "failed"
    assert outcome(steady, margin=0.01) == "failed"  # at the margin is not above it


# Ten thousand draws an example: a busy machine may be slow at that.
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=30), st.floats(0.001, 0.5), st.floats(0.0, 0.4))
def test_a_wider_margin_never_fails_what_a_narrower_one_passes(
    pairs: list[tuple[float, float]], margin: float, more: float
) -> None:
    """If it fails, the verdict is not a matter of the bound alone."""
    source, build = zip(*pairs, strict=True)
    narrow, wide = non_inferiority(source, build, margin), non_inferiority(source, build, margin + more)
    assert narrow.low == wide.low  # seeded: the same scores give the same bound
    assert wide.holds or not narrow.holds
    assert narrow.low <= narrow.difference + 1e-9
    assert narrow.high >= narrow.difference - 1e-9


# Ten thousand draws an example: a busy machine may be slow at that.
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=20), st.floats(0.5, 0.9), st.floats(0.0, 0.09))
def test_more_confidence_is_a_lower_bound(pairs: list[tuple[float, float]], confidence: float, more: float) -> None:
    """If it fails, asking for more certainty makes it easier to pass."""
    source, build = zip(*pairs, strict=True)
    low = non_inferiority(source, build, 0.02, confidence).low
    assert non_inferiority(source, build, 0.02, confidence + more).low <= low


# Ten thousand draws an example: a busy machine may be slow at that.
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(shares, shares), min_size=2, max_size=20), st.floats(0.0, 0.2))
def test_a_build_that_is_better_everywhere_has_no_lower_bound(pairs: list[tuple[float, float]], gain: float) -> None:
    """If it fails, a better build can be refused where a worse one passed."""
    source, build = zip(*pairs, strict=True)
    better = [value + gain for value in build]
    assert non_inferiority(source, better, 0.02).low >= non_inferiority(source, build, 0.02).low - 1e-9


def test_the_bootstrap_agrees_with_the_normal_bound() -> None:
    """If it fails, the bound is not that of a mean: compared with the textbook's for many cases."""
    differences = np.random.default_rng(3).normal(-0.004, 0.05, 400)
    found = non_inferiority(np.full(400, 0.5), 0.5 + differences, 0.02)
    expected = differences.mean() - 1.645 * differences.std() / 20
    assert found.low == pytest.approx(expected, abs=3e-4)
    assert found.cases == 400


@pytest.mark.parametrize(("source", "build"), [([], []), ([0.1], [0.1, 0.2]), ([0.1], [float("nan")])])
def test_what_is_no_pair_is_refused(source: list[float], build: list[float]) -> None:
    """If it fails, a broken score becomes a verdict."""
    with pytest.raises(ValueError, match=r"same length|not a number"):
        non_inferiority(source, build, 0.02)


# ---- the check -------------------------------------------------------------------------------------------------


def test_the_line_says_all_that_a_reader_needs() -> None:
    """If it fails, a verdict cannot be judged from the terminal, the report or the attestation."""
    check = check_clinical(BUDGET, scores([value - 0.01 for value in SCORES]))
    for part in ("20 cases", "source 59.0%", "build 58.0%", "difference -1.00 points", "[-1.00", "margin 2.00", "pass"):
        assert part in check.line, check.line
    assert (check.measured, check.limit) == (pytest.approx(-0.01), -0.02)
    page = render_report(make_result(), [check])
    assert "difference -1.00 points" in page
    assert "note suite, own first choice; source 59.5%" in page


@pytest.mark.parametrize(
    ("given_scores", "budget", "reason"),
    [
        (None, BUDGET, "no note suite"),
        (scores(SCORES, name="differential"), BUDGET, "no note suite"),
        (scores(SCORES[:9], SCORES[:9]), BUDGET, "9 cases, the budget wants 16"),
    ],
)
def test_what_was_not_compared_fails(given_scores: SuiteScores | None, budget: dict[str, Any], reason: str) -> None:
    """If it fails, a build passes because nothing was measured."""
    check = check_clinical(budget, given_scores)
    assert (check.outcome, check.measured) == ("failed", None)
    assert reason in check.line


def test_an_unknown_key_of_the_budget_is_refused() -> None:
    """If it fails, a stricter budget of a newer edge is ignored."""
    with pytest.raises(BundleError, match="'metric' is not known"):
        check_clinical(BUDGET | {"metric": "x"}, scores(SCORES))


# ---- on an engine ----------------------------------------------------------------------------------------------


def written_suite(folder: Path, cases: int = 3) -> Path:
    """A note suite on the scripted engine: every second token of an answer is its own choice."""
    made = []
    for number in range(cases):
        tokens = [(number * 7 + place * 5) % VOCAB for place in range(70)]
        prompt = len(tokens)
        for place in range(10):
            right = next_token(tokens)
            tokens.append(right if place % 2 == 0 else (right + 1) % VOCAB)
        made.append(SuiteCase(f"v-{number}", tuple(tokens[:prompt]), (tuple(tokens[prompt:]),)))
    path = folder / SUITE_FILE
    path.write_bytes(Suite(NOTE, ScoringVariant(), tuple(made), ((0.5, -2.0),) * cases).to_bytes())
    return path


def test_the_suite_is_scored_on_the_device(tmp_path: Path) -> None:
    """If it fails, the build's figures are not of the bundle's own cases."""
    engine = ScriptedEngine(tmp_path, threads=1, context_tokens=256)
    found = run_suite(written_suite(tmp_path), engine)
    assert found.ids == ("v-0", "v-1", "v-2")
    assert found.build == (0.5, 0.5, 0.5)
    assert found.source == (0.5, 0.5, 0.5)
    sure = 5 - np.log(np.exp(5) + VOCAB - 1)
    assert found.build_second == pytest.approx([(sure * 5 + (sure - 5) * 5) / 10] * 3)
    events = Events()
    events.add({"event": "suite", "scores": json.loads(json.dumps(found.__dict__))})
    assert suite(events) == found
    assert suite(Events()) is None
    worse = run_suite(written_suite(tmp_path), ScriptedEngine(tmp_path, threads=1, context_tokens=256, fault="wrong"))
    assert worse.build == (0.5, 0.5, 0.5)  # it now makes the other half of the choices
    with pytest.raises(InputError, match="does not fit"):
        run_suite(written_suite(tmp_path), ScriptedEngine(tmp_path, threads=1, context_tokens=60))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"schema_version":1}', b'{"schema_version":2,"suite":"note"}', b'{"schema_version":1,"suite":"x"}'],
)
def test_a_broken_suite_is_one_line(tmp_path: Path, data: bytes) -> None:
    """If it fails, a damaged bundle ends in a traceback, or passes."""
    (tmp_path / SUITE_FILE).write_bytes(data)
    with pytest.raises(BundleError) as caught:
        run_suite(tmp_path / SUITE_FILE, ScriptedEngine(tmp_path, threads=1, context_tokens=64))
    assert "\n" not in str(caught.value)


def test_a_bundle_without_clinical_files_asks_for_nothing(tmp_path: Path) -> None:
    """If it fails, bundles without tasks cannot be measured."""
    asked = load_clinical(tmp_path)
    assert (asked.cases, asked.suite, asked.steps) == ((), None, 0)
    written_suite(tmp_path)
    assert load_clinical(tmp_path).steps == 1


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schema_version":1,"cases":[1]}', b'{"schema_version":9,"cases":[]}'])
def test_broken_clinical_cases_are_one_line(tmp_path: Path, data: bytes) -> None:
    """If it fails, a damaged bundle passes its self-test with no case."""
    (tmp_path / CLINICAL_FILE).write_bytes(data)
    with pytest.raises(BundleError) as caught:
        load_clinical(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_case_that_ends_in_an_error_fails_and_the_others_run(tmp_path: Path) -> None:
    """If it fails, one case that this edge cannot run hides all others, or counts as passed."""
    write_tokenizer(tmp_path / "tokenizer")
    cases = [{"id": "a", "task": "unheard-of"}, {"id": "b", "task": "note", "input": "x", "max_new_tokens": 8}]
    (tmp_path / CLINICAL_FILE).write_text(json.dumps({"schema_version": 1, "cases": cases}))
    engine = ScriptedEngine(tmp_path, threads=1, context_tokens=64)
    began: list[str] = []
    tokenizer = ChatTokenizer(tmp_path / "tokenizer")
    found = run_self_test(load_clinical(tmp_path), tmp_path, engine, tokenizer, 16, began.append)
    assert [case.id for case in found.cases] == ["a", "b"]
    assert all(case.reason for case in found.cases)
    assert "no task 'note'" in found.cases[1].reason
    assert not found.passed
    assert found.reason.startswith("2 of 2 cases fail, first a: ")
    assert began == ["clinical case a", "clinical case b"]
    events = Events()
    events.add({"event": "self_test", "outcome": {"cases": [dict(case.__dict__) for case in found.cases]}})
    assert self_test(events) == found
    assert self_test(Events()) is None


def test_a_self_test_of_nothing_proves_nothing() -> None:
    """If it fails, an empty file is a passed self-test."""
    assert not SelfTest(()).passed
    assert SelfTest((SelfTestCase("a", "note", "", ""),)).passed


def test_a_score_that_is_no_number_is_the_worst(tmp_path: Path) -> None:
    """If it fails, a broken engine ends in an error and no failed verdict is signed."""
    engine = ScriptedEngine(tmp_path, threads=1, context_tokens=256, margin=float("nan"))
    found = run_suite(written_suite(tmp_path), engine)
    assert found.build == (0.0, 0.0, 0.0)
    assert found.build_second == (0.0, 0.0, 0.0)
