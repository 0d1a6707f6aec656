"""What the worklist shows of an encounter, and the words for a patient's age and record number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from edge.clinical.encounter.model import Encounter, Patient
from edge.errors import InputError

SHOWN_DIGITS = 4


@dataclass(frozen=True)
class Summary:
    """One row. age: as display_age; state: of EncounterState; red_flags: how many rules fired."""

    id: str
    name: str = field(repr=False)
    age: str = field(repr=False)
    sex: str = field(repr=False)
    masked_mrn: str = field(repr=False)
    bed: str = field(repr=False)
    state: str
    updated_at: str
    red_flags: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Summary:
        """Errors: InputError for other keys or kinds, without their values."""
        kinds = {name: int if name == "red_flags" else str for name in Summary.__dataclass_fields__}
        if not isinstance(value, Mapping) or set(value) != set(kinds):
            raise InputError("a worklist row has unknown keys", mend="update edge")
        if any(not isinstance(value[name], kind) or isinstance(value[name], bool) for name, kind in kinds.items()):
            raise InputError("a worklist row has a value of the wrong kind", mend="restore it from a backup")
        return Summary(**value)


def summary(enc: Encounter, flags: Sequence[object] | None = None) -> Summary:
    """The row of an encounter. flags: its red flags, where they are known already; else they are looked for."""
    if flags is None:
        from edge.clinical.encounter.flags import flags as find

        flags = find(enc)
    who = enc.patient
    return Summary(
        enc.id,
        who.name,
        display_age(who, encounter_day(enc)),
        who.sex,
        masked_mrn(who.mrn),
        who.bed,
        str(enc.state),
        enc.updated_at,
        len(flags),
    )


def masked_mrn(mrn: str) -> str:
    """'••4821': the last four characters behind two bullets (U+2022); at most half of a short number; '' for none."""
    shown = "".join(mrn.split())
    if not shown:
        return ""
    last = min(SHOWN_DIGITS, len(shown) // 2)
    return "••" + (shown[-last:] if last else "")


def age_years(patient: Patient, on: date) -> int | None:
    """Whole years on a day, from the birth date, else as recorded; None when neither is known or the date is wrong."""
    born = _birth(patient)
    if born is None:
        return patient.age_years
    if born > on:
        return None
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def age_parts(patient: Patient, on: date) -> tuple[int, str] | None:
    """(number, 'years', 'months' or 'days') on a day: months below two years, days below one month; None: not known."""
    years, born = age_years(patient, on), _birth(patient)
    if years is None or years < 0:
        return None
    if born is None or years >= 2:
        return years, "years"
    months = (on.year - born.year) * 12 + on.month - born.month - (on.day < born.day)
    return (months, "months") if months else ((on - born).days, "days")


def display_age(patient: Patient, on: date) -> str:
    """'47', below two years '14 mo', below one month '9 d'; '' when it is not known."""
    parts = age_parts(patient, on)
    return f"{parts[0]}{ {'years': '', 'months': ' mo', 'days': ' d'}[parts[1]] }" if parts else ""


def encounter_day(enc: Encounter) -> date:
    """The day of the encounter, for ages."""
    return _day(enc.created_at or enc.updated_at)


def _day(text: str) -> date:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return datetime(1, 1, 1, tzinfo=UTC).date()


def _birth(patient: Patient) -> date | None:
    try:
        return date.fromisoformat(patient.birth_date) if patient.birth_date else None
    except ValueError:
        return None
