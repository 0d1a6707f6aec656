"""What was said and is in no line yet: sentences of the visit in reported speech, the most note-worthy first.

A small model leaves much out. So the draft is filled up with sentences of the visit itself, each with its place: a rule
changes who speaks ("i have" to "the patient has"), nothing else, and the reader sees that these are the visit's words.
How note-worthy a sentence is: the mean over its content words of how often a word that is said in a visit is also
written in its note (data/salience.tsv, from ACI-Bench's train split by benchmarks/make_salience.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edge.clinical.note_draft import QUOTE, NoteLine
from edge.clinical.overlap import words_of
from edge.clinical.parts import Part, clean
from edge.clinical.transcript import PATIENT, Span

SALIENCE = Path(__file__).parent / "data" / "salience.tsv"
UNKNOWN_SALIENCE = 0.45
LEAST_WORDS, MOST_WORDS = 3, 45
COVERED_SHARE = 0.5
_SENTENCE = re.compile(r"[^.?!]+[.?!]*")
# Words to the room or to a recorder: not about the patient.
_ASIDE = re.compile(r"\bdragon\b|\bdax\b|\bthank|\bsee you\b|\bgood (?:morning|afternoon)\b|\bnice to\b", re.IGNORECASE)
# Questions whose mark the recogniser left out.
_QUESTION = re.compile(
    r"^(?:(?:and|so|but|okay|now|well|all right),? )*(?:how|what|when|where|who|why|which|have you|do you|does|did you|"
    r"are you|is there|is that|any|can you|could you|would you|were you|was there|has your|is your|are there)\b",
    re.IGNORECASE,
)
_RESULTS = re.compile(
    r"\b(x-?rays?|lab|labs|mri|ct|scan|ultrasound|ekg|ecg|echo\w*|biops\w+|results?|hemoglobin|a1c|creatinine|"
    r"cultures?|spirometry|mammogram|stress test)\b",
    re.IGNORECASE,
)
_EXAM = re.compile(
    r"\b(exam\w*|tender\w*|swell\w*|edema|murmur|lungs?|range of motion|palpat\w+|auscult\w+|reflexes|pulses?|strength|"
    r"incision|lesions?|rash|redness|crackles|wheez\w+|gait|abdomen|effusion|erythema|clear)\b",
    re.IGNORECASE,
)
_PLAN = re.compile(
    r"\b(will|gonna|going to|wanna|want|order|prescribe|refer\w*|follow|continue|start|increase|decrease|recommend|"
    r"schedule|take|refill|therapy|call me|come back|check|repeat|should)\b",
    re.IGNORECASE,
)
_ASSESSMENT = re.compile(r"\b(i think|consistent with|concern\w*|looks like|problem|diagnos\w+|likely|suspect)\b", re.I)


_OPENING = re.compile(r"^(?:and|so|but|okay|well|yeah|yes|no|right|all right|now)[, ]+", re.IGNORECASE)


@dataclass(frozen=True)
class Sentence:
    """A sentence of the visit. words: its content stems. salience: 0 to 1."""

    span: Span
    part: int
    speaker: str
    text: str
    words: frozenset[str]
    salience: float


@lru_cache(maxsize=1)
def salience_table() -> dict[str, float]:
    """stem -> share of visits in which the note has it when the visit has."""
    rows = (line.split("\t") for line in SALIENCE.read_text("utf-8").splitlines())
    return {word: float(share) for word, share in rows}


def sentences(parts: Sequence[Part], transcript: str) -> Iterator[Sentence]:
    """Statements of a visit that could stand in a note, in order; questions and asides are left out."""
    table = salience_table()
    for index, part in enumerate(parts):
        for piece in part.pieces:
            for mark in _SENTENCE.finditer(transcript, piece.span.start, piece.span.end):
                text = clean(mark[0])
                words = frozenset(words_of(text))
                if len(words) < LEAST_WORDS or len(text.split()) > MOST_WORDS:
                    continue
                if text.endswith("?") or _QUESTION.match(text) or _ASIDE.search(text):
                    continue
                weight = sum(table.get(word, UNKNOWN_SALIENCE) for word in words) / len(words)
                left = len(mark[0]) - len(mark[0].lstrip())
                span = Span(mark.start() + left, mark.start() + len(mark[0].rstrip()))
                yield Sentence(span, index, piece.speaker, text, words, weight)


def extracts_for(
    lines: Sequence[NoteLine], parts: Sequence[Part], transcript: str, pronoun: str, words_max: int
) -> list[NoteLine]:
    """Lines to add, in the visit's order, until the note has words_max words; () when it has them already.

    pronoun: he, she, or "the patient" where the visit does not say.
    """
    known = [frozenset(words_of(line.text)) for line in lines]
    room = words_max - sum(len(line.text.split()) for line in lines)
    chosen: list[Sentence] = []
    for sentence in sorted(sentences(parts, transcript), key=lambda item: (-item.salience, item.span)):
        if room <= 0:
            break
        if any(len(sentence.words & words) > COVERED_SHARE * len(sentence.words) for words in known):
            continue
        chosen.append(sentence)
        known.append(sentence.words)
        room -= len(sentence.text.split())
    return [
        NoteLine(section_of(item), reported(item.text, item.speaker, pronoun), (item.span,), QUOTE, item.part)
        for item in sorted(chosen, key=lambda item: item.span)
    ]


def section_of(sentence: Sentence) -> str:
    """Where a sentence of the visit belongs in a note: a patient's words are history, a clinician's go by their cue."""
    if sentence.speaker == PATIENT:
        return "HPI"
    for pattern, section in ((_PLAN, "PLAN"), (_RESULTS, "RESULTS"), (_EXAM, "EXAM"), (_ASSESSMENT, "ASSESSMENT")):
        if pattern.search(sentence.text):
            return section
    return "HPI"


def reported(text: str, speaker: str, pronoun: str) -> str:
    """A sentence in reported speech: the patient's "i" and the clinician's "you" are the patient; no more changes."""
    own = {"he": "his", "she": "her"}.get(pronoun, "the patient's")
    them = {"he": "him", "she": "her"}.get(pronoun, "the patient")
    if speaker == PATIENT:
        rules = [
            (r"\bi'm\b|\bi am\b", f"{pronoun} is"), (r"\bi've\b|\bi have\b", f"{pronoun} has"),
            (r"\bi'll\b", f"{pronoun} will"), (r"\bi'd\b", f"{pronoun} would"), (r"\bi was\b", f"{pronoun} was"),
            (r"\bi don't\b", f"{pronoun} doesn't"), (r"\bi\b", pronoun), (r"\bmy\b", own), (r"\bme\b", them),
        ]  # fmt: skip
    else:
        rules = [
            (r"\byou're\b|\byou are\b", "the patient is"), (r"\byou've\b|\byou have\b", "the patient has"),
            (r"\byou don't\b", "the patient doesn't"), (r"\byour\b", "the"), (r"\byou\b", "the patient"),
            (r"\b(?:i'm gonna|i'm going to|i wanna|i want to|let's)\b", "we will"), (r"\bi'd like to\b", "we will"),
        ]  # fmt: skip
    for pattern, words in rules:
        text = re.sub(pattern, words, text, flags=re.IGNORECASE)
    text = re.sub(
        r"^(?:and|so|but|okay|well|yeah|yes|no|right|all right|now)[, ]+", "", text.strip(), flags=re.IGNORECASE
    )
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
