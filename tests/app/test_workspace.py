"""The desk: what fails here loses a clinician's work, shows a stale answer, or leaves a patient on an open screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app.engine.messages import Died, Ready, Result
from edge.app.engine.scripted import FACTS, After, note_answer
from edge.app.vault.protocol import LockedError, WrongPinError
from edge.app.workspace import AUTOSAVE_AFTER_S
from edge.clinical.encounter import edits
from edge.clinical.encounter.edits_draft import edit_line, set_line_status
from edge.clinical.encounter.model import EncounterState, FoundItem, LineStatus, Presence, VisitText, Vital
from edge.errors import EdgeError, InputError, ResourceError
from tests.app.desk import NOTE, PATIENT, PIN, VISIT, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An unlocked desk with an open encounter and an engine that drafts NOTE in a second."""
    made = Desk(tmp_path, note_answer(NOTE, step_s=0.05)).create().with_patient()
    made.workspace.runs.start_engines()
    made.wait(0.1)
    yield made
    made.close()


def finding(name: str = "nausea") -> FoundItem:
    """Something found."""
    return FoundItem(f"f-{name}", name, Presence.PRESENT)


def test_work_is_on_disk_within_a_second(desk: Desk) -> None:
    """A power cut a second after an entry must not cost that entry."""
    desk.workspace.edit(edits.set_finding, finding())
    desk.wait(AUTOSAVE_AFTER_S + 0.3)
    assert not desk.workspace.dirty
    desk.cut_power()
    again = Desk(desk.folder)
    assert again.unlock() is None
    again.workspace.open(again.workspace.worklist()[0].id)
    assert again.workspace.encounter is not None
    assert [item.name for item in again.workspace.encounter.findings] == ["nausea"]
    again.close()


def test_undo_and_redo_are_edits_too(desk: Desk) -> None:
    """An undone entry that comes back after a crash was never undone."""
    before = desk.workspace.encounter
    desk.workspace.edit(edits.set_finding, finding())
    desk.workspace.undo()
    assert before is not None and desk.workspace.encounter is not None
    assert desk.workspace.encounter.findings == before.findings == ()
    assert desk.workspace.dirty and desk.workspace.can_redo
    desk.workspace.redo()
    assert len(desk.workspace.encounter.findings) == 1


def test_lock_forgets_and_unlock_reopens(desk: Desk) -> None:
    """A locked tablet must hold no patient in memory that the app can show; the clinician goes on where she was."""
    desk.workspace.edit(edits.set_finding, finding())
    desk.workspace.lock()
    assert (desk.workspace.encounter, desk.workspace.worklist(), desk.workspace.flags) == (None, (), ())
    assert desk.unlock("000001") is not None
    assert desk.workspace.locked
    assert desk.unlock() is None
    assert desk.workspace.encounter is not None and desk.workspace.encounter.findings


def test_auto_lock_counts_from_the_last_touch(desk: Desk) -> None:
    """Two minutes without a finger lock the screen; a touch begins them anew."""
    desk.wait(100, step_s=10)
    desk.workspace.touch()
    desk.wait(100, step_s=10)
    assert not desk.workspace.locked
    desk.wait(30, step_s=10)
    assert desk.workspace.locked


def test_a_note_enters_as_open_lines(desk: Desk) -> None:
    """Nothing is accepted in advance, and what has no source says so."""
    desk.workspace.runs.start_note()
    assert desk.workspace.runs.view("note").status == "streaming"
    desk.wait(3)
    encounter = desk.workspace.encounter
    assert encounter is not None and encounter.note is not None
    assert encounter.state is EncounterState.DRAFT
    assert {line.status for line in encounter.note.lines} == {LineStatus.OPEN}
    assert [bool(line.evidence) for line in encounter.note.lines] == [True, False]
    assert encounter.note.run is not None and encounter.note.run.behaviour_digest == FACTS.behaviour_digest
    assert encounter.note.withheld == 1


