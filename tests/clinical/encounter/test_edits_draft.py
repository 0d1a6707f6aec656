"""Edits of drafts: nothing enters accepted, nothing that a person wrote or decided is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.encounter import edits
from edge.clinical.encounter.checks import open_marks
from edge.clinical.encounter.model import (
    Differential,
    DifferentialRow,
    Encounter,
    Eye,
    LineStatus,
    Note,
    NoteLine,
    Origin,
    Place,
)
from edge.errors import InputError
from tests.clinical.encounter.made import NOW, drafted, line, marks_of, new, noted, notes, ranked, rankings, with_note


def lines_of(enc: Encounter) -> tuple[NoteLine, ...]:
    """The note's lines."""
    return enc.note.lines if enc.note else ()


@given(noted(), notes)
@settings(max_examples=150, deadline=None)
def test_a_redraft_loses_nothing_of_a_person(enc: Encounter, note: Note) -> None:
    """A second draft overwrites a line that the clinician typed or edited."""
    persons = [one for one in lines_of(enc) if one.origin is Origin.CLINICIAN or one.status is LineStatus.EDITED]
    try:
        after = edits.set_note(enc, note, NOW)
    except InputError:
        return
    kept = {one.id: one for one in lines_of(after)}
    for one in persons:
        assert (kept[one.id].text, kept[one.id].status, kept[one.id].marks) == (one.text, one.status, one.marks)


@given(noted(), notes)
@settings(max_examples=100, deadline=None)
def test_nothing_enters_accepted(enc: Encounter, note: Note) -> None:
    """A drafted line is kept, or its number confirmed, before anybody read it."""
    sly = replace(note, lines=tuple(replace(one, status=LineStatus.KEPT) for one in note.lines))
    before = {one.id for one in lines_of(enc)}
    try:
        after = edits.set_note(enc, sly, NOW)
    except InputError:
        return
    fresh = [one for one in lines_of(after) if one.id not in before and one.origin is not Origin.CLINICIAN]
    assert all(one.status is LineStatus.OPEN for one in fresh)
    assert not any(mark.confirmed for one in fresh for mark in one.marks)


@given(ranked(), rankings)
@settings(max_examples=150, deadline=None)
def test_decisions_survive_a_new_ranking(enc: Encounter, ranking: Differential) -> None:
    """What the clinician pinned or dismissed comes back undecided, or the model pins a row by itself."""
    old = {(row.name, row.eye): row for row in (enc.differential.rows if enc.differential else ())}
    after = edits.set_differential(enc, ranking, NOW).differential
    assert after is not None
    new_rows = {(row.name, row.eye): row for row in after.rows}
    for key, row in old.items():
        if row.pinned or row.dismissed:
            assert (new_rows[key].pinned, new_rows[key].dismissed) == (row.pinned, row.dismissed)
    decided = {key for key, row in old.items() if row.pinned or row.dismissed}
    assert all(key in decided for key, row in new_rows.items() if row.pinned or row.dismissed)
    told = list(dict.fromkeys((row.name, row.eye) for row in ranking.rows))
    assert list(new_rows)[: len(told)] == told


def test_a_line_that_a_person_made_is_not_drafted_again() -> None:
    """The draft's own words stand beside the clinician's version of them; or two lines share an id."""
    enc = with_note(line("a", "Takes metoprolol 25 mg."), line("b", "Eye pain."))
    enc = edits.edit_line(enc, "a", "Takes metoprolol 50 mg.", NOW)
    enc = edits.add_line(enc, "PLAN", "Laser iridotomy.", "own", NOW)
    again = edits.set_note(enc, drafted(line("own", "Eye pain."), line("x", "Takes metoprolol 25 mg.")), NOW)
    assert [(one.id, one.text) for one in lines_of(again)] == [
        ("own-2", "Eye pain."),
        ("a", "Takes metoprolol 50 mg."),
        ("own", "Laser iridotomy."),
    ]


def test_links_into_another_transcript_are_dropped() -> None:
    """A kept line points at words of a transcript that it was not drafted from."""
    enc = edits.edit_line(with_note(line("a", "Eye pain.")), "a", "Sudden eye pain.", NOW)
    assert lines_of(edits.set_note(enc, drafted(), NOW))[0].evidence == (Place(0, 5),)
    assert lines_of(edits.set_note(enc, drafted(transcript="other"), NOW))[0].evidence == ()


def test_an_edit_of_a_line_moves_its_marks() -> None:
    """What the clinician typed asks for a tap, or the model's number passes since another word was changed."""
    text = "Takes metoprolol 25 mg for 3 years."
    enc = with_note(line("a", text))
    assert marks_of(text, open_marks(lines_of(enc)[0]), "number") == ["25 mg", "3 years"]
    other = edits.edit_line(enc, "a", "She takes metoprolol 25 mg for 3 years.", NOW)
    assert len(open_marks(lines_of(other)[0])) == 3
    dose = lines_of(edits.edit_line(enc, "a", "Takes metoprolol 50 mg for 3 years.", NOW))[0]
    assert dose.status is LineStatus.EDITED
    assert dose.draft_text == text
    assert marks_of(dose.text, open_marks(dose), "number") == ["3 years"]
    assert marks_of(dose.text, open_marks(dose), "drug") == ["metoprolol"]
    drug = lines_of(edits.edit_line(enc, "a", "Takes bisoprolol 25 mg for 3 years.", NOW))[0]
    assert not marks_of(drug.text, open_marks(drug), "drug")
    confirmed = enc
    for index in range(len(lines_of(enc)[0].marks)):
        confirmed = edits.confirm_mark(confirmed, "a", index, NOW)
    longer = edits.edit_line(confirmed, "a", text + " No fever.", NOW)
    assert open_marks(lines_of(longer)[0]) == ()
    assert all(mark.confirmed for mark in lines_of(longer)[0].marks)


