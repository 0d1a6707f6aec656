"""Reading an eye examination: every number with its eye, or without one; none with the wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.case import case_from_text
from edge.clinical.eye_exam import EyeExam, read_exam


def exam(text: str) -> EyeExam:
    return read_exam(case_from_text(text))


def values(text: str) -> list[tuple[str, str | None, str]]:
    return [(one.kind, one.eye, one.value) for one in exam(text).values]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("VA OD 20/40, OS 20/20.", [("visual acuity", "OD", "20/40"), ("visual acuity", "OS", "20/20")]),
        ("VA 20/40 OD, 20/20 OS.", [("visual acuity", "OD", "20/40"), ("visual acuity", "OS", "20/20")]),
        (
            "Visual acuity: right eye HM, left eye 6/12.",
            [("visual acuity", "OD", "HM"), ("visual acuity", "OS", "6/12")],
        ),
        (
            "vision 20/20 in the right eye and CF in the left eye",
            [("visual acuity", "OD", "20/20"), ("visual acuity", "OS", "CF")],
        ),
        ("Left eye visual acuity 0.6, IOP 58 mmHg", [("visual acuity", "OS", "0.6"), ("IOP", "OS", "58")]),
        (
            "IOP 24 OD, 18 OS. C/D 0.7 OD, 0.3 OS",
            [("IOP", "OD", "24"), ("IOP", "OS", "18"), ("C/D", "OD", "0.7"), ("C/D", "OS", "0.3")],
        ),
        ("IOP 16/18.", [("IOP", "OD", "16"), ("IOP", "OS", "18")]),
        ("VA no light perception OS", [("visual acuity", "OS", "NLP")]),
        ("VA light perception OS", [("visual acuity", "OS", "LP")]),
        ("IOP 15 OU", [("IOP", "OU", "15")]),
        ("IOP 15.", [("IOP", None, "15")]),
        ("The right eye hurts. The left eye itches and both eyes tear. IOP 31.", [("IOP", None, "31")]),
        ("IOP rose 3 days ago.", []),
        ("Drops od since May.", []),
    ],
)
def test_values_have_their_eye(text: str, told: list[tuple[str, str | None, str]]) -> None:
    """A pressure written to the wrong eye treats the wrong eye; in doubt there is no eye."""
    assert values(text) == told
    for one in exam(text).values:
        assert one.span.of(text).upper().startswith(one.value[0].upper()) or one.value in ("NLP", "LP")


def test_numbers_mean_findings_of_their_eye() -> None:
    """By thresholds, not by the model."""
    told = exam("VA OD CF, OS 20/20. IOP 52 OD, 4 OS. C/D 0.8 OD, 0.3 OS.")
    present = {(one.finding.name, one.eye) for one in told.findings if one.finding.present}
    assert {
        ("reduced vision", "OD"),
        ("severe vision loss", "OD"),
        ("normal vision", "OS"),
        ("raised eye pressure", "OD"),
        ("very high eye pressure", "OD"),
        ("low eye pressure", "OS"),
        ("large cup-to-disc ratio", "OD"),
    } == present


@pytest.mark.parametrize(
    ("text", "present", "eye"),
    [
        ("RAPD right eye.", True, "OD"),
        ("Pupils: no RAPD.", False, None),
        ("RAPD (-) OS", False, "OS"),
        ("RAPD (+) OS", True, "OS"),
        ("Left pupil: relative afferent pupillary defect", True, "OS"),
    ],
)
def test_rapd(text: str, present: bool, eye: str | None) -> None:
    """The sign that tells the nerve from the lens, with its negations."""
    found = [one for one in exam(text).findings if one.finding.name == "relative afferent pupillary defect"]
    assert [(one.finding.present, one.eye, one.part) for one in found] == [(present, eye, "pupils")]


def test_parts_and_signs() -> None:
    """Findings are sorted into the examination; "(-)" is absent."""
    told = exam("Left eye: corneal edema (-), aqueous flare (+), vitreous haze, eyelid swelling.")
    assert [(one.finding.name, one.finding.present, one.eye, one.part) for one in told.findings] == [
        ("Left eye: corneal edema", False, "OS", "slit lamp"),
        ("aqueous flare", True, "OS", "slit lamp"),
        ("vitreous haze", True, "OS", "fundus"),
        ("eyelid swelling", True, "OS", "lids"),
    ]


def test_two_numbers_for_one_eye_are_told() -> None:
    """One of them is wrong, and nobody here knows which."""
    assert [one.code for one in exam("IOP OD 14. Later: IOP OD 32.").notices] == ["contradiction"]
    assert exam("IOP OD 14, OS 32.").notices == ()


@given(st.text(alphabet="VAIOPCDS OU/0123456789.,;right left eye\n", max_size=80))
def test_any_text_is_an_exam(text: str) -> None:
    """Spans lie in the input whatever is written."""
    for one in exam(text).values:
        assert 0 <= one.span.start < one.span.end <= len(text)
