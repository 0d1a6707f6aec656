"""The speech process: python -m edge.app.speech.host MODEL_FOLDER

Reads requests from standard input and writes events to standard output, both lines of messages.py. It runs at low
priority, opens no file but the model's and no socket, and ends when its input ends: audio dies with it.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edge.app.speech.messages import MAX_LINE_BYTES, REQUESTS, audio, line, parse
from edge.app.speech.recogniser import FasterWhisper, Recogniser
from edge.app.speech.segments import Cutter, Piece, to_samples
from edge.errors import EdgeError, ExitStatus

NICE = 15
PROMPT_WORDS = 60  # Whisper reads 224 tokens of prompt and forgets what comes before


def prompt_of(terms: list[str]) -> str:
    """The term prompt: words to expect, as a sentence."""
    return f"{', '.join(terms[:PROMPT_WORDS])}." if terms else ""


@dataclass
class Session:
    """One recording after the other."""

    recogniser: Recogniser
    write: Callable[[bytes], None]
    language: str = ""
    prompt: str = field(default="", repr=False)
    cutter: Cutter | None = None

    def handle(self, kind: str, values: dict[str, object]) -> None:
        """Do one request."""
        if kind == "start":
            terms = values["terms"] if isinstance(values["terms"], list) else []
            self.language, self.prompt = str(values["language"]), prompt_of([str(one) for one in terms])
            self.cutter = Cutter()
        elif kind == "feed" and self.cutter is not None:
            for piece in self.cutter.feed(to_samples(*audio(values))):
                self._read(piece)
        elif kind == "stop":
            for piece in self.cutter.rest() if self.cutter else []:
                self._read(piece)
            self.cutter = None
            self.write(line("stopped"))

    def _read(self, piece: Piece) -> None:
        if piece.silent:
            return
        for text, start, end in self.recogniser.read(piece, self.language, self.prompt):
            if words := " ".join(text.split()):
                at, until = (piece.start_ms + round(1000 * moment) for moment in (start, end))
                self.write(line("text", text=words, start_ms=at, end_ms=until, final=True, speaker=""))


def serve(
    load: Callable[[], Recogniser], source: BinaryIO, write: Callable[[bytes], None], orphaned: Callable[[], None]
) -> ExitStatus:
    """Load the model and do requests. An error that a person can mend is told and ends it.

    orphaned: called when the input ends without a close: the app is gone, and nobody waits for the rest of the audio.
    """
    requests: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        # A thread of its own: while a piece is read the pipe must not fill up and hold the app's next frame.
        last = b""
        while data := source.readline(MAX_LINE_BYTES):
            requests.put(data)
            last = data
        requests.put(b"")
        if last != line("close"):
            orphaned()

    threading.Thread(target=listen, daemon=True).start()
    try:
        recogniser = load()
        write(line("ready", model=recogniser.name))
        session = Session(recogniser, write)
        while data := requests.get():
            kind, values = parse(data, REQUESTS)
            if kind == "close":
                break
            session.handle(kind, values)
    except EdgeError as error:
        write(line("failed", what=error.what, mend=error.mend, key=str(vars(error).get("key", ""))))
        return error.status
    return ExitStatus.OK


def main(arguments: list[str]) -> int:
    """Run the process."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    # A library that prints must not print between our lines: its output goes to standard error, which nobody reads.
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if len(arguments) != 1:
        wrong = "the speech process was started wrongly"
        target.write(line("failed", what=wrong, mend="install the app again", key=""))
        return ExitStatus.USAGE
    try:
        folder = Path(arguments[0])
        return serve(
            lambda: FasterWhisper(folder),
            sys.stdin.buffer,
            lambda data: _all(target, data),
            lambda: os._exit(ExitStatus.OK),
        )
    except (BrokenPipeError, KeyboardInterrupt):
        return ExitStatus.OK  # the app is gone


def _all(target: object, data: bytes) -> None:
    """Write a whole line; an unbuffered pipe may take less at once."""
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
