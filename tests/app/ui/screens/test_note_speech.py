"""The recorder's card on the note screen: its states in words, its buttons, and nothing left when it goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from edge.app.presenters.note import NotePresenter
from edge.app.speech.protocol import SpeechEvent
from edge.app.speech.scripted import ScriptedSpeech
from tests.app.presenters.note_desk import NoteDesk
from tests.app.presenters.test_note_speech import Microphone
from tests.app.ui.driver import Driver
from tests.app.ui.screens.screen_checks import alive, overflowing, small_targets, words_left

SAID = (SpeechEvent("the pressure was", 0, 1000, False), SpeechEvent("it was 160 over 95", 0, 600_000, True))


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path, visit="")
    object.__setattr__(made.workspace.services, "speech", lambda: ScriptedSpeech(SAID))
    yield made
    made.close()


def mount(ui: Driver, desk: NoteDesk, **options: Any) -> Any:
    from edge.app.ui.screens.note import NoteScreen

    screen = ui.mount(lambda: NoteScreen(NotePresenter(desk.workspace), desk.workspace), **options)
    screen.show()
    ui.frame(5)
    screen.record()
    ui.frame(3)
    screen._speech.speech._microphone = Microphone
    return screen


def test_record_say_stop(ui: Driver, desk: NoteDesk) -> None:
    """Start, time and level in sight, the words that may still change, stop, and the utterance with its taps."""
    screen = mount(ui, desk)
    panel = screen._speech
    assert tr("note.speech_ready") in ui.words(panel) and tr("note.speech_consent") in ui.words(panel)
    ui.tap(next(one for one in panel.ids.who.children if one.key == "patient"))
    assert panel.ids.main.height >= 56
    ui.tap(panel.ids.main)
    ui.until(lambda: "the pressure was" in ui.words(panel))
    assert tr("note.speech_stop") in ui.words(panel) and panel.ids.level.fraction > 0
    ui.tap(panel.ids.main)
    ui.until(lambda: panel.speech.view.state == "ready")
    ui.frame(4)
    assert screen.presenter.view.rows[0].speaker == "patient" and screen.presenter.view.visit_marks
    assert tr("note.speech_marks_hint") in ui.words()


def test_leaving_the_screen_ends_the_recording(ui: Driver, desk: NoteDesk) -> None:
    """A microphone that goes on behind another screen is a breach of trust."""
    screen = mount(ui, desk)
    speech = screen._speech.speech
    speech.start()
    assert speech.recording
    screen.hide()
    assert not speech.recording and screen._speech is None


def test_a_lock_forgets_what_was_heard(ui: Driver, desk: NoteDesk) -> None:
    """Half an utterance is a patient's word too."""
    known = alive()
    screen = mount(ui, desk)
    screen._speech.speech.start()
    ui.until(lambda: bool(words_left(["pressure"], known)))
    desk.workspace.lock()
    screen.clear_text()
    screen.hide()
    ui.frame(3)
    assert words_left(["pressure"], known) == []


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_targets_and_words_fit(ui: Driver, desk: NoteDesk, scale: float) -> None:
    """The recorder is used with gloves and from a distance."""
    for size in ((1280, 800), (800, 1280)):
        screen = mount(ui, desk, scale=scale, size=size, language="de")
        screen._speech.speech.start()
        ui.frame(8)
        assert small_targets(ui, screen._speech) == [] and overflowing(ui, screen._speech) == []
        screen.hide()
