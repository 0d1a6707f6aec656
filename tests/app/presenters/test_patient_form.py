"""The patient form: a wrong date of birth is a wrong age in every rule and every dose."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.i18n import tr
from edge.app.presenters.patient_form import (
    PatientDraft,
    PatientFormPresenter,
    age_on,
    allergy_list,
    clean,
    draft_of,
    parse_birth,
    patient_of,
    problems,
)
from edge.clinical.encounter.model import Patient
from tests.app.presenters.bedside_desk import ANA, BEN, EVA, Desk

TODAY = date(2026, 3, 14)


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.open()
    yield made
    made.close()


@pytest.mark.parametrize("text", ["1957-05-02", "02.05.1957", "2.5.1957", "2. 5. 1957", "19570502", " 1957-5-2 "])
def test_ways_to_write_a_date(text: str) -> None:
    """Both the ISO and the German way are understood, and as the same day."""
    assert parse_birth(text, TODAY) == date(1957, 5, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("02/05/1957", "birth_form"),  # day or month first: nobody knows
        ("57-05-02", "birth_form"),
        ("02.05.57", "birth_form"),
        ("1957", "birth_form"),
        ("abc", "birth_form"),
        ("1957-02-30", "birth_impossible"),
        ("2023-02-29", "birth_impossible"),
        ("31.04.1990", "birth_impossible"),
        ("1957-13-01", "birth_impossible"),
        ("2026-03-15", "birth_future"),
        ("1905-03-13", "birth_too_old"),
        ("0000-01-01", "birth_impossible"),
    ],
)
def test_dates_that_are_refused(text: str, why: str) -> None:
    """An impossible date that got through would make an impossible age."""
    with pytest.raises(ValueError, match=f"^{why}$"):
        parse_birth(text, TODAY)
    assert problems(PatientDraft(name="A", birth=text), TODAY) == {"birth": why}


@given(st.dates(date(1907, 1, 1), TODAY))
def test_every_date_comes_back(day: date) -> None:
    """A date that is written as the app writes it is read as the same date."""
    assert parse_birth(day.isoformat(), TODAY) == day
    assert parse_birth(f"{day.day}.{day.month}.{day.year:04}", TODAY) == day


@given(st.dates(date(1907, 1, 1), TODAY), st.integers(0, 365))
def test_age_never_runs_backwards(born: date, days: int) -> None:
    """A day later nobody is younger, and a birthday adds one year at most."""
    later = born + timedelta(days=days)
    assert 0 <= age_on(born, later) <= 1
    assert age_on(born, later) <= age_on(born, later + timedelta(days=1))


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20), st.text(max_size=80), st.text(max_size=12))
def test_whatever_is_typed_is_refused_or_saved_whole(name: str, mrn: str, bed: str, allergy: str, birth: str) -> None:
    """No typed text makes the form fail, and what has no problem survives the way to the record and back."""
    draft = PatientDraft(name, "date", birth, "", "female", mrn, bed, "list", allergy)
    if problems(draft, TODAY):
        return
    patient = patient_of(draft, TODAY)
    assert patient_of(draft_of(patient), TODAY) == patient
    assert clean(patient.name) == patient.name


@pytest.mark.parametrize(
    "patient",
    [ANA, BEN, EVA, Patient(), Patient(name="X", allergies=("sulfa", "latex"), allergies_asked=True)],
    ids=["ana", "ben", "eva", "empty", "two"],
)
def test_form_and_record_agree(patient: Patient) -> None:
    """Opening the form and saving it unchanged changes nothing; 'not asked' stays apart from 'none known'."""
    assert patient_of(draft_of(patient), TODAY) == patient


def test_allergies_are_listed_once_each() -> None:
    """The same allergy twice would look like two."""
    assert allergy_list(" Sulfa, latex;sulfa\npollen ,, ") == ("Sulfa", "latex", "pollen")


def test_other_fields_are_checked() -> None:
    """Each refused field is named, so that the person sees where to mend."""
    assert problems(PatientDraft(), TODAY) == {"name": "nobody"}
    assert problems(PatientDraft(bed="3"), TODAY) == {}
    assert problems(PatientDraft(mrn="00#1"), TODAY) == {"mrn": "mrn_form"}
    assert problems(PatientDraft(name="x" * 81), TODAY) == {"name": "too_long"}
    assert problems(PatientDraft(name="x", birth_mode="age", age="121"), TODAY) == {"age": "age_too_old"}
    assert problems(PatientDraft(name="x", birth_mode="age", age="-4"), TODAY) == {"age": "age_form"}
    assert problems(PatientDraft(name="x", birth_mode="age", age="9" * 5000), TODAY) == {"age": "age_too_old"}
    assert problems(PatientDraft(name="x", birth_mode="age", age="٣"), TODAY) == {"age": "age_form"}
    assert problems(PatientDraft(name="x", birth_mode="age", birth="nonsense", age="3"), TODAY) == {}
    assert problems(PatientDraft(name="x", allergy_mode="list"), TODAY) == {"allergies": "allergies_empty"}
    assert problems(PatientDraft(name="x", allergy_mode="none"), TODAY) == {}


def test_errors_come_when_a_field_is_left(desk: Desk) -> None:
    """A field that nobody has filled yet is not called wrong; after Save all of them are."""
    form = PatientFormPresenter(desk.workspace, lambda saved: None)
    assert form.view.errors == () and form.view.is_new
    form.set("birth", "31.04.1990")
    assert form.view.error("birth") == tr("patient.birth_impossible") and not form.view.error("name")
    assert not form.save()
    assert form.view.error("name") == tr("patient.nobody") and form.view.message
    form.set("birth", "02.05.1957")
    assert form.view.birth_words == "2 May 1957, 68 years"
    form.set("birth", "2026-03-01")
    assert form.view.birth_words.endswith("13 days")
    form.set("birth", "2025-03-01")
    assert form.view.birth_words.endswith("12 months")


def test_new_patient_is_saved_and_opened(desk: Desk) -> None:
    """Save makes the visit with exactly what was typed, and tells its id."""
    told: list[str] = []
    form = PatientFormPresenter(desk.workspace, told.append)
    form.set("name", "  MORALES,  Ana ")
    form.set("birth", "02.05.1957")
    form.choose("sex", "female")
    form.set("mrn", "00124821")
    form.set("bed", "12")
    form.choose("allergy_mode", "list")
    form.set("allergies", "sulfa")
    assert form.save()
    assert told == ["visit-1"]
    assert desk.workspace.encounter is not None and desk.workspace.encounter.patient == ANA


def test_patient_data_is_corrected(desk: Desk) -> None:
    """A correction is an edit of the open visit, not a second visit."""
    desk.workspace.new_encounter(ANA)
    told: list[str] = []
    form = PatientFormPresenter(desk.workspace, told.append, encounter_id="visit-1")
    assert form.view.draft.name == ANA.name and not form.view.is_new
    form.set("bed", "7")
    assert form.save()
    assert told == ["visit-1"] and len(desk.workspace.worklist()) == 1
    assert desk.workspace.encounter is not None and desk.workspace.encounter.patient.bed == "7"


def test_same_record_number_asks(desk: Desk) -> None:
    """A second visit may be right or a mistake: only a person knows."""
    form = PatientFormPresenter(desk.workspace, lambda saved: None, same_mrn=lambda mrn, own: "Bed 12")
    form.set("mrn", "00124821")
    assert not form.save() and "Bed 12" in form.view.question
    form.answer_no()
    assert form.view.question == "" and desk.workspace.worklist() == ()
    assert not form.save()
    assert form.save(again=True) and len(desk.workspace.worklist()) == 1


def test_nothing_of_a_patient_in_a_repr(desk: Desk) -> None:
    """A view in a traceback or a log must not name a patient."""
    form = PatientFormPresenter(desk.workspace, lambda saved: None)
    form.set("name", "MORALES, Ana")
    form.set("birth", "02.05.1957")
    form.choose("allergy_mode", "list")
    form.set("allergies", "sulfa")
    shown = repr(form.view)
    assert not any(word in shown for word in ("MORALES", "1957", "sulfa"))


def test_cancel_forgets(desk: Desk) -> None:
    """What was typed into a form that was cancelled is gone."""
    told: list[str] = []
    form = PatientFormPresenter(desk.workspace, told.append)
    form.set("name", "MORALES, Ana")
    form.cancel()
    assert told == [""] and desk.workspace.worklist() == ()
