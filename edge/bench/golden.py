"""Golden cases: does the compiled model say on this device what it said where it was built?

`golden/cases.json` of a bundle:

    {"schema_version": 1, "rule": {"margin_min": 2.0, "top1_min": 0.95},
     "cases": [{"id": "note-01", "token_ids": [...], "from": 5, "expected_top1": [...], "margin": [...]}]}

Position p of a case is the prediction after reading token_ids[0..p]. Positions from `from` to the last are
scored, so expected_top1 and margin have len(token_ids) - from items. margin is the distance, in logits,
between the best and the second token where the case was made: CPUs differ in their last bits (and int4
kernels in more than that), so a close call may fall either way, but a clear one may not.

Rule: every position with margin >= margin_min must give the expected token, and over all positions of all
cases at least top1_min of them.

Decode path: tokens decoded one at a time must be those that one pass over the same tokens predicts, except
where the two best are within DECODE_MARGIN: a cache that is written or rewound wrongly shows here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import BundleError
from edge.runtime.engine import Engine, Logits

# Small, so that scoring every position does not ask for a table of [chunk, vocabulary] larger than a task
# does.
SCORE_CHUNK_TOKENS = 32
DECODE_TOKENS = 16
DECODE_MARGIN = 0.5


@dataclass(frozen=True)
class GoldenRule:
    """When a set of cases holds."""

    margin_min: float
    top1_min: float


@dataclass(frozen=True)
class GoldenCase:
    """One case; `first` is the "from" of the file. expected_top1, margin: [len(token_ids) - first]."""

    id: str
    token_ids: tuple[int, ...]
    first: int
    expected_top1: tuple[int, ...]
    margin: tuple[float, ...]


@dataclass(frozen=True)
class GoldenSet:
    """All cases of a bundle and their rule."""

    rule: GoldenRule
    cases: tuple[GoldenCase, ...]


@dataclass(frozen=True)
class CaseOutcome:
    """One case on this device. firm: positions that must match; wrong_firm: those that did not."""

    id: str
    positions: int
    agreed: int
    firm: int
    wrong_firm: tuple[int, ...]


@dataclass(frozen=True)
class DecodePathOutcome:
    """tokens: compared steps; close: steps within DECODE_MARGIN; wrong: steps that differ and were not
    close.
    """

    case: str
    tokens: int
    close: int
    wrong: tuple[int, ...]


@dataclass(frozen=True)
class GoldenOutcome:
    """The verdict over all cases."""

    cases: tuple[CaseOutcome, ...]
    decode_path: DecodePathOutcome
    top1_agreement: float
    rule_margin_min: float
    rule_top1_min: float
    passed: bool
    reason: str


def _broken(where: str, why: str) -> BundleError:
    return BundleError(f"not a valid set of golden cases ({why})", where=where, mend="build the bundle again")


def _case(raw: Mapping[str, Any], where: str) -> GoldenCase:
    case = GoldenCase(
        id=str(raw["id"]),
        token_ids=tuple(int(token) for token in raw["token_ids"]),
        first=int(raw["from"]),
        expected_top1=tuple(int(token) for token in raw["expected_top1"]),
        margin=tuple(float(value) for value in raw["margin"]),
    )
    scored = len(case.token_ids) - case.first
    if case.first < 0 or scored < 1 or min(case.token_ids) < 0:
        raise _broken(where, f"case {case.id} scores no position")
    if len(case.expected_top1) != scored or len(case.margin) != scored:
        raise _broken(where, f"case {case.id} needs {scored} expected tokens and margins")
    return case


def parse_golden(value: Any, where: str) -> GoldenSet:
    """Check a parsed golden/cases.json. Errors: BundleError, also for an unknown schema version."""
    try:
        if value["schema_version"] != 1:
            raise BundleError(
                f"schema version {value['schema_version']!r} is not known", where=where, mend="update edge"
            )
        rule = GoldenRule(float(value["rule"]["margin_min"]), float(value["rule"]["top1_min"]))
        cases = tuple(_case(raw, where) for raw in value["cases"])
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(where, f"{type(error).__name__}: {error}") from error
    if not cases:
        raise _broken(where, "no case")
    return GoldenSet(rule, cases)


def load_golden(path: Path) -> GoldenSet:
    """Read golden/cases.json. Errors: BundleError."""
    try:
        return parse_golden(json.loads(path.read_bytes()), path.name)
    except (OSError, ValueError) as error:
        raise _broken(path.name, "not readable JSON") from error


def top2(logits: Logits) -> tuple[list[int], list[float]]:
    """Best token and its distance to the second best, for each row of [n, vocab]; ties take the lowest
    token.
    """
    best = np.argmax(logits, axis=-1)
    second = np.partition(logits, -2, axis=-1)[:, -2] if logits.shape[-1] > 1 else logits[:, -1]
    top = np.take_along_axis(logits, best[:, None], axis=-1)[:, 0]
    return [int(token) for token in best], [float(gap) for gap in (top - second)]


def compare_case(case: GoldenCase, top1: Sequence[int], rule: GoldenRule) -> CaseOutcome:
    """Judge the tokens that this device put first, [len(case.expected_top1)]. Pure."""
    pairs = list(zip(top1, case.expected_top1, case.margin, strict=True))
    firm = [index for index, (_, _, margin) in enumerate(pairs) if margin >= rule.margin_min]
    return CaseOutcome(
        id=case.id,
        positions=len(pairs),
        agreed=sum(got == wanted for got, wanted, _ in pairs),
        firm=len(firm),
        wrong_firm=tuple(case.first + index for index in firm if pairs[index][0] != pairs[index][1]),
    )


def compare_decode_path(
    case_id: str,
    stepped: Sequence[int],
    stepped_margin: Sequence[float],
    one_pass: Sequence[int],
    one_pass_margin: Sequence[float],
) -> DecodePathOutcome:
    """Judge single steps against one pass, position by position. Pure."""
    rows = list(zip(stepped, stepped_margin, one_pass, one_pass_margin, strict=True))
    close = [index for index, row in enumerate(rows) if min(row[1], row[3]) < DECODE_MARGIN]
    wrong = tuple(index for index, row in enumerate(rows) if row[0] != row[2] and index not in close)
    return DecodePathOutcome(case=case_id, tokens=len(rows), close=len(close), wrong=wrong)


def judge(rule: GoldenRule, cases: Sequence[CaseOutcome], path: DecodePathOutcome) -> GoldenOutcome:
    """The verdict over all cases, with its reason in words. Pure."""
    positions = sum(case.positions for case in cases)
    agreement = sum(case.agreed for case in cases) / positions if positions else 0.0
    wrong = [case for case in cases if case.wrong_firm]
    if wrong:
        count = sum(len(case.wrong_firm) for case in wrong)
        first = f"case {wrong[0].id} at token {wrong[0].wrong_firm[0]}"
        reason = f"{count} clear predictions differ, first in {first}"
    elif agreement < rule.top1_min:
        reason = f"same top token at {agreement:.1%} of {positions} positions, needs {rule.top1_min:.1%}"
    elif path.wrong:
        reason = f"single steps differ from one pass at step {path.wrong[0]} of case {path.case}"
    else:
        reason = f"same top token at {agreement:.1%} of {positions} positions in {len(cases)} cases"
    passed = not wrong and agreement >= rule.top1_min and not path.wrong
    return GoldenOutcome(tuple(cases), path, agreement, rule.margin_min, rule.top1_min, passed, reason)


def score(engine: Engine, token_ids: Sequence[int], first: int) -> tuple[list[int], list[float]]:
    """Top token and margin at the positions first..last of `token_ids`, in chunks, from an empty cache."""
    engine.rewind(0)
    tokens: list[int] = []
    margins: list[float] = []
    for start in range(0, len(token_ids), SCORE_CHUNK_TOKENS):
        chunk = list(token_ids[start : start + SCORE_CHUNK_TOKENS])
        wanted = [index for index in range(len(chunk)) if start + index >= first]
        # A chunk before the first scored position still gives one row: an engine need not know "none".
        best, gaps = top2(engine.forward(chunk, wanted or [len(chunk) - 1]))
        if wanted:
            tokens += best
            margins += gaps
    return tokens, margins


def run_case(engine: Engine, case: GoldenCase, rule: GoldenRule) -> CaseOutcome:
    """Run one case on an engine."""
    top1, _ = score(engine, case.token_ids, case.first)
    return compare_case(case, top1, rule)


def run_decode_path(engine: Engine, case: GoldenCase) -> DecodePathOutcome:
    """Decode greedily from a case's prefix, one token at a time, then score the same tokens in one pass."""
    steps = min(DECODE_TOKENS, engine.context_tokens - 2)
    # One place is left free: an engine may pad a single row and rewind.
    prefix = list(case.token_ids[: max(1, min(case.first, engine.context_tokens - steps - 1))])
    engine.rewind(0)
    best, gaps = top2(engine.forward(prefix, (len(prefix) - 1,)))
    stepped, stepped_margin = [best[0]], [gaps[0]]
    for _ in range(steps):
        best, gaps = top2(engine.forward([stepped[-1]], (0,)))
        stepped.append(best[0])
        stepped_margin.append(gaps[0])
    engine.rewind(len(prefix))
    one_pass, one_pass_margin = top2(engine.forward(stepped[:-1], range(steps)))
    return compare_decode_path(case.id, stepped[1:], stepped_margin[1:], one_pass, one_pass_margin)


def run_golden(engine: Engine, golden: GoldenSet, *, each: Callable[[str], None] = lambda _: None) -> GoldenOutcome:
    """Run all cases and the decode path. each: called with a case's id before it runs.

    Errors: BundleError when a case is longer than the engine's context.
    """
    longest = max(golden.cases, key=lambda case: len(case.token_ids))
    if len(longest.token_ids) > engine.context_tokens:
        raise _broken("golden", f"case {longest.id} is longer than the context of {engine.context_tokens} tokens")
    outcomes = []
    for case in golden.cases:
        each(case.id)
        outcomes.append(run_case(engine, case, golden.rule))
    each("decode path")
    path = run_decode_path(engine, golden.cases[0])
    engine.rewind(0)
    return judge(golden.rule, outcomes, path)
