"""What blocks a signature, and the words that need a tap."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.app.i18n import tr
from edge.clinical.encounter import edits
from edge.clinical.encounter.checks import blocking, line_marks, speech_marks
from edge.clinical.encounter.model import Encounter, LineStatus, Origin, VisitText, Vital
from edge.errors import InputError
from tests.clinical.encounter.made import NOW, encounters, found, line, marks_of, new, noted, with_note


def codes(enc: Encounter) -> list[str]:
    """Codes of what blocks."""
    return [block.code for block in blocking(enc)]


def test_the_patient() -> None:
    """An encounter of nobody, or without the question for allergies, is signed."""
    assert codes(new(name=" ", allergies_asked=False)) == ["patient-name", "allergies", "nothing"]
    one = edits.set_finding(new(allergies_asked=False, allergies=("penicillin",)), found("a", "Cough"), NOW)
    assert codes(one) == []


def test_what_speech_made() -> None:
    """Something that was only heard is signed."""
    enc = edits.set_finding(new(), replace(found("a", "Cough"), origin=Origin.SPEECH), NOW)
    enc = edits.set_history(enc, replace(found("h", "Asthma"), origin=Origin.SPEECH), NOW)
    enc = edits.set_vital(enc, Vital("pain", 3, Origin.SPEECH), NOW)
    enc = edits.set_visit(enc, VisitText("no metoprolol 25 mg", Origin.SPEECH), NOW)
    assert codes(enc) == [
        *("speech-item", "speech-item", "speech-vital"),
        *("visit-negation", "visit-drug", "visit-number"),
    ]
    assert [(one.kind, one.key) for one in blocking(enc)][:4] == [
        *(("finding", "a"), ("history", "h"), ("vital", "pain")),
        ("visit", "0"),
    ]
    typed = edits.set_visit(enc, VisitText("no metoprolol 25 mg"), NOW)
    assert len(codes(typed)) == 3


def test_the_note() -> None:
    """A line that nobody decided, or a number that nobody tapped, is signed."""
    enc = with_note(
        line("a", "Takes metoprolol 25 mg."),
        line("b", "No fever.", linked=False),
        line("c", "IOP 52 in the right eye.", origin=Origin.QUOTE),
    )
    assert codes(enc) == ["line-open", "line-unlinked", "line-open"]
    for id in "abc":
        enc = edits.set_line_status(enc, id, LineStatus.KEPT, NOW)
    assert codes(enc) == ["mark-drug", "mark-number"]
    assert blocking(enc)[1].values == {"words": "25 mg"}
    removed = edits.set_line_status(enc, "a", LineStatus.REMOVED, NOW)
    assert codes(removed) == []
    edited = edits.edit_line(enc, "a", "Takes metoprolol 50 mg.", NOW)
    assert codes(edited) == ["mark-drug"]
    for index in (0, 1):
        enc = edits.confirm_mark(enc, "a", index, NOW)
    assert codes(enc) == []
    assert edits.sign(enc, "Dr. Who", NOW).signature


@given(encounters() | noted())
@settings(max_examples=60, deadline=None)
def test_sign_and_blocking_agree(enc: Encounter) -> None:
    """The list of what is open is empty and signing refuses all the same, or the other way round; or has no words."""
    blocks = blocking(enc)
    for block in blocks:
        assert tr(block.message_key, **block.values) != block.message_key
    try:
        edits.sign(enc, "Dr. Who", NOW)
    except InputError:
        assert blocks
    else:
        assert not blocks


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(["metoprolol", "25", "mg,", "no", "B12", "20/40", "1.5", "%", "OD", "left", "knee"])
    ).map(" ".join)
)
@settings(deadline=None)
def test_every_digit_is_marked(text: str) -> None:
    """A number slips through without its tap; or two marks lie over each other and one cannot be tapped."""
    for marks in (line_marks(text, "PLAN"), speech_marks(text)):
        for match in re.finditer(r"[0-9]+", text):
            assert any(mark.start <= match.start() and match.end() <= mark.end for mark in marks)
        assert all(one.end <= other.start for one, other in pairwise(marks))
        assert not any(mark.confirmed for mark in marks)


def test_kinds_of_marks() -> None:
    """A drug, a spoken number, a negation or a side is not seen."""
    text = "She denies pain, does n't take aspirin twice daily; right eye 20/40, left knee, seventy two."
    marks = line_marks(text, "HPI", "transcript")
    assert marks_of(text, marks, "drug") == ["aspirin"]
    assert marks_of(text, marks, "negation") == ["denies", "n't"]
    assert marks_of(text, marks, "side") == ["right eye", "left knee"]
    assert {"20/40", "seventy two", "twice"} <= set(marks_of(text, marks, "number"))
    assert not marks_of(text, speech_marks(text), "side")
    assert line_marks("", "HPI") == ()
