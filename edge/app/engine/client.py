"""What the app knows of an engine, wherever it runs, and the one gate that its events pass.

Rules of every client
- No call blocks: a frame is 16 ms. `poll` gives what has come since the last one and is called once a frame.
- An event of a run that was not submitted here, that has ended, or that belongs to another encounter is dropped.
- After `cancel` only the run's Result comes, and always with cancelled=True, even if it was finished just before.
- `Died` comes once for a process that ended by itself, not for `kill` or `close`; `start` begins anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from edge.app.engine.messages import ENDS, RUN_REQUESTS, Event, Request, Result


class EngineClient(Protocol):
    """A handle on one engine."""

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended; it may still be loading."""

    def start(self) -> None:
        """Begin to load. Does nothing while alive."""

    def submit(self, request: Request) -> None:
        """Hand over a request; a run that is sent while the engine loads waits. Ignored when not alive."""

    def cancel(self, run_id: str) -> None:
        """Stop a run. Returns at once; the process is killed when it does not react within 2 s."""

    def poll(self) -> list[Event]:
        """What has come since the last call, in order."""

    def kill(self) -> None:
        """End the process now, without an event."""

    def close(self) -> None:
        """End the process in good order, by force when it does not; without an event."""


class RunGate:
    """Which runs an engine's events may speak of."""

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}
        self._cancelled: set[str] = set()

    def submitted(self, request: Request) -> None:
        """A run was handed over."""
        if isinstance(request, RUN_REQUESTS):
            self._runs[request.run_id] = getattr(request, "encounter_id", "")
            self._cancelled.discard(request.run_id)

    def cancelled(self, run_id: str) -> bool:
        """A run shall stop. Returns whether it was one that had not ended and was not stopped yet."""
        if run_id not in self._runs or run_id in self._cancelled:
            return False
        self._cancelled.add(run_id)
        return True

    def stopping(self, run_id: str) -> bool:
        """Whether a run was stopped and has not ended yet."""
        return run_id in self._cancelled

    def admit(self, event: Event) -> Event | None:
        """The event as the app may see it, or None."""
        run_id = getattr(event, "run_id", None)
        if run_id is None:
            return event
        if run_id not in self._runs or getattr(event, "encounter_id", self._runs[run_id]) != self._runs[run_id]:
            return None
        stopped = run_id in self._cancelled
        if isinstance(event, ENDS):
            del self._runs[run_id]
            self._cancelled.discard(run_id)
            if stopped:
                return replace(event, cancelled=True) if isinstance(event, Result) else None
            return event
        return None if stopped else event

    def clear(self) -> None:
        """The process has ended, and every run with it."""
        self._runs.clear()
        self._cancelled.clear()
