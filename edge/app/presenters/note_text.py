"""The transcript as numbered rows, text with its marks as segments, and what typing or speech does to a transcript.

A row is what one line of the screen's left side shows: a turn, or a piece of a long one, with its characters in the
transcript. Rows are numbered from 1; "Lines 12-14" of a note line means rows.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge.clinical.encounter.model import Mark, Origin, Place, VisitText
from edge.clinical.transcript import CLINICIAN, OTHER, PATIENT, ROLES, parse_transcript

# A longer piece would fill the pane with one block that no link can point into.
ROW_CHARS = 280
_SENTENCE_END = re.compile(r"[.?!]\s+")
_BRACKETS = re.compile(r"\[\s*(?:" + "|".join(sorted(ROLES, key=len, reverse=True)) + r")\b", re.IGNORECASE)
# How a turn is written so that parse_transcript reads its speaker again.
_NAMES = {CLINICIAN: "Doctor", PATIENT: "Patient", OTHER: "Guest"}


@dataclass(frozen=True)
class Row:
    """Characters start..end of the transcript. speaker: clinician, patient, other or ''. opens: first row of a turn."""

    number: int
    speaker: str
    opens: bool
    start: int
    end: int
    text: str = field(repr=False)


@dataclass(frozen=True)
class Segment:
    """A piece of text. kind: '' plain, or the kind of its mark; index: of the mark, -1 without. wanted: it waits for a
    tap."""

    text: str = field(repr=False)
    kind: str = ""
    index: int = -1
    wanted: bool = False


@dataclass(frozen=True)
class MarkItem:
    """A mark to confirm: kind number, drug, negation or side; words: what it marks."""

    index: int
    kind: str
    words: str = field(repr=False)


def rows_of(text: str) -> tuple[Row, ...]:
    """Rows of a transcript in order; every word of it that is no speaker's name lies in exactly one row."""
    rows: list[Row] = []
    for turn in parse_transcript(text).turns:
        opens = True
        for start, end in _pieces(text, turn.start, turn.end):
            rows.append(Row(len(rows) + 1, turn.speaker, opens, start, end, text[start:end]))
            opens = False
    return tuple(rows)


def _pieces(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    """Lines of a turn, long ones cut at sentence ends, or at spaces where a sentence is too long."""
    for line in re.finditer(r"[^\n]+", text[start:end]):
        left, right = start + line.start(), start + line.end()
        while right - left > ROW_CHARS:
            cut = left
            for ending in _SENTENCE_END.finditer(text, left, min(left + ROW_CHARS, right)):
                cut = ending.end()
            if cut == left:
                space = text.rfind(" ", left + 1, left + ROW_CHARS)
                cut = space + 1 if space > left else left + ROW_CHARS
            yield from _stripped(text, left, cut)
            left = cut
        yield from _stripped(text, left, right)


def _stripped(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    piece = text[start:end]
    left = start + len(piece) - len(piece.lstrip())
    right = start + len(piece.rstrip())
    if left < right:
        yield left, right


def row_range(rows: tuple[Row, ...], place: Place) -> tuple[int, int] | None:
    """First and last row number that a place touches; None when it touches none."""
    first = bisect_right(rows, place.start, key=lambda row: row.end)
    last = bisect_left(rows, place.end, key=lambda row: row.start) - 1
    return (rows[first].number, rows[last].number) if first <= last and first < len(rows) else None


def segments(
    text: str, marks: tuple[Mark, ...], offset: int = 0, kinds: frozenset[str] | None = None
) -> tuple[Segment, ...]:
    """A text cut at its marks. offset: where `text` begins in the text that the marks point into. kinds: of the marks
    that need a tap, None for all."""
    out: list[Segment] = []
    at = 0
    order = sorted(range(len(marks)), key=lambda index: (marks[index].start, marks[index].end))
    for index in order:
        mark = marks[index]
        start, end = max(mark.start - offset, at), min(mark.end - offset, len(text))
        if start >= end:
            continue
        if start > at:
            out.append(Segment(text[at:start]))
        wanted = not mark.confirmed and (kinds is None or mark.kind in kinds)
        out.append(Segment(text[start:end], mark.kind, index, wanted))
        at = end
    if at < len(text):
        out.append(Segment(text[at:]))
    return tuple(out)


def open_marks(text: str, marks: tuple[Mark, ...]) -> tuple[MarkItem, ...]:
    """Marks that nobody confirmed yet, in order."""
    return tuple(
        MarkItem(index, mark.kind, " ".join(text[mark.start : mark.end].split()))
        for index, mark in enumerate(marks)
        if not mark.confirmed
    )


def spoken_as(speaker: str, words: str, before: str) -> str:
    """Words as a turn of a speaker, in the form that the transcript `before` already has.

    Without a speaker the words stand alone where the transcript has no speakers either; where it has some they become
    another person's, since they would else be read as the last speaker's.
    """
    words = " ".join(words.split())
    if not speaker and any(turn.speaker for turn in parse_transcript(before).turns):
        speaker = OTHER
    if not speaker:
        return words
    name = _NAMES[speaker]
    return f"[{name.lower()}] {words}" if _BRACKETS.search(before) else f"{name}: {words}"


def appended(visit: VisitText, words: str, marks: tuple[Mark, ...] = (), *, spoken: bool = False) -> VisitText:
    """The visit with `words` as its last lines. marks: into `words`, for what speech recognition wrote."""
    before = visit.text.rstrip()
    gap = "\n" if before else ""
    at = len(before) + len(gap)
    moved = tuple(Mark(mark.kind, mark.start + at, mark.end + at, mark.confirmed) for mark in marks)
    origin = Origin.SPEECH if spoken else visit.origin
    return VisitText(before + gap + words.strip("\n"), origin, visit.marks + moved)


def replaced(visit: VisitText, start: int, end: int, words: str) -> VisitText:
    """The visit with characters start..end rewritten by a person: marks inside are settled, later ones move along."""
    words = " ".join(words.split())
    shift = len(words) - (end - start)
    kept = []
    for mark in visit.marks:
        if mark.end <= start:
            kept.append(mark)
        elif mark.start >= end:
            kept.append(Mark(mark.kind, mark.start + shift, mark.end + shift, mark.confirmed))
    return VisitText(visit.text[:start] + words + visit.text[end:], visit.origin, tuple(kept))
