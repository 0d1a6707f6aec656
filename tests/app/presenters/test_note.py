"""The note's presenter over a real desk and a scripted engine: nothing may be accepted, linked or lost by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine.messages import (
    DeviceReading,
    Died,
    Failed,
    LineDrafted,
    Piece,
    Refused,
    Result,
    Started,
    TooLong,
    Unreadable,
)
from edge.app.engine.scripted import After, ScriptedClient, note_answer
from edge.app.i18n import tr, translator
from edge.app.presenters.note import NotePresenter
from edge.app.presenters.note_view import LineCard
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import LineStatus, Origin, Ref, VisitText
from tests.app.presenters.bedside_desk import BEN
from tests.app.presenters.note_desk import VALUE, VISIT, NoteDesk


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    yield made
    made.close()
    translator.language = "en"


def card(presenter: NotePresenter, words: str) -> LineCard:
    return next(line for section in presenter.view.sections for line in section.lines if words in line.text)


def test_a_draft_is_open_linked_and_labelled(desk: NoteDesk) -> None:
    """A line that looks accepted, or whose source is wrong, is what a draft must never be."""
    presenter = NotePresenter(desk.workspace)
    presenter.draft()
    desk.pass_s(30, 1.0)
    view = presenter.view
    pain = card(presenter, "eye pain")
    # Confirming counts apart from deciding: a kept line still waits for its numbers and drugs.
    assert view.to_confirm == sum(len(line.to_confirm) for section in view.sections for line in section.lines) >= 2
    assert view.open_lines == 3 and pain.status is LineStatus.OPEN and pain.origin is Origin.MODEL
    assert [(link.first, link.last) for link in pain.links] == [(2, 2)]
    assert not card(presenter, "diabetes").linked
    assert view.withheld == 1 and view.notices == (tr("note.notice_speakers_unknown"),)
    assert [mark.words for mark in card(presenter, "Lisinopril").to_confirm] == ["Lisinopril", "20 mg"]
    assert view.status[0].words.startswith("Done in ")


def test_while_it_writes_lines_are_for_reading_only(desk: NoteDesk) -> None:
    """A line that can be kept before the draft is whole could belong to a draft that is stopped."""
    presenter = NotePresenter(desk.workspace)
    presenter.draft()
    desk.pass_s(1.0)
    drafting = presenter.view.drafting
    assert drafting is not None and drafting.lines[0].text == "Right eye pain for four hours."
    assert drafting.text.startswith("HPI: Right") and (drafting.part, drafting.parts) == (1, 1)
    assert not any(section.lines for section in presenter.view.sections)
    presenter.draft()
    assert len(desk.client.requests) == 1


def test_stop_adds_nothing_and_says_so(desk: NoteDesk) -> None:
    """A stopped draft is partial: its lines must not become lines of the note."""
    presenter = NotePresenter(desk.workspace)
    presenter.draft()
    desk.pass_s(1.0)
    presenter.stop()
    assert presenter.view.drafting is None
    assert presenter.view.status[0].words == "Stopped. Partial result, not for use."
    desk.pass_s(30, 1.0)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None
    presenter.dismiss_status()
    assert presenter.view.status == ()


def test_a_stale_run_is_dropped(desk: NoteDesk) -> None:
    """A draft of one patient that lands in another's note is the worst this app could do."""
    presenter = NotePresenter(desk.workspace)
    presenter.draft()
    desk.pass_s(0.5)
    first = desk.workspace.encounter
    desk.workspace.new_encounter(BEN)
    assert presenter.view.rows == () and presenter.view.drafting is None
    desk.pass_s(30, 1.0)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None
    assert first is not None
    desk.workspace.open(first.id)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None


def started(*events: Any) -> Any:
    """An engine that begins a run and then says these things."""

    def answer(request: Any) -> Iterator[After]:
        yield After(0.0, Started(request.run_id, request.encounter_id, "note", 1))
        for number, make in enumerate(events, 1):
            yield After(number * 0.1, make(request))

    return answer


