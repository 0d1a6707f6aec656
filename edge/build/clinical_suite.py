"""The clinical gate's cases, and what the fp32 source scores on them: golden/suite.json.

note: visits of the profile's fidelity_text, cut into parts as the task cuts them, each with the lines of the visit's
reference note that come from it. differential: cases made from the table of conditions, each a condition with a few of
its typical findings against two others that share one with it. Both are the same bytes on every host: the source is
computed by reference.py in exact arithmetic, and nothing is drawn at random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, zip_longest

import numpy as np

from edge.build import exact
from edge.build.fidelity import Progress
from edge.build.reference import Float64, Reference, WeightSource, read_layer
from edge.build.texts import visit_parts
from edge.clinical.conditions import Condition, knowledge_table
from edge.clinical.differential import DIFFERENTIAL_TASK
from edge.clinical.differential_prompt import completion, differential_messages, ordered, render_findings
from edge.clinical.gate_suite import DIFFERENTIAL, NOTE, Forced, Suite, SuiteCase, figures, force
from edge.clinical.note_prompt import part_answer, part_messages, patient_phrase
from edge.clinical.overlap import words_of
from edge.clinical.parts import split_parts
from edge.clinical.patient import patient_context
from edge.clinical.scoring import ScoringVariant, chat_ids, spoken_ids
from edge.clinical.sections import SECTIONS
from edge.clinical.transcript import parse_transcript
from edge.errors import SourceError
from edge.runtime.engine import Engine
from edge.runtime.text import ChatTokenizer

SUITE_TOKENS = 6000  # that the source reads: about 1 s for each 500 with a model of 135 million weights
ANSWER_TOKENS = (8, 96)  # least and most of a reference answer
SUPPORTED_SHARE = 0.5
DIFFERENTIAL_CASES, CANDIDATES, FINDINGS = 24, 3, 3
SCORE_ROWS = 192

Sequences = Sequence[tuple[list[int], int]]  # token ids, how many of them are the prompt's
ForceAll = Callable[[Sequences], list[Forced]]

_BULLET = re.compile(r"^[\s•*\-–]+")
_SENTENCE = re.compile(r"(?<=[.;?!])\s+(?=[A-Z0-9])")


def make_suite(
    name: str,
    texts: Sequence[tuple[str, str]],
    tokenizer: ChatTokenizer,
    context_tokens: int,
    least: int,
    score: ForceAll,
) -> Suite:
    """The suite with the source's figures.

    texts: (name, visit and note) of the profile's fidelity_text; least: of the budget's cases; score: the source's
    opinion of sequences. Errors: SourceError when the texts give fewer cases.
    """
    scoring = DIFFERENTIAL_TASK.scoring if name == DIFFERENTIAL else ScoringVariant()
    found = note_cases(texts, tokenizer) if name == NOTE else differential_cases(tokenizer, scoring)
    cases = list(_fitting(found, context_tokens))
    if len(cases) < least:
        raise SourceError(
            f"the clinical suite '{name}' has {len(cases)} cases, its budget wants {least}",
            where="budgets.clinical",
            mend="give longer visits with their notes as fidelity_text, or a lower cases_min",
        )
    sequences = [([*case.prompt, *ids], len(case.prompt)) for case in cases for ids in case.continuations]
    forced = iter(score(sequences))
    rows = [[next(forced) for _ in case.continuations] for case in cases]
    source = tuple(figures(name, case, row, scoring) for case, row in zip(cases, rows, strict=True))
    return Suite(name, scoring, tuple(cases), source)


def _fitting(cases: Iterator[SuiteCase], context_tokens: int) -> Iterator[SuiteCase]:
    """Cases that fit the context, until the source would read more than SUITE_TOKENS."""
    left = SUITE_TOKENS
    for case in cases:
        left -= sum(len(case.prompt) + len(ids) for ids in case.continuations)
        if left < 0:
            return
        if case.longest <= context_tokens:
            yield case


# ---- note ------------------------------------------------------------------------------------------------------


def note_cases(texts: Sequence[tuple[str, str]], tokenizer: ChatTokenizer) -> Iterator[SuiteCase]:
    """One part of each visit in turn."""
    by_visit = [list(_visit_cases(name.partition(".")[0], text, tokenizer)) for name, text in texts]
    yield from (case for case in chain.from_iterable(zip_longest(*by_visit)) if case is not None)


def _visit_cases(name: str, text: str, tokenizer: ChatTokenizer) -> Iterator[SuiteCase]:
    transcript, note = visit_parts(text)
    phrase = patient_phrase(patient_context(transcript))
    parts = split_parts(parse_transcript(transcript))
    answers = answers_of([part.text for part in parts], note)
    for index, (part, lines) in enumerate(zip(parts, answers, strict=True)):
        ids = tokenizer.encode_text(part_answer(lines))[: ANSWER_TOKENS[1]] if lines else []
        if len(ids) >= ANSWER_TOKENS[0]:
            prompt = chat_ids(tokenizer, part_messages(part.text, phrase))
            yield SuiteCase(f"{name}-{index + 1:02d}", tuple(prompt), (tuple(ids),))


def answers_of(part_texts: Sequence[str], note: str) -> list[list[tuple[str, str]]]:
    """(label, sentence) of a note for each part: where most of its words are said, and every number of it."""
    answers: list[list[tuple[str, str]]] = [[] for _ in part_texts]
    bags = [frozenset(words_of(text)) for text in part_texts]
    for label, sentence in note_sentences(note):
        words = frozenset(words_of(sentence))
        shares = [len(words & bag) / len(words) if words else 0.0 for bag in bags]
        best = max(range(len(bags)), key=lambda index: (shares[index], -index), default=None)
        if best is None or shares[best] < SUPPORTED_SHARE:
            continue
        if all(word in bags[best] for word in words if word[0].isdigit()):
            answers[best].append((label, sentence))
    return answers


def note_sentences(note: str) -> Iterator[tuple[str, str]]:
    """(section label, sentence) of a reference note; what stands before the first known heading is the history."""
    headings = {heading: label for label, heading in SECTIONS.items()}
    label = "HPI"
    for line in note.splitlines():
        words = line.strip().rstrip(":")
        if words.isupper():
            known = next((headings[name] for name in headings if words.startswith(name)), None)
            label = known or label
            continue
        for sentence in _SENTENCE.split(_BULLET.sub("", words)):
            if len(sentence.split()) > 2:
                yield label, sentence


# ---- differential ----------------------------------------------------------------------------------------------


def differential_cases(tokenizer: ChatTokenizer, scoring: ScoringVariant) -> Iterator[SuiteCase]:
    """DIFFERENTIAL_CASES conditions of the table, evenly spread over its names."""
    conditions = sorted(knowledge_table().conditions, key=lambda one: (one.name.casefold(), one.name))
    usable = [one for one in conditions if len(_phrases(one)) >= FINDINGS]
    for number in range(min(DIFFERENTIAL_CASES, len(usable))):
        gold = usable[number * len(usable) // min(DIFFERENTIAL_CASES, len(usable))]
        names = ordered([gold.name, *(one.name for one in _rivals(gold, conditions))])
        listed = names if scoring.listed else []
        prompt = chat_ids(tokenizer, differential_messages(render_findings(_phrases(gold)[:FINDINGS]), listed))
        spoken = [tuple(spoken_ids(tokenizer, completion(name), end_token=scoring.end_token)) for name in names]
        yield SuiteCase(f"condition-{number + 1:02d}", tuple(prompt), tuple(spoken), names.index(completion(gold.name)))


def _phrases(condition: Condition) -> list[str]:
    return [typical.phrase for typical in condition.findings if not typical.negated]


def _rivals(gold: Condition, conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions that share most findings with it; of equals, those that follow it in the table."""
    own = set(_phrases(gold))
    place = conditions.index(gold)
    others = [conditions[(place + step) % len(conditions)] for step in range(1, len(conditions))]
    ranked = sorted(enumerate(others), key=lambda item: (-len(own & set(_phrases(item[1]))), item[0]))
    return [other for _, other in ranked if completion(other.name) != completion(gold.name)][: CANDIDATES - 1]


