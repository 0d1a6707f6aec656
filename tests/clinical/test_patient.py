"""Age, sex and name of the patient: only what the visit says of the patient is taken, and two sayings give none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.patient import introductions, patient_context
from edge.clinical.transcript import parse_transcript

CASES: list[tuple[str, int | None, str | None]] = [
    ("[doctor] so martha is a 50-year-old female with gout .", 50, "female"),
    ("Doctor: Roger is a 62 year old male here for chest pain.", 62, "male"),
    ("[doctor] karen nelson is a 3 -year-old female with no history", 3, "female"),
    ("[doctor] he's a 59 year old hiv positive gentleman here for labs .", 59, "male"),
    ("[doctor] this is a pleasant fifty-eight year old african american woman .", 58, "female"),
    ("The patient is a one hundred and two year old lady.", 102, "female"),
    ("[doctor] she's a 43-year-old patient . hello mrs . peterson .", 43, "female"),
    ("Guest: He is a 22 month old boy.", 1, "male"),
    ("Guest: She is an 8-week-old infant girl.", 0, "female"),
    ("Doctor: How old are you?\nPatient: I'm sixty one.", 61, None),
    ("Doctor: How old are you, sir?\nPatient: Um, 47.", 47, "male"),
    ("Doctor: How old are you?\nPatient: 47 pounds ago I was thin.", None, None),
    ("Patient: I am 34 years old and my back hurts.", 34, None),
    ("Age: 45\nSex: female\nPresent: cough", 45, "female"),
    ("58F with chest pain for two hours.", 58, "female"),
    ("72 yo M with sudden visual loss", 72, "male"),
    ("58 y/o male, smoker", 58, "male"),
    # Not the patient's age.
    ("[patient] i've been anemic since i was 13 years old .", None, None),
    ("[patient] when i was 20 years old i broke it .", None, None),
    ("[patient] my mother is 80 years old and well .", None, None),
    ("[patient] i have a 10-year-old son at home .", None, None),
    ("[patient] our youngest daughter is 16 years old .", None, None),
    ("[patient] i drive a 15 year old car .", None, None),
    ("[patient] it is a 5 year old injury .", None, None),
    ("[doctor] he is almost 40 years old .", None, None),
    ("[patient] she is just six weeks old .", None, None),
    ("[patient] my eldest is seven years old .", None, None),
    ("[doctor] so the ulcer is six weeks old .", None, None),
    # Contradictions: nothing is guessed.
    ("[doctor] john is a 61-year-old male . \n[doctor] mary is a 50-year-old female .", None, None),
    ("[doctor] he's a 61-year-old male . okay mrs. perry is here .", 61, None),
    ("[doctor] hi , ms. hill . bye , mr. hill .", None, None),
    # Titles, forms of address, dictation, body.
    ("[doctor] hi , ms. hill . nice to see you .\n[patient] hi , dr. james .", None, "female"),
    ("[doctor] good morning , mr walker .", None, "male"),
    ("[doctor] order an mr arthrogram , mr angiography next .", None, None),
    ("[patient] i might miss one now and then", None, None),
    ("[doctor] don't miss any doses", None, None),
    ("[patient] my teacher mr. green said so\n[doctor] okay\n[patient] and my friend mrs. blue too", None, None),
    ("[doctor] yes , sir . now take a breath .", None, "male"),
    ("[patient] no sir i don't", None, None),
    ("[doctor] physical exam . he is non-tender over his spine .", None, "male"),
    ("[doctor] physical exam . his wife says she is tired and her back hurts .", None, None),
    ("[doctor] when was your last menstrual period ?", None, "female"),
    ("[patient] it hurts over a period of two weeks", None, None),
    ("[doctor] on your prostate exam i feel a nodule", None, "male"),
    ("[patient] my dad had prostate cancer", None, None),
    ("[doctor] hi , andrew . how are you ?", None, None),  # a first name is no statement of sex
    ("", None, None),
]


@pytest.mark.parametrize(("text", "age_years", "sex"), CASES)
def test_age_and_sex(text: str, age_years: int | None, sex: str | None) -> None:
    """A wrong age or sex would be drafted into the first line of the note."""
    context = patient_context(text)
    assert (context.age_years, context.sex) == (age_years, sex)


NAMES = [
    ("[doctor] hi , martha . how are you ?", ["martha"]),
    ("[doctor] so martha is a 50-year-old female", ["martha"]),
    ("[doctor] hi mrs . peterson .", ["peterson"]),
    ("[doctor] this is pamela cook . date of birth is 5/1/85 .", ["pamela cook"]),
    ("[doctor] hi there , how are you ? this is much better , good .", []),
    ("[doctor] hello , are you ready ?", []),
    ("[doctor] well , good morning , mr. Eugene Walker , hi .", ["Eugene Walker"]),
]


@pytest.mark.parametrize(("text", "names"), NAMES)
def test_names(text: str, names: list[str]) -> None:
    """A missed name stays readable where names are hidden; a false one hides a word of the visit."""
    assert [span.of(text) for span in patient_context(text).name_spans] == names


def test_introductions() -> None:
    """Two patients in one transcript are not told apart."""
    text = (
        "[doctor] so martha is a 50-year-old female . \n[doctor] this is paul cook . mrn 12 . he's a 61-year-old male ."
    )
    found = [(item.name, item.age_years, item.sex) for item in introductions(parse_transcript(text))]
    assert found == [("martha", None, None), ("", 50, "female"), ("paul cook", None, None), ("", 61, "male")]


def test_evidence_is_in_the_input() -> None:
    """The basis of age and sex can be shown."""
    text = "[doctor] so martha is a 50-year-old female ."
    assert [span.of(text) for span in patient_context(text).evidence] == ["50-year-old", "50-year-old female"]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.sampled_from(" \n[]:.,-'mrsheiaou0123456789yold patient doctor"), max_size=200))
def test_any_text(text: str) -> None:
    """No input breaks it, every span lies inside it, the same text gives the same answer."""
    context = patient_context(text)
    assert context == patient_context(text)
    assert all(0 <= span.start < span.end <= len(text) for span in (*context.name_spans, *context.evidence))
    assert context.age_years is None or 0 <= context.age_years <= 120
