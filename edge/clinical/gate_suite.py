"""The suite of the clinical gate: the same cases scored by the source (when built) and by the build (on a device).

Every case is teacher-forced: its prompt and its continuations are token ids in golden/suite.json, nothing is generated,
so source and build are compared on the same words and the difference is paired. Two figures a case:
- note: `score`, the share of the reference answer's tokens that are the model's own first choice; `second`, their mean
  log-probability in nats;
- differential: `score`, the softmax share of the right candidate as the task scores it (the direct term); `second`, 1
  where it ranks first, else 0. The share is gated and not the rank: on two dozen cases one rank that turns over is 4
  points, more than any margin worth having.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.clinical.scoring import Likelihoods, Row, ScoringVariant, combine, log_probabilities, softmax
from edge.errors import BundleError, InputError
from edge.runtime.engine import Engine

SUITE_FILE = "suite.json"
SUITE_VERSION = 1
NOTE, DIFFERENTIAL = "note", "differential"
METRICS = {
    NOTE: ("own first choice", "mean log-probability of a token"),
    DIFFERENTIAL: ("share of the right option", "right option first"),
}
CHUNK_TOKENS = 64
DIGITS = 6  # of a figure in the file: far below any margin, far above what differs between hosts


@dataclass(frozen=True)
class Forced:
    """A continuation as a model scores it. log_probs: of each token, nat, [n]; first: 1.0 where it is the model's own
    first choice, [n]."""

    log_probs: Row
    first: Row


@dataclass(frozen=True)
class SuiteCase:
    """prompt, continuations: token ids; gold: index of the right continuation."""

    id: str
    prompt: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]
    gold: int = 0

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest continuation."""
        return len(self.prompt) + max(map(len, self.continuations))


@dataclass(frozen=True)
class Suite:
    """cases with the source's (score, second) each. scoring: of the differential task, its direct term is used."""

    name: str
    scoring: ScoringVariant
    cases: tuple[SuiteCase, ...]
    source: tuple[tuple[float, float], ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON for golden/suite.json."""
        rows = [
            {
                "id": case.id,
                "prompt": list(case.prompt),
                "continuations": [list(ids) for ids in case.continuations],
                "gold": case.gold,
                "source": [round(score, DIGITS), round(second, DIGITS)],
            }
            for case, (score, second) in zip(self.cases, self.source, strict=True)
        ]
        value = {
            "schema_version": SUITE_VERSION,
            "suite": self.name,
            "scoring": self.scoring.to_json(),
            "cases": rows,
        }
        return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _case(raw: Any) -> tuple[SuiteCase, tuple[float, float]]:
    case = SuiteCase(
        str(raw["id"]),
        tuple(int(index) for index in raw["prompt"]),
        tuple(tuple(int(index) for index in ids) for ids in raw["continuations"]),
        int(raw["gold"]),
    )
    score, second = (float(value) for value in raw["source"])
    if not case.prompt or not all(case.continuations) or not 0 <= case.gold < len(case.continuations):
        raise ValueError("a case without a prompt, a continuation or the right one")
    return case, (score, second)


def read_suite(path: Path) -> Suite:
    """Read golden/suite.json. Errors: BundleError."""
    try:
        value = json.loads(path.read_bytes())
        if value["schema_version"] != SUITE_VERSION or value["suite"] not in METRICS:
            raise BundleError("a clinical suite that this edge does not know", where=path.name, mend="update edge")
        rows = [_case(raw) for raw in value["cases"]]
        scoring = ScoringVariant.from_json(value["scoring"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError("not a valid clinical suite", where=path.name, mend="build the bundle again") from error
    return Suite(value["suite"], scoring, tuple(case for case, _ in rows), tuple(source for _, source in rows))


def figures(name: str, case: SuiteCase, forced: Sequence[Forced], scoring: ScoringVariant) -> tuple[float, float]:
    """(score, second) of a case; forced: one for each continuation. See the head of this module."""
    if name == NOTE:
        answer = forced[case.gold]
        count = len(answer.first)  # fsum: the same on every host
        return math.fsum(answer.first) / count, math.fsum(answer.log_probs) / count
    direct = ScoringVariant(length=scoring.length, temperature=scoring.temperature)
    scores = [combine(Likelihoods(math.fsum(one.log_probs), len(one.log_probs)), direct) for one in forced]
    best = max(range(len(scores)), key=lambda index: (scores[index], -index))
    return softmax(scores, direct.temperature)[case.gold], float(best == case.gold)


def force(engine: Engine, case: SuiteCase) -> list[Forced]:
    """Score a case's continuations on an engine; the prompt is read once. Errors: InputError when it does not fit."""
    if case.longest > engine.context_tokens:
        raise InputError(
            f"a case of {case.longest} tokens does not fit into {engine.context_tokens}",
            where=SUITE_FILE,
            mend="build with a larger context_tokens",
        )
    engine.rewind(0)
    after = engine.forward(case.prompt[:CHUNK_TOKENS], (len(case.prompt[:CHUNK_TOKENS]) - 1,))
    for start in range(CHUNK_TOKENS, len(case.prompt), CHUNK_TOKENS):
        chunk = case.prompt[start : start + CHUNK_TOKENS]
        after = engine.forward(chunk, (len(chunk) - 1,))
    results = []
    for ids in case.continuations:
        pieces, rows = [_forced(after, ids[:1])], ids[:-1]
        for start in range(0, len(rows), CHUNK_TOKENS):
            chunk = rows[start : start + CHUNK_TOKENS]
            logits = engine.forward(chunk, range(len(chunk)))
            pieces.append(_forced(logits, ids[start + 1 : start + 1 + len(chunk)]))
        engine.rewind(len(case.prompt))
        results.append(Forced(np.concatenate([p.log_probs for p in pieces]), np.concatenate([p.first for p in pieces])))
    engine.rewind(0)
    return results


def _forced(logits: Any, ids: Sequence[int]) -> Forced:
    chosen = np.asarray(logits).argmax(axis=-1) == np.asarray(ids, dtype=np.int64)
    return Forced(log_probabilities(logits, ids), chosen.astype(np.float64))
