"""The fact check on small visits of our own: what is supported, what is caught, what is missing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.facts import FactSource, check_line, check_note, extract_facts, missing_facts
from edge.clinical.facts.tokens import listed

VISIT = """[doctor] anna is a 57-year-old female with hypertension and type two diabetes here for left knee pain .
[patient] yes , it started about three weeks ago .
[doctor] any fever or chills ?
[patient] no .
[doctor] any shortness of breath ?
[patient] yeah , when i climb stairs .
[doctor] what do you take ?
[patient] i take lasix forty milligrams once a day and i'm on synthroid . my mother had breast cancer .
[doctor] are you allergic to anything ?
[patient] yes , penicillin .
[doctor] your blood pressure is one fifty over ninety and your heart rate is 72 . on exam you do n't have any edema . i
hear a 3 out of 6 systolic ejection murmur . the left knee is tender . the right knee is normal . your hemoglobin a1c
was seven point two .
[doctor] if you get a rash stop the pill . i will prescribe meloxicam 15 milligrams twice a day .
"""
SOURCE = FactSource.of(VISIT, context="Sex: female. Weight 80 kg.")

SUPPORTED = [
    "Anna is a 57-year-old female with hypertension.",
    "She has HTN and diabetes type 2.",
    "High blood pressure.",
    "Left knee pain for 3 weeks.",
    "Pain started 21 days ago.",
    "Denies fever or chills.",
    "No fevers, chills.",
    "Negative for fever.",
    "She reports dyspnea.",
    "Endorses SOB.",
    "Furosemide 40 mg daily.",
    "Lasix 40 mg once a day.",
    "Levothyroxine.",
    "Allergic to penicillin.",
    "Blood pressure 150/90.",
    "BP: 150/90 mmHg",
    "Heart rate: 72 bpm",
    "No edema.",
    "No swelling.",
    "Grade 3/6 systolic ejection murmur.",
    "Hemoglobin A1c is 7.2.",
    "Tenderness of the left knee.",
    "Meloxicam 15 mg twice daily.",
    "Mobic 15 mg b.i.d.",
    "Weight: 80 kg",
]
UNSUPPORTED = [
    ("She is a 75-year-old female.", "NUM", "number"),
    ("Left knee pain for 5 weeks.", "NUM", "number"),
    ("Reports fever.", "SX", "opposite"),
    ("Has chills.", "SX", "opposite"),
    ("Denies shortness of breath.", "SX", "opposite"),
    ("No dyspnea.", "SX", "opposite"),
    ("No hypertension.", "DX", "opposite"),
    ("Furosemide 80 mg daily.", "DOSE", "dose"),
    ("Lasix 40 mg twice a day.", "DOSE", "frequency"),
    ("Meloxicam 40 mg twice daily.", "DOSE", "dose"),
    ("Warfarin 5 mg.", "DRUG", "medicine"),
    ("Denies taking Lasix.", "DRUG", "opposite"),
    ("Left foot ulcer, right shoulder pain.", "LAT", "side"),
    ("Pain of the right shoulder.", "LAT", "side"),
    ("No known drug allergies.", "ALLERGY", "opposite"),
    ("Allergic to codeine.", "ALLERGY", "allergy"),
    ("Blood pressure 150/80.", "VITAL", "number"),
    ("Heart rate: 92 bpm", "VITAL", "number"),
    ("Hemoglobin A1c is 7.8.", "VITAL", "number"),
    ("There is edema of the legs.", "SX", "opposite"),
    ("History of gout.", "DX", "not in the source"),
    ("2/6 systolic ejection murmur.", "NUM", "number"),
    ("Seen on 3/4/2020.", "NUM", "date"),
]


@pytest.mark.parametrize("line", SUPPORTED)
def test_supported(line: str) -> None:
    """A line that follows from the visit is not blamed; each false alarm teaches the reader to ignore alarms."""
    found = check_line(line, "HPI", SOURCE)
    assert [(item.fact.kind, item.fact.text, item.reason) for item in found] == []


@pytest.mark.parametrize(("line", "kind", "reason"), UNSUPPORTED, ids=[line for line, _, _ in UNSUPPORTED])
def test_unsupported(line: str, kind: str, reason: str) -> None:
    """A wrong number, medicine, side, allergy or polarity is found, with its kind and a reason."""
    found = check_line(line, "HPI", SOURCE)
    assert any(item.fact.kind == kind and reason in item.reason for item in found)


NEGATIONS = [
    ("denies fevers, chills, or weight loss.", {"fever": "absent", "chills": "absent", "weight loss": "absent"}),
    ("No cough, but reports wheezing.", {"cough": "absent", "wheezing": "present"}),
    ("positive for nausea, negative for vomiting.", {"nausea": "present", "vomiting": "absent"}),
    ("Doctor: Any nausea or vomiting?\nPatient: Nope.", {"nausea": "absent", "vomiting": "absent"}),
    ("Doctor: Any headache?\nPatient: Yes, every day.", {"headache": "present"}),
    ("Doctor: Do you have asthma?\nPatient: I don't.", {"asthma": "absent"}),
    ("Doctor: Any cough?\nPatient: It depends on the weather.", {"cough": "unknown"}),
    ("[doctor] you do n't have any wheezing", {"wheezing": "absent"}),
    ("[doctor] any fever no any cough yes", {"fever": "absent", "cough": "present"}),
    ("[doctor] no chest pain , right ?\n[patient] right .", {"chest pain": "absent"}),
    ("without rash", {"rash": "absent"}),
    ("Not sure about the cough.", {"cough": "present"}),
    ("The strep throat test was negative.", {"strep throat": "absent"}),
]


@pytest.mark.parametrize(("text", "expected"), NEGATIONS, ids=[text[:40] for text, _ in NEGATIONS])
def test_polarity(text: str, expected: dict[str, str]) -> None:
    """Scope of a negation, of a list, and of the answer to a question."""
    found = {fact.concept: fact.polarity for fact in extract_facts(text) if fact.kind in ("SX", "DX")}
    assert {concept: found.get(concept) for concept in expected} == expected


TEXTS = [
    ("lisinopril 20 mg daily", "DOSE", "lisinopril 20 mg daily"),
    ("tylenol 500 milligrams every 6 hours", "DOSE", "acetaminophen 500 mg every 6 hour"),
    ("temperature 98.6", "VITAL", "temperature 98.6"),
    ("the oxygen saturation is 93%", "VITAL", "oxygen saturation 93%"),
    ("denies heartburn", "SX", "no heartburn"),
    ("left ankle", "LAT", "left ankle"),
    ("allergic to sulfa drugs", "ALLERGY", "allergy to sulfa"),
    ("NKDA", "ALLERGY", "no known allergies"),
    ("heart attack", "DX", "myocardial infarction"),
    ("for 6 weeks", "NUM", "6 week"),
]


@pytest.mark.parametrize(("text", "kind", "wording"), TEXTS, ids=[text for text, _, _ in TEXTS])
def test_wording_and_span(text: str, kind: str, wording: str) -> None:
    """Fact.text is a short clinical wording and the span points at the words themselves."""
    facts = [fact for fact in extract_facts(text) if fact.kind == kind]
    assert wording in [fact.text for fact in facts]
    assert all(fact.span.of(text) for fact in facts)


def test_missing_names_what_a_note_should_carry() -> None:
    """Medicines, doses, the allergy, the abnormal pressure and the diagnoses are asked for; nothing hypothetical is."""
    found = {item.fact.text for item in missing_facts("Left knee pain.", SOURCE)}
    assert {"furosemide", "levothyroxine", "meloxicam", "allergy to penicillin", "blood pressure 150/90"} <= found
    assert {"hypertension", "type 2 diabetes"} <= found
    assert not {"breast cancer", "rash", "heart rate 72", "fever"} & found
    whole = "Hypertension, type 2 diabetes. Lasix 40 mg daily, Synthroid, meloxicam 15 mg twice daily. A1c 7.2. "
    rest = missing_facts(whole + "Allergic to penicillin. BP 150/90.", SOURCE)
    assert [item.fact.text for item in rest] == []
    assert all(item.fact.span.of(VISIT) for item in missing_facts("", SOURCE))


SIDES = [
    ("my left knee hurts", "Right knee pain.", True),
    ("my left knee hurts", "Left knee pain.", False),
    ("my left knee hurts", "Left lower extremity pain.", False),
    ("my left knee hurts", "Right leg pain.", True),
    ("both of my hands are numb", "Bilateral hand numbness.", False),
    ("both of my hands are numb", "Numbness of the left hand.", False),
    ("strength is four out of five on the right leg", "Strength is 4/5 in the left leg.", True),
    ("all right . so right now the left ear hurts", "Right ear pain.", True),
    ("the right ear is fine . the left ear is red and bulging with fluid", "Right ear red, bulging with fluid.", True),
]


@pytest.mark.parametrize(("said", "line", "wrong"), SIDES, ids=[f"{said} - {line}" for said, line, _ in SIDES])
def test_sides(said: str, line: str, wrong: bool) -> None:
    """A swapped side is found, also when both sides were named; the same region may be worded in another way."""
    found = check_line(line, "EXAM", FactSource.of(f"[doctor] {said} ."))
    assert any(item.fact.kind == "LAT" for item in found) is wrong


def test_section_makes_a_finding_major() -> None:
    """The same wrong condition is minor in the history, major in the assessment."""
    assert [item.major for item in check_line("Gout.", "HPI", SOURCE)] == [False]
    assert [item.major for item in check_line("Gout.", "ASSESSMENT AND PLAN", SOURCE)] == [True]
    report = check_note("HPI\n\nGout.\n\nASSESSMENT\n\nGout.\n", SOURCE)
    assert [item.major for item in report.unsupported] == [False, True]


def test_a_whole_visit_is_quick() -> None:
    """A line under 2 ms, the whole check far under 50 ms of processor time."""
    note = "\n".join(SUPPORTED)
    check_note(note, FactSource.of(VISIT))
    start = time.process_time()
    check_note(note, FactSource.of(VISIT))
    assert time.process_time() - start < 0.05
    start = time.process_time()
    for line in SUPPORTED:
        check_line(line, "HPI", SOURCE)
    assert (time.process_time() - start) / len(SUPPORTED) < 0.002


@pytest.mark.parametrize("text", ["", "   \n", "zażółć gęślą jaźń", "[doctor]", "no no no no", "1/0/0 //// -- 9" * 50])
def test_odd_input(text: str) -> None:
    """Empty, foreign and broken text gives a report, never an error."""
    report = check_note(text, FactSource.of(text))
    assert report.note_facts >= 0
    assert not FactSource.of("").relevant


WORDS = listed(
    "no denies reports left right knee arm fever cough , . and or aspirin lisinopril 20 mg 5 weeks daily hypertension "
    "any ? 130/80 blood pressure allergic penicillin the patient has with without negative for"
)


@given(st.lists(st.sampled_from(WORDS), max_size=30))
@settings(max_examples=120, deadline=None)
def test_a_text_supports_itself(words: list[str]) -> None:
    """A note equal to its source has no unsupported facts but those of questions, whatever the words."""
    text = " ".join(word for word in words if word not in ("any", "?"))
    source = FactSource.of(text)
    assert [(item.fact.text, item.reason) for item in check_note(text, source).unsupported] == []


@given(st.lists(st.sampled_from(WORDS), max_size=30))
@settings(max_examples=60, deadline=None)
def test_spans_hold(words: list[str]) -> None:
    """Every fact lies inside its text, in order of its place, and the same text gives the same facts."""
    text = " ".join(words)
    facts = extract_facts(text)
    assert facts == extract_facts(text)
    assert all(0 <= fact.span.start < fact.span.end <= len(text) for fact in facts)
    assert list(facts) == sorted(facts, key=lambda fact: fact.span)


def test_three_hours_without_a_point() -> None:
    """A very long turn without punctuation is read in time that grows with its length, not with its square."""
    speech = (
        "[doctor] " + "your blood pressure is 130 over 80 and the left knee hurts take aspirin 81 milligrams " * 500
    )
    start = time.process_time()
    source = FactSource.of(speech)
    assert check_line("Aspirin 81 mg.", "PLAN", source) == ()
    assert time.process_time() - start < 3
