"""Review and sign: what still blocks must be in sight, the signature must need the PIN, a file only a person's tap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr, translator
from edge.app.presenters.exports import Wish
from edge.app.presenters.jumps import take_note
from edge.app.presenters.review import ReviewPresenter
from edge.app.presenters.review_view import Item
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import (
    Differential,
    DifferentialRow,
    Eye,
    LineStatus,
    Mark,
    Origin,
    RunStamp,
    VisitText,
    Vital,
)
from edge.errors import ResourceError
from tests.app.presenters.bedside_desk import PIN
from tests.app.presenters.note_desk import NoteDesk


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    made.draft()
    yield made
    made.close()
    translator.language = "en"


def settle(desk: NoteDesk) -> None:
    """Decide every line and confirm every mark."""
    for one in desk.note.lines:
        desk.workspace.edit(edits.set_line_status, one.id, LineStatus.KEPT)
        for index in range(len(one.marks)):
            desk.workspace.edit(edits.confirm_mark, one.id, index)


def enter(presenter: ReviewPresenter, pin: str) -> None:
    presenter.ask_sign()
    for digit in pin:
        presenter.digit(digit)


def test_all_that_blocks_is_listed_with_its_place(desk: NoteDesk) -> None:
    """A signature that waits for something that nobody can find is a dead end."""
    went: list[str] = []
    presenter = ReviewPresenter(desk.workspace, navigate=went.append)
    desk.workspace.edit(edits.set_vital, Vital("heart_rate", 92.0, Origin.SPEECH))
    items = presenter.view.items
    assert presenter.view.reason == tr("review.sign_reason_items_other", count=len(items))
    assert {item.screen for item in items} == {"note", "exam"}
    line = next(item for item in items if item.ref.kind == "line")
    presenter.go(line)
    assert went == ["note"] and take_note(desk.workspace) == line.ref and take_note(desk.workspace) is None
    vital = next(item for item in items if item.screen == "exam")
    assert "Heart rate" in vital.words
    presenter.go(vital)
    assert went == ["note", "exam"]


def test_a_mark_that_speech_made_leads_to_its_words(desk: NoteDesk) -> None:
    """'Confirm 165' must show where 165 was said."""
    words = "[patient] it was 165 today"
    desk.workspace.edit(edits.set_visit, VisitText(words, Origin.SPEECH, (Mark("number", 17, 20),)))
    presenter = ReviewPresenter(desk.workspace)
    item = next(one for one in presenter.view.items if one.ref.kind == "transcript")
    assert words[item.ref.start : item.ref.end] == "165" and item.screen == "note"


def test_diff_shows_what_was_changed(desk: NoteDesk) -> None:
    """An edit that the review does not show is signed unseen."""
    workspace, first = desk.workspace, desk.note.lines[0]
    workspace.edit(edits.edit_line, first.id, "Left eye pain for four hours.")
    workspace.edit(edits.set_line_status, desk.note.lines[1].id, LineStatus.REMOVED)
    workspace.edit(edits.add_line, "PLAN", "See tomorrow.", "own")
    presenter = ReviewPresenter(workspace)
    lines = {line.id: line for section in presenter.view.sections for line in section.lines}
    pieces = [(piece.op, piece.text.strip()) for piece in lines[first.id].pieces]
    assert ("removed", "Right") in pieces and ("added", "Left") in pieces
    assert [line.tag for line in lines.values()] == ["edited", "removed", "open", "added"]
    assert presenter.view.changed_lines == 3
    presenter.show_only_changes(True)
    assert [len(section.lines) for section in presenter.view.sections] == [2, 1]


def test_summary_says_what_is_signed(desk: NoteDesk) -> None:
    """Who signs must see allergies, flags, the pinned option and the builds in one place."""
    row = DifferentialRow("Acute angle-closure glaucoma", "H40.211", 0.68, eye=Eye.OD)
    stamp = RunStamp("r", "ophthalmology", "eye-bundle", "ab" * 32)
    desk.workspace.edit(edits.set_differential, Differential((row,), stamp))
    desk.workspace.edit(edits.pin_row, row.name, row.eye, True)
    rows = {one.name: one for one in ReviewPresenter(desk.workspace).view.summary}
    assert rows[tr("review.allergies")].words == ("sulfa",) and rows[tr("review.allergies")].icon == "alert"
    assert rows[tr("review.differential")].words[0].startswith("Acute angle-closure glaucoma OD H40.211, model score")
    models = rows[tr("review.models")]
    assert any("eye-bundle abababababab, device test not passed" in words for words in models.words)
    assert models.tone == "warning"
    assert "4821" in rows[tr("review.patient")].words[0] and "0012" not in rows[tr("review.patient")].words[0]


def test_sign_needs_nothing_open_a_name_and_the_pin(desk: NoteDesk) -> None:
    """Each of the three alone must hold the signature back."""
    presenter = ReviewPresenter(desk.workspace)
    enter(presenter, PIN)
    assert not presenter.view.signing
    presenter.cancel_sign()
    settle(desk)
    assert presenter.view.reason == tr("review.sign_reason_name")
    presenter.set_signer("  Dr   Weiss ")
    enter(presenter, "111111")
    presenter.sign()
    assert presenter.view.signing and presenter.view.checking
    desk.settle()
    assert presenter.view.pin_error and presenter.view.signed is None and presenter.view.pin_typed == 0
    desk.clock.pass_s(120)
    for digit in PIN:
        presenter.digit(digit)
    presenter.sign()
    desk.settle()
    signed = presenter.view.signed
    assert signed is not None and signed.by == "Dr Weiss" and signed.whole and len(signed.content_sha256) == 64
    assert signed.digests == ("0123456789ab",) and presenter.view.items == () and not presenter.view.signing
    assert desk.workspace.settings.signer == "Dr Weiss"


def test_cancel_while_the_pin_is_checked_signs_nothing(desk: NoteDesk) -> None:
    """A signature cannot be taken back: Cancel must hold also in the second that the key takes."""
    presenter = ReviewPresenter(desk.workspace)
    settle(desk)
    presenter.set_signer("Dr Weiss")
    enter(presenter, PIN)
    presenter.sign()
    presenter.digit("9")
    presenter.cancel_sign()
    desk.settle()
    assert presenter.view.signed is None and not presenter.view.signing and not presenter.view.checking
    assert len(presenter.pin) == 0


def test_a_passphrase_signs_too(desk: NoteDesk) -> None:
    """Who has a passphrase as PIN could sign nothing with a pad of digits."""
    done: list[object] = []
    desk.workspace.change_pin(PIN, "seven grey herons", done.append)
    desk.settle()
    presenter = ReviewPresenter(desk.workspace)
    settle(desk)
    presenter.set_signer("Dr Weiss")
    presenter.ask_sign()
    presenter.digit("1")
    presenter.use_keyboard(True)
    assert presenter.view.pin_keyboard and presenter.view.pin_typed == 0
    presenter.type_pin("seven grey herons")
    presenter.sign()
    desk.settle()
    assert done == [None] and presenter.view.signed is not None


def test_no_signature_while_the_model_writes(desk: NoteDesk) -> None:
    """A line that arrives after the signature was asked for would be signed unread."""
    presenter = ReviewPresenter(desk.workspace)
    settle(desk)
    presenter.set_signer("Dr Weiss")
    desk.workspace.runs.start_note()
    assert presenter.view.reason == tr("review.sign_reason_streaming")
    presenter.ask_sign()
    assert not presenter.view.signing


def test_the_pin_is_in_no_repr_and_gone_after_a_lock(desk: NoteDesk) -> None:
    """A PIN that a traceback shows is no PIN."""
    presenter = ReviewPresenter(desk.workspace)
    settle(desk)
    presenter.set_signer("Dr Weiss")
    enter(presenter, PIN)
    assert PIN not in repr(presenter.view) and PIN not in repr(vars(presenter))
    desk.workspace.lock()
    assert len(presenter.pin) == 0 and presenter.view == type(presenter.view)()


@pytest.mark.parametrize("kind", ["fhir", "pdf"])
def test_export_writes_what_it_says(desk: NoteDesk, tmp_path: Path, kind: str) -> None:
    """The path and the digest on the screen must be those of the file."""
    import hashlib

    folder = tmp_path / "stick"
    folder.mkdir()
    presenter = ReviewPresenter(desk.workspace)
    presenter.export(kind, folder)
    assert presenter.view.exporting == kind
    desk.settle()
    done = presenter.view.exported
    assert done is not None and not done.error and presenter.view.exporting == ""
    written = Path(done.path)
    assert written.parent == folder and hashlib.sha256(written.read_bytes()).hexdigest() == done.sha256
    assert "MORALES" not in written.name
    if kind == "fhir":
        assert b"right eye hurts" not in written.read_bytes()
        presenter.include_transcript(True)
        presenter.export(kind, folder)
        desk.settle()
        assert presenter.view.exported is not None
        bundle = json.loads(Path(presenter.view.exported.path).read_bytes())
        assert any(entry["resource"]["resourceType"] == "DocumentReference" for entry in bundle["entry"])


def test_a_failed_export_says_why(desk: NoteDesk, tmp_path: Path) -> None:
    """A person who believes that a file is on the stick pulls it out."""
    presenter = ReviewPresenter(desk.workspace)
    presenter.export("pdf", tmp_path / "gone")
    desk.settle()
    done = presenter.view.exported
    assert done is not None and done.error.startswith("Nothing was written.") and not done.path


def test_export_is_bound_to_its_encounter(desk: NoteDesk, tmp_path: Path) -> None:
    """A result of one patient must not stand on another's screen."""
    told: list[Any] = []
    wishes: list[Wish] = []
    presenter = ReviewPresenter(desk.workspace, lambda _desk, wish, done: (wishes.append(wish), told.append(done)))  # type: ignore[arg-type,func-returns-value]
    presenter.include_transcript(True)
    presenter.set_paper("Letter")
    presenter.export("pdf", tmp_path)
    assert wishes == [Wish("pdf", tmp_path, True, "Letter")]
    desk.workspace.close()
    told[0](None, ResourceError("no space left"))
    assert presenter.view.exported is None and not presenter.view.open


def test_items_are_said_in_german_too(desk: NoteDesk) -> None:
    """A key instead of words tells nobody what to do."""
    translator.language = "de"
    presenter = ReviewPresenter(desk.workspace)
    assert all("." not in item.words.split()[0] for item in presenter.view.items)
    assert not any(item.words.startswith("checks.") for item in presenter.view.items)
    assert Item(1, "x").group == "note"
