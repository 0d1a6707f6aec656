"""Edits of what the model drafted: the note's lines and the differential's rows. See edits.py for the rules of all.

A new draft never takes away what a person wrote: lines that the clinician typed or edited, pins and dismissals stay.
Nothing enters accepted: a line of the model is open and its marks are unconfirmed, whatever came with it.
"""

from __future__ import annotations

from dataclasses import replace

from edge.clinical.encounter.checks import carried_marks, line_marks
from edge.clinical.encounter.edit_base import Now, edited, marked
from edge.clinical.encounter.model import (
    Differential,
    DifferentialRow,
    Encounter,
    Eye,
    LineStatus,
    Note,
    NoteLine,
    Origin,
)
from edge.clinical.sections import SECTIONS
from edge.errors import InputError

_ORDER = {section: index for index, section in enumerate(SECTIONS)}


def set_note(enc: Encounter, note: Note, now: Now) -> Encounter:
    """A new draft. Errors: an unknown section, evidence outside of the transcript."""
    kept = [line for line in (enc.note.lines if enc.note else ()) if _is_persons(line)]
    if enc.note is not None and enc.note.transcript_sha256 != note.transcript_sha256:
        kept = [replace(line, evidence=()) for line in kept]  # its places are of another text
    told = {(line.section, text) for line in kept for text in (line.text, line.draft_text)}
    taken = {line.id for line in kept}
    fresh = []
    for line in note.lines:
        _check(line, len(enc.visit.text))
        if (line.section, line.text) in told:
            continue  # a person has made something of this very line already
        line = replace(line, id=_free_id(line.id, taken))
        taken.add(line.id)
        fresh.append(line if line.origin is Origin.CLINICIAN else _opened(line))
    lines = sorted([*fresh, *kept], key=lambda line: _ORDER[line.section])
    return edited(enc, now, note=replace(note, lines=tuple(lines)))


def _is_persons(line: NoteLine) -> bool:
    """Whether a person wrote these words: their own line, or one of the model that they changed, removed or not."""
    return line.origin is Origin.CLINICIAN or line.status is LineStatus.EDITED or line.text != line.draft_text


def _opened(line: NoteLine) -> NoteLine:
    marks = line_marks(line.text, line.section) if line.origin is Origin.MODEL else ()
    return replace(line, draft_text=line.text, status=LineStatus.OPEN, marks=marks)


def _check(line: NoteLine, length: int) -> None:
    if line.section not in SECTIONS:
        raise InputError("a line of an unknown section", mend=f"use one of: {', '.join(SECTIONS)}")
    if not line.id or not line.text.strip():
        raise InputError("a line needs an id and words")
    if any(not 0 <= place.start <= place.end <= length for place in line.evidence):
        raise InputError("the evidence of a line lies outside of the transcript", where=line.id)


def _free_id(id: str, taken: set[str]) -> str:
    number, made = 1, id
    while made in taken:
        number += 1
        made = f"{id}-{number}"
    return made


def _line(enc: Encounter, line_id: str) -> NoteLine:
    found = next((line for line in enc.note.lines if line.id == line_id), None) if enc.note else None
    if found is None:
        raise InputError("there is no such line", where=line_id)
    return found


def _with_line(enc: Encounter, line: NoteLine, now: Now) -> Encounter:
    note = enc.note or Note()
    lines = tuple(line if one.id == line.id else one for one in note.lines)
    return edited(enc, now, note=replace(note, lines=lines))


def edit_line(enc: Encounter, line_id: str, text: str, now: Now) -> Encounter:
    """Change a line's words. Words that the clinician typed are confirmed with it, those of the draft keep their state.

    Back at the draft's own words the line is open again. Errors: no words.
    """
    old = _line(enc, line_id)
    words = " ".join(text.split())
    if not words:
        raise InputError("a line needs words", where=line_id, mend="remove the line instead")
    marks = carried_marks(old.text, old.marks, words, line_marks(words, old.section), typed=True)
    if old.origin is Origin.CLINICIAN:
        return _with_line(enc, replace(old, text=words, marks=marks, status=LineStatus.KEPT), now)
    status = LineStatus.EDITED
    if words == old.draft_text:
        status = LineStatus.OPEN if old.status is LineStatus.EDITED else old.status
    return _with_line(enc, replace(old, text=words, marks=marks, status=status), now)


