"""The note screen over a real desk and a scripted engine, driven by fingers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine.messages import Died
from edge.app.engine.scripted import After, note_answer
from edge.app.i18n import tr
from edge.app.presenters.jumps import leave
from edge.app.presenters.note import NotePresenter
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import LineStatus, Mark, Origin, Ref, VisitText
from tests.app.presenters.note_desk import VALUE, VISIT, NoteDesk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.screen_checks import SIZES, alive, overflowing, small_targets, words_left

WORDS = ("right eye", "lisinopril", "diabetes", "trauma", "morales")


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    yield made
    made.close()


def mount(ui: Driver, desk: NoteDesk, **options: Any) -> Any:
    from edge.app.ui.screens.note import NoteScreen

    screen = ui.mount(lambda: NoteScreen(NotePresenter(desk.workspace), desk.workspace), **options)
    screen.show()
    ui.frame(12)
    return screen


def card(screen: Any, words: str) -> Any:
    """The card of a line of the note."""
    from edge.app.ui.screens.note_lines import NoteLineCard

    found = [one for one in screen.ids.sections.walk() if isinstance(one, NoteLineCard)]
    return next(one for one in found if one.card is not None and words in one.card.text)


def button(root: Any, text: str) -> Any:
    return next(one for one in root.walk() if getattr(one, "text", "") == text and hasattr(one, "on_release"))


def reach(ui: Driver, screen: Any, widget: Any) -> None:
    screen.ids.scroll.show(widget)
    ui.frame(2)


def test_draft_writes_stops_in_one_frame_and_adds_nothing(ui: Driver, desk: NoteDesk) -> None:
    """Stop that takes longer than a frame is a Stop that is tapped twice."""
    screen = mount(ui, desk)
    ui.tap(button(screen, tr("note.draft")))
    desk.pass_s(1.0)
    ui.frame(4)
    assert tr("note.model_draft") in ui.words() and "Right eye pain for four hours." in ui.words()
    assert "Writing " in ui.words() and " tok/s" in ui.words()
    stop = button(screen, tr("note.stop"))
    assert stop.height >= 56
    ui.touch(*stop.to_window(*stop.center))
    assert "Stopped. Partial result, not for use." in ui.words()
    assert tr("note.model_draft") not in ui.words()
    desk.pass_s(5.0)
    ui.frame(4)
    assert "Right eye pain" not in ui.words()


def test_keep_edit_remove_undo_and_confirm_by_finger(ui: Driver, desk: NoteDesk) -> None:
    """Every command of a line must work where it stands."""
    desk.draft()
    screen = mount(ui, desk)
    pain = card(screen, "eye pain")
    reach(ui, screen, pain)
    ui.tap(button(pain, tr("note.keep")))
    assert desk.drafted("eye pain").status is LineStatus.KEPT and tr("note.status_kept") in ui.words(pain)
    ui.tap(button(pain, tr("note.edit")))
    ui.frame(3)
    pain._field.text = "Right eye pain since noon."
    reach(ui, screen, pain)
    ui.tap(button(pain, tr("note.save")))
    assert desk.drafted("since noon").status is LineStatus.EDITED
    assert tr("note.was", text="Right eye pain for four hours.") in ui.words(pain)
    reach(ui, screen, pain)
    ui.tap(button(pain, tr("note.undo")))
    assert desk.drafted("four hours").status is LineStatus.OPEN
    other = card(screen, "diabetes")
    reach(ui, screen, other)
    assert tr("note.not_in_transcript") in ui.words(other)
    ui.tap(button(other, tr("note.remove")))
    assert desk.drafted("diabetes").status is LineStatus.REMOVED and "[s]" in other.markup_text
    drug = card(screen, "Lisinopril")
    reach(ui, screen, drug)
    chip = drug.ids.chips.children[-1]
    assert chip.text == "Drug: Lisinopril"
    ui.tap(chip)
    assert [one.text for one in drug.ids.chips.children] == ["Number: 20 mg"]


def test_cancelled_edit_changes_nothing(ui: Driver, desk: NoteDesk) -> None:
    """Half typed words must not become the note."""
    desk.draft()
    screen = mount(ui, desk)
    pain = card(screen, "eye pain")
    pain.begin_edit()
    ui.frame(2)
    pain._field.text = "half"
    reach(ui, screen, pain)
    ui.tap(button(pain, tr("note.cancel")))
    assert desk.drafted("eye pain").status is LineStatus.OPEN and pain._field is None


def test_evidence_lights_and_shows_its_lines(ui: Driver, desk: NoteDesk) -> None:
    """'Line 4' must lead to line 4, also on a narrow screen where the transcript is another tab."""
    desk.draft()
    for size in ((1280, 800), (800, 1280)):
        screen = mount(ui, desk, size=size)
        screen.pane = 1
        ui.frame(8)
        drug = card(screen, "Lisinopril")
        reach(ui, screen, drug)
        ui.tap(button(drug, tr("note.line_single", first=4)))
        ui.frame(4)
        lit = [data["number"] for data in screen.ids.transcript.data if data["lit"]]
        assert lit == [4] and screen.pane == 0
        screen.presenter.select_line(drug.line_id)
        screen.hide()


def test_a_row_shows_the_lines_that_use_it(ui: Driver, desk: NoteDesk) -> None:
    """The way back from the visit's words to the note."""
    desk.draft()
    screen = mount(ui, desk)
    row = next(one for one in screen.ids.transcript.layout_manager.children if one.number == 2)
    ui.tap(row)
    ui.frame(2)
    assert "Used by 1 note line" in ui.words() and card(screen, "eye pain").lit
    ui.tap(button(screen.ids.row_bar, tr("note.edit")))
    ui.frame(2)
    dialog = ui.window.children[0]
    dialog.field.text = "my left eye hurts"
    ui.tap(ui.find(text=tr("note.save")))
    ui.frame(3)
    assert screen.presenter.row(2).text == "my left eye hurts" and tr("note.stale") in ui.words()


