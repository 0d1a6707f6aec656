"""The recorder on the note screen: who speaks, start and stop, time and level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.clock import Clock

from edge.app.i18n import tr
from edge.app.presenters.folders import FolderBrowser
from edge.app.presenters.note_speech import SOUND_ENDINGS, SPEAKERS, SpeechPresenter
from edge.app.ui.kit import EdgeCard, load_kv
from edge.app.ui.screens.folder_dialog import FolderDialog
from edge.app.ui.screens.note_parts import ShownWide  # noqa: F401  (known to kv)


class SpeechPanel(EdgeCard):
    """A card above the transcript; it runs its presenter once a frame while it is there."""

    def __init__(self, note: Any, speech: SpeechPresenter | None = None, **kwargs: Any) -> None:
        self.speech = speech or SpeechPresenter(note)
        self.start_folder: Path | None = None
        super().__init__(**kwargs)
        # What is not shown hangs on no parent, and ids are weak.
        self._held = [self.ids[name] for name in ("level_row", "level", "who_part", "who", "buttons", "main", "file")]
        self._end = self.speech.subscribe(self.draw)
        self._timer = Clock.schedule_interval(lambda *_: self.speech.tick(), 0)
        self.draw()

    def draw(self, *_: object) -> None:
        """Draw the snapshot."""
        view, ids = self.speech.view, self.ids
        there = view.state != "none"
        ids.state.text, ids.hint.text = view.words, view.hint
        ids.state_icon.icon = {
            "none": "microphone-off", "recording": "record-circle", "working": "sync", "failed": "alert-circle",
        }.get(view.state, "microphone")  # fmt: skip
        ids.state_icon.tone = {"recording": "danger", "failed": "danger"}.get(view.state, "ink_2")
        ids.error.text, ids.heard.text = view.error, view.heard
        ids.level.fraction = view.level
        ids.level_box.show(view.state == "recording")
        ids.who_box.show(there)
        ids.who.options = [(key or "none", tr(f"note.speaker_{key or 'unknown'}")) for key in SPEAKERS]
        ids.who.selected = view.speaker or "none"
        ids.buttons_box.show(there)
        busy = view.state in ("recording", "working")
        ids.main.text = tr("note.speech_stop") if view.state == "recording" else tr("note.speech_start")
        ids.main.icon = "stop-circle" if view.state == "recording" else "record-circle"
        ids.main.disabled = view.state == "working"
        ids.file.disabled = busy

    def main(self) -> None:
        """Start or stop."""
        if self.speech.recording:
            self.speech.stop()
        else:
            self.speech.start()

    def choose_file(self) -> None:
        """Read a sound file."""
        browser = FolderBrowser(self.start_folder or Path.home(), SOUND_ENDINGS)
        FolderDialog(browser, self.speech.start_file, tr("note.speech_file")).open()

    def close(self) -> None:
        """End the recording."""
        self._timer.cancel()
        self._end()
        self.speech.close()
        self.clear_text()

    def clear_text(self) -> None:
        """Forget what was heard."""
        self.ids.heard.text = ""


load_kv(__file__)