# ---- the source ------------------------------------------------------------------------------------------------


def force_source(source: WeightSource, sequences: Sequences, progress: Progress | None = None) -> list[Forced]:
    """The source's own opinion of what follows each prompt, the same bits on every host."""
    reference = Reference(source, [ids for ids, _ in sequences])
    hidden = reference.embed()
    for layer in range(source.config.layers):
        if progress:
            progress("clinical", layer, source.config.layers)
        hidden = reference.layer(hidden, read_layer(source, layer))
    rows, targets, start = list[int](), list[int](), 0
    for ids, prompt in sequences:
        rows += range(start + prompt - 1, start + len(ids) - 1)
        targets += ids[prompt:]
        start += len(ids)
    log_probs, first = np.empty(len(rows)), np.empty(len(rows))
    for begin in range(0, len(rows), SCORE_ROWS):
        span = slice(begin, begin + SCORE_ROWS)
        wanted = np.asarray(targets[span])
        logits = reference.logits(hidden[rows[span]])
        log_probs[span] = exact_log_probs(logits, wanted)
        first[span] = logits.argmax(axis=-1) == wanted
    results, start = [], 0
    for ids, prompt in sequences:
        span = slice(start, start + len(ids) - prompt)
        results.append(Forced(log_probs[span], first[span]))
        start = span.stop
    return results


def exact_log_probs(logits: Float64, targets: np.ndarray) -> Float64:
    """log P of targets[i] under logits[i], by operations that are the same on every host. [n, vocab] -> [n]."""
    values = []
    for row, target in zip(logits, targets, strict=True):
        shifted = row - row.max()
        total = float(exact.exact_sum(exact.exp(shifted)))
        values.append(float(shifted[target]) - float(Decimal(total).ln()))  # libm's log differs in the last bit
    return np.asarray(values)


def force_engine(engine: Engine, sequences: Sequences) -> list[Forced]:
    """The same from an engine, where only an engine speaks for the source."""
    return [force(engine, SuiteCase("", tuple(ids[:prompt]), (tuple(ids[prompt:]),)))[0] for ids, prompt in sequences]