EMPTY: dict[str, Any] = {"sections": [], "withheld": 0, "notices": []}
STATES = {
    "died": ([lambda _r: Died(-11)], "The suggestion engine stopped. Your entries are saved. Try again."),
    "unreadable": (
        [lambda r: Unreadable(r.run_id), lambda r: Result(r.run_id, r.encounter_id, "note", EMPTY)],
        "The model's answer could not be read. Nothing was added.",
    ),
    "too_long": (
        [lambda r: TooLong(r.run_id, 20), lambda r: Result(r.run_id, r.encounter_id, "note", EMPTY)],
        "Note is longer than the model can read. The first 20 min are left out.",
    ),
    "failed": ([lambda r: Failed(r.run_id, "no")], tr("engine.failed")),
    "mismatch": (
        [lambda _r: Refused("mismatch", "changed")],
        "The model file was changed. Suggestions are off.",
    ),
    "unverified": ([lambda _r: Refused("unverified", "no")], "This build has not passed its device test."),
    "low_memory": (
        [lambda _r: Refused("low_memory", "no", 900_000_000, 1_600_000_000)],
        "Not enough free memory (0.9 of 1.6 GB). Close other apps or use the small model.",
    ),
    "throttled": (
        [lambda _r: DeviceReading(81.0, True, 1, 1)],
        "Device is hot (81 C). Slower than usual.",
    ),
}


@pytest.mark.parametrize("state", sorted(STATES))
def test_every_state_says_its_words(tmp_path: Path, state: str) -> None:
    """A state without words leaves the clinician waiting for something that will not come."""
    events, words = STATES[state]
    desk = NoteDesk(tmp_path, answer=started(*events))
    presenter = NotePresenter(desk.workspace)
    presenter.draft()
    desk.pass_s(2.0)
    assert words in [line.words for line in presenter.view.status]
    if state != "too_long":
        assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None
    desk.close()


def test_loading_and_missing_say_their_words(tmp_path: Path) -> None:
    """Before the model is there, the reason why nothing happens must be in sight."""
    from edge.app.engine.messages import Loading

    desk = NoteDesk(tmp_path, loading=(After(0.0, Loading(0.1, 12.0)),))
    presenter = NotePresenter(desk.workspace)
    desk.workspace.runs.start_engines()
    desk.pass_s(0.2)
    assert "Loading model, about 12 s" in [line.words for line in presenter.view.status]
    desk.close()
    other = NoteDesk(tmp_path / "b", loading=(After(0.0, Refused("missing", "none")),))
    view = NotePresenter(other.workspace)
    other.workspace.runs.start_engines()
    other.pass_s(0.2)
    assert view.view.draft_reason.startswith("No model on this device")
    other.close()


def test_death_keeps_what_was_typed_and_retry_starts_again(tmp_path: Path) -> None:
    """An engine that crashes must not take a person's work with it."""
    desk = NoteDesk(tmp_path, answer=started(lambda _r: Died(-9)))
    presenter = NotePresenter(desk.workspace)
    presenter.add_line("PLAN", "Gonioscopy of both eyes.")
    presenter.add_turn("patient", "it began at noon")
    presenter.draft()
    desk.pass_s(1.0)
    assert card(presenter, "Gonioscopy").status is LineStatus.KEPT
    assert presenter.view.rows[-1].text == "it began at noon"
    assert presenter.view.status[0].retry
    desk.client.answer = note_answer(VALUE)
    presenter.retry()
    assert desk.client.starts == 2
    presenter.draft()
    desk.pass_s(30, 1.0)
    assert card(presenter, "eye pain") and card(presenter, "Gonioscopy")


