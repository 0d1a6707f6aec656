"""Edits: what a person did is there, nothing else is, and a signature ends it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings

from edge.clinical.encounter import edits
from edge.clinical.encounter.model import (
    Encounter,
    EncounterState,
    Eye,
    Mark,
    Origin,
    Presence,
    VisitText,
    Vital,
)
from edge.errors import InputError
from tests.clinical.encounter.made import (
    NOW,
    Step,
    angle_closure,
    encounters,
    found,
    marks_of,
    new,
    noted,
    ranked,
    runs,
    steps,
)


@given(encounters(), steps)
@settings(max_examples=80, deadline=None)
def test_each_edit_counts(enc: Encounter, step: Step) -> None:
    """An edit that is not counted is not saved, or a late result of the model passes for a fresh one."""
    after = step(enc)
    assert after is enc or after.revision == enc.revision + 1
    assert after.state is edits.state_of(after)


@given(encounters() | noted() | ranked())
@settings(max_examples=150, deadline=None)
def test_ids_are_unique(enc: Encounter) -> None:
    """Two items share an id: a tap on one changes the other."""
    items = Counter(item.id for item in (*enc.findings, *enc.history))
    lines = Counter(line.id for line in (enc.note.lines if enc.note else ()))
    vitals = Counter(vital.name for vital in enc.vitals)
    rows = Counter((row.name, row.eye) for row in (enc.differential.rows if enc.differential else ()))
    assert all(count == 1 for counter in (items, lines, vitals, rows) for count in counter.values())


@given(encounters(), runs)
@settings(max_examples=100, deadline=None)
def test_the_eye_of_a_finding_never_changes(enc: Encounter, told: list[Step]) -> None:
    """A finding moves to the other eye under the clinician's hands."""
    for step in told:
        before = {item.id: item.eye for item in (*enc.findings, *enc.history)}
        enc = step(enc)
        # Taken out and made anew in one step cannot be: an id that stays keeps its eye.
        assert all(before.get(item.id, item.eye) is item.eye for item in (*enc.findings, *enc.history))


@given(encounters())
@settings(max_examples=100, deadline=None)
def test_marks_and_values_are_inside(enc: Encounter) -> None:
    """A mark points outside of its text: the screen breaks, or highlights other words."""
    for text, marks in [(enc.visit.text, enc.visit.marks)] + [
        (line.text, line.marks) for line in (enc.note.lines if enc.note else ())
    ]:
        assert all(0 <= mark.start < mark.end <= len(text) for mark in marks)
        assert all(one.end <= other.start for one, other in pairwise(marks))
    for item in (*enc.findings, *enc.history):
        assert item.name == " ".join(item.name.split())
        assert ";" not in item.name


@given(encounters(), steps)
@settings(max_examples=100, deadline=None)
def test_signed_is_final(enc: Encounter, step: Step) -> None:
    """A signed encounter is changed; or its signature does not hold for what was signed."""
    try:
        signed = edits.sign(enc, "Dr. Who", NOW, ("ab12",))
    except InputError:
        return
    assert edits.verify_signature(signed)
    assert signed.state is EncounterState.SIGNED
    assert step(signed) is signed
    assert not edits.verify_signature(replace(signed, created_at="2001-01-01T00:00:00Z"))


def test_signing_needs_a_name_and_nothing_open() -> None:
    """An encounter is closed by nobody, or with something undecided."""
    ready = angle_closure()
    with pytest.raises(InputError):
        edits.sign(ready, " ", NOW)
    with pytest.raises(InputError):
        edits.sign(new(allergies_asked=False), "Dr. Who", NOW)
    signed = edits.sign(ready, " Dr.  Who ", NOW, ("ab12",))
    assert signed.signature is not None
    assert (signed.signature.by, signed.signature.at) == ("Dr. Who", NOW)
    assert signed.signature.behaviour_digests == ("ab12",)
    assert edits.verify_signature(signed)
    assert not edits.verify_signature(ready)
    assert not edits.verify_signature(replace(signed, findings=signed.findings[1:]))
    assert not edits.verify_signature(replace(signed, state=EncounterState.DRAFT))