def test_redraft_asks(ui: Driver, desk: NoteDesk) -> None:
    """A tap on 'Draft again' by mistake must cost nothing."""
    desk.draft()
    screen = mount(ui, desk)
    ui.tap(button(screen, tr("note.redraft")))
    ui.frame(3)
    assert tr("note.redraft_title") in ui.words(ui.window.children[0])
    ui.key("escape")
    ui.frame(2)
    assert len(desk.client.requests) == 1 and screen.presenter.view.ask == ""
    screen.presenter.draft()
    ui.frame(3)
    ui.window.children[0].act("redraft")
    assert len(desk.client.requests) == 2


def test_paste_type_and_file(ui: Driver, desk: NoteDesk, tmp_path: Path) -> None:
    """Three ways in without a microphone."""
    desk.workspace.edit(edits.set_visit, VisitText(""))
    screen = mount(ui, desk)
    assert tr("note.no_transcript") in ui.words()
    screen.clipboard = lambda: "Doctor: hello there\nPatient: good day"
    ui.tap(screen.ids.paste)
    ui.frame(3)
    assert [row.text for row in screen.presenter.view.rows] == ["hello there", "good day"]
    ui.tap(screen.ids.type)
    ui.frame(3)
    dialog = ui.window.children[0]
    ui.tap(next(one for one in dialog.who.children if one.key == "patient"))
    dialog.field.text = "it hurts"
    ui.tap(ui.find(text=tr("note.add")))
    ui.frame(2)
    assert screen.presenter.view.rows[-1].text == "it hurts" and screen.presenter.view.rows[-1].speaker == "patient"
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "visit.txt").write_text("Doctor: from a file")
    screen.start_folder = folder
    ui.tap(screen.ids.file)
    ui.frame(4)
    ui.tap(next(one for one in ui.window.children[0].walk() if getattr(one, "name", "") == "visit.txt"))
    ui.frame(3)
    assert tr("note.replace_title") in ui.words(ui.window.children[0])
    ui.window.children[0].act("append")
    assert screen.presenter.view.rows[-1].text == "from a file"


