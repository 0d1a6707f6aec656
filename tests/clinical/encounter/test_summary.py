"""The worklist's row, ages and masked numbers."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.encounter.model import Encounter, Patient
from edge.clinical.encounter.summary import (
    Summary,
    age_years,
    display_age,
    encounter_day,
    masked_mrn,
    summary,
)
from edge.errors import InputError
from tests.clinical.encounter.made import NOW, angle_closure, new


@given(st.text(max_size=30))
def test_a_number_is_masked(mrn: str) -> None:
    """The worklist shows a whole record number to whoever looks over the shoulder."""
    told, shown = masked_mrn(mrn), "".join(mrn.split())
    assert bool(told) is bool(shown)
    if shown:
        visible = told.removeprefix("••")
        assert shown.endswith(visible)
        assert len(visible) <= min(4, len(shown) / 2)


def test_masked() -> None:
    """The last digits, by which a patient is told from another, are not shown."""
    assert masked_mrn("00944821") == "••4821"
    assert masked_mrn("1") == "••"


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(0, 110))
def test_a_birthday(born: date, years: int) -> None:
    """A patient is a year too old the day before the birthday, or too young on it."""
    patient = Patient(birth_date=born.isoformat())
    try:
        day = born.replace(year=born.year + years)
    except ValueError:
        return  # the 29th of February
    assert age_years(patient, day) == years
    if years:
        assert age_years(patient, day - timedelta(days=1)) == years - 1


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        (Patient(birth_date="1964-05-06"), "61"),
        (Patient(birth_date="2026-02-25"), "5 d"),
        (Patient(birth_date="2025-01-01"), "14 mo"),
        (Patient(birth_date="2024-03-02"), "2"),
        (Patient(age_years=47), "47"),
        (Patient(age_years=0), "0"),
        (Patient(), ""),
        (Patient(birth_date="2030-01-01"), ""),
        (Patient(birth_date="soon", age_years=9), "9"),
    ],
)
def test_shown_age(patient: Patient, expected: str) -> None:
    """An infant is "0", or an unknown age a number."""
    assert display_age(patient, date(2026, 3, 2)) == expected


def test_row() -> None:
    """The worklist shows another patient's words, or loses them on the way to the vault."""
    row = summary(angle_closure())
    assert row == Summary("e1", "Ida Test", "61", "female", "••4821", "B4", "exam", NOW, 2)
    assert Summary.from_json(row.to_json()) == row
    assert summary(new(), ("one",)).red_flags == 1
    assert "Ida" not in repr(row)
    assert encounter_day(new()) == date(2026, 3, 2)
    assert summary(Encounter("e")).age == ""
    for wrong in ({}, row.to_json() | {"more": 1}, row.to_json() | {"name": 1}, row.to_json() | {"red_flags": True}):
        with pytest.raises(InputError):
            Summary.from_json(wrong)
