"""The speech process seen from the app: starts it, feeds it, reads it, and survives its death."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.app.export.keyed import keyed
from edge.app.speech.messages import EVENTS, MAX_FEED_BYTES, event, feed_line, line, parse
from edge.app.speech.protocol import SpeechClient, SpeechEvent
from edge.app.speech.recogniser import check_folder, check_package
from edge.errors import EdgeError, InputError, ResourceError
from edge.privacy import TELEMETRY_OFF

HELD_LINES = 256  # audio that the process did not take yet: at a tenth of a second each, some 25 s
CLOSE_WAIT_S = 2.0


class PipeSpeech:
    """A SpeechClient in a child process. command: for tests; else the host with the model's folder."""

    def __init__(self, model_folder: Path, command: Sequence[str] | None = None) -> None:
        self._folder = model_folder
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._told: deque[tuple[subprocess.Popen[bytes], bytes]] = deque()
        self._listening = False
        self._stopping = False
        self.failure: EdgeError | None = None
        self.model = ""

    @property
    def alive(self) -> bool:
        """The process runs."""
        return self._child is not None and self._child.poll() is None and self.failure is None

    @property
    def listening(self) -> bool:
        """A recording runs, or its end is still being read."""
        return self._listening and self.failure is None

    def start(self, language: str, terms: tuple[str, ...]) -> None:
        """Begin a recording; the process is started when it is not there. Errors: MissingToolError, InputError."""
        self.failure = None
        if not self.alive:
            self._spawn()
        self._listening, self._stopping = True, False
        self._send(line("start", language=language, terms=list(terms)))

    def _spawn(self) -> None:
        if self._command is None:
            check_folder(self._folder)
            check_package()
        command = self._command or [sys.executable, "-m", "edge.app.speech.host", str(self._folder)]
        environment = os.environ | TELEMETRY_OFF
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What a library prints might be words of the visit: nobody reads it and nothing keeps it.
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise ResourceError("the speech process cannot be started", mend="type the visit") from error
        self._child, self._lines = child, queue.Queue()
        threading.Thread(target=self._write_all, args=(child, self._lines), daemon=True).start()
        threading.Thread(target=self._read_all, args=(child,), daemon=True).start()

    def _write_all(self, child: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
        # A thread of its own: a pipe that is full must not hold a frame of the app.
        if child.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):
            while (data := lines.get()) is not None:
                child.stdin.write(data)
                child.stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            child.stdin.close()

    def _read_all(self, child: subprocess.Popen[bytes]) -> None:
        if child.stdout is None:
            return
        with contextlib.suppress(OSError, ValueError):
            for data in child.stdout:
                self._told.append((child, data))
        self._told.append((child, b""))

    def _send(self, data: bytes) -> None:
        self._lines.put(data)

    def feed(self, pcm16: bytes, rate_hz: int) -> None:
        """Give audio. Audio that comes after `stop`, or while the process is 25 s behind, is told as a failure, since
        words would be missing.
        """
        if not self.alive or not self._listening or self._stopping:
            return
        if self._lines.qsize() > HELD_LINES:
            slow = ResourceError("speech recognition is too slow on this device", mend="type the visit")
            self._fail(keyed(slow, "speech.too_slow"))
            return
        for start in range(0, len(pcm16), MAX_FEED_BYTES):
            self._send(feed_line(pcm16[start : start + MAX_FEED_BYTES], rate_hz))

    def poll(self) -> list[SpeechEvent]:
        """What was recognised since the last call; notices the process's death."""
        found = []
        while self._told:
            child, data = self._told.popleft()
            if child is not self._child or self.failure is not None:
                continue  # of a process that was given up
            if not data:
                if self._child is not None:
                    gone = ResourceError("speech recognition stopped; the text so far is kept", mend="start it again")
                    self._fail(keyed(gone, "speech.stopped"))
                continue
            try:
                kind, values = parse(data, EVENTS)
            except EdgeError as error:
                self._fail(error)
                continue
            if kind == "text":
                found.append(event(values))
            elif kind == "ready":
                self.model = str(values["model"])
            elif kind == "stopped":
                self._listening = False
            elif kind == "failed":
                told = InputError(str(values["what"]), mend=str(values["mend"]))
                self._fail(keyed(told, str(values["key"])) if values["key"] else told)
        return found

    def stop(self) -> None:
        """End the recording; the rest comes with later polls."""
        if self.alive and self._listening and not self._stopping:
            self._stopping = True
            self._send(line("stop"))

    def close(self) -> None:
        """End the process; what it holds goes with it."""
        child, self._child = self._child, None
        self._listening = False
        self._told.clear()
        if child is None:
            return
        self._send(line("close"))
        self._lines.put(None)
        try:
            child.wait(CLOSE_WAIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def _fail(self, error: EdgeError) -> None:
        self.failure = error
        self._listening = False
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._lines.put(None)


def speech_factory(model_folder: Path) -> Callable[[], SpeechClient]:
    """What makes a client for this model; nothing is started before its first recording."""
    return lambda: PipeSpeech(model_folder)