def test_back_to_the_draft_is_open_again() -> None:
    """Undoing an edit by hand leaves the model's words accepted."""
    enc = edits.edit_line(with_note(line("a", "Eye pain.")), "a", "Sudden eye pain.", NOW)
    assert lines_of(enc)[0].status is LineStatus.EDITED
    assert lines_of(edits.edit_line(enc, "a", "Eye pain.", NOW))[0].status is LineStatus.OPEN
    kept = edits.set_line_status(with_note(line("a", "Eye pain.")), "a", LineStatus.KEPT, NOW)
    assert lines_of(edits.edit_line(kept, "a", " Eye pain. ", NOW))[0].status is LineStatus.KEPT
    removed = edits.set_line_status(enc, "a", LineStatus.REMOVED, NOW)
    assert lines_of(edits.set_line_status(removed, "a", LineStatus.KEPT, NOW))[0].status is LineStatus.EDITED


def test_lines_by_hand() -> None:
    """A line that the clinician typed needs a tap on their own numbers, or is lost in another section."""
    enc = edits.add_line(new(), "PLAN", " Timolol 0.5 % twice  daily. ", "p", NOW)
    enc = edits.add_line(enc, "CC", "Eye pain.", "c", NOW)
    assert [one.section for one in lines_of(enc)] == ["CC", "PLAN"]
    own = lines_of(enc)[1]
    assert (own.text, own.draft_text, own.status) == ("Timolol 0.5 % twice daily.", "", LineStatus.KEPT)
    assert own.marks
    assert all(mark.confirmed for mark in own.marks)
    edited = lines_of(edits.edit_line(enc, "p", "Timolol 0.25 %.", NOW))[1]
    assert edited.status is LineStatus.KEPT
    assert all(mark.confirmed for mark in edited.marks)
    for section, text, id in (("PLAN", " ", "x"), ("WHERE", "Rest.", "x"), ("PLAN", "Rest.", "p"), ("PLAN", "R", "")):
        with pytest.raises(InputError):
            edits.add_line(enc, section, text, id, NOW)


def test_refused_edits_of_a_note() -> None:
    """A line that is not there is changed in silence, or evidence points outside of the transcript."""
    enc = with_note(line("a", "Eye pain."))
    for wrong in (
        lambda: edits.edit_line(enc, "b", "x", NOW),
        lambda: edits.edit_line(enc, "a", " ", NOW),
        lambda: edits.edit_line(new(), "a", "x", NOW),
        lambda: edits.set_line_status(enc, "a", LineStatus.EDITED, NOW),
        lambda: edits.confirm_mark(enc, "a", 5, NOW),
        lambda: edits.set_note(enc, drafted(replace(line("a", "x"), evidence=(Place(0, 9999),))), NOW),
        lambda: edits.set_note(enc, drafted(line("a", "x", "WHERE")), NOW),
        lambda: edits.pin_row(enc, "Migraine", None, True, NOW),
        lambda: edits.dismiss_row(enc, "Migraine", None, "known", NOW),
    ):
        with pytest.raises(InputError):
            wrong()


def test_pins_and_dismissals() -> None:
    """A dismissal without a reason, or a row that is both pinned and dismissed."""
    rows = (DifferentialRow("Migraine", "G43.9", 0.6), DifferentialRow("Migraine", "G43.9", 0.4, eye=Eye.OD))
    enc = edits.set_differential(new(), Differential(rows), NOW)
    pinned = edits.pin_row(enc, "Migraine", Eye.OD, True, NOW)
    assert pinned.differential is not None
    assert [row.pinned for row in pinned.differential.rows] == [False, True]
    with pytest.raises(InputError):
        edits.dismiss_row(pinned, "Migraine", Eye.OD, "  ", NOW)
    dismissed = edits.dismiss_row(pinned, "Migraine", Eye.OD, " not  likely ", NOW)
    assert dismissed.differential is not None
    assert [(row.pinned, row.dismissed) for row in dismissed.differential.rows] == [(False, ""), (False, "not likely")]
    back = edits.dismiss_row(dismissed, "Migraine", Eye.OD, "", NOW).differential
    assert back is not None
    assert not back.rows[1].dismissed


@given(st.lists(st.sampled_from(["25", "mg", "metoprolol", "no", "fever", "3", "OD"]), min_size=1, max_size=8))
def test_the_same_words_again_change_nothing(told: list[str]) -> None:
    """Opening a line and closing it confirms the model's numbers."""
    text = " ".join(told)
    enc = with_note(line("a", text))
    assert lines_of(edits.edit_line(enc, "a", text, NOW)) == lines_of(enc)
