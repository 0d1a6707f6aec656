"""The one form of a part's prompt and answer, for training and for the device."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.note_prompt import part_answer, part_messages, patient_phrase, read_answer
from edge.clinical.patient import patient_context
from edge.clinical.sections import NOTHING, SECTIONS

LINE = st.tuples(
    st.sampled_from(sorted(SECTIONS)),
    st.text(alphabet="abc :.5", min_size=1, max_size=20).map(str.strip).filter(bool),
)


def test_nothing_to_say_is_an_answer() -> None:
    """A part without content is answered NONE and gives no line."""
    assert part_answer([]) == NOTHING
    assert read_answer(NOTHING) == []


def test_lines_that_are_not_lines_are_left_out() -> None:
    """A base model's chatter must not become a note line."""
    assert read_answer("Sure! Here is the note:\nHPI: Cough.\nNOTES: x\nEXAM:\n") == [("HPI", "Cough.")]


def test_the_patient_is_told_only_as_said() -> None:
    """Age and sex come from the visit's words or are left out."""
    assert patient_phrase(patient_context("[doctor] this is a 58 year old male .")) == "a 58-year-old male"
    assert patient_phrase(patient_context("[doctor] hello")) == ""
    assert part_messages("Doctor: hello")[1]["content"] == "Doctor: hello"
    assert part_messages("Doctor: hello", "a male")[1]["content"] == "Patient: a male\nDoctor: hello"


@given(st.lists(LINE, max_size=8))
def test_an_answer_reads_back(lines: list[tuple[str, str]]) -> None:
    """What training writes is what the device reads, in section order."""
    order = list(SECTIONS)
    assert read_answer(part_answer(lines)) == sorted(lines, key=lambda line: order.index(line[0]))
