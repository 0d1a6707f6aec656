"""What was heard as text. When these fail, a misheard dose stands in a visit unmarked, or a name is told to a model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge.app.speech.protocol import SpeechEvent
from edge.app.speech.visit import MAX_TERMS, terms_for, with_speech
from edge.clinical.encounter.model import Encounter, FoundItem, Mark, Origin, Patient, Presence, VisitText
from tests.clinical.fhir.encounters import EXAMPLE


def heard(text: str, *, final: bool = True, speaker: str = "") -> SpeechEvent:
    """An event."""
    return SpeechEvent(text, 0, 1000, final, speaker)


def digits(text: str) -> tuple[Mark, ...]:
    """A stand-in for the marks: each digit."""
    return tuple(Mark("number", at, at + 1) for at, letter in enumerate(text) if letter.isdigit())


def test_terms_are_of_the_visit_and_never_the_patient() -> None:
    """If not: a recogniser is told a patient's name, and writes it into the text."""
    terms = terms_for(EXAMPLE)
    assert terms == (
        "halos", "vomiting", "cough unheard", "eye pain", "hypertension", "penicillin",
        "acute angle-closure glaucoma", "anterior uveitis",
    )  # fmt: skip
    named = replace(EXAMPLE, findings=(FoundItem("f", "müller-weiß sign", Presence.PRESENT),))
    assert not [one for one in terms_for(named) if "müller" in one.casefold()]
    assert len(terms_for(Encounter("e", Patient(allergies=tuple(f"drug{n}" for n in range(200)))))) == MAX_TERMS


def test_lines_are_added_and_marked() -> None:
    """If not: marks point at other words than those that speech got wrong."""
    typed = VisitText("BP 9", marks=(Mark("number", 3, 4, confirmed=True),))
    visit = with_speech(
        typed, [heard(" take 5\n mg "), heard("later", final=False), heard("no", speaker="Patient")], digits
    )
    assert visit.text == "BP 9\ntake 5 mg\nPatient: no"
    assert visit.origin is Origin.SPEECH
    assert [(visit.text[one.start : one.end], one.confirmed) for one in visit.marks] == [("9", True), ("5", False)]
    assert with_speech(typed, [heard(" "), heard("x", final=False)], digits) is typed


def test_the_real_marks_cover_what_harms() -> None:
    """If not: a number, a drug or a denial from speech needs no tap."""
    visit = with_speech(VisitText(), [heard("She denies pain, takes metformin 500 mg, pressure 160 over 95.")])
    marked = {visit.text[one.start : one.end] for one in visit.marks}
    assert any("denies" in one for one in marked)
    assert any("metformin" in one.lower() for one in marked)
    assert any("95" in one for one in marked)
    assert not any(one.confirmed for one in visit.marks)


@given(st.lists(st.tuples(st.text("ab1 \n", max_size=8), st.booleans()), max_size=5), st.text("x2\n", max_size=6))
def test_marks_stay_on_their_words(parts: list[tuple[str, bool]], before: str) -> None:
    """If not: after some sentences the marks drift away from the numbers."""
    typed = VisitText(before, marks=digits(before))
    visit = with_speech(typed, [heard(text, final=final) for text, final in parts], digits)
    assert visit.text.startswith(before)
    assert {(one.start, one.end) for one in visit.marks} == {(one.start, one.end) for one in digits(visit.text)}
