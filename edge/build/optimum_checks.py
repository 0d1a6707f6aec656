"""Fidelity and golden cases of the second route, where the source can only speak through an engine too.

The native route asks reference.py, which is host-independent. Nobody but transformers computes a family that edge
does not know, so here the route's own fp32 build speaks for the source; that build was held to transformers when it
was made (optimum_route.py). Its last bits are the host's: margins and log-probabilities are therefore rounded
coarsely, but two hosts may still write different golden files, and so different bundle digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build.fidelity import GREEDY_PROMPT_TOKENS, SCORE_TOKENS, Fidelity, Progress, score, summarise, write_greedily
from edge.build.golden import CASES_FILE, RULE, SOURCE_FILE, expected_of, json_bytes, opinion_of
from edge.runtime.engine import Engine

Float64 = npt.NDArray[np.float64]

LOGPROB_UNIT = 100  # golden.py's opinions are in 1/10,000 nat


def all_logits(engine: Engine, token_ids: Sequence[int], first: int = 0) -> Float64:
    """Logits after the tokens from `first` on, read from an empty cache: [len(token_ids) - first, vocab]."""
    engine.rewind(0)
    if first:
        engine.forward(token_ids[:first], ())
    pieces = [
        engine.forward(token_ids[start : start + SCORE_TOKENS], range(len(token_ids[start : start + SCORE_TOKENS])))
        for start in range(first, len(token_ids), SCORE_TOKENS)
    ]
    return np.concatenate(pieces).astype(np.float64)


def measure_engines(
    source: Engine, built: Engine, sequences: Sequence[Sequence[int]], *, progress: Progress | None = None
) -> Fidelity:
    """Score the engine of the build against the engine of its fp32 source; as fidelity.measure_fidelity."""
    scores, agreements = [], []
    for index, sequence in enumerate(sequences):
        if progress:
            progress("fidelity", index, len(sequences))
        scores.append(score(all_logits(source, sequence), all_logits(built, sequence).astype(np.float32), sequence[1:]))
        prompt = sequence[:GREEDY_PROMPT_TOKENS]
        written = write_greedily(built, prompt)
        says = all_logits(source, written, len(prompt) - 1)[:-1].argmax(axis=-1)
        agreements.append((says == np.asarray(written[len(prompt) :])).astype(np.float64))
    return summarise(scores, agreements)


def golden_of_engines(
    source: Engine, built: Engine, sequences: Sequence[tuple[str, list[int], int]]
) -> dict[str, bytes]:
    """File name -> content for the bundle's golden/ folder; as golden.make_golden."""
    cases, opinions = [], []
    for name, tokens, first in sequences:
        expected = expected_of(all_logits(built, tokens, first))
        margins = [round(value, 1) for value in expected["margin"]]
        cases.append({"id": name, "token_ids": tokens, "from": first, **expected, "margin": margins})
        opinions.append({"id": name, "from": first, **_coarse(opinion_of(all_logits(source, tokens, first)))})
    return {
        CASES_FILE: json_bytes({"schema_version": 1, "rule": RULE, "cases": cases}),
        SOURCE_FILE: json_bytes({"schema_version": 1, "logprob_unit": LOGPROB_UNIT, "cases": opinions}),
    }


def _coarse(opinion: dict[str, Any]) -> dict[str, Any]:
    rows = [[round(value * LOGPROB_UNIT / 10_000) for value in row] for row in opinion["logprobs"]]
    return opinion | {"logprobs": rows}
