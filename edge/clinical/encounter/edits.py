"""Every edit of an encounter as a pure function: the encounter before, what a person did, the time, the one after.

Each edit counts the revision up and sets `updated_at`; a signed encounter refuses all of them. `now` is an aware
datetime or an ISO 8601 string with its zone. Errors are InputError and carry no word of the patient. Edits of the note
and of the differential are in edits_draft.py and are exported here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from datetime import date

from edge.clinical.encounter.acuity import from_logmar, parse_va
from edge.clinical.encounter.checks import blocking
from edge.clinical.encounter.codec import content_sha256
from edge.clinical.encounter.edit_base import Now, edited, marked, state_of, utc_text
from edge.clinical.encounter.edits_draft import (
    add_line,
    confirm_mark,
    dismiss_row,
    edit_line,
    pin_row,
    set_differential,
    set_line_status,
    set_note,
)
from edge.clinical.encounter.eye_fields import (
    IOP_LEAST_MMHG,
    IOP_METHODS,
    IOP_MOST_MMHG,
    PUPIL_LEAST_MM,
    PUPIL_MOST_MM,
    PUPIL_REACTIONS,
    VA_CORRECTIONS,
    eye_fields,
)
from edge.clinical.encounter.model import (
    Encounter,
    Eye,
    EyeExam,
    EyeSide,
    FoundItem,
    Mark,
    Origin,
    Patient,
    Presence,
    Signature,
    VisitText,
    Vital,
)
from edge.clinical.encounter.text_diff import same_ends
from edge.clinical.encounter.visit_marks import visit_marks
from edge.clinical.encounter.vitals import VITALS
from edge.errors import InputError

__all__ = [
    "add_line",
    "as_edit",
    "clear_vital",
    "confirm_item",
    "confirm_mark",
    "confirm_visit_mark",
    "copy_eye",
    "dismiss_row",
    "edit_line",
    "pin_row",
    "remove_finding",
    "remove_history",
    "set_differential",
    "set_eye_field",
    "set_finding",
    "set_history",
    "set_line_status",
    "set_note",
    "set_patient",
    "set_visit",
    "set_vital",
    "sign",
    "state_of",
    "verify_signature",
]

OLDEST_YEARS = 130
SEXES = ("", "female", "male", "other")
_WORD_FIELDS = {"va_correction": VA_CORRECTIONS, "iop_method": IOP_METHODS, "pupil_reaction": PUPIL_REACTIONS}
_NUMBER_FIELDS = {"iop_mmhg": (IOP_LEAST_MMHG, IOP_MOST_MMHG), "pupil_mm": (PUPIL_LEAST_MM, PUPIL_MOST_MM)}


def set_patient(enc: Encounter, patient: Patient, now: Now) -> Encounter:
    """Who it is. Errors: a birth date that is no ISO date, an age or a sex that the model does not know."""
    try:
        good_date = not patient.birth_date or date.fromisoformat(patient.birth_date).isoformat() == patient.birth_date
    except ValueError:
        good_date = False
    if not good_date:
        raise InputError("not a date", where="birth_date", mend="write it as year-month-day")
    if patient.age_years is not None and not 0 <= patient.age_years <= OLDEST_YEARS:
        raise InputError(f"the age is outside 0 to {OLDEST_YEARS} years", where="age_years")
    if patient.sex not in SEXES:
        raise InputError("not one of the choices", where="sex", mend="use: female, male, other, or nothing")
    return edited(enc, now, patient=patient)


# ---- findings, history, vital signs -------------------------------------------------------------------------


def set_finding(enc: Encounter, item: FoundItem, now: Now) -> Encounter:
    """Add a finding, or change the one with its id. Its eye cannot change; what speech found enters unconfirmed."""
    return edited(enc, now, findings=_with_item(enc, enc.findings, enc.history, item, now))


def remove_finding(enc: Encounter, id: str, now: Now) -> Encounter:
    """Take a finding out."""
    return edited(enc, now, findings=_without_item(enc.findings, id))


def set_history(enc: Encounter, item: FoundItem, now: Now) -> Encounter:
    """Add or change an item of the history, as set_finding."""
    return edited(enc, now, history=_with_item(enc, enc.history, enc.findings, item, now))


def remove_history(enc: Encounter, id: str, now: Now) -> Encounter:
    """Take an item of the history out."""
    return edited(enc, now, history=_without_item(enc.history, id))


def _with_item(
    enc: Encounter, items: tuple[FoundItem, ...], others: tuple[FoundItem, ...], item: FoundItem, now: Now
) -> tuple[FoundItem, ...]:
    # A list's separator and a line break in a name would make two findings of one.
    name = " ".join(item.name.replace(";", ",").split()).strip(" .,")
    if not item.id or not name:
        raise InputError("a finding needs an id and a name", mend="write what was found")
    if any(other.id == item.id for other in others):
        raise InputError("this id is taken by another item", where=item.id)
    old = next((one for one in items if one.id == item.id), None)
    if old is not None and old.eye is not item.eye:
        raise InputError("the eye of a finding cannot change", where=item.id, mend="add a finding for the other eye")
    heard = item.origin is Origin.SPEECH and (old is None or old.origin is not Origin.SPEECH)
    item = replace(item, name=name, confirmed=item.confirmed and not heard, at=item.at or utc_text(now))
    return tuple(item if one.id == item.id else one for one in items) if old else (*items, item)


def _without_item(items: tuple[FoundItem, ...], id: str) -> tuple[FoundItem, ...]:
    if all(one.id != id for one in items):
        raise InputError("there is no such item", where=id)
    return tuple(one for one in items if one.id != id)


def set_vital(enc: Encounter, vital: Vital, now: Now) -> Encounter:
    """Add or change a vital sign. Errors: a name or a value that none can have."""
    spec = VITALS.get(vital.name)
    if spec is None:
        raise InputError("there is no such vital sign", mend=f"use one of: {', '.join(VITALS)}")
    value = _number(vital.value, spec.least, spec.most, vital.name, spec.kept_decimals)
    old = next((one for one in enc.vitals if one.name == vital.name), None)
    heard = vital.origin is Origin.SPEECH and (old is None or old.origin is not Origin.SPEECH or old.value != value)
    vital = replace(vital, value=value, confirmed=vital.confirmed and not heard, at=vital.at or utc_text(now))
    kept = tuple(vital if one.name == vital.name else one for one in enc.vitals)
    return edited(enc, now, vitals=kept if old else (*enc.vitals, vital))


def clear_vital(enc: Encounter, name: str, now: Now) -> Encounter:
    """Take a vital sign out."""
    if all(one.name != name for one in enc.vitals):
        raise InputError("this vital sign is not measured", where=name if name in VITALS else "")
    return edited(enc, now, vitals=tuple(one for one in enc.vitals if one.name != name))


def confirm_item(enc: Encounter, kind: str, id: str, now: Now) -> Encounter:
    """Confirm what speech made. kind: finding, history or vital (then id is its name)."""
    if kind == "vital":
        if all(one.name != id for one in enc.vitals):
            raise InputError("this vital sign is not measured")
        vitals = tuple(replace(one, confirmed=True) if one.name == id else one for one in enc.vitals)
        return edited(enc, now, vitals=vitals)
    if kind not in ("finding", "history"):
        raise InputError("only a finding, an item of the history or a vital sign can be confirmed")
    items = enc.findings if kind == "finding" else enc.history
    if all(one.id != id for one in items):
        raise InputError("there is no such item", where=id)
    done = tuple(replace(one, confirmed=True) if one.id == id else one for one in items)
    return edited(enc, now, findings=done) if kind == "finding" else edited(enc, now, history=done)


def _number(value: object, least: float, most: float, where: str, decimals: int = 1) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError("this is no number", where=where)
    if not least <= value <= most:
        raise InputError(f"the value is outside {least:g} to {most:g}", where=where, mend="check what was typed")
    return round(float(value), decimals) + 0.0


# ---- the eyes ---------------------------------------------------------------------------------------------


def set_eye_field(enc: Encounter, eye: Eye, field: str, value: object, now: Now) -> Encounter:
    """Set one field of one eye. field: a field of EyeSide, or a structure as 'slit_lamp.cornea'; '' or None clears.

    `va` and `va_logmar` follow each other. Errors: another field, a value it cannot have, both eyes at once.
    """
    side = replace(_side(enc, eye), **_eye_values(_side(enc, eye), field, value))  # type: ignore[arg-type]
    return _with_side(enc, eye, side, now)


def copy_eye(enc: Encounter, source: Eye, target: Eye, now: Now) -> Encounter:
    """The slit lamp's and fundus' words of one eye for the other, where the source was examined.

    Numbers, pupils and RAPD are never copied: nobody measured them there.
    """
    if source is target:
        raise InputError("an eye cannot be copied to itself")
    given, side = _side(enc, source), _side(enc, target)
    made = replace(side, slit_lamp={**side.slit_lamp, **given.slit_lamp}, fundus={**side.fundus, **given.fundus})
    return _with_side(enc, target, made, now)


def _side(enc: Encounter, eye: Eye) -> EyeSide:
    if eye not in (Eye.OD, Eye.OS):
        raise InputError("one eye at a time", mend="give OD or OS")
    return enc.eye.od if eye is Eye.OD else enc.eye.os


def _with_side(enc: Encounter, eye: Eye, side: EyeSide, now: Now) -> Encounter:
    made = EyeExam(side, enc.eye.os) if eye is Eye.OD else EyeExam(enc.eye.od, side)
    return edited(enc, now, eye=made)


def _eye_values(side: EyeSide, field: str, value: object) -> dict[str, object]:
    if field in eye_fields():
        part, _, structure = field.partition(".")
        words = dict(getattr(side, part))
        words.pop(structure, None)
        if value is not None and not isinstance(value, str):
            raise InputError("a structure of the eye takes words", where=field)
        text = "; ".join(kept for piece in (value or "").split(";") if (kept := " ".join(piece.split()).strip(" .")))
        return {part: {**words, structure: text} if text else words}
    if field == "va":
        if value is not None and not isinstance(value, str):
            raise InputError("a visual acuity is written as words", where=field)
        if not (value or "").strip():
            return {"va": "", "va_logmar": None}
        acuity = parse_va(value or "")
        return {"va": acuity.text, "va_logmar": acuity.logmar}
    if field == "va_logmar":
        if value is None:
            return {"va": "", "va_logmar": None}
        acuity = parse_va(f"logMAR {_number(value, -0.6, 3.0, field, 2)}")
        return {"va": from_logmar(acuity.logmar or 0.0), "va_logmar": acuity.logmar}
    if field in _NUMBER_FIELDS:
        return {field: None if value is None else _number(value, *_NUMBER_FIELDS[field], field)}
    if field in _WORD_FIELDS:
        if value not in ("", None, *_WORD_FIELDS[field]):
            raise InputError("not one of the choices", where=field, mend=f"use: {', '.join(_WORD_FIELDS[field])}")
        return {field: value or ""}
    if field == "rapd":
        if value not in tuple(Presence):
            raise InputError("not one of the choices", where=field, mend="use: present, absent, unknown")
        return {field: Presence(str(value))}
    raise InputError("there is no such field of the eye")


# ---- the visit's words ------------------------------------------------------------------------------------


def set_visit(enc: Encounter, visit: VisitText, now: Now) -> Encounter:
    """The transcript. A text with speech in it has all its numbers, drugs and negations marked.

    Confirmed are: marks that were, where the text before and behind the change is the same; what stood there typed
    before speech began; and words that came without a mark of their own into a spoken text, which a person typed. So
    whoever adds speech gives its marks with it (checks.speech_marks). The note's links stay those of the text that it
    was drafted from (transcript_sha256). Errors: a mark outside of the text.
    """
    if visit.origin is not Origin.SPEECH:
        return edited(enc, now, visit=replace(visit, marks=()))
    found = list(visit_marks(visit.text))
    starts = [mark.start for mark in found]
    for mark in visit.marks:  # also what the recogniser itself was unsure of
        if not 0 <= mark.start < mark.end <= len(visit.text):
            raise InputError("a mark lies outside of the text", where="visit")
        place = bisect_left(starts, mark.end)
        if not place or found[place - 1].end <= mark.start:
            starts.insert(place, mark.start)
            found.insert(place, mark)
    marks = _with_states(enc.visit, visit, found)
    return edited(enc, now, visit=replace(visit, marks=marks))


def _with_states(old: VisitText, new: VisitText, found: list[Mark]) -> tuple[Mark, ...]:
    """The marks of a spoken text with what is confirmed of them; see set_visit."""
    before, after = same_ends(old.text, new.text)
    moved, behind = len(new.text) - len(old.text), len(new.text) - after
    states = {}
    for mark in old.marks:
        if mark.end <= before or mark.start >= len(old.text) - after:
            shift = 0 if mark.end <= before else moved
            states[(mark.kind, mark.start + shift, mark.end + shift)] = mark.confirmed
    was_spoken = old.origin is Origin.SPEECH
    typed = was_spoken and not any(before < mark.end and mark.start < behind for mark in new.marks)
    marks = []
    for mark in found:
        stood = mark.end <= before or mark.start >= behind
        state = states.get((mark.kind, mark.start, mark.end), not was_spoken if stood else typed)
        marks.append(mark if mark.confirmed is state else replace(mark, confirmed=state))
    return tuple(marks)


def confirm_visit_mark(enc: Encounter, index: int, now: Now) -> Encounter:
    """Confirm one mark of the transcript; there is no way to confirm all at once."""
    return edited(enc, now, visit=replace(enc.visit, marks=marked(enc.visit.marks, index)))


# ---- the end ----------------------------------------------------------------------------------------------


def sign(enc: Encounter, by: str, now: Now, digests: tuple[str, ...] = ()) -> Encounter:
    """Close it for ever. digests: of the bundles whose text it holds. Errors: something still blocks; no signer."""
    signer = " ".join(by.split())
    if not signer:
        raise InputError("a signature needs a name", mend="enter who signs")
    if enc.signature is None and (waiting := len(blocking(enc))):
        raise InputError(f"{waiting} open items keep the encounter from being signed", mend="decide each of them")
    at = utc_text(now)
    closed = edited(enc, now, signature=Signature(signer, at, "", tuple(digests)))
    return replace(closed, signature=Signature(signer, at, content_sha256(closed), tuple(digests)))


def verify_signature(enc: Encounter) -> bool:
    """Whether it is signed and holds exactly what was signed."""
    if enc.signature is None or enc.state is not state_of(enc):
        return False
    return enc.signature.content_sha256 == content_sha256(enc)


def as_edit(restored: Encounter, current: Encounter, now: Now) -> Encounter:
    """What undo or redo brought back, as the next revision after `current`: a revision never stands for two states."""
    if current.signature is not None:
        raise InputError("a signed encounter cannot be changed")
    return replace(restored, revision=max(restored.revision, current.revision) + 1, updated_at=utc_text(now))
