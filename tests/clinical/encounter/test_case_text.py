"""The case that is made of an encounter: read back it says the same, and every word leads back to its entry."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.case import case_from_text, instructions_in
from edge.clinical.conditions import EYE, best_fits, knowledge_table
from edge.clinical.encounter import edits
from edge.clinical.encounter.acuity import BELOW_CHART, parse_va
from edge.clinical.encounter.case_text import case_text, ref_at, to_differential
from edge.clinical.encounter.eye_fields import eye_fields
from edge.clinical.encounter.model import Encounter, Eye, Origin, Presence, Ref, Vital
from edge.clinical.eye_exam import read_exam
from edge.clinical.ophthalmology import EyeComparison, ophthalmology
from edge.errors import InputError
from tests.clinical.encounter.made import NOW, RUN, angle_closure, encounters, found, new
from tests.clinical.tiny_reader import tiny_reader


@given(encounters(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_anchor_leads_back(enc: Encounter, eye_only: bool) -> None:
    """A tap on a basis opens another entry, or the anchor's words are not those of the entry."""
    case = case_text(enc, eye_only=eye_only)
    assert case.sha256 == hashlib.sha256(case.text.encode()).hexdigest()
    named = {("finding", one.id): one for one in enc.findings} | {("history", one.id): one for one in enc.history}
    at = 0
    for start, end, ref in case.anchors:
        assert at <= start < end <= len(case.text)
        at = end
        assert ref_at(case, start, end) == ref
        words = case.text[start:end]
        if item := named.get((ref.kind, ref.key)):
            assert item.name in words
            assert item.confirmed
            assert item.eye is None or words.endswith(item.eye)
        elif ref.kind == "vital":
            value = next(one for one in enc.vitals if one.name == ref.key)
            assert value.confirmed
            assert f"{value.value:g}" in words
        elif ref.kind == "eye":
            assert words.startswith(ref.key[:2]) or (not eye_only and words.endswith(ref.key[:2]))
        else:
            assert ref.kind == "patient"


