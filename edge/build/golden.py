"""What travels in the bundle so that a device can be held to it: golden cases and the source's own opinion.

Both are computed by reference.py, so they are the same bytes on every build host, and neither depends on the
kernels of the machine that built.

golden/cases.json: what the *built* weights say next, with the margin to the second best (edge.bench.golden
reads it): a device whose kernels are right agrees wherever the margin is clear.
golden/source.json: what the *source* says, its most likely tokens with log-probabilities in 1/10,000 nat: a
device measures its own fidelity against it, without the source being there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build import exact
from edge.build.readback import BuiltModel
from edge.build.reference import Reference, WeightSource, read_layer
from edge.build.texts import task_sequence
from edge.runtime.text import ChatTokenizer

Float64 = npt.NDArray[np.float64]

CASES_FILE = "cases.json"
SOURCE_FILE = "source.json"
OPENING_CHARACTERS = 200
CONTINUATION_TOKENS = 64
CASES = 4
DECODE_ROOM_TOKENS = 32
TOP_TOKENS = 16
LOGPROB_UNIT = 10_000
# A logit margin that int8 activations and another CPU's kernels do not turn over; seen: up to 1.3 apart.
RULE = {"margin_min": 2.0, "top1_min": 0.9}


def golden_sequences(
    texts: Sequence[tuple[str, str]], tokenizer: ChatTokenizer, context_tokens: int = 1 << 20
) -> list[tuple[str, list[int], int]]:
    """(id, token ids, first scored position): the note prompt over a visit's opening, then the note's first words."""
    sequences = []
    for index, (_, text) in enumerate(texts[:CASES], start=1):
        ids, prompt_tokens = task_sequence(text, tokenizer, OPENING_CHARACTERS, CONTINUATION_TOKENS)
        # In a context too small for the prompt, its end must do; the device decodes a few tokens more.
        cut = max(0, len(ids) - context_tokens + DECODE_ROOM_TOKENS)
        sequences.append((f"note-{index:02d}", ids[cut:], max(prompt_tokens - 1 - cut, 0)))
    return sequences


def make_golden(
    source: WeightSource, built: BuiltModel, sequences: Sequence[tuple[str, list[int], int]]
) -> dict[str, bytes]:
    """File name -> content for the bundle's golden/ folder."""
    ids = [tokens for _, tokens, _ in sequences]
    reference = Reference(source, ids)
    source_hidden = reference.embed()
    built_hidden = built.embedding_rows(reference.token_ids)
    for layer in range(source.config.layers):
        weights = read_layer(source, layer)
        source_hidden = reference.layer(source_hidden, weights)
        built_hidden = reference.layer(built_hidden, built.layer(layer, weights))
    scored = np.concatenate([np.arange(len(tokens)) >= first for (_, tokens, first) in sequences])
    built_logits = reference.logits(built_hidden[scored], built.head())
    source_logits = reference.logits(source_hidden[scored])
    cases, opinions = [], []
    start = 0
    for name, tokens, first in sequences:
        stop = start + len(tokens) - first
        cases.append({"id": name, "token_ids": tokens, "from": first, **expected_of(built_logits[start:stop])})
        opinions.append({"id": name, "from": first, **opinion_of(source_logits[start:stop])})
        start = stop
    return {
        CASES_FILE: json_bytes({"schema_version": 1, "rule": RULE, "cases": cases}),
        SOURCE_FILE: json_bytes({"schema_version": 1, "logprob_unit": LOGPROB_UNIT, "cases": opinions}),
    }


def json_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()


def expected_of(logits: Float64) -> dict[str, Any]:
    top = np.partition(logits, -2, axis=-1)[:, -2:]
    margins = top.max(axis=-1) - top.min(axis=-1)
    # Three digits: far below any rule, far above the last bits.
    return {
        "expected_top1": [int(index) for index in logits.argmax(axis=-1)],
        "margin": [round(float(value), 3) for value in margins],
    }


def opinion_of(logits: Float64) -> dict[str, Any]:
    tokens, logprobs = [], []
    for row in logits:
        order = np.argsort(-row, kind="stable")[:TOP_TOKENS]
        total = float(exact.exact_sum(exact.exp(row - row.max())))
        log_total = float(Decimal(total).ln())  # libm's log may differ in the last bit between hosts
        tokens.append([int(index) for index in order])
        logprobs.append([round((float(row[i] - row.max()) - log_total) * LOGPROB_UNIT) for i in order])
    return {"top_ids": tokens, "logprobs": logprobs}