def test_redraft_asks_and_keeps_own_lines(desk: NoteDesk) -> None:
    """A second draft must not overwrite what a person wrote or changed."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    presenter.add_line("PLAN", "See tomorrow.")
    presenter.edit_line(card(presenter, "eye pain").id, "Severe right eye pain for four hours.")
    presenter.draft()
    assert presenter.view.ask == "redraft" and len(desk.client.requests) == 1
    presenter.cancel_ask()
    assert presenter.view.ask == "" and len(desk.client.requests) == 1
    presenter.draft()
    presenter.draft_now()
    desk.pass_s(30, 1.0)
    assert card(presenter, "See tomorrow") and card(presenter, "Severe right eye pain").was
    assert len([one for one in desk.note.lines if "eye pain" in one.text]) == 1


def test_keep_edit_remove_and_undo(desk: NoteDesk) -> None:
    """Each decision must be possible, visible and reversible."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    pain, none = card(presenter, "eye pain").id, card(presenter, "diabetes").id
    presenter.keep(pain)
    presenter.remove(none)
    assert card(presenter, "eye pain").status is LineStatus.KEPT
    assert card(presenter, "diabetes").status is LineStatus.REMOVED
    presenter.edit_line(pain, "  Right eye pain  since noon. ")
    assert card(presenter, "since noon").status is LineStatus.EDITED
    assert card(presenter, "since noon").was == "Right eye pain for four hours."
    presenter.reopen(pain)
    presenter.reopen(none)
    assert card(presenter, "four hours").status is LineStatus.OPEN
    assert card(presenter, "diabetes").status is LineStatus.OPEN
    presenter.edit_line(none, "   ")
    assert card(presenter, "diabetes").status is LineStatus.REMOVED


def test_each_mark_needs_its_own_tap(desk: NoteDesk) -> None:
    """One tap that confirms two numbers confirms one that nobody looked at."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    drug = card(presenter, "Lisinopril")
    presenter.confirm_mark(drug.id, drug.to_confirm[0].index)
    assert [mark.words for mark in card(presenter, "Lisinopril").to_confirm] == ["20 mg"]


def test_links_light_rows_and_rows_show_their_lines(desk: NoteDesk) -> None:
    """Both directions of a link must lead to the same words."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    reached: list[int] = []
    presenter.on_row = reached.append
    presenter.select_line(card(presenter, "Lisinopril").id)
    assert presenter.view.lit_rows == (4, 4) and reached == [4] and card(presenter, "Lisinopril").selected
    presenter.select_line(card(presenter, "Lisinopril").id)
    assert presenter.view.lit_rows == (0, -1)
    presenter.select_row(2)
    assert presenter.view.row_uses == 1 and card(presenter, "eye pain").uses_row
    assert not card(presenter, "Lisinopril").uses_row


def test_a_changed_transcript_makes_the_note_stale(desk: NoteDesk) -> None:
    """A link into a text that changed shows other words as the source."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    presenter.edit_row(1, "what brings you in ?")
    assert presenter.view.stale and card(presenter, "eye pain").stale and card(presenter, "eye pain").links == ()
    assert not card(presenter, "diabetes").stale and not card(presenter, "diabetes").linked
    desk.workspace.undo()
    assert not presenter.view.stale and card(presenter, "eye pain").links


def test_paste_asks_before_it_replaces(desk: NoteDesk) -> None:
    """A tap on Paste must not wipe a recorded visit."""
    presenter = NotePresenter(desk.workspace)
    presenter.paste("  ")
    assert presenter.view.message == tr("note.pasted_nothing")
    presenter.paste("Doctor: and then ?")
    assert presenter.view.ask == "replace" and len(presenter.view.rows) == 6
    presenter.answer_replace(replace_all=False)
    assert presenter.view.visit.text.startswith(VISIT.strip()) and presenter.view.visit.text.endswith("and then ?")
    presenter.paste("Doctor: new\r\nPatient: yes")
    presenter.answer_replace(replace_all=True)
    assert [row.text for row in presenter.view.rows] == ["new", "yes"]
    presenter.paste("other")
    presenter.cancel_ask()
    presenter.answer_replace(replace_all=True)
    assert [row.text for row in presenter.view.rows] == ["new", "yes"]


def test_a_file_that_is_no_text_is_said(desk: NoteDesk, tmp_path: Path) -> None:
    """A picture as a transcript must end in words, not in an error."""
    presenter = NotePresenter(desk.workspace)
    (tmp_path / "x.txt").write_bytes(b"\x00\x01")
    presenter.read_file(tmp_path / "x.txt")
    assert presenter.view.message == tr("note.file_not_text") and len(presenter.view.rows) == 6


def test_speech_marks_wait_for_a_tap(desk: NoteDesk) -> None:
    """'160 over 95' that speech wrote as 165 must be looked at."""
    presenter = NotePresenter(desk.workspace)
    presenter.add_speech("patient", "it was 165 and i do not smoke")
    view = presenter.view
    words = [mark.words for mark in view.visit_marks]
    assert "165" in words and "not" in words
    index = next(mark.index for mark in view.visit_marks if mark.words == "165")
    assert presenter.row_of_mark(index) == 7
    presenter.confirm_visit(index)
    assert "165" not in [mark.words for mark in presenter.view.visit_marks]


def test_comes_to_a_place_from_another_screen(desk: NoteDesk) -> None:
    """'Show' on the review screen must show the line."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    lines: list[str] = []
    presenter.on_line = lines.append
    pain = card(presenter, "eye pain").id
    presenter.show(Ref("line", pain))
    assert lines == [pain] and card(presenter, "eye pain").selected
    start = VISIT.index("any trauma")
    presenter.show(Ref("transcript", "", start, start + 5))
    assert presenter.view.lit_rows == (5, 5)