def test_own_line_by_section(ui: Driver, desk: NoteDesk) -> None:
    """Without any model a person must be able to write the note."""
    screen = mount(ui, desk)
    link = next(one for one in screen.ids.add.children if one.section == "PLAN")
    reach(ui, screen, link)
    ui.tap(link)
    ui.frame(3)
    ui.window.children[0].field.text = "Gonioscopy of both eyes."
    ui.tap(ui.find(text=tr("note.add")))
    ui.frame(4)
    own = card(screen, "Gonioscopy")
    assert tr("note.origin_clinician") in ui.words(own) and tr("note.undo") not in ui.words(own)


def test_speech_marks_are_confirmed_one_by_one(ui: Driver, desk: NoteDesk) -> None:
    """What speech wrote is shown in its line, with a tap for each."""
    text = "[patient] it was 160 and i take 20 mg"
    desk.workspace.edit(edits.set_visit, VisitText(text, Origin.SPEECH, (Mark("number", 17, 20),)))
    screen = mount(ui, desk)
    count = len(screen.presenter.view.visit_marks)
    assert tr("note.to_confirm_other", count=count) in ui.words()
    confirm = screen._confirm
    first = confirm.confirm_words
    ui.tap(button(confirm, tr("note.next_to_confirm")))
    assert confirm.confirm_words != first
    ui.tap(button(confirm, confirm.confirm_words))
    assert len(screen.presenter.view.visit_marks) == count - 1
    while screen.presenter.view.visit_marks:
        confirm.confirm()
        ui.frame()
    assert confirm.context == "" and confirm.parent is None


def test_record_without_speech_says_what_to_install(ui: Driver, desk: NoteDesk) -> None:
    """The microphone is never a dead button."""
    screen = mount(ui, desk)
    ui.tap(screen.ids.record)
    ui.frame(3)
    assert tr("note.speech_none_hint") in ui.words()
    ui.tap(screen.ids.record)
    ui.frame(2)
    assert tr("note.speech_none_hint") not in ui.words()


def test_death_keeps_entries_and_offers_again(ui: Driver, tmp_path: Path) -> None:
    """After a crash the person's line is still there and one tap tries again."""
    desk = NoteDesk(tmp_path, answer=lambda _request: [After(0.1, Died(-11))])
    screen = mount(ui, desk)
    screen.presenter.add_line("PLAN", "See tomorrow.")
    screen.presenter.draft()
    desk.pass_s(1.0)
    ui.frame(6)
    assert "Your entries are saved." in ui.words() and card(screen, "See tomorrow.")
    banner = screen.ids.told.children[-1]
    ui.tap(banner)
    desk.client.answer = note_answer(VALUE)
    assert desk.client.starts == 2
    desk.close()


def test_a_lock_leaves_no_word(ui: Driver, desk: NoteDesk) -> None:
    """Neither a widget that is shown nor one that waits to be used again may hold a patient's words."""
    known = alive()
    desk.draft()
    screen = mount(ui, desk)
    screen.presenter.select_row(2)
    card(screen, "eye pain").begin_edit()
    ui.frame(3)
    assert words_left(WORDS, known)
    desk.workspace.lock()
    screen.clear_text()
    screen.hide()
    ui.frame(2)
    assert words_left(WORDS, known) == []


def test_a_lock_while_it_writes_leaves_no_word(ui: Driver, desk: NoteDesk) -> None:
    """The running text is a patient's too."""
    known = alive()
    screen = mount(ui, desk)
    screen.presenter.draft()
    desk.pass_s(1.0)
    ui.frame(4)
    screen.ask_turn()
    ui.frame(2)
    ui.window.children[0].field.text = "my right eye"
    ui.frame(2)
    desk.workspace.lock()
    screen.clear_text()
    screen.hide()
    ui.frame(4)
    assert words_left(WORDS, known) == []


