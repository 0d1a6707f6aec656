"""The runs of an engine's process: those that wait, the one at work, and what shall stop. Safe between threads."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge.app.engine.host_link import Link
from edge.app.engine.messages import DraftNote, RankDifferential, RunBenchmark

BUSY = "another run is at work; wait for its end or stop it"
MOST_WAITING = 8
Request = DraftNote | RankDifferential | RunBenchmark


@dataclass(frozen=True)
class Run:
    """A request and the client it came from."""

    request: Request
    link: Link


class Desk:
    """One run at a time, in the order in which they came. A benchmark is taken only when nothing else is there, and
    nothing else is taken while it runs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Run] = deque()
        self._current: Run | None = None
        self._stop = False

    @property
    def busy(self) -> bool:
        """Whether a run is at work."""
        return self._current is not None

    def add(self, run: Run) -> bool:
        """Take a run; False when it has to be refused."""
        with self._changed:
            there = [*self._waiting, *([self._current] if self._current else [])]
            alone = [one for one in there if isinstance(one.request, RunBenchmark)]
            known = any(one.request.run_id == run.request.run_id for one in there)
            if alone or known or len(self._waiting) >= MOST_WAITING or (there and _is_benchmark(run)):
                return False
            self._waiting.append(run)
            self._changed.notify_all()
            return True

    def next(self) -> Run:
        """The next run, which is at work from now on; waits for one."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            self._current, self._stop = self._waiting.popleft(), False
            return self._current

    def done(self) -> None:
        """The run at work has ended."""
        with self._changed:
            self._current, self._stop = None, False

    def stopped(self) -> bool:
        """Whether the run at work shall stop. Cheap: asked at every step."""
        return self._stop

    def cancel(self, run_id: str) -> Run | None:
        """Stop a run. One that still waited is taken out and returned: it has to be answered by the caller."""
        with self._changed:
            if self._current is not None and self._current.request.run_id == run_id:
                self._stop = True
                return None
            found = next((one for one in self._waiting if one.request.run_id == run_id), None)
            if found is not None:
                self._waiting.remove(found)
            return found

    def clear(self) -> None:
        """The client has gone: nothing of it is wanted any more."""
        with self._changed:
            self._waiting.clear()
            self._stop = self._current is not None


def _is_benchmark(run: Run) -> bool:
    return isinstance(run.request, RunBenchmark)