def test_stop_shows_at_once_and_adds_nothing(desk: Desk) -> None:
    """Stop is one tap: the words change in the same frame and the partial draft is not for use."""
    desk.workspace.runs.start_note()
    desk.wait(0.3)
    assert desk.workspace.streaming is not None and desk.workspace.streaming.text
    desk.workspace.runs.stop()
    assert desk.workspace.runs.view("note").status == "cancelled"
    desk.wait(3)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None


def test_a_result_of_another_encounter_is_dropped(desk: Desk) -> None:
    """The note of one patient in the record of another is the worst that can happen here."""
    desk.workspace.runs.start_note()
    run_id = desk.engine.requests[-1].run_id  # type: ignore[union-attr]
    desk.workspace.new_encounter(replace(PATIENT, name="OTHER, Person", mrn="77"))
    desk.engine.push(Result(run_id, "id-1", "note", NOTE))
    desk.wait(3)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None


def test_a_transcript_that_changed_makes_the_links_stale(desk: Desk) -> None:
    """Offsets into other words would show a wrong source for a sentence."""
    desk.workspace.runs.start_note()
    desk.wait(0.2)
    desk.workspace.edit(edits.set_visit, VisitText("[doctor] something else entirely was said here .\n" + VISIT))
    desk.wait(3)
    encounter = desk.workspace.encounter
    assert encounter is not None and encounter.note is not None
    import hashlib

    assert encounter.note.transcript_sha256 == hashlib.sha256(VISIT.encode()).hexdigest()


def test_engine_death_keeps_the_entries(desk: Desk) -> None:
    """The engine is another process: its crash costs a suggestion, never an entry."""
    desk.workspace.edit(edits.set_finding, finding())
    desk.workspace.runs.start_note()
    desk.engine.push(Died(-11))
    desk.wait(0.3)
    assert desk.workspace.runs.view("note").status == "died"
    assert desk.workspace.streaming is None
    assert desk.workspace.encounter is not None and desk.workspace.encounter.findings
    desk.workspace.runs.start_note()
    desk.wait(3)
    assert desk.workspace.encounter.note is not None


def test_another_build_in_the_middle_is_refused(desk: Desk) -> None:
    """A bundle swapped under an open encounter would mix two behaviours in one record."""
    desk.engine.push(Died(-9))
    desk.wait(0.2)
    desk.engine.loading = (After(0.0, Ready(replace(FACTS, behaviour_digest="f" * 64))),)
    desk.workspace.runs.restart("note")
    desk.wait(0.3)
    assert desk.workspace.runs.view("note").status == "mismatch"
    assert not desk.engine.alive


def test_signing_needs_the_pin_and_nothing_open(desk: Desk) -> None:
    """A record with unread lines, or signed by whoever passes by, is no record."""
    desk.workspace.runs.start_note()
    desk.wait(3)
    with pytest.raises(InputError):
        desk.workspace.sign(PIN, "Dr. Weiss")
    note = desk.workspace.encounter and desk.workspace.encounter.note
    assert note is not None
    for line in note.lines:
        desk.workspace.edit(edit_line, line.id, "No pain now.")
        desk.workspace.edit(set_line_status, line.id, LineStatus.EDITED)
    with pytest.raises(EdgeError):
        desk.workspace.sign("999999", "Dr. Weiss")
    desk.workspace.sign(PIN, "Dr. Weiss")
    assert desk.workspace.encounter is not None and desk.workspace.encounter.state is EncounterState.SIGNED
    assert desk.workspace.encounter.signature is not None
    assert desk.workspace.encounter.signature.behaviour_digests == (FACTS.behaviour_digest,)
    with pytest.raises(InputError):
        desk.workspace.edit(edits.set_vital, Vital("heart_rate", 80))
    assert not desk.workspace.can_undo
    desk.settle()
    actions = [entry.action for entry in desk.workspace.vault.audit_entries(50)]
    assert "sign" in actions and "note-set" in actions and desk.workspace.vault.check_audit().whole


