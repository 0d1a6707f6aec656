"""What a person must still do before an encounter can be signed, and the words of a text that need a tap.

Nothing is accepted in advance: what the model wrote and what speech recognition heard stands open until somebody
decided it. A right number needs its tap too, so the marks do not depend on what the visit says.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edge.clinical.encounter.model import Encounter, LineStatus, Mark, NoteLine, Origin
from edge.clinical.sections import SECTIONS

NUMBER, DRUG, NEGATION, SIDE = "number", "drug", "negation", "side"
# Of a line that the model wrote; its negations and sides are shown and need no tap of their own.
LINE_TAPS = frozenset({NUMBER, DRUG})
_DIGITS = re.compile(r"\d+(?:[.,/:]\d+)*(?:\s*%)?")
_SPOKEN = re.compile(
    r"\b(?:(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w{3,5}teen|twenty|thirty|forty|fifty|"
    r"sixty|seventy|eighty|ninety|hundred|thousand|half|once|twice)\b(?:[ -](?=\w))?)+",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nor|neither|without|cannot|negative|absent|den(?:y|ies|ied|ying)|\w*n['’]t)\b",
    re.IGNORECASE,
)
_EYE_SIDE = re.compile(r"\b(?:OD|OS|OU)\b|\b(?:[Rr]ight|[Ll]eft|[Bb]oth) eyes?\b|\b[Bb]ilateral(?:ly)?\b")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Block:
    """One reason why signing waits.

    code: stable, for programs. kind, key: where, as in a Ref, or kind 'line' with the line's id, 'visit' with the
    mark's index. message_key: in the catalogue area "checks", with values.
    """

    code: str
    kind: str
    key: str
    message_key: str
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


def blocking(enc: Encounter) -> tuple[Block, ...]:
    """Everything that keeps an encounter from being signed, in the order in which a person meets it; () when none."""
    return tuple(_blocks(enc))


def _blocks(enc: Encounter) -> Iterator[Block]:
    if not enc.patient.name.strip():
        yield _block("patient-name", "patient", "name")
    if not enc.patient.allergies and not enc.patient.allergies_asked:
        yield _block("allergies", "patient", "allergies")
    if enc.note is None and not (
        enc.findings or enc.history or enc.vitals or enc.visit.text or enc.eye != type(enc.eye)()
    ):
        yield _block("nothing", "patient", "")
    for kind, items in (("finding", enc.findings), ("history", enc.history)):
        for item in items:
            if not item.confirmed:
                yield _block("speech-item", kind, item.id, name=item.name)
    for vital in enc.vitals:
        if not vital.confirmed:
            yield _block("speech-vital", "vital", vital.name, vital=vital.name)
    if enc.visit.origin is Origin.SPEECH:
        for index, mark in enumerate(enc.visit.marks):
            if not mark.confirmed:
                yield _block(f"visit-{mark.kind}", "visit", str(index), words=enc.visit.text[mark.start : mark.end])
    for line in enc.note.lines if enc.note else ():
        yield from _line_blocks(line)


def _line_blocks(line: NoteLine) -> Iterator[Block]:
    if line.status is LineStatus.OPEN:
        linked = line.evidence or line.origin is Origin.CLINICIAN
        yield _block("line-open" if linked else "line-unlinked", "line", line.id)
    elif line.status is not LineStatus.REMOVED:
        for mark in open_marks(line):
            yield _block(f"mark-{mark.kind}", "line", line.id, words=line.text[mark.start : mark.end])


def open_marks(line: NoteLine) -> tuple[Mark, ...]:
    """Marks of a model-written line that still need their tap, whatever the line's status."""
    if line.origin is not Origin.MODEL:
        return ()
    return tuple(mark for mark in line.marks if mark.kind in LINE_TAPS and not mark.confirmed)


def _block(code: str, kind: str, key: str, **values: str) -> Block:
    return Block(code, kind, key, f"checks.{code.replace('-', '_')}", MappingProxyType(values))


# ---- marks ------------------------------------------------------------------------------------------------