def test_reasons_why_no_draft(tmp_path: Path) -> None:
    """A button that does nothing needs its reason beside it."""
    desk = NoteDesk(tmp_path, visit="")
    presenter = NotePresenter(desk.workspace)
    assert presenter.view.draft_reason == tr("note.need_transcript")
    desk.workspace.close()
    assert not presenter.view.open
    bare = NoteDesk(tmp_path / "bare")
    bare.workspace.services.engines.clear()  # type: ignore[attr-defined]
    assert NotePresenter(bare.workspace).view.draft_reason == tr("note.engine_none")
    desk.close()
    bare.close()


def test_signed_is_read_only(tmp_path: Path) -> None:
    """After the signature nothing may change, and an edit that is tried says why."""
    desk = NoteDesk(tmp_path, visit="")
    presenter = NotePresenter(desk.workspace)
    desk.sign()
    assert presenter.view.read_only and presenter.view.draft_reason == tr("note.signed")
    presenter.add_line("PLAN", "Late.")
    assert presenter.view.message == tr("errors.signed") and not presenter.view.has_note
    desk.close()


def test_no_words_in_a_repr_or_after_a_lock(desk: NoteDesk) -> None:
    """A traceback or a locked screen must not show a patient's words."""
    presenter = NotePresenter(desk.workspace)
    desk.draft()
    presenter.select_row(2)
    shown = repr(presenter.view)
    assert "eye" not in shown and "isinopril" not in shown
    desk.workspace.lock()
    assert presenter.view == type(presenter.view)()
    assert presenter._rows == () and presenter._text == ""


def test_both_languages(desk: NoteDesk) -> None:
    """German words on a German screen, for rules' notices too."""
    desk.draft()
    translator.language = "de"
    assert NotePresenter(desk.workspace).view.notices == (
        "Es sind keine Sprecher angegeben: Wer was gesagt hat, ist nicht bekannt.",
    )


def test_presenter_is_let_go(desk: NoteDesk) -> None:
    """A presenter of a thrown-away screen that still listens slows every lock down."""
    import gc

    NotePresenter(desk.workspace)
    gc.collect()
    desk.workspace.edit(edits.set_visit, VisitText("x"))
    assert not any("NotePresenter" in repr(one.__closure__) for one in desk.workspace._listeners)


def test_two_thousand_lines_are_quick(tmp_path: Path) -> None:
    """A long visit must not make each tap wait."""
    import time

    desk = NoteDesk(tmp_path, visit="\n".join(f"[patient] line {n} of the long visit" for n in range(2000)))
    presenter = NotePresenter(desk.workspace)
    began = time.process_time()
    for number in range(1, 21):
        presenter.select_row(number)
    assert len(presenter.view.rows) == 2000 and (time.process_time() - began) / 20 < 0.01
    desk.close()


def test_pieces_of_an_ended_run_are_not_shown(desk: NoteDesk) -> None:
    """What an engine still says of a stopped run must not appear."""
    presenter = NotePresenter(desk.workspace)
    presenter.draft()
    run_id = desk.client.requests[0].run_id  # type: ignore[union-attr]
    presenter.stop()
    desk.client.push(Piece(run_id, "ghost"))
    desk.client.push(LineDrafted(run_id, {"section": "HPI", "text": "ghost"}))
    desk.pass_s(0.5)
    assert presenter.view.drafting is None and isinstance(desk.client, ScriptedClient)
