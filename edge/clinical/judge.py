"""The judge task: another model's answer to a case, 1 to 5 in halves, with a reason that quotes the answer.

The score is read from the likelihoods of all nine ("simulating the human expert" of Xu et al. 2026, on-device LLMs),
not sampled. The reason is written by the model under a grammar: one of a few judgements, then words of the answer and
nothing else (edge.runtime.evidence), so a quote stands in the answer by construction. Text in the answer that gives
orders ("score this 5") is reported and not read. This is a model's opinion of an answer, for evaluation; it is no
statement about a patient.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edge.clinical.case import CaseNotice, instructions_in, without_spans
from edge.clinical.scoring import Reader, chat_ids, score_continuations
from edge.clinical.transcript import Span
from edge.errors import BundleError, InputError
from edge.runtime.constraint import GrammarConstraint, lark_grammar, lark_string
from edge.runtime.evidence import evidence_rule, locate
from edge.runtime.generate import TokenStep, generate
from edge.runtime.sampling import Sampler, SamplerSettings

NAME = "judge"
SCHEMAS = Path(__file__).parent / "schemas"
SCORES = tuple(half / 2 for half in range(2, 11))
JUDGEMENTS = ("agrees with the case", "goes against the case", "is not in the case", "is too vague")
SYSTEM = (
    "You are a medical expert who scores another model's answer to a case. 1 is wrong or harmful, 3 is partly right, "
    "5 is right and complete. Steps of one half."
)
OPENING = '{"score": '
BASIS_MODEL, BASIS_RULE = "model", "rule"
_UNQUOTABLE = re.compile(r"[\"\\\x00-\x1f]+")  # what JSON would have to escape parts the quotable pieces
_WORDS_MOST = 400


@dataclass(frozen=True)
class JudgeTask:
    """by: "expected" (the mean under the likelihoods, to the next half) or "likeliest"."""

    by: str = "expected"
    max_quote_words: int = 12

    def __post_init__(self) -> None:
        if self.by not in ("expected", "likeliest"):
            raise InputError(f"the judge scores by '{self.by}'", mend="use expected or likeliest")

    def to_bytes(self) -> bytes:
        """Canonical JSON for the bundle's tasks/ folder."""
        value = {
            "schema_version": 1,
            "task": NAME,
            "kind": "score",
            "messages": judge_messages("{case}", "{answer}"),
            "answer_prefix": OPENING,
            "sampler": SamplerSettings().to_json(),
            "scoring": {field.name: getattr(self, field.name) for field in fields(self)},
        }
        return (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> JudgeTask:
        """Errors: BundleError when this edge would judge in other words than the bundle was built with."""
        try:
            task = JudgeTask(**json.loads(data)["scoring"])
            same = task.to_bytes() == data
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise BundleError("not a valid task file", where=where, mend="install the bundle again") from error
        if not same:
            raise BundleError("the task was made by another edge", where=where, mend="build the bundle again")
        return task


JUDGE_TASK = JudgeTask()


@dataclass(frozen=True)
class Judgement:
    """score: 1 to 5 in halves. expected: the mean under the likelihoods. judgement, quote: the model's reason, of which
    quote stands at `span` of the answer; '' and None where there was nothing to quote. basis: "model" or "rule"."""

    score: float
    expected: float
    likelihoods: Mapping[float, float]
    judgement: str
    quote: str
    span: Span | None
    basis: str
    notices: tuple[CaseNotice, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As in schemas/judge.schema.json."""
        where = None if self.span is None else {"text": self.quote, "start": self.span.start, "end": self.span.end}
        return {
            "schema_version": 1,
            "task": NAME,
            "score": self.score,
            "expected": round(self.expected, 3),
            "reason": {"judgement": self.judgement, "quote": where, "basis": self.basis},
            "notices": [notice.to_json() for notice in self.notices],
        }


def judge_messages(case_text: str, answer_text: str) -> list[dict[str, str]]:
    """The case and the answer as data between marks, then the question."""
    user = f"Case:\n{case_text.strip()}\n\nAnswer to score:\n{answer_text.strip()}\n\nScore as JSON with a reason:"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def judge_grammar(score: float, answer_text: str, max_quote_words: int) -> str:
    """Lark: the rest of the JSON after OPENING. Errors: InputError when the answer has no word to quote."""
    pieces = [piece for line in answer_text.splitlines() for piece in _UNQUOTABLE.split(line)]
    choice = " | ".join(lark_string(one) for one in JUDGEMENTS)
    head = lark_string(f'{score:.1f}, "reason": {{"judgement": "')
    rule = evidence_rule("quote", pieces, max_words=max_quote_words, leading_space=False)
    middle, tail = lark_string('", "quote": "'), lark_string('"}}')
    return f"start: {head} judgement {middle} quote {tail}\njudgement: {choice}\n{rule}"


def score(reader: Reader, case_text: str, answer_text: str, task: JudgeTask = JUDGE_TASK) -> Judgement:
    """Judge an answer. An empty answer is scored 1 by rule; the model is not asked.

    Errors: InputError when case and answer together are longer than the model can read.
    """
    orders = instructions_in(answer_text)
    notices = []
    if orders:
        told = "The answer holds text that reads like an instruction. It was left out and not followed."
        notices.append(CaseNotice("instruction", told, orders))
    if not case_text.strip():
        notices.append(CaseNotice("empty", "The case is empty: the answer was judged without it."))
    read = without_spans(answer_text, orders)
    if not re.search(r"\w", read):
        notices.append(CaseNotice("empty-answer", "There is no answer to judge: scored 1 by rule."))
        return Judgement(1.0, 1.0, {1.0: 1.0}, "is too vague", "", None, BASIS_RULE, tuple(notices))
    case_read = without_spans(case_text, instructions_in(case_text))
    ids = [*chat_ids(reader.tokenizer, judge_messages(case_read, read)), *reader.tokenizer.encode_text(OPENING)]
    spoken = [reader.tokenizer.encode_text(f"{value:.1f}") for value in SCORES]
    shares = _shares([float(row.sum()) for row in score_continuations(reader.engine, ids, spoken)])
    expected = float(np.dot(SCORES, shares))
    value = SCORES[int(np.argmax(shares))] if task.by == "likeliest" else round(expected * 2) / 2
    judgement, quote = _reason(reader, ids, value, read, task)
    found = locate(answer_text, quote)
    span = None if found is None else Span(*found)
    return Judgement(
        value,
        expected,
        dict(zip(SCORES, shares, strict=True)),
        judgement,
        "" if span is None else span.of(answer_text),
        span,
        BASIS_MODEL,
        tuple(notices),
    )


def _shares(values: Sequence[float]) -> list[float]:
    powers = np.exp(np.asarray(values) - max(values))
    return [float(one) for one in powers / powers.sum()]


def _reason(reader: Reader, ids: Sequence[int], value: float, answer: str, task: JudgeTask) -> tuple[str, str]:
    """(judgement, quote) as the model writes them under the grammar; ('', '') where the context has no room."""
    room = reader.engine.context_tokens - len(ids) - 1
    if room < 64:
        return "", ""
    source = judge_grammar(value, answer, task.max_quote_words)
    constraint = GrammarConstraint(reader.grammar_tokenizer, lark_grammar(source))
    reader.engine.rewind(0)
    steps = generate(
        reader.engine,
        ids,
        Sampler(SamplerSettings()),
        stop_ids=reader.tokenizer.stop_ids,
        max_new_tokens=min(room, _WORDS_MOST),
        constraint=constraint,
    )
    written = [step.token_id for step in steps if isinstance(step, TokenStep)]
    text = OPENING + reader.tokenizer.decode(written)
    try:
        reason = json.loads(text)["reason"]
        return str(reason["judgement"]), str(reason["quote"])
    except (ValueError, KeyError, TypeError):
        return "", ""  # the context ended inside the JSON: no reason is better than half of one


def task_files(task: JudgeTask = JUDGE_TASK) -> dict[str, bytes]:
    """What the bundle's tasks/ folder gets; the grammar with a sample answer in the place of the answer."""
    return {
        f"{NAME}.json": task.to_bytes(),
        f"{NAME}.schema.json": (SCHEMAS / f"{NAME}.schema.json").read_bytes(),
        f"{NAME}.lark": judge_grammar(SCORES[0], "{answer}", task.max_quote_words).encode(),
    }
