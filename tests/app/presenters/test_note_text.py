"""Rows, segments, typing and speech: a link or a mark that is one letter off points at other words."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.app.presenters.note_text import (
    ROW_CHARS,
    appended,
    open_marks,
    replaced,
    row_range,
    rows_of,
    segments,
    spoken_as,
)
from edge.clinical.encounter.model import Mark, Origin, Place, VisitText
from edge.clinical.transcript import parse_transcript

WORDS = st.text(alphabet="abc .?\n", min_size=0, max_size=900)
TALK = st.lists(st.tuples(st.sampled_from(["[doctor]", "[patient]"]), WORDS), max_size=6).map(
    lambda turns: "\n".join(f"{name} {words}" for name, words in turns)
)


@given(TALK | WORDS)
def test_rows_hold_every_word_once(text: str) -> None:
    """A word that is in no row was said and is never seen."""
    rows = rows_of(text)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.text == text[row.start : row.end] and len(row.text) <= ROW_CHARS for row in rows)
    assert all(before.end <= after.start for before, after in pairwise(rows))
    spoken = "".join("".join(text[turn.start : turn.end].split()) for turn in parse_transcript(text).turns)
    assert "".join("".join(row.text.split()) for row in rows) == spoken


@given(TALK, st.integers(0, 500), st.integers(1, 60))
def test_a_link_lights_the_rows_that_it_touches(text: str, start: int, length: int) -> None:
    """A link that lights another row makes the reader check the wrong words."""
    rows = rows_of(text)
    touched = [row.number for row in rows if row.start < start + length and start < row.end]
    found = row_range(rows, Place(start, start + length))
    assert found == ((touched[0], touched[-1]) if touched else None)


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=5))
def test_segments_are_the_text(text: str, places: list[tuple[int, int, bool]]) -> None:
    """A letter that a mark swallows is a number that reads otherwise."""
    marks = tuple(Mark("number", start, end, done) for start, end, done in places)
    cut = segments(text, marks)
    assert "".join(one.text for one in cut) == text
    assert all(not one.wanted for one in cut if not one.kind)


def test_segments_with_an_offset_point_into_the_row() -> None:
    """A row's mark counts from the transcript's beginning."""
    cut = segments("is 160 today", (Mark("number", 13, 16),), 10)
    assert [(one.text, one.kind) for one in cut] == [("is ", ""), ("160", "number"), (" today", "")]
    assert not any(one.wanted for one in segments("is 160", (Mark("side", 3, 6),), 0, frozenset({"number"})))


def test_open_marks_tell_what_to_confirm() -> None:
    """A confirmed mark is not asked again."""
    marks = (Mark("number", 0, 3), Mark("drug", 4, 8, True))
    assert [(one.index, one.words) for one in open_marks("160 mg x", marks)] == [(0, "160")]


def test_spoken_words_keep_their_speaker() -> None:
    """Words without a speaker after the patient's turn would be read as the patient's."""
    talk = "[doctor] hello\n[patient] it hurts"
    assert spoken_as("patient", " since  monday ", talk) == "[patient] since monday"
    assert spoken_as("", "hm", talk) == "[guest] hm"
    assert spoken_as("clinician", "hello", "") == "Doctor: hello"
    assert spoken_as("", "hello", "") == "hello"
    grown = appended(VisitText(talk), spoken_as("", "hm", talk)).text
    assert [turn.speaker for turn in parse_transcript(grown).turns] == ["clinician", "patient", "other"]


def test_appended_speech_is_marked_where_it_stands() -> None:
    """A mark at the old place would ask to confirm other words."""
    visit = appended(VisitText("Doctor: hi"), "Patient: 160", (Mark("number", 9, 12),), spoken=True)
    assert visit.origin is Origin.SPEECH
    assert visit.text[visit.marks[0].start : visit.marks[0].end] == "160"


def test_replaced_words_move_later_marks_and_settle_their_own() -> None:
    """After a correction the marks behind it must still lie on their numbers."""
    text = "pulse 90 then 160 now"
    visit = VisitText(text, Origin.SPEECH, (Mark("number", 6, 8), Mark("number", 14, 17)))
    after = replaced(visit, 6, 8, "88 or so")
    assert after.text == "pulse 88 or so then 160 now"
    assert [after.text[mark.start : mark.end] for mark in after.marks] == ["160"]
