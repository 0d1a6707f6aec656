"""What all edits share: the time as text, the state that follows from the content, the refusal after a signature."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from edge.clinical.encounter.model import Encounter, EncounterState, EyeExam, Mark
from edge.errors import InputError

Now = datetime | str


def utc_text(now: Now) -> str:
    """A time as UTC ISO 8601 with Z. Errors: InputError for a text that is no time, or a time without its zone."""
    try:
        time = datetime.fromisoformat(now) if isinstance(now, str) else now
    except ValueError:
        raise InputError("not an ISO 8601 time", where="now") from None
    if time.tzinfo is None:
        raise InputError("a time without its zone", where="now", mend="give the time in UTC")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def state_of(enc: Encounter) -> EncounterState:
    """The state follows from the content: signed, else a note, else anything found or said, else new."""
    if enc.signature is not None:
        return EncounterState.SIGNED
    if enc.note is not None:
        return EncounterState.DRAFT
    if enc.findings or enc.history or enc.vitals or enc.visit.text or enc.eye != EyeExam():
        return EncounterState.EXAM
    return EncounterState.NEW


def edited(enc: Encounter, now: Now, **changes: Any) -> Encounter:
    """The encounter after an edit. Errors: InputError when it is signed."""
    if enc.signature is not None:
        raise InputError("a signed encounter cannot be changed", mend="start a new encounter for what came later")
    made = replace(enc, **changes, revision=enc.revision + 1, updated_at=utc_text(now))
    return replace(made, state=state_of(made))


def marked(marks: tuple[Mark, ...], index: int) -> tuple[Mark, ...]:
    """The marks with one of them confirmed. Errors: InputError when there is none of that index."""
    if not 0 <= index < len(marks):
        raise InputError("there is no such mark")
    return tuple(replace(mark, confirmed=True) if i == index else mark for i, mark in enumerate(marks))
