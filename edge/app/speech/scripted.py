"""A SpeechClient that says what a test wants, when audio has come that far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.app.speech.protocol import SpeechEvent
from edge.errors import EdgeError


@dataclass
class ScriptedSpeech:
    """events: each comes once audio up to its end was fed, the rest after `stop`. fail_on_start: raised by `start`."""

    events: Sequence[SpeechEvent] = ()
    fail_on_start: EdgeError | None = None
    alive: bool = False
    listening: bool = False
    failure: EdgeError | None = None
    started: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    fed_ms: float = 0.0
    _left: list[SpeechEvent] = field(default_factory=list)
    _stopping: bool = False

    def start(self, language: str, terms: tuple[str, ...]) -> None:
        """Begin anew with all events."""
        self.failure = None
        if self.fail_on_start is not None:
            raise self.fail_on_start
        self.started.append((language, terms))
        self._left, self.fed_ms, self._stopping = list(self.events), 0.0, False
        self.alive = self.listening = True

    def feed(self, pcm16: bytes, rate_hz: int) -> None:
        """Count the audio."""
        if self.listening and not self._stopping:
            self.fed_ms += len(pcm16) / 2 / rate_hz * 1000

    def poll(self) -> list[SpeechEvent]:
        """Events whose time has come."""
        found = [one for one in self._left if self._stopping or one.end_ms <= self.fed_ms]
        self._left = [one for one in self._left if one not in found]
        if self._stopping:
            self.listening = False
        return found

    def stop(self) -> None:
        """The rest comes with the next poll."""
        self._stopping = True

    def close(self) -> None:
        """End."""
        self.alive = self.listening = False
        self._left = []

    def die(self, error: EdgeError) -> None:
        """The process is gone."""
        self.alive = self.listening = False
        self.failure = error
