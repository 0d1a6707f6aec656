"""An EngineClient over any line of bytes: threads read and write, the screen's thread only looks into a queue.

Rules
- One connection, one reader thread (it also starts the process) and one writer thread. The screen's thread never reads,
  writes, waits or starts anything.
- What comes faster than a frame is merged: text of a run to longer text, progress to the last one. When the screen does
  not look for a while, the reader stops at CAPACITY events and the engine waits: memory stays bounded.
- A line that is not a whole, known message is a fault of the engine: it is killed and has died. No error of it reaches
  the screen's thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Protocol

from edge.app.engine.client import RunGate
from edge.app.engine.messages import (
    MAX_LINE_BYTES,
    UNKNOWN_EXIT,
    Cancel,
    Close,
    DeviceReading,
    Died,
    DraftNote,
    Event,
    Failed,
    Loading,
    Piece,
    Progress,
    ProtocolError,
    RankDifferential,
    Refused,
    Request,
    RunBenchmark,
    decode,
    encode,
)

CAPACITY = 4096
STOP_S = 2.0
PIECE_CHARACTERS = 16384
NOT_STARTED = 127  # as a shell says of a command that it cannot start


class Channel(Protocol):
    """An open line to an engine. `readline`, `write` and `wait` block; `kill` may come from any thread."""

    def readline(self, limit: int) -> bytes:
        """The next line with its newline; what there is at `limit` bytes or at the end; b'' after it."""

    def write(self, data: bytes) -> None:
        """Hand bytes over. Errors: OSError, ValueError when the other side is gone."""

    def kill(self) -> None:
        """End the engine now; does nothing when it has ended."""

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, UNKNOWN_EXIT where there is none to know; None when it has not ended in time."""

    def close(self) -> None:
        """Free what the line holds."""


Opener = Callable[[Callable[[], bool]], Channel]


class Connection:
    """One life of an engine. open_channel: blocks, is called in the reader thread; its argument tells it to give up."""

    def __init__(self, open_channel: Opener) -> None:
        self._open_channel = open_channel
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._channel: Channel | None = None
        self._silent = self._killed = False
        threading.Thread(target=self._run, name="edge-engine-reader", daemon=True).start()

    @property
    def channel(self) -> Channel | None:
        """The open line; None before it is open."""
        return self._channel

    def send(self, data: bytes) -> None:
        """Hand a line to the writer. Never blocks."""
        self._outbox.put(data)

    def drain(self) -> list[Event]:
        """What has come. Never blocks longer than an append takes."""
        if not self._events:
            return []
        with self._changed:
            found = list(self._events)
            self._events.clear()
            self._changed.notify_all()
        return found

    def put(self, event: Event) -> None:
        """Queue an event, merged with the one before where that says the same."""
        with self._changed:
            if self._silent:
                return
            merged = _merged(self._events[-1], event) if self._events else None
            if merged is not None:
                self._events[-1] = merged
                return
            while len(self._events) >= CAPACITY and not self._silent and not isinstance(event, Died):
                self._changed.wait(1.0)
            if not self._silent:
                self._events.append(event)

    def kill(self, *, silent: bool) -> None:
        """End the engine now. silent: nothing more is said of it."""
        with self._changed:
            self._killed = True
            self._silent = self._silent or silent
            channel = self._channel
            self._changed.notify_all()
        if channel is not None:
            channel.kill()

    def close(self, grace_s: float) -> None:
        """Ask the engine to end; kill it when it has not after grace_s. Never blocks, nothing more is said of it."""
        with self._changed:
            self._silent = True
            self._changed.notify_all()
        self.send(encode(Close()))
        timer = threading.Timer(grace_s, self.kill, kwargs={"silent": True})
        timer.daemon = True
        timer.start()

    def _given_up(self) -> bool:
        return self._killed

    def _run(self) -> None:
        try:
            channel = self._open_channel(self._given_up)
        except (OSError, ValueError) as error:
            self.put(Died(NOT_STARTED, f"the engine could not be started ({type(error).__name__})"))
            return
        with self._changed:
            self._channel, killed = channel, self._killed
        if killed:
            channel.kill()
        writer = threading.Thread(target=self._write, args=(channel,), name="edge-engine-writer", daemon=True)
        writer.start()
        message, refused = "", False
        try:
            while line := channel.readline(MAX_LINE_BYTES + 1):
                event = _event_of(line)
                refused = refused or isinstance(event, Refused)
                self.put(event)
        except ProtocolError as error:
            message = f"the engine broke the protocol: {error}"
            channel.kill()
        except (OSError, ValueError):
            message = "the line to the engine broke"
            channel.kill()
        code = channel.wait(STOP_S)
        if code is None:  # it closed its output and goes on
            channel.kill()
            code = channel.wait(STOP_S)
        self._outbox.put(None)
        writer.join(STOP_S)
        channel.close()
        if not refused:
            self.put(Died(UNKNOWN_EXIT if code is None else code, message))

    def _write(self, channel: Channel) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                channel.write(data)
            except (OSError, ValueError):
                return  # the reader sees the end and says it