def line_marks(text: str, section: str = "", transcript: str = "") -> tuple[Mark, ...]:
    """Numbers, drugs, negations and sides of a note's line, none confirmed, none overlapping, in order.

    section: key of SECTIONS. transcript: taken for the sake of the caller and not read, see the module's words.
    """
    del transcript
    found = [*_facts(text, SECTIONS.get(section, section)), *_numbers(text), *_negations(text), *_sides(text)]
    return _marks(text, found)


def speech_marks(text: str) -> tuple[Mark, ...]:
    """Numbers, drugs and negations of a transcript that speech recognition wrote: what it gets wrong and harms."""
    found = [*_facts(text, ""), *_numbers(text), *_negations(text)]
    return _marks(text, [one for one in found if one[0] != SIDE])


def _facts(text: str, section: str) -> Iterator[tuple[str, int, int]]:
    if not text.strip():
        return
    # Only here: the word lists take a moment to load, and an encounter without text needs none.
    from edge.clinical.facts import extract_facts

    for fact in extract_facts(text, section=section):
        span = (fact.span.start, fact.span.end)
        if fact.kind == "DRUG" or (fact.kind == "ALLERGY" and fact.concept):
            yield DRUG, *span
        elif fact.kind in ("NUM", "VITAL", "DOSE") and fact.value:
            yield NUMBER, *span
        elif fact.kind == "LAT":
            yield SIDE, *span


def _numbers(text: str) -> Iterator[tuple[str, int, int]]:
    for pattern in (_DIGITS, _SPOKEN):
        for match in pattern.finditer(text):
            yield NUMBER, match.start(), match.start() + len(match.group().rstrip(" -"))


def _negations(text: str) -> Iterator[tuple[str, int, int]]:
    return ((NEGATION, *match.span()) for match in _NEGATION.finditer(text))


def _sides(text: str) -> Iterator[tuple[str, int, int]]:
    return ((SIDE, *match.span()) for match in _EYE_SIDE.finditer(text))


def _marks(text: str, found: Iterable[tuple[str, int, int]]) -> tuple[Mark, ...]:
    """Without overlaps: a number and a drug go before a negation, that before a side, the longer before the shorter."""
    rank = {DRUG: 0, NUMBER: 1, NEGATION: 2, SIDE: 3}
    taken: list[tuple[int, int, str]] = []  # in order of their place
    for kind, start, end in sorted(set(found), key=lambda one: (rank[one[0]], one[1] - one[2], one[1])):
        first = bisect_right(taken, start, key=lambda one: one[1])
        last = bisect_left(taken, end, key=lambda one: one[0])
        if kind != NUMBER and first < last:
            continue
        # What a longer mark leaves over of a number is still a number.
        edges = [start, *(edge for begin, stop, _ in taken[first:last] for edge in (begin, stop)), end]
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            if text[left:right].strip():
                insort(taken, (left, right, kind))
    return tuple(Mark(kind, start, end) for start, end, kind in taken)


def carried_marks(old_text: str, old: Iterable[Mark], text: str, new: Iterable[Mark], typed: bool) -> tuple[Mark, ...]:
    """Marks of an edited text: words that stayed keep their state; words that are new have the state `typed`.

    A mark is of a word that stayed when all its words stand, in order, in the old text too.
    """
    before, after = list(_WORD.finditer(old_text)), list(_WORD.finditer(text))
    matcher = difflib.SequenceMatcher(None, [one.group() for one in before], [one.group() for one in after], False)
    came_from = {
        block.b + step: block.a + step for block in matcher.get_matching_blocks() for step in range(block.size)
    }
    confirmed = [mark for mark in old if mark.confirmed]
    carried = []
    for mark in new:
        places = [i for i, word in enumerate(after) if mark.start < word.end() and word.start() < mark.end]
        origins = [came_from.get(i) for i in places]
        stayed = [before[i] for i in origins if i is not None]
        if len(stayed) < len(places):
            carried.append(replace(mark, confirmed=typed))
            continue
        held = all(
            any(one.kind == mark.kind and one.start < word.end() and word.start() < one.end for one in confirmed)
            for word in stayed
        )
        carried.append(replace(mark, confirmed=bool(stayed) and held))
    return tuple(carried)