def test_the_state_follows() -> None:
    """The worklist shows another state than the encounter has."""
    enc = new()
    assert enc.state is EncounterState.NEW
    for step in (
        edits.set_finding(enc, found("a", "Cough"), NOW),
        edits.set_history(enc, found("a", "Asthma"), NOW),
        edits.set_vital(enc, Vital("pain", 3), NOW),
        edits.set_eye_field(enc, Eye.OS, "rapd", Presence.ABSENT, NOW),
        edits.set_visit(enc, VisitText("hello"), NOW),
    ):
        assert step.state is EncounterState.EXAM
    assert edits.add_line(enc, "PLAN", "Rest.", "l", NOW).state is EncounterState.DRAFT
    assert edits.set_patient(enc, new(bed="C2").patient, NOW).state is EncounterState.NEW


def test_time() -> None:
    """A local time is stored as if it were UTC, and the worklist is out of order."""
    local = datetime(2026, 3, 2, 9, 15, tzinfo=timezone(timedelta(hours=1)))
    assert edits.set_patient(new(), new().patient, local).updated_at == NOW
    assert edits.set_patient(new(), new().patient, "2026-03-02T09:15:00+01:00").updated_at == NOW
    for wrong in (datetime(2026, 3, 2), "yesterday", "2026-03-02T08:15:00"):
        with pytest.raises(InputError):
            edits.set_patient(new(), new().patient, wrong)
    assert edits.as_edit(new(), angle_closure(), local.astimezone(UTC)).revision == angle_closure().revision + 1


@pytest.mark.parametrize("wrong", [{"birth_date": "6.5.1964"}, {"age_years": 131}, {"age_years": -1}, {"sex": "f"}])
def test_who_it_is(wrong: dict[str, object]) -> None:
    """A date that no rule can read gives a patient without an age, and rules by age and sex keep silent."""
    with pytest.raises(InputError):
        edits.set_patient(new(), new(**wrong).patient, NOW)


def test_findings() -> None:
    """A finding is doubled, lost, or moved to the other eye or list."""
    enc = edits.set_finding(new(), found("a", " Eye  pain;\n", eye=Eye.OD), NOW)
    assert enc.findings[0].name == "Eye pain"
    assert enc.findings[0].at == NOW
    absent = edits.set_finding(enc, found("a", "Eye pain", Presence.ABSENT, Eye.OD), NOW)
    assert [item.presence for item in absent.findings] == [Presence.ABSENT]
    for wrong in (found("a", "Eye pain", eye=Eye.OS), found("", "Cough"), found("b", " ; ")):
        with pytest.raises(InputError):
            edits.set_finding(enc, wrong, NOW)
    with pytest.raises(InputError):
        edits.set_history(enc, found("a", "Glaucoma"), NOW)
    assert edits.remove_finding(enc, "a", NOW).findings == ()
    with pytest.raises(InputError):
        edits.remove_finding(enc, "b", NOW)
    with pytest.raises(InputError):
        edits.remove_history(enc, "a", NOW)


def test_speech_enters_unconfirmed() -> None:
    """What speech recognition heard counts before anybody tapped it."""
    heard = replace(found("a", "Cough"), origin=Origin.SPEECH)
    enc = edits.set_finding(new(), heard, NOW)
    enc = edits.set_history(enc, replace(heard, id="h"), NOW)
    enc = edits.set_vital(enc, Vital("pain", 3, Origin.SPEECH), NOW)
    assert not any(one.confirmed for one in (*enc.findings, *enc.history, *enc.vitals))
    for kind, id in (("finding", "a"), ("history", "h"), ("vital", "pain")):
        enc = edits.confirm_item(enc, kind, id, NOW)
    assert all(one.confirmed for one in (*enc.findings, *enc.history, *enc.vitals))
    assert not edits.set_vital(enc, Vital("pain", 4, Origin.SPEECH), NOW).vitals[0].confirmed
    for kind, id in (("finding", "x"), ("vital", "spo2"), ("line", "a")):
        with pytest.raises(InputError):
            edits.confirm_item(enc, kind, id, NOW)