@given(encounters(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_whatever_is_read_of_it_leads_back(enc: Encounter, eye_only: bool) -> None:
    """The differential rests on a finding that no entry stands behind."""
    case = case_text(enc, eye_only=eye_only)
    read = case_from_text(case.text)
    for finding in read.evidence:
        assert ref_at(case, finding.span.start, finding.span.end) is not None


@given(encounters())
@settings(max_examples=100, deadline=None)
def test_presence_is_read_back(enc: Encounter) -> None:
    """What is absent is read as present, or what nobody knows as one of the two."""
    case = case_text(enc)
    read = case_from_text(case.text)
    told = {item.id: item for item in enc.findings if item.confirmed}
    wanted = {Presence.PRESENT: True, Presence.ABSENT: False, Presence.UNKNOWN: None}
    orders = instructions_in(case.text)
    for finding in read.findings:
        ref = ref_at(case, finding.span.start, finding.span.end)
        if ref is not None and ref.kind == "finding" and not orders:
            assert finding.present is wanted[told[ref.key].presence]


def test_the_listed_form() -> None:
    """The case is written in another form than the one that the model was trained with."""
    enc = edits.set_history(angle_closure(), found("h", "Hyperopia"), NOW)
    enc = edits.set_finding(enc, found("w", "Weight loss", Presence.UNKNOWN), NOW)
    enc = edits.set_vital(enc, Vital("bp_systolic", 150), NOW)
    enc = edits.set_vital(enc, Vital("bp_diastolic", 88), NOW)
    enc = edits.set_eye_field(enc, Eye.OD, "slit_lamp.cornea", "hazy cornea; corneal edema", NOW)
    assert case_text(enc).text == (
        "Age: 61\nSex: female\nVitals: blood pressure 150/88; heart rate 88\nHistory: Hyperopia\nPresent: Nausea\n"
        "Not sure: Weight loss\n"
        "Present: Sudden eye pain OD; Halos around lights OD; Mid-dilated pupil OD; Corneal haze OD\n"
        "Absent: Flashes OD\n"
        "Present: raised eye pressure OD; very high eye pressure OD; reduced vision OD\n"
        "OD VA 20/200.\nOD IOP 52 mmHg.\nOD hazy cornea.\nOD corneal edema.\nOS VA 20/25.\nOS IOP 16 mmHg.\n"
    )
    read = case_from_text(case_text(enc).text)
    assert (read.age_years, read.sex) == (61, "female")
    assert [one.name for one in read.history] == ["Hyperopia"]
    assert [(one.name, one.value, one.second) for one in read.vitals] == [
        ("blood pressure", 150, 88),
        ("heart rate", 88, None),
    ]


def test_what_nobody_confirmed_is_left_out() -> None:
    """What speech recognition heard changes the differential before anybody looked at it."""
    enc = edits.set_finding(new(), replace(found("a", "Cough"), origin=Origin.SPEECH), NOW)
    enc = edits.set_vital(enc, Vital("heart_rate", 140, Origin.SPEECH), NOW)
    assert "Cough" not in case_text(enc).text
    assert "140" not in case_text(enc).text
    assert "Cough" in case_text(edits.confirm_item(enc, "finding", "a", NOW)).text


def test_a_body_side_is_no_eye() -> None:
    """A weak left arm is read as a finding of the left eye."""
    enc = edits.set_finding(angle_closure(), found("arm", "Left arm weakness"), NOW)
    enc = edits.set_finding(enc, found("own", "Left eye dull pain"), NOW)
    assert "Left arm weakness" in case_text(enc).text
    assert "Left eye dull pain" in case_text(enc, eye_only=True).text
    assert "Left arm" not in case_text(enc, eye_only=True).text
    told = {one.finding.name: one.eye for one in read_exam(case_from_text(case_text(enc, eye_only=True).text)).findings}
    assert told["Nausea"] is None
    assert told["Sudden eye pain OD"] == "OD"
    assert told["Left eye dull pain"] == "OS"


@given(
    st.sampled_from([Eye.OD, Eye.OS]),
    st.sampled_from(["20/20", "20/200", "20/8", "6/12", "6/7.5", "0,5", "1.0", "logMAR 0.3", "5/50", *BELOW_CHART]),
    st.integers(0, 900).map(lambda tenths: tenths / 10),
    st.sampled_from(Presence),
)
def test_the_eye_task_reads_the_same_values(eye: Eye, va: str, iop: float, rapd: Presence) -> None:
    """A pressure or an acuity changes, or changes its eye, on the way to the eye task."""
    enc = new()
    for field, value in (("va", va), ("iop_mmhg", iop), ("rapd", rapd), ("pupil_mm", 6), ("pupil_reaction", "fixed")):
        enc = edits.set_eye_field(enc, eye, field, value, NOW)
    exam = read_exam(case_from_text(case_text(enc, eye_only=True).text))
    assert [(one.kind, one.eye) for one in exam.values] == [("visual acuity", str(eye)), ("IOP", str(eye))]
    acuity = parse_va(va)
    if acuity.logmar is not None:
        assert exam.values[0].number == pytest.approx(min(10**-acuity.logmar, 2.0), rel=0.02)
    else:
        assert exam.values[0].value == acuity.below_chart
    assert exam.values[1].number == iop
    assert not exam.notices
    named = "relative afferent pupillary defect"
    found_rapd = [(one.eye, one.finding.present) for one in exam.findings if one.finding.name == named]
    assert found_rapd == ([] if rapd is Presence.UNKNOWN else [(str(eye), rapd is Presence.PRESENT)])


@pytest.mark.parametrize("field", sorted(eye_fields()))
def test_the_eye_task_reads_each_structure(field: str) -> None:
    """A finding of the slit lamp or the fundus gets no eye, or is read as absent."""
    for choice in eye_fields()[field].choices:
        enc = edits.set_eye_field(new(), Eye.OS, field, choice.en, NOW)
        case = case_text(enc, eye_only=True)
        told = read_exam(case_from_text(case.text)).findings
        assert told
        assert all((one.eye, one.finding.present) == ("OS", True) for one in told)
        assert {ref_at(case, one.finding.span.start, one.finding.span.end) for one in told} == {
            Ref("eye", f"OS.{field}")
        }


GENERAL_CASES = [
    (["Swelling of one leg", "Calf pain", "Leg redness"], ["Recent surgery"], "deep vein thrombosis"),
    (["Right lower abdominal pain", "Rebound tenderness", "Nausea", "Fever", "Loss of appetite"], [], "appendicitis"),
    (["Painful urination", "Frequent urination", "Urinary urgency", "Cloudy urine"], [], "urinary tract infection"),
    (["Sudden big toe pain", "Joint redness", "Joint swelling"], [], "gout"),
    (["Vertigo on turning the head", "Nystagmus", "Nausea"], [], "positional vertigo"),
]


@pytest.mark.parametrize(("names", "history", "expected"), GENERAL_CASES, ids=[one[2] for one in GENERAL_CASES])
def test_plain_cases(names: list[str], history: list[str], expected: str) -> None:
    """The table does not understand what the examination writes down: the first option of a plain case is wrong."""
    enc = new(age_years=40, birth_date="")
    for index, name in enumerate(names):
        enc = edits.set_finding(enc, found(f"f{index}", name), NOW)
    for index, name in enumerate(history):
        enc = edits.set_history(enc, found(f"h{index}", name), NOW)
    case, table = case_from_text(case_text(enc).text), knowledge_table()
    best = best_fits((table.fit(case, one) for one in table.conditions), 3)
    assert expected in best[0].condition.name.lower(), [fit.condition.name for fit in best]


EYE_CASES = [
    ({"Flashes": Eye.OS, "Floaters": Eye.OS, "Curtain over the vision": Eye.OS}, [], "Retinal detachment", "OS"),
    (
        {"Pain on eye movement": Eye.OD, "Reduced color vision": Eye.OD},
        [(Eye.OD, "rapd", Presence.PRESENT), (Eye.OD, "va", "20/100")],
        "Optic neuritis",
        "OD",
    ),
    (
        {"Eye pain": Eye.OS, "Sensitivity to light": Eye.OS},
        [
            (Eye.OS, "slit_lamp.anterior_chamber", "anterior chamber cells; anterior chamber flare"),
            (Eye.OS, "slit_lamp.cornea", "keratic precipitates"),
            (Eye.OS, "slit_lamp.conjunctiva", "ciliary injection"),
        ],
        "Anterior uveitis",
        "OS",
    ),
    ({"Itchy eyes": Eye.OU, "Watery discharge": Eye.OU, "Red eye": Eye.OU}, [], "Allergic conjunctivitis", "OU"),
    (
        {"Gradual painless vision loss": Eye.OD, "Glare": Eye.OD},
        [(Eye.OD, "slit_lamp.lens", "lens opacity")],
        "Age-related cataract",
        "OD",
    ),
]


def eye_rows(enc: Encounter) -> list[tuple[str, str | None]]:
    """(name, eye) as the table alone ranks them."""
    case = case_from_text(case_text(enc, eye_only=True).text)
    exam, table = read_exam(case), knowledge_table(EYE)
    comparison = EyeComparison(table, exam, None)
    best = best_fits((comparison.fit(case, one) for one in table.conditions), 3)
    return [(fit.condition.name, comparison.eyes[fit.condition.name]) for fit in best]


@pytest.mark.parametrize(("names", "fields", "expected", "eye"), EYE_CASES, ids=[one[2] for one in EYE_CASES])
def test_plain_eye_cases(names: dict[str, Eye], fields: list[tuple[Eye, str, object]], expected: str, eye: str) -> None:
    """The same for the eyes; and the option's eye is that of its findings."""
    enc = new()
    for name, side in names.items():
        enc = edits.set_finding(enc, found(name, name, eye=side), NOW)
    for side, field, value in fields:
        enc = edits.set_eye_field(enc, side, field, value, NOW)
    assert eye_rows(enc)[0] == (expected, eye)


def test_the_picture() -> None:
    """Angle closure of the right eye is not the first option of its textbook case."""
    assert eye_rows(angle_closure())[0] == ("Acute angle-closure glaucoma", "OD")


def test_the_answer_of_the_task(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A row's basis loses its way back, its eye or its code."""
    enc = angle_closure()
    case = case_text(enc, eye_only=True)
    reader = tiny_reader(tmp_path_factory.mktemp("eye"))
    result = ophthalmology(reader, case.text, ["Acute angle-closure glaucoma", "Anterior uveitis"]).to_json()
    ranking = to_differential(result, case, RUN)
    row = next(one for one in ranking.rows if one.name == "Acute angle-closure glaucoma")
    assert (row.eye, row.basis, row.icd10[:5]) == (Eye.OD, "table", "H40.2")
    assert {basis.ref for basis in row.supports} <= {ref for _, _, ref in case.anchors}
    assert Ref("eye", "OD.iop_mmhg") in {basis.ref for basis in row.supports}
    assert all(basis.ref is not None for one in ranking.rows for basis in (*one.supports, *one.against))
    assert (ranking.task, ranking.run, ranking.case_sha256) == ("ophthalmology", RUN, case.sha256)
    assert edits.set_differential(enc, ranking, NOW).differential == ranking
    other = case_text(edits.remove_finding(enc, "pain", NOW), eye_only=True)
    with pytest.raises(InputError):
        to_differential(result, other, RUN)
    for wrong in ({}, {**result, "options": [{}]}, {**result, "options": None}):
        with pytest.raises(InputError):
            to_differential(wrong, case, RUN)


def test_the_general_case_tells_what_a_pressure_means() -> None:
    """Without it the differential lists "very high eye pressure" as missing beside an IOP of 52."""
    enc = edits.set_eye_field(Encounter("e"), Eye.OD, "iop_mmhg", 52, NOW)
    assert "very high eye pressure OD" in case_text(enc).text
    assert "very high eye pressure" not in case_text(enc, eye_only=True).text
