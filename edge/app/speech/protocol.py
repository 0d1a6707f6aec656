"""What the app needs of a speech recogniser, whatever it is and wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from edge.errors import EdgeError


@dataclass(frozen=True)
class SpeechEvent:
    """A piece of speech as text. start_ms, end_ms: since `start`; final: it will not change any more; a piece that is
    not final replaces the one before it. speaker: '' where the recogniser does not tell speakers apart.
    """

    text: str = field(repr=False)
    start_ms: int
    end_ms: int
    final: bool
    speaker: str = ""


class SpeechClient(Protocol):
    """A recogniser. No call blocks longer than a frame, except `start` (a process) and `close` (at most 2 s)."""

    @property
    def alive(self) -> bool:
        """It can take audio."""

    @property
    def listening(self) -> bool:
        """Between `start` and the last event after `stop`."""

    @property
    def failure(self) -> EdgeError | None:
        """Why it is not alive, None where nothing went wrong; cleared by `start`."""

    def start(self, language: str, terms: tuple[str, ...]) -> None:
        """Begin a recording. language: en, de ...; terms: words to expect. Errors: MissingToolError, InputError."""

    def feed(self, pcm16: bytes, rate_hz: int) -> None:
        """Take audio: 16-bit signed little endian, one channel."""

    def poll(self) -> list[SpeechEvent]:
        """What was recognised since the last call."""

    def stop(self) -> None:
        """End the recording; what was fed is still recognised and comes with later polls."""

    def close(self) -> None:
        """End the recogniser and drop what it holds."""