def test_vitals() -> None:
    """An impossible value is stored, or one that stands twice."""
    enc = edits.set_vital(edits.set_vital(new(), Vital("pain", 3), NOW), Vital("pain", 4.4), NOW)
    assert [vital.value for vital in enc.vitals] == [4.0]
    for wrong in (Vital("pain", 11), Vital("spo2", float("nan")), Vital("mood", 1), Vital("pain", True)):
        with pytest.raises(InputError):
            edits.set_vital(enc, wrong, NOW)
    assert edits.clear_vital(enc, "pain", NOW).vitals == ()
    with pytest.raises(InputError):
        edits.clear_vital(enc, "spo2", NOW)


def test_eye_fields() -> None:
    """A value lands in the other eye or field, or the two forms of the acuity disagree."""
    enc = edits.set_eye_field(new(), Eye.OD, "va", "6/12", NOW)
    assert (enc.eye.od.va, enc.eye.od.va_logmar) == ("6/12", pytest.approx(0.301))
    assert enc.eye.os == new().eye.os
    enc = edits.set_eye_field(enc, Eye.OD, "va_logmar", 1.0, NOW)
    assert (enc.eye.od.va, enc.eye.od.va_logmar) == ("20/200", 1.0)
    enc = edits.set_eye_field(enc, Eye.OD, "va", "HM", NOW)
    assert (enc.eye.od.va, enc.eye.od.va_logmar) == ("HM", None)
    enc = edits.set_eye_field(enc, Eye.OD, "va", "", NOW)
    assert (enc.eye.od.va, enc.eye.od.va_logmar) == ("", None)
    enc = edits.set_eye_field(enc, Eye.OS, "slit_lamp.cornea", " hazy  cornea;; corneal edema. ", NOW)
    assert enc.eye.os.slit_lamp == {"cornea": "hazy cornea; corneal edema"}
    assert edits.set_eye_field(enc, Eye.OS, "slit_lamp.cornea", "", NOW).eye.os.slit_lamp == {}
    assert edits.set_eye_field(enc, Eye.OS, "iop_method", "icare", NOW).eye.os.iop_method == "icare"
    assert edits.set_eye_field(enc, Eye.OS, "rapd", "present", NOW).eye.os.rapd is Presence.PRESENT
    assert edits.set_eye_field(enc, Eye.OS, "iop_mmhg", None, NOW).eye.os.iop_mmhg is None
    for eye, field, value in (
        (Eye.OU, "iop_mmhg", 12),
        (Eye.OD, "iop_mmhg", 91),
        (Eye.OD, "iop_mmhg", "12"),
        (Eye.OD, "iop_method", "thumb"),
        (Eye.OD, "va", "good"),
        (Eye.OD, "va", 0.5),
        (Eye.OD, "va_logmar", 9),
        (Eye.OD, "slit_lamp.sclera", "white"),
        (Eye.OD, "slit_lamp.lens", 1),
        (Eye.OD, "slit_lamp", "white"),
        (Eye.OD, "rapd", "perhaps"),
        (Eye.OD, "pupil_mm", 0),
    ):
        with pytest.raises(InputError):
            edits.set_eye_field(enc, eye, field, value, NOW)


