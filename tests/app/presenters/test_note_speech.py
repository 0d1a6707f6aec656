"""The recorder: nothing without a tap, every final utterance once, and into the right patient's transcript."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from edge.app.presenters.note import NotePresenter
from edge.app.presenters.note_speech import SpeechPresenter
from edge.app.speech.protocol import SpeechEvent
from edge.app.speech.scripted import ScriptedSpeech
from edge.clinical.encounter.model import Origin
from edge.errors import MissingToolError, ResourceError
from tests.app.presenters.bedside_desk import BEN
from tests.app.presenters.note_desk import NoteDesk

SECOND = array("h", [8000, -8000] * 8000).tobytes()


@dataclass
class Microphone:
    """A second of sound a frame."""

    rate_hz: int = 16_000
    ended: bool = False
    fails: bool = False
    closed: list[bool] = field(default_factory=list)

    def read(self) -> bytes:
        if self.fails:
            raise ResourceError("the microphone gives no sound", mend="check that one is plugged in")
        return SECOND

    def close(self) -> None:
        self.ended = True
        self.closed.append(True)


SAID = (
    SpeechEvent("it was", 0, 900, False),
    SpeechEvent("it was 160 over 95", 0, 2000, True),
    SpeechEvent("no trauma", 2000, 9000, True),
)


def make(tmp_path: Path, client: Any = None, **options: Any) -> tuple[NoteDesk, SpeechPresenter, Microphone]:
    desk = NoteDesk(tmp_path, visit="")
    speech = client if client is not None else ScriptedSpeech(SAID)
    object.__setattr__(desk.workspace.services, "speech", lambda: speech)
    microphone = Microphone(**options)
    return desk, SpeechPresenter(NotePresenter(desk.workspace), lambda: microphone), microphone


def test_without_speech_it_says_what_to_install(tmp_path: Path) -> None:
    """A button that does nothing needs its reason."""
    desk = NoteDesk(tmp_path)
    view = SpeechPresenter(NotePresenter(desk.workspace)).view
    assert view.state == "none" and "Whisper" in view.hint
    desk.close()


def test_utterances_are_appended_and_wait_for_a_tap(tmp_path: Path) -> None:
    """A number that speech wrote must not look typed."""
    desk, speech, _ = make(tmp_path)
    assert speech.view.state == "ready" and not speech.recording
    speech.set_speaker("patient")
    speech.start()
    assert speech.view.state == "recording"
    speech.tick()
    assert speech.view.heard == "it was" and speech.view.time == "0:01" and speech.view.level == 0.25
    speech.tick()
    encounter = desk.workspace.encounter
    assert encounter is not None and encounter.visit.text == "Patient: it was 160 over 95"
    assert encounter.visit.origin is Origin.SPEECH and encounter.visit.marks and speech.view.heard == ""
    speech.set_speaker("clinician")
    speech.stop()
    assert speech.view.state == "working"
    speech.tick()
    encounter = desk.workspace.encounter
    assert encounter is not None and encounter.visit.text.endswith("\nDoctor: no trauma")
    assert speech.view.state == "ready"
    desk.close()


def test_another_patient_ends_the_recording(tmp_path: Path) -> None:
    """Words of one patient in another's transcript are the worst this recorder could do."""
    desk, speech, microphone = make(tmp_path)
    speech.start()
    desk.workspace.new_encounter(BEN)
    speech.tick()
    assert microphone.closed and not speech.recording
    assert desk.workspace.encounter is not None and desk.workspace.encounter.visit.text == ""
    desk.close()


@pytest.mark.parametrize("error", [MissingToolError("speech is not installed", mend="install it")])
def test_what_cannot_start_is_said(tmp_path: Path, error: MissingToolError) -> None:
    """And the microphone is let go."""
    desk, speech, microphone = make(tmp_path, ScriptedSpeech(fail_on_start=error))
    speech.start()
    assert speech.view.state == "failed" and speech.view.error and microphone.closed
    desk.close()


def test_a_microphone_that_fails_keeps_what_was_written(tmp_path: Path) -> None:
    """What was heard before stays in the transcript."""
    desk, speech, microphone = make(tmp_path)
    speech.start()
    speech.tick()
    speech.tick()
    microphone.fails = True
    speech.tick()
    speech.tick()
    assert speech.view.state == "failed" and speech.view.error
    assert desk.workspace.encounter is not None and "160 over 95" in desk.workspace.encounter.visit.text
    desk.close()


def test_a_recogniser_that_dies_is_said(tmp_path: Path) -> None:
    """A recording that nobody writes down must not look as if it ran."""
    client = ScriptedSpeech(SAID)
    desk, speech, microphone = make(tmp_path, client)
    speech.start()
    client.die(ResourceError("the speech process ended", mend="type the visit"))
    speech.tick()
    assert speech.view.state == "failed" and microphone.closed
    assert tr("note.speech_failed") == speech.view.words
    desk.close()
