"""How likely given words are under the model: candidates are scored, never sampled.

The prompt is read once; each candidate is appended, its tokens' log-probabilities are taken and the cache is rewound,
so no candidate sees another and the order in which they are given changes nothing. The engine reads exactly where it
can, so that a candidate's numbers do not depend on how many tokens it has.

`combine` is plain arithmetic on sums, so that a training script in another library can mirror it with its own sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError, InputError
from edge.runtime.constraint import GrammarTokenizer
from edge.runtime.engine import Engine, Logits, forward_of
from edge.runtime.text import ChatTokenizer, Message

Row = npt.NDArray[np.float64]
CHUNK_TOKENS = 256


class Reader(Protocol):
    """What scoring needs of a session (`edge.runtime.session.Session` is one)."""

    @property
    def engine(self) -> Engine: ...

    @property
    def tokenizer(self) -> ChatTokenizer: ...

    @property
    def grammar_tokenizer(self) -> GrammarTokenizer: ...


@dataclass(frozen=True)
class ScoringVariant:
    """How a candidate's log-likelihoods become one score; chosen on validation data and kept in the task file.

    direct_weight: of log P(name | case). prior_weight: of minus log P(name | no findings), the pointwise mutual
    information correction for names that are likely anyway (Holtzman et al. 2021). channel_weight: of
    log P(case | name). table_weight: of the case's likeness to the condition's typical findings
    (edge.clinical.conditions.Fit).
    listed: the prompt of the direct and prior terms lists all candidates. length: "sum", "mean" (per token) or "root"
    (per square root of the tokens) of the direct and prior terms. end_token: the end of the turn counts as a token, so
    that no name profits from being the beginning of another. temperature: divides scores before the softmax.
    open_weight: of how much likelier the findings make the name in an open question, without a list
    (log P(name | case) - log P(name)).
    """

    direct_weight: float = 1.0
    prior_weight: float = 0.0
    channel_weight: float = 0.0
    table_weight: float = 0.0
    listed: bool = True
    length: str = "sum"
    end_token: bool = True
    temperature: float = 1.0
    open_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.length not in ("sum", "mean", "root"):
            raise InputError(f"scoring length is '{self.length}'", mend="use sum, mean or root")
        if not self.temperature > 0:
            raise InputError("scoring temperature is not above 0", mend="use 1")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, for the task file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def from_json(value: Any) -> ScoringVariant:
        """Errors: BundleError for a field that this edge does not know."""
        try:
            return ScoringVariant(**value)
        except (TypeError, InputError) as error:
            raise BundleError("not a scoring variant", where="scoring", mend="install the bundle again") from error


@dataclass(frozen=True)
class Likelihoods:
    """Natural logarithms, summed over `tokens` tokens of the name (end of turn included when it counts).

    channel: log P(case | name). table: the case's likeness to the table. open: log P(name | case) - log P(name) of an
    open question. What has no weight is 0.
    """

    direct: float
    tokens: int
    prior: float = 0.0
    channel: float = 0.0
    table: float = 0.0
    open: float = 0.0


def combine(one: Likelihoods, variant: ScoringVariant) -> float:
    """A candidate's score (a larger one is likelier), before the softmax."""
    divisor = {"sum": 1.0, "mean": float(one.tokens), "root": math.sqrt(one.tokens)}[variant.length]
    named = variant.direct_weight * one.direct - variant.prior_weight * one.prior + variant.open_weight * one.open
    return named / divisor + variant.channel_weight * one.channel + variant.table_weight * one.table


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Shares of 1: a comparison among the candidates, not a probability of disease."""
    if not scores:
        return []
    values = np.asarray(scores, dtype=np.float64) / temperature
    powers = np.exp(values - values.max())
    return [float(value) for value in powers / powers.sum()]


def log_probabilities(logits: Logits, ids: Sequence[int]) -> Row:
    """log P of ids[i] under row i. logits: [n, vocab] float32; result: [n] float64."""
    values = logits.astype(np.float64)
    top = values.max(axis=1)
    total = top + np.log(np.exp(values - top[:, None]).sum(axis=1))
    return np.asarray(values[np.arange(len(ids)), np.asarray(ids, dtype=np.int64)] - total, dtype=np.float64)


def score_continuations(engine: Engine, prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[Row]:
    """log P of each token of each continuation after the prompt: one [len] float64 array per continuation.

    The engine is empty before and holds the prompt afterwards. Errors: InputError when the prompt with the longest
    continuation does not fit; nothing is computed then.
    """
    longest = max((len(one) for one in continuations), default=0)
    need = len(prompt_ids) + longest
    if need > engine.context_tokens:
        raise InputError(
            f"the case needs {need} tokens, the model can read {engine.context_tokens}",
            mend="shorten it or build with a larger context_tokens",
        )
    if not prompt_ids or not all(continuations):
        raise ValueError("an empty prompt or continuation has no likelihood")
    engine.rewind(0)
    forward = forward_of(engine, exact=True)
    after: Logits | None = None
    for start in range(0, len(prompt_ids), CHUNK_TOKENS):
        chunk = prompt_ids[start : start + CHUNK_TOKENS]
        after = forward(chunk, (len(chunk) - 1,))
    results = []
    for ids in continuations:
        rows = after
        if len(ids) > 1 and after is not None:
            further = forward(ids[:-1], tuple(range(len(ids) - 1)))
            engine.rewind(len(prompt_ids))
            rows = np.concatenate([after, further])
        results.append(log_probabilities(rows if rows is not None else np.zeros((0, 1), np.float32), ids))
    return results


def chat_ids(tokenizer: ChatTokenizer, messages: Sequence[dict[str, str]]) -> list[int]:
    """Ids of a conversation, up to where the assistant begins to speak."""
    return tokenizer.encode_chat([Message(one["role"], one["content"]) for one in messages])


def end_of_turn(tokenizer: ChatTokenizer) -> list[int]:
    """The control token that ends an assistant's turn in this template, as a list; empty when there is none."""
    ids = tokenizer.encode_chat([Message("user", "x"), Message("assistant", "x")], add_generation_prompt=False)
    ends = [index for index in ids if index in tokenizer.stop_ids]
    return ends[-1:]


def spoken_ids(tokenizer: ChatTokenizer, text: str, *, end_token: bool = True) -> list[int]:
    """Ids of what the assistant says, with the end of its turn where that counts."""
    return tokenizer.encode_text(text) + (end_of_turn(tokenizer) if end_token else [])