def test_copying_an_eye_copies_no_measurement() -> None:
    """A pressure that nobody measured stands in the other eye's column."""
    enc = edits.set_eye_field(angle_closure(), Eye.OD, "slit_lamp.cornea", "hazy cornea", NOW)
    enc = edits.set_eye_field(enc, Eye.OS, "fundus.disc", "normal optic disc", NOW)
    enc = edits.set_eye_field(enc, Eye.OD, "rapd", Presence.PRESENT, NOW)
    made = edits.copy_eye(enc, Eye.OD, Eye.OS, NOW)
    assert made.eye.od == enc.eye.od
    assert made.eye.os == replace(enc.eye.os, slit_lamp={"cornea": "hazy cornea"})
    for source, target in ((Eye.OD, Eye.OD), (Eye.OU, Eye.OD), (Eye.OD, Eye.OU)):
        with pytest.raises(InputError):
            edits.copy_eye(enc, source, target, NOW)


def test_what_speech_wrote_is_marked() -> None:
    """A number, drug or negation that was misheard is signed unread; or a tap is asked for twice."""
    text = "no fever , takes metoprolol 25 mg"
    enc = edits.set_visit(new(), VisitText(text, Origin.SPEECH, (Mark("number", 0, 2, True),)), NOW)
    visit = enc.visit
    assert marks_of(text, visit.marks, "drug") == ["metoprolol"]
    assert marks_of(text, visit.marks, "number") == ["25 mg"]
    assert marks_of(text, visit.marks, "negation") == ["no"]
    assert not any(mark.confirmed for mark in visit.marks)
    for index in range(3):
        enc = edits.confirm_visit_mark(enc, index, NOW)
    assert all(mark.confirmed for mark in enc.visit.marks)
    longer = text + " and 5 drops"
    said = edits.set_visit(enc, VisitText(longer, Origin.SPEECH, (*enc.visit.marks, Mark("number", 38, 39))), NOW)
    assert [mark.confirmed for mark in said.visit.marks] == [True, True, True, False]
    typed = edits.set_visit(enc, VisitText(longer, Origin.SPEECH, enc.visit.marks), NOW)
    assert all(mark.confirmed for mark in typed.visit.marks)
    assert len(typed.visit.marks) == 4
    front = edits.set_visit(enc, VisitText("well , " + text, Origin.SPEECH), NOW)
    assert all(mark.confirmed for mark in front.visit.marks)
    assert edits.set_visit(enc, VisitText(text), NOW).visit.marks == ()
    assert edits.set_visit(enc, VisitText("", Origin.SPEECH), NOW).visit.marks == ()
    with pytest.raises(InputError):
        edits.confirm_visit_mark(enc, 3, NOW)
    with pytest.raises(InputError):
        edits.set_visit(enc, VisitText("a", Origin.SPEECH, (Mark("number", 0, 2),)), NOW)


def test_a_spoken_text_that_a_person_mends() -> None:
    """A typed correction asks for a tap of its own; or a correction of one word confirms the words beside it."""
    heard = "takes metoprolol 15 mg , no fever"
    enc = edits.set_visit(new(), VisitText(heard, Origin.SPEECH), NOW)
    mended = edits.set_visit(
        enc, VisitText("takes metoprolol 50 mg , no fever", Origin.SPEECH, enc.visit.marks[:1]), NOW
    )
    assert [(mark.kind, mark.confirmed) for mark in mended.visit.marks] == [
        *(("drug", False), ("number", True), ("negation", False)),
    ]


def test_speech_behind_what_was_typed() -> None:
    """Words that the clinician typed themself ask for a tap since somebody spoke later; or what was said needs none."""
    enc = edits.set_visit(new(), VisitText("takes metoprolol 25 mg"), NOW)
    spoken = "takes metoprolol 25 mg\nand aspirin"
    said = edits.set_visit(enc, VisitText(spoken, Origin.SPEECH), NOW)
    assert [mark.confirmed for mark in said.visit.marks] == [True, True, False]


def test_messages_hold_no_words_of_the_patient() -> None:
    """A refused edit writes what was typed into the log."""
    with pytest.raises(InputError) as error:
        edits.set_eye_field(new(), Eye.OD, "va", "Ida sees badly", NOW)
    assert "Ida" not in str(error.value)
    with pytest.raises(InputError) as error:
        edits.clear_vital(new(), "Ida", NOW)
    assert "Ida" not in str(error.value)
