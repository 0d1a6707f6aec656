"""Golden cases: the gate that a wrong build or a wrong kernel must not pass."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_dummies import golden_json
from hypothesis import given
from hypothesis import strategies as st
from scripted_worker import ScriptedEngine, next_token

from edge.bench.golden import (
    SCORE_CHUNK_TOKENS,
    GoldenCase,
    GoldenRule,
    compare_case,
    compare_decode_path,
    judge,
    load_golden,
    parse_golden,
    run_decode_path,
    run_golden,
    score,
    top2,
)
from edge.errors import BundleError

RULE = GoldenRule(margin_min=2.0, top1_min=0.5)
CASE = GoldenCase("c", (5, 6, 7, 8), 1, (10, 11, 12), (3.0, 0.5, 2.0))


def engine(fault: str = "", context: int = 256, margin: float = 5.0) -> ScriptedEngine:
    return ScriptedEngine(Path("model"), threads=1, context_tokens=context, fault=fault, margin=margin)


def test_a_right_build_passes() -> None:
    """If it fails, every bundle fails its device test."""
    seen: list[str] = []
    outcome = run_golden(engine(), parse_golden(golden_json(), "g"), each=seen.append)
    assert outcome.passed
    assert outcome.top1_agreement == 1.0
    assert seen == ["c0", "c1", "decode path"]


def test_wrong_predictions_fail_and_name_the_place() -> None:
    """If it fails, a build that lost its weights' order is handed to a clinician."""
    outcome = run_golden(engine("wrong"), parse_golden(golden_json(), "g"))
    assert not outcome.passed
    assert "case c0 at token 10" in outcome.reason


def test_a_broken_cache_fails_the_decode_path() -> None:
    """If it fails, a model that is right in one pass and wrong step by step passes."""
    outcome = run_golden(engine("drift"), parse_golden(golden_json(), "g"))
    assert not outcome.passed
    assert outcome.top1_agreement == 1.0
    assert "single steps" in outcome.reason


def test_close_steps_may_differ() -> None:
    """If it fails, the last bits of another CPU's kernels fail a right build."""
    path = run_decode_path(engine("drift", margin=0.4), parse_golden(golden_json(), "g").cases[0])
    assert path.close == path.tokens == 16
    assert path.wrong == ()


def test_only_clear_predictions_must_match() -> None:
    """If it fails, close calls fail a build, or clear ones do not."""
    assert compare_case(CASE, [10, 99, 12], RULE).wrong_firm == ()
    assert compare_case(CASE, [10, 99, 12], RULE).agreed == 2
    assert compare_case(CASE, [10, 11, 99], RULE).wrong_firm == (3,)
    with pytest.raises(ValueError, match="zip"):
        compare_case(CASE, [10, 11], RULE)


def test_overall_agreement_has_its_own_limit() -> None:
    """If it fails, a build that loses every close call passes."""
    path = compare_decode_path("c", [1], [9.0], [1], [9.0])
    outcome = judge(GoldenRule(2.0, 0.9), [compare_case(CASE, [10, 99, 12], RULE)], path)
    assert not outcome.passed
    assert "66.7%" in outcome.reason


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 4), st.integers(0, 3), st.floats(0, 4)), max_size=20))
def test_decode_path_law(rows: list[tuple[int, float, int, float]]) -> None:
    """If it fails, equal steps count as wrong or a clear difference does not."""
    outcome = compare_decode_path("c", *([list(column) for column in zip(*rows, strict=True)] or [[]] * 4))
    for index, (stepped, margin, passed, other) in enumerate(rows):
        assert (index in outcome.wrong) == (stepped != passed and min(margin, other) >= 0.5)


def test_top_two() -> None:
    """If it fails, margins are taken from the wrong pair or ties depend on the CPU."""
    tokens, margins = top2(np.array([[1, 5, 3], [2, 2, 0]], dtype=np.float32))
    assert tokens == [1, 0]
    assert margins == [2.0, 0.0]


@given(st.integers(1, 90), st.data())
def test_scoring_in_chunks_gives_every_position(count: int, data: st.DataObject) -> None:
    """If it fails, positions are lost or shifted at a chunk's border."""
    first = data.draw(st.integers(0, count - 1))
    tokens = [index % 90 for index in range(count)]
    scripted = engine()
    scripted.forward([1, 2], (1,))
    top1, margins = score(scripted, tokens, first)
    assert top1 == [next_token(tokens[: place + 1]) for place in range(first, count)]
    assert len(margins) == count - first
    assert max(scripted.passes) <= SCORE_CHUNK_TOKENS


def test_short_contexts() -> None:
    """If it fails, a case longer than the context is cut without a word, or a full one overflows."""
    golden = parse_golden(golden_json(), "g")
    with pytest.raises(BundleError, match="longer than the context of 39"):
        run_golden(engine(context=39), golden)
    assert run_golden(engine(context=40), golden).passed
    tight = GoldenCase("t", tuple(range(40)), 39, (next_token(range(40)),), (5.0,))
    assert run_decode_path(engine(context=40), tight).tokens > 0


def broken(change: Any) -> Any:
    value = copy.deepcopy(golden_json())
    change(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"schema_version": 2},
        broken(lambda v: v.pop("rule")),
        broken(lambda v: v["rule"].pop("top1_min")),
        broken(lambda v: v.update(cases=[])),
        broken(lambda v: v["cases"][0].pop("from")),
        broken(lambda v: v["cases"][0].update({"from": 40})),
        broken(lambda v: v["cases"][0].update({"from": -1})),
        broken(lambda v: v["cases"][0]["expected_top1"].pop()),
        broken(lambda v: v["cases"][0]["margin"].append(1.0)),
        broken(lambda v: v["cases"][0].update(token_ids=[-1] * 40)),
        broken(lambda v: v["cases"][0].update(token_ids="abc")),
    ],
)
def test_broken_files_are_one_line(value: Any, tmp_path: Path) -> None:
    """If it fails, a damaged set of cases passes by scoring nothing, or ends in a traceback."""
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(value))
    with pytest.raises(BundleError) as caught:
        load_golden(path)
    assert "\n" not in str(caught.value)


def test_unreadable_file(tmp_path: Path) -> None:
    """If it fails, a truncated file is a traceback."""
    (tmp_path / "cases.json").write_text("{")
    with pytest.raises(BundleError, match="readable"):
        load_golden(tmp_path / "cases.json")
