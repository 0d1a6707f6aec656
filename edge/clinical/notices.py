"""What the reader must know of the input before trusting a draft of it: too little, another language, contradictions.

Every check is a rule on the text alone. A notice never repeats words of the input: it has a code for programs, one line
for the reader and the places it speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge.clinical.notice_facts import (
    contradiction_spans,
    corrections,
    side_conflicts,
    unknown_drug_spans,
    unread_number_spans,
)
from edge.clinical.notice_language import language_notices
from edge.clinical.notice_people import order_spans, second_patient_spans, speakers_unknown, swapped_spans
from edge.clinical.transcript import Span, Transcript, parse_transcript

MIN_WORDS = 10  # one question and its answer
LONG_WORDS = 8_000  # nearly an hour of talk at 140 words a minute
WORDS_PER_MINUTE = 140
MAX_SPANS = 8

MESSAGES = {
    "empty": "There is no text: nothing was drafted.",
    "too-short": "The text is too short to hold a visit: whatever is drafted from it will be incomplete.",
    "not-english": "The text does not seem to be in English: edge reads English only, do not rely on a draft.",
    "mixed-language": "Parts of the visit seem to be in another language and are not read: check them yourself.",
    "very-long": "The visit is very long: its beginning may be left out of the draft; give it in parts.",
    "contradiction": "The same finding is both affirmed and denied: settle which is true.",
    "side-corrected": "A side was corrected while speaking: check that the draft has the corrected side.",
    "side-conflict": "The same body part is named left in one place and right in another: check the side.",
    "eye-side": "The eye is named right in one place and left in another: check the eye before anything is done.",
    "instruction": "Some words read like orders to a program: they are taken as speech and were not followed.",
    "two-patients": "More than one patient seems to be in this text: split it before drafting.",
    "unknown-drug": "A medicine that is in none of edge's lists was named: check its name and dose.",
    "unread-number": "A number in words has no single reading: check the amount.",
    "speakers-unknown": "No speakers are marked: who said what is not known.",
    "speakers-swapped": "The speakers seem to be swapped or mislabelled in places: check who said what.",
}


@dataclass(frozen=True)
class Notice:
    """code: a key of MESSAGES, stable. message: one line without words of the input. spans: where, in order."""

    code: str
    message: str
    spans: tuple[Span, ...] = ()


def inspect_input(text: str) -> tuple[Notice, ...]:
    """Notices about a transcript, in the order of MESSAGES; none means that nothing was found, not that all is well."""
    transcript = parse_transcript(text)
    if not transcript.turns or not re.search(r"\w", text):
        return (Notice("empty", MESSAGES["empty"]),)
    found: dict[str, tuple[Span, ...]] = {}
    for check in _CHECKS:
        for code, spans in check(transcript):
            found[code] = tuple(spans)[:MAX_SPANS]
    return tuple(Notice(code, message, found[code]) for code, message in MESSAGES.items() if code in found)


def _length(transcript: Transcript) -> Iterable[tuple[str, Iterable[Span]]]:
    spoken = " ".join(transcript.words_of(turn) for turn in transcript.turns)
    # Chinese and its like have no blanks: there two letters count as a word.
    words = len(re.findall(r"[a-zA-Z0-9']+", spoken)) + len(re.findall(r"[^\W\da-zA-Z_]", spoken)) // 2
    if words < MIN_WORDS:
        yield "too-short", [turn.span for turn in transcript.turns]
    elif words > LONG_WORDS:
        yield "very-long", [Span(transcript.turns[0].start, transcript.turns[-1].end)]


def _of(code: str, spans: Iterable[Span]) -> Iterable[tuple[str, Iterable[Span]]]:
    places = list(spans)
    if places:
        yield code, places


def _sides(transcript: Transcript) -> Iterable[tuple[str, Iterable[Span]]]:
    eye, other = side_conflicts(transcript)
    yield from _of("eye-side", eye)
    yield from _of("side-conflict", other)


_CHECKS: tuple[Callable[[Transcript], Iterable[tuple[str, Iterable[Span]]]], ...] = (
    _length,
    language_notices,
    _sides,
    lambda transcript: _of("contradiction", contradiction_spans(transcript)),
    lambda transcript: _of("side-corrected", corrections(transcript)),
    lambda transcript: _of("instruction", order_spans(transcript)),
    lambda transcript: _of("two-patients", second_patient_spans(transcript)),
    lambda transcript: _of("unknown-drug", unknown_drug_spans(transcript)),
    lambda transcript: _of("unread-number", unread_number_spans(transcript)),
    lambda transcript: _of("speakers-unknown", speakers_unknown(transcript)),
    lambda transcript: _of("speakers-swapped", swapped_spans(transcript)),
)