class LineClient:
    """An EngineClient over a Channel.

    Parameters
    ----------
    open_channel: makes the line; blocks, is called in a thread of its own.
    clock: monotonic seconds.
    stop_s: how long a run may go on after `cancel` before the engine is killed.
    """

    def __init__(
        self, open_channel: Opener, *, clock: Callable[[], float] = time.monotonic, stop_s: float = STOP_S
    ) -> None:
        self._open_channel = open_channel
        self._clock = clock
        self._stop_s = stop_s
        self._connection: Connection | None = None
        self._gate = RunGate()
        self._stop_by_s: dict[str, float] = {}

    @property
    def alive(self) -> bool:
        """See EngineClient."""
        return self._connection is not None

    def start(self) -> None:
        """See EngineClient."""
        if self._connection is None:
            self._connection = Connection(self._open_channel)

    def submit(self, request: Request) -> None:
        """See EngineClient. A request that is too long for a line fails as a run does."""
        if self._connection is None:
            return
        if isinstance(request, Cancel):
            self.cancel(request.run_id)
            return
        if isinstance(request, Close):
            self.close()
            return
        self._gate.submitted(request)
        try:
            self._connection.send(encode(request))
        except ProtocolError:
            self._connection.put(Failed(request.run_id, "the text is too long to be handed over"))

    def cancel(self, run_id: str) -> None:
        """See EngineClient."""
        if self._connection is None or not self._gate.cancelled(run_id):
            return
        self._stop_by_s[run_id] = self._clock() + self._stop_s
        self._connection.send(encode(Cancel(run_id)))

    def poll(self) -> list[Event]:
        """See EngineClient."""
        if self._connection is None:
            return []
        found: list[Event] = []
        for event in self._connection.drain():
            admitted = self._gate.admit(event)
            if admitted is not None:
                found.append(admitted)
            if isinstance(event, Died | Refused):
                self._forget(silent_kill=isinstance(event, Refused))
                break
        if self._stop_by_s:
            self._watch_stops()
        return found

    def kill(self) -> None:
        """See EngineClient."""
        self._forget(silent_kill=True)

    def close(self) -> None:
        """See EngineClient."""
        if self._connection is not None:
            self._connection.close(self._stop_s)
        self._forget(silent_kill=False)

    @property
    def channel(self) -> Channel | None:
        """The open line, None before it is open and after its end."""
        return self._connection.channel if self._connection is not None else None

    def _forget(self, *, silent_kill: bool) -> None:
        connection, self._connection = self._connection, None
        self._gate.clear()
        self._stop_by_s.clear()
        if connection is not None and silent_kill:
            connection.kill(silent=True)

    def _watch_stops(self) -> None:
        now_s = self._clock()
        self._stop_by_s = {run: by_s for run, by_s in self._stop_by_s.items() if self._gate.stopping(run)}
        if self._connection is not None and any(by_s <= now_s for by_s in self._stop_by_s.values()):
            self._stop_by_s.clear()
            self._connection.kill(silent=False)


def _event_of(line: bytes) -> Event:
    """The event of a line that an engine wrote. Errors: ProtocolError."""
    if not line.endswith(b"\n"):
        raise ProtocolError("a line was cut off or is too long")
    message = decode(line)
    if isinstance(message, DraftNote | RankDifferential | RunBenchmark | Cancel | Close | Died):
        raise ProtocolError("an engine does not say this")
    return message


def _merged(last: Event, new: Event) -> Event | None:
    """One event in place of two that follow each other, or None."""
    if isinstance(last, Piece) and isinstance(new, Piece) and last.run_id == new.run_id:
        if len(last.text) + len(new.text) <= PIECE_CHARACTERS:
            return replace(last, text=last.text + new.text, tokens=last.tokens + new.tokens)
        return None
    if type(last) is not type(new) or not isinstance(new, Progress | Loading | DeviceReading):
        return None
    return new if getattr(last, "run_id", "") == getattr(new, "run_id", "") else None