def test_signing_without_waiting(desk: Desk) -> None:
    """The frame stands still while Argon2 works in it; and what changed meanwhile must not be signed unseen."""
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Red eye", Presence.PRESENT))
    told: list[EdgeError | None] = []
    desk.workspace.sign_soon("999999", "Dr. Weiss", told.append)
    assert told == []
    desk.settle()
    assert isinstance(told.pop(), WrongPinError)
    desk.workspace.sign_soon(PIN, "Dr. Weiss", told.append)
    desk.workspace.edit(edits.set_vital, Vital("heart_rate", 80))
    desk.settle()
    assert isinstance(told.pop(), InputError)
    call_off = desk.workspace.sign_soon(PIN, "Dr. Weiss", told.append)
    call_off()
    desk.settle()
    assert told == [] and desk.workspace.encounter is not None and desk.workspace.encounter.signature is None
    desk.workspace.sign_soon(PIN, "Dr. Weiss", told.append)
    desk.settle()
    assert told == [None] and desk.workspace.encounter.signature is not None


def test_no_signature_after_a_lock(desk: Desk) -> None:
    """A PIN that is still being checked when the screen locks signs nothing."""
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Red eye", Presence.PRESENT))
    told: list[EdgeError | None] = []
    desk.workspace.sign_soon(PIN, "Dr. Weiss", told.append)
    desk.workspace.lock()
    desk.settle()
    assert isinstance(told.pop(), LockedError)
    desk.unlock()
    assert desk.workspace.encounter is not None and desk.workspace.encounter.signature is None


def test_a_full_disk_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space: one line, the entry stays in memory over a lock, and is saved when there is space again."""

    def full(*_: object) -> None:
        raise ResourceError("no space left", where="vault", mend="free space")

    with monkeypatch.context() as patched:
        patched.setattr(type(desk.workspace.vault), "save", full)
        desk.workspace.edit(edits.set_finding, finding())
        desk.wait(1)
        assert desk.workspace.save_error is not None and desk.workspace.dirty
        with pytest.raises(ResourceError):
            desk.workspace.close()
        desk.workspace.lock()
        assert desk.workspace.encounter is None
    assert desk.unlock() is None
    desk.wait(1)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.findings
    assert not desk.workspace.dirty and desk.workspace.save_error is None


def test_settings_survive(desk: Desk) -> None:
    """Night mode and type size are the clinician's, not the session's."""
    desk.workspace.set_setting("night", True)
    desk.workspace.set_setting("font_scale", 1.3)
    desk.workspace.set_setting("font_scale", 9.0)
    desk.workspace.lock()
    assert desk.unlock() is None
    assert (desk.workspace.settings.night, desk.workspace.settings.font_scale) == (True, 1.3)


def test_a_signature_that_cannot_be_saved_is_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the record is signed by a later autosave, after the clinician was told that it is not, and unlogged."""
    desk.workspace.edit(edits.set_finding, finding())
    desk.wait(1)

    def full(*_: object) -> None:
        raise ResourceError("no space is left")

    with monkeypatch.context() as patch:
        patch.setattr(desk.workspace, "_store", full)
        with pytest.raises(ResourceError):
            desk.workspace.sign(PIN, "Dr. Weiss")
    encounter = desk.workspace.encounter
    assert encounter is not None and encounter.signature is None and desk.workspace.save_error is None
    desk.wait(3)
    desk.workspace.sign(PIN, "Dr. Weiss")
    desk.settle()
    assert desk.workspace.encounter is not None and desk.workspace.encounter.signature is not None
    assert [entry.action for entry in desk.workspace.vault.audit_entries(50)].count("sign") == 1


def test_letters_that_no_file_can_hold_are_said_in_words(desk: Desk) -> None:
    """Half a character from a keyboard must not end the app."""
    with pytest.raises(InputError):
        desk.workspace.new_encounter(replace(PATIENT, name="A\ud800B"))


def test_a_full_disk_does_not_stop_the_night_colours(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error out of a tap on Night ended the app, with what could not be saved either."""

    def full(*_: object) -> None:
        raise ResourceError("no space is left")

    monkeypatch.setattr(type(desk.workspace.vault), "set_setting", full)
    desk.workspace.set_setting("night", True)
    assert desk.workspace.settings.night
    assert desk.workspace.save_error is not None
