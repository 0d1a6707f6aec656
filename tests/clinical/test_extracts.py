"""The visit's own sentences in the note: the words must be the visit's, only the speaker changes."""

from __future__ import annotations

import pytest

from edge.clinical.extracts import extracts_for, reported, salience_table, sentences
from edge.clinical.note_draft import MODEL, QUOTE, NoteLine
from edge.clinical.parts import split_parts
from edge.clinical.transcript import CLINICIAN, PATIENT, parse_transcript

VISIT = """[doctor] good morning , nice to see you . how is the knee pain
[patient] i have had swelling and pain in my left knee since the fall .
[doctor] on exam you have tenderness over the medial joint line .
[doctor] i'm gonna order an mri of the left knee and refer you to physical therapy .
[patient] thank you so much ."""


def lines(words_max: int, *known: str) -> list[NoteLine]:
    parts = split_parts(parse_transcript(VISIT))
    shown = [NoteLine("HPI", text, (), MODEL, 0) for text in known]
    return extracts_for(shown, parts, VISIT, "he", words_max)


@pytest.mark.parametrize(
    ("said", "speaker", "told"),
    [
        ("i have had pain in my knee .", PATIENT, "He has had pain in his knee ."),
        ("so you have a murmur", CLINICIAN, "The patient has a murmur."),
        ("i'm gonna order an x-ray.", CLINICIAN, "We will order an x-ray."),
        ("i don't smoke.", PATIENT, "He doesn't smoke."),
    ],
)
def test_only_the_speaker_changes(said: str, speaker: str, told: str) -> None:
    """A negation, a drug or a number is never touched by the change of speaker."""
    assert reported(said, speaker, "he") == told


def test_statements_are_taken_with_their_place() -> None:
    """History, exam and plan come in the visit's order, each with its span; courtesies and questions do not."""
    found = lines(200)
    assert [line.section for line in found] == ["HPI", "EXAM", "PLAN"]
    assert all(line.origin == QUOTE for line in found)
    assert "swelling and pain in my left knee" in found[0].evidence[0].of(VISIT)
    assert not any(word in line.text.lower() for line in found for word in ("morning", "thank", "how is"))


def test_what_a_line_says_is_not_said_again() -> None:
    """A covered sentence adds nothing; a full note takes none."""
    said = "He has had swelling and pain in the left knee since the fall."
    assert all(line.section != "HPI" for line in lines(200, said))
    assert lines(5, said) == []


def test_the_table_is_read_and_ranks() -> None:
    """Clinical words outrank chatter; without the table every sentence would weigh the same."""
    table = salience_table()
    assert table["pain"] > 0.9 > 0.1 > table["yeah"]
    parts = split_parts(parse_transcript(VISIT))
    assert all(0 <= item.salience <= 1 for item in sentences(parts, VISIT))
