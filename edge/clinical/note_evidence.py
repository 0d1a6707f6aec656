"""What a note line stands on, which lines say the same, and which stated facts no line carries."""

from __future__ import annotations

import re

from edge.clinical.facts import FactFinding, FactSource, missing_facts
from edge.clinical.note_draft import QUOTE, NoteLine, note_text
from edge.clinical.overlap import words_of
from edge.clinical.parts import Part, clean
from edge.clinical.transcript import Span

MAX_EVIDENCE = 3
SAME_LINE_SHARE = 0.8
# Where a fact that no line carries is quoted.
SECTION_OF_KIND = {"DRUG": "MEDICATIONS", "DOSE": "MEDICATIONS", "ALLERGY": "ALLERGIES", "VITAL": "VITALS"}
ELSEWHERE = "HISTORY"
QUOTE_WORDS = 36
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


def evidence_for(line: str, part: Part, source: str) -> tuple[Span, ...]:
    """The places of a part that a line shares most of its words with, in order; () when it shares none.

    Greedy cover: the piece with most words of the line first, then what adds most to it, at most MAX_EVIDENCE.
    """
    wanted = set(words_of(line))
    bags = [(piece.span, set(words_of(clean(piece.span.of(source)))) & wanted) for piece in part.pieces]
    chosen: list[Span] = []
    left = set(wanted)
    while len(chosen) < MAX_EVIDENCE:
        span, words = max(bags, key=lambda item: (len(item[1] & left), -item[0].start), default=(None, set()))
        if span is None or not words & left or (chosen and len(words & left) < 2):
            break
        chosen.append(span)
        left -= words
    return tuple(sorted(chosen))


def quotes_for(
    lines: tuple[NoteLine, ...], source: FactSource, transcript: str, parts: tuple[Part, ...]
) -> list[NoteLine]:
    """Facts that the visit states and no line carries: what they are, and the sentence they were said in.

    The sentence goes with them because a dose that was said may be the one that was left ("from 10 to 20"). One line a
    sentence; the facts of it in order, a drug alone only where no dose of it is named.
    """
    said: dict[Span, list[FactFinding]] = {}
    for finding in missing_facts(note_text(lines), source):
        place = _sentence_at(finding.fact.span.start, transcript, parts) if finding.major else None
        if place is not None:
            said.setdefault(place, []).append(finding)
    added = []
    for span in sorted(said):
        facts = list(dict.fromkeys(finding.fact.text for finding in said[span]))
        told = [text for text in facts if not any(text != other and text in other for other in facts)]
        wording = ", ".join(told)
        section = SECTION_OF_KIND.get(said[span][0].fact.kind, ELSEWHERE)
        index = next(number for number, part in enumerate(parts) if part.span.start <= span.start < part.span.end)
        quote = clean(span.of(transcript))
        added.append(NoteLine(section, f'{wording[:1].upper()}{wording[1:]}: "{quote}"', (span,), QUOTE, index))
    return added


def _sentence_at(place: int, transcript: str, parts: tuple[Part, ...]) -> Span | None:
    """The sentence of a piece that a place lies in, at most QUOTE_WORDS words around it."""
    piece = next(
        (piece.span for part in parts for piece in part.pieces if piece.span.start <= place < piece.span.end), None
    )
    if piece is None:
        return None
    start = max((mark.end() for mark in _SENTENCE_END.finditer(transcript, piece.start, place)), default=piece.start)
    ending = _SENTENCE_END.search(transcript, place, piece.end)
    end = ending.start() if ending else piece.end
    words = [(mark.start(), mark.end()) for mark in re.finditer(r"\S+", transcript[start:end])]
    here = next((index for index, (_, stop) in enumerate(words) if start + stop > place), 0)
    first = max(0, min(here - QUOTE_WORDS // 2, len(words) - QUOTE_WORDS))
    last = min(len(words), first + QUOTE_WORDS)
    return Span(start + words[first][0], start + words[last - 1][1])


def same_line(section: str, text: str, line: NoteLine) -> bool:
    """Whether a line says nothing that an earlier one of its section did not."""
    if line.section != section:
        return False
    new, old = set(words_of(text)), set(words_of(line.text))
    return not new or (len(new & old) >= SAME_LINE_SHARE * len(new) and not _numbers(text) - _numbers(line.text))


def _numbers(text: str) -> set[str]:
    return {word for word in text.split() if any(letter.isdigit() for letter in word)}