def set_line_status(enc: Encounter, line_id: str, status: LineStatus, now: Now) -> Encounter:
    """Keep, remove or reopen a line; a line whose words were changed is EDITED when it is kept."""
    line = _line(enc, line_id)
    changed = line.origin is not Origin.CLINICIAN and line.text != line.draft_text
    if status is LineStatus.EDITED and not changed:
        raise InputError("this line was not edited", where=line_id, mend="keep it, or change its words")
    status = LineStatus.EDITED if status is LineStatus.KEPT and changed else status
    return _with_line(enc, replace(line, status=status), now)


def confirm_mark(enc: Encounter, line_id: str, index: int, now: Now) -> Encounter:
    """Confirm one mark of a line."""
    line = _line(enc, line_id)
    return _with_line(enc, replace(line, marks=marked(line.marks, index)), now)


def add_line(enc: Encounter, section: str, text: str, id: str, now: Now) -> Encounter:
    """A line that the clinician types: kept, its marks confirmed. Without a note one begins with it."""
    words = " ".join(text.split())
    marks = tuple(replace(mark, confirmed=True) for mark in line_marks(words, section))
    line = NoteLine(id, section, words, "", (), Origin.CLINICIAN, LineStatus.KEPT, marks)
    _check(line, 0)
    note = enc.note or Note()
    if any(one.id == id for one in note.lines):
        raise InputError("this id is taken by another line", where=id)
    lines = sorted([*note.lines, line], key=lambda one: _ORDER[one.section])
    return edited(enc, now, note=replace(note, lines=tuple(lines)))


# ---- the differential -------------------------------------------------------------------------------------


def set_differential(enc: Encounter, differential: Differential, now: Now) -> Encounter:
    """A new ranking. Pins and dismissals stay by name and eye; one that is no longer ranked stays at the end."""
    decided = {_key(row): row for row in (enc.differential.rows if enc.differential else ()) if _decided(row)}
    rows: dict[tuple[str, Eye | None], DifferentialRow] = {}
    for row in differential.rows:
        old = decided.get(_key(row))
        made = replace(row, pinned=old.pinned if old else False, dismissed=old.dismissed if old else "")
        rows.setdefault(_key(row), made)
    for key, row in decided.items():
        # Its score and basis were of another case.
        rows.setdefault(key, replace(row, score=0.0, supports=(), against=(), missing=()))
    return edited(enc, now, differential=replace(differential, rows=tuple(rows.values())))


def pin_row(enc: Encounter, name: str, eye: Eye | None, pinned: bool, now: Now) -> Encounter:
    """Pin a row, or take the pin off; a pinned row is not dismissed."""
    row = _row(enc, name, eye)
    return _with_row(enc, replace(row, pinned=pinned, dismissed="" if pinned else row.dismissed), now)


def dismiss_row(enc: Encounter, name: str, eye: Eye | None, reason: str, now: Now) -> Encounter:
    """Dismiss a row with the clinician's reason; '' brings it back. Errors: a reason of spaces only."""
    words = " ".join(reason.split())
    if reason and not words:
        raise InputError("a dismissal needs a reason", mend="write or choose one")
    row = _row(enc, name, eye)
    return _with_row(enc, replace(row, dismissed=words, pinned=row.pinned and not words), now)


def _key(row: DifferentialRow) -> tuple[str, Eye | None]:
    return row.name, row.eye


def _decided(row: DifferentialRow) -> bool:
    return row.pinned or bool(row.dismissed)


def _row(enc: Encounter, name: str, eye: Eye | None) -> DifferentialRow:
    rows = enc.differential.rows if enc.differential else ()
    found = next((row for row in rows if _key(row) == (name, eye)), None)
    if found is None:
        raise InputError("there is no such row in the differential", mend="make the list again")
    return found


def _with_row(enc: Encounter, row: DifferentialRow, now: Now) -> Encounter:
    differential = enc.differential or Differential()
    rows = tuple(row if _key(one) == _key(row) else one for one in differential.rows)
    return edited(enc, now, differential=replace(differential, rows=rows))