def test_unlock_shows_its_fixed_words_again(ui: Driver, desk: NoteDesk) -> None:
    """A screen that is shown anew after a lock must have its headings."""
    screen = mount(ui, desk)
    screen.clear_text()
    screen.hide()
    fresh = mount(ui, desk)
    assert tr("note.transcript") in ui.words(fresh)


def test_long_visits_have_few_widgets_and_right_heights(ui: Driver, tmp_path: Path) -> None:
    """2,000 widgets make each scroll a wait; a row that is too low cuts its words."""
    said = "it started about four hours ago while i was watching television , and it has been getting worse since"
    long = "\n".join(f"[{'doctor' if n % 2 else 'patient'}] {n} {said[: 10 + 7 * n % 90]}" for n in range(2000))
    desk = NoteDesk(tmp_path, visit=long)
    for scale, size in ((1.0, (1280, 800)), (2.0, (800, 1280))):
        screen = mount(ui, desk, scale=scale, size=size)
        rows = screen.ids.transcript.layout_manager.children
        assert len(screen.ids.transcript.data) == 2000 and len(rows) < 40
        for number in (1, 777, 2000):
            screen.ids.transcript.scroll_to_row(number)
            ui.frame(6)
            shown = {row.number: row for row in rows}
            assert number in shown
            for row in shown.values():
                assert row.words_height <= row.height and row.words_height > 0
        screen.hide()
    desk.close()


def test_go_to_a_line_from_the_review(ui: Driver, desk: NoteDesk) -> None:
    """'Show' on the review leads to the card, also when it was not built yet."""
    desk.draft()
    wanted = desk.drafted("Lisinopril").id
    leave(desk.workspace, "note", Ref("line", wanted))
    screen = mount(ui, desk)
    assert card(screen, "Lisinopril").lit


@pytest.mark.parametrize("scale", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("size", SIZES)
def test_targets_and_words_fit(ui: Driver, desk: NoteDesk, scale: float, size: tuple[int, int]) -> None:
    """A button too small for a glove, or a word that is cut, in either language."""
    desk.draft()
    for language in ("en", "de"):
        screen = mount(ui, desk, scale=scale, size=size, language=language)
        for pane in (0, 1):
            screen.pane = pane
            ui.frame(10)
            assert small_targets(ui, screen) == []
            assert overflowing(ui, screen) == []
        screen.hide()


def test_other_language_and_night_redraw(ui: Driver, desk: NoteDesk) -> None:
    """A language or palette that is changed must reach words and marks that are there already."""
    from edge.app.i18n import translator

    desk.draft()
    screen = mount(ui, desk)
    before = card(screen, "Lisinopril").markup_text
    translator.language = "de"
    ui.theme.night = True
    ui.frame(6)
    assert "Übernehmen" in ui.words() and card(screen, "Lisinopril").markup_text != before
    assert VISIT


def test_all_checked_is_said_only_when_it_is(ui: Driver, desk: NoteDesk) -> None:
    """Who reads "All lines checked" signs; numbers and drugs that wait for a tap must be counted there."""
    desk.draft()
    screen = mount(ui, desk)
    assert tr("note.open_lines_other", count=3) in screen._held[2].text
    for one in desk.note.lines:
        desk.workspace.edit(edits.set_line_status, one.id, LineStatus.KEPT)
    ui.frame(4)
    waiting = screen.presenter.view.to_confirm
    assert waiting >= 2 and screen._held[2].text == tr("note.to_confirm_other", count=waiting)
    for one in desk.note.lines:
        for index in range(len(one.marks)):
            desk.workspace.edit(edits.confirm_mark, one.id, index)
    ui.frame(4)
    assert screen._held[2].text == tr("note.all_checked") and screen._held[2].tone == "support"
