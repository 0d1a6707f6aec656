"""The recorder of the note: microphone or sound file into the recogniser, its words into the transcript.

Rules
- Nothing records before a tap; sound is held in memory only.
- Each final utterance is appended at once, as the chosen speaker's words; a piece that may still change is only shown.
- A recording belongs to the encounter it was begun in: another one that is opened ends it, and what still comes is
  dropped.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app.i18n import tr
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import words
from edge.app.speech.protocol import SpeechClient
from edge.app.speech.recorder import MicrophoneSource, Recorder, Source, WavSource
from edge.app.speech.visit import terms_for
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.presenters.note import NotePresenter

SPEAKERS = ("", "clinician", "patient", "other")
SOUND_ENDINGS = (".wav",)
FULL_SCALE = 32768.0
LEVEL_FALL = 0.8  # of the level shown, each frame: a level that jumps cannot be read


@dataclass(frozen=True)
class SpeechView:
    """state: none (not installed), ready, recording, working or failed. level: 0 to 1. time: m:ss. heard: a piece that
    may still change. error: words for what went wrong."""

    state: str = "ready"
    words: str = ""
    hint: str = ""
    time: str = "0:00"
    level: float = 0.0
    speaker: str = ""
    heard: str = field(default="", repr=False)
    error: str = ""


class LevelSource:
    """A source that also says how loud it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.rate_hz = source.rate_hz
        self.level = 0.0

    @property
    def ended(self) -> bool:
        """See Source."""
        return self._source.ended

    def read(self) -> bytes:
        """See Source."""
        data = self._source.read()
        if data:
            samples = array("h", data[: len(data) // 2 * 2])
            self.level = max(self.level * LEVEL_FALL, min(1.0, max(abs(one) for one in samples) / FULL_SCALE))
        else:
            self.level *= LEVEL_FALL
        return data

    def close(self) -> None:
        """See Source."""
        self._source.close()


class SpeechPresenter(Presenter[SpeechView]):
    """See the module's docstring. microphone: makes the source, injected by tests. tick is called once a frame."""

    def __init__(self, note: NotePresenter, microphone: Callable[[], Source] = MicrophoneSource) -> None:
        super().__init__(SpeechView())
        self._note, self._microphone = note, microphone
        self._client: SpeechClient | None = None
        self._recorder: Recorder | None = None
        self._source: LevelSource | None = None
        self._encounter_id = ""
        self._speaker = ""
        self._heard = ""
        self._error = ""
        self._working = False
        self.refresh()

    @property
    def recording(self) -> bool:
        """Sound is taken now."""
        return self._recorder is not None and self._recorder.running

    def set_speaker(self, speaker: str) -> None:
        """Who speaks from now on: clinician, patient, other or '' (not said)."""
        self._speaker = speaker if speaker in SPEAKERS else ""
        self.refresh()

    def start(self) -> None:
        """Begin to record from the microphone."""
        self._begin(self._microphone)

    def start_file(self, path: Path) -> None:
        """Read a sound file."""
        self._begin(lambda: WavSource(path))

    def _begin(self, open_source: Callable[[], Source]) -> None:
        workspace = self._note.workspace
        make, encounter = workspace.services.speech, workspace.encounter
        if make is None or encounter is None or self._recorder is not None:
            return
        self._error, self._heard, self._working = "", "", False
        source: Source | None = None
        try:
            self._client = self._client or make()
            source = open_source()
            self._client.start(workspace.settings.language, terms_for(encounter))
        except EdgeError as error:
            if source is not None:
                source.close()
            self._error = words(error)
            self.refresh()
            return
        self._encounter_id = encounter.id
        self._source = LevelSource(source)
        self._recorder = Recorder(self._source, self._client)
        workspace.audit("speech-start", encounter.id)
        self.refresh()

    def stop(self) -> None:
        """End the recording; the last words still come."""
        if self._recorder is not None:
            self._recorder.stop()
            self._working = True
            self.refresh()

    def close(self) -> None:
        """End everything now; what was not written down yet is dropped."""
        if self._recorder is not None:
            self._recorder.stop()
        self._recorder, self._source, self._heard, self._working = None, None, "", False
        if self._client is not None:
            self._client.close()
            self._client = None
        self.refresh()

    def tick(self) -> None:
        """Once a frame: carry sound to the recogniser and its words to the transcript. Never waits."""
        if self._recorder is None or self._client is None:
            return
        encounter = self._note.workspace.encounter
        if encounter is None or encounter.id != self._encounter_id:
            self.close()
            return
        try:
            self._recorder.pump()
        except EdgeError as error:
            self._error = words(error)
        if not self._recorder.running:
            self._working = True
        for event in self._client.poll():
            if event.final:
                self._heard = ""
                self._note.add_speech(event.speaker or self._speaker, event.text)
            else:
                self._heard = event.text
        if self._client.failure is not None:
            self._error = words(self._client.failure)
            self._end()
        elif not self._client.listening:
            self._end()
        if self._recorder is not None:
            self._note.workspace.touch()
        self.refresh()

    def _end(self) -> None:
        if self._recorder is not None:
            self._recorder.stop()
            self._note.workspace.audit("speech-stop", self._encounter_id)
        self._recorder, self._source, self._heard, self._working = None, None, "", False

    def make_view(self) -> SpeechView:
        """See Presenter."""
        if self._note.workspace.services.speech is None:
            return SpeechView("none", tr("note.speech_none"), tr("note.speech_none_hint"))
        seconds = int(self._recorder.recorded_ms / 1000) if self._recorder is not None else 0
        time = f"{seconds // 60}:{seconds % 60:02d}"
        state, said = "ready", tr("note.speech_ready")
        if self.recording:
            state, said = "recording", tr("note.speech_recording", time=time)
        elif self._recorder is not None:
            state, said = "working", tr("note.speech_working")
        elif self._error:
            state, said = "failed", tr("note.speech_failed")
        # Steps of a twentieth: a bar that differs by less needs no drawing.
        level = round((self._source.level if self._source is not None and self.recording else 0.0) * 20) / 20
        return SpeechView(state, said, tr("note.speech_consent"), time, level, self._speaker, self._heard, self._error)
