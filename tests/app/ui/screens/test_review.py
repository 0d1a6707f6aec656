"""The review screen over a real desk: what blocks leads to its place, Sign needs the PIN, a lock leaves no word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from edge.app.presenters.jumps import take_note
from edge.app.presenters.review import ReviewPresenter
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import LineStatus
from tests.app.presenters.bedside_desk import PIN
from tests.app.presenters.note_desk import NoteDesk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.screen_checks import SIZES, alive, overflowing, small_targets, words_left

WORDS = ("right eye", "lisinopril", "diabetes", "morales", "sulfa")


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    made.draft()
    yield made
    made.close()


def mount(ui: Driver, desk: NoteDesk, **options: Any) -> Any:
    from edge.app.ui.screens.review import ReviewScreen

    screen = ui.mount(lambda: ReviewScreen(ReviewPresenter(desk.workspace), desk.workspace), **options)
    screen.show()
    ui.frame(10)
    return screen


def settle(desk: NoteDesk) -> None:
    for one in desk.note.lines:
        desk.workspace.edit(edits.set_line_status, one.id, LineStatus.KEPT)
        for index in range(len(one.marks)):
            desk.workspace.edit(edits.confirm_mark, one.id, index)


def test_an_item_leads_to_its_place(ui: Driver, desk: NoteDesk) -> None:
    """A list of open items that leads nowhere has to be searched by hand."""
    screen = mount(ui, desk)
    went: list[str] = []
    screen.go = went.append
    row = screen.ids.todo.children[-1]
    ui.tap(row)
    ref = take_note(desk.workspace)
    assert went == ["note"] and ref is not None and ref.kind == "line"


def test_sign_by_finger(ui: Driver, desk: NoteDesk) -> None:
    """Disabled with its reason; then PIN, and after it only reading."""
    screen = mount(ui, desk)
    sign = screen.ids.sign
    assert sign.height >= 56 and sign.disabled and "must be settled first" in ui.words()
    settle(desk)
    ui.frame(4)
    assert tr("review.sign_reason_name") in ui.words()
    screen.ids.signer.text = "Dr Weiss"
    ui.frame(3)
    ui.tap(sign)
    ui.frame(3)
    pad = screen._dialog.pad
    for digit in PIN:
        ui.tap(next(one for one in pad.walk() if getattr(one, "key", "") == digit))
    assert screen._dialog.dots.filled == len(PIN)
    assert PIN not in ui.words(screen._dialog)
    ui.tap(ui.find(text=tr("review.pin_confirm")))
    assert tr("review.checking") in ui.words(screen._dialog)
    desk.settle()
    assert screen.presenter.view.signed is not None
    ui.frame(6)
    words = ui.words()
    assert screen._dialog is None and "Dr Weiss" in words and tr("review.signature_whole") in words
    assert tr("review.unresolved") not in words and "0123456789ab" in words


def test_wrong_pin_and_cancel(ui: Driver, desk: NoteDesk) -> None:
    """A wrong PIN says so and signs nothing; Cancel forgets what was typed."""
    screen = mount(ui, desk)
    settle(desk)
    screen.ids.signer.text = "Dr Weiss"
    ui.frame(3)
    screen.presenter.ask_sign()
    ui.frame(3)
    dialog = screen._dialog
    for digit in "111111":
        dialog.pad.press(digit)
    dialog.pad.press("enter")
    desk.settle()
    assert screen.presenter.view.pin_error
    ui.frame(2)
    assert screen.presenter.view.pin_error in ui.words(dialog) and desk.workspace.encounter.signature is None  # type: ignore[union-attr]
    ui.key("escape")
    ui.frame(2)
    assert screen._dialog is None and len(screen.presenter.pin) == 0


def test_sign_with_a_passphrase(ui: Driver, desk: NoteDesk) -> None:
    """Who has a passphrase as PIN could sign nothing with a pad of digits."""
    desk.workspace.change_pin(PIN, "seven grey herons", lambda error: None)
    desk.settle()
    screen = mount(ui, desk, size=(800, 1280))
    settle(desk)
    screen.ids.signer.text = "Dr Weiss"
    ui.frame(3)
    screen.presenter.ask_sign()
    ui.frame(3)
    dialog = screen._dialog
    low = dialog.ids.card.y
    ui.tap(ui.find(text=tr("lock.use_keyboard")))
    ui.frame(3)
    card = dialog.ids.card
    assert dialog.field.typing and card.y > low and abs(card.center_y - dialog.center_y) < 1
    ui.type("seven grey herons")
    assert "herons" not in ui.words(dialog.parts.ids.told) and screen.presenter.view.pin_typed == 17
    ui.key("enter")
    assert tr("review.checking") in ui.words(dialog)
    desk.settle()
    ui.frame(3)
    assert screen.presenter.view.signed is not None and screen._dialog is None and dialog.field.text == ""


def test_export_by_finger(ui: Driver, desk: NoteDesk, tmp_path: Path) -> None:
    """Folder, path and digest are on the screen, and the file is there."""
    (tmp_path / "stick").mkdir()
    screen = mount(ui, desk)
    screen.start_folder = tmp_path
    screen.ids.scroll.scroll_y = 0
    ui.frame(3)
    ui.tap(screen.ids.pdf)
    ui.frame(4)
    dialog = ui.window.children[0]
    ui.tap(next(one for one in dialog.walk() if getattr(one, "name", "") == "stick"))
    ui.frame(3)
    assert "free" in ui.words(dialog)
    dialog.act("choose")
    assert tr("review.exporting") in ui.words() or screen.presenter.view.exporting == "pdf"
    desk.settle()
    ui.frame(6)
    written = next((tmp_path / "stick").iterdir())
    assert written.suffix == ".pdf" and str(written) in ui.words() and tr("review.exported_pdf") in ui.words()


def test_only_changes(ui: Driver, desk: NoteDesk) -> None:
    """Who signs wants to see what differs."""
    desk.workspace.edit(edits.edit_line, desk.note.lines[0].id, "Left eye pain for four hours.")
    screen = mount(ui, desk)
    assert "She has diabetes." in ui.words()
    ui.tap(next(one for one in screen.ids.only.children if one.key == "only"))
    ui.frame(4)
    assert "She has diabetes." not in ui.words() and "Left" in ui.words()


def test_a_lock_leaves_no_word(ui: Driver, desk: NoteDesk) -> None:
    """Summary, items and diff hold a patient's words; after a lock none may."""
    known = alive()
    screen = mount(ui, desk)
    assert words_left(WORDS, known)
    desk.workspace.lock()
    screen.clear_text()
    screen.hide()
    ui.frame(2)
    assert words_left(WORDS, known) == []


@pytest.mark.parametrize("scale", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("size", SIZES)
def test_targets_and_words_fit(ui: Driver, desk: NoteDesk, scale: float, size: tuple[int, int]) -> None:
    """A button too small for a glove, or a word that is cut, in either language."""
    for language in ("en", "de"):
        screen = mount(ui, desk, scale=scale, size=size, language=language)
        for pane in (0, 1):
            screen.pane = pane
            ui.frame(8)
            assert small_targets(ui, screen) == []
            assert overflowing(ui, screen) == []
        screen.hide()
