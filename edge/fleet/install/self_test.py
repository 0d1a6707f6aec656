"""The power-on self-test of a build in its slot: what `edge verify` does, with the smallest workload, in a child.

The child opens the bundle, runs the golden cases and the tasks' own self-tests, measures as little as gives the budgets
a number, and signs what came out with the device's key, passed or not: by that the runtime takes or refuses the build
on this device. A child that crashes (SIGKILL, SIGILL), takes too long or says nothing sensible has failed; nothing is
signed then. One during which a visit is opened is ended at once and has no verdict: a patient comes first. The child
holds the model, so that the process that waits for it stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge.bundle.install.outcome import SelfTestOutcome

# -P: a file in the current folder must not stand in for a module of ours.
CHILD = (sys.executable, "-P", "-m", "edge.fleet.install.self_test_child")
TIMEOUT_S = 1800.0
POLL_S = 0.2
MAX_ANSWER_BYTES = 64 << 10
_SIGNALS = {
    int(signal.SIGKILL): "most likely for lack of memory",
    int(signal.SIGILL): "this CPU lacks an instruction of the build",
    int(signal.SIGSEGV): "it broke its memory",
}


class ChildSelfTest:
    """Called with a slot's folder. workload: a name, a YAML file, or "" for the smallest.

    visit_open: asked five times a second (edge.bundle.update_lock.visit_open). command: of the child; environment: of
    it, None for this process's own. timeout_s: of the whole self-test.
    """

    def __init__(
        self,
        visit_open: Callable[[], bool],
        *,
        workload: str = "",
        timeout_s: float = TIMEOUT_S,
        command: Sequence[str] = CHILD,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = (*command, *(("--workload", workload) if workload else ()))
        self._timeout_s, self._environment, self._visit_open = timeout_s, environment, visit_open

    def __call__(self, folder: Path) -> SelfTestOutcome:
        """Run it to its end, to its time limit, or until a visit is opened. It is gone, with its memory, afterwards."""
        try:
            # A session of its own, so that all of it can be ended at once. Its standard input stays open as long as
            # this process lives: the child ends when it closes. What libraries say on standard error leads nowhere.
            child = subprocess.Popen(
                [*self._command, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=dict(self._environment) if self._environment is not None else None,
            )
        except OSError as error:
            return SelfTestOutcome(False, f"it could not be started ({error.strerror})")
        try:
            return self._wait(child)
        finally:
            _end(child)

    def _wait(self, child: subprocess.Popen[bytes]) -> SelfTestOutcome:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Not communicate: that would close the standard input, which tells the child that this process lives.
            found = _read(child, self._timeout_s, self._visit_open)
            if found is None:
                return SelfTestOutcome(False, "a visit was opened", stopped=True)
            return read_answer(found, child.wait(10))
        return SelfTestOutcome(False, f"it took more than {self._timeout_s:.0f} s")


def read_answer(answer: bytes, status: int) -> SelfTestOutcome:
    """What the child said and how it ended. status: as subprocess gives it, negative for a signal."""
    if status < 0:
        why = _SIGNALS.get(-status, "for no reason that is known")
        return SelfTestOutcome(False, f"it died of signal {-status}, {why}")
    try:
        value = json.loads(answer.splitlines()[-1])
        passed, detail = value["passed"], str(value["detail"])
    except (ValueError, KeyError, TypeError, IndexError):
        return SelfTestOutcome(False, f"it stopped with code {status} and said nothing")
    # Both must say so: a child that printed its verdict and then fell over has not passed.
    return SelfTestOutcome(passed is True and status == 0, " ".join(detail.split())[:400])


def _read(child: subprocess.Popen[bytes], timeout_s: float, visit_open: Callable[[], bool]) -> bytes | None:
    """Standard output to its end; None when a visit was opened before. Errors: TimeoutExpired."""
    if child.stdout is None:
        return b""
    deadline_s, pieces = time.monotonic() + timeout_s, b""
    descriptor = child.stdout.fileno()
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise subprocess.TimeoutExpired(child.args, timeout_s)
        if not select.select([descriptor], [], [], min(left_s, POLL_S))[0]:
            if visit_open():
                return None
            continue
        piece = os.read(descriptor, 4096)
        if not piece:
            return pieces
        pieces = (pieces + piece)[-MAX_ANSWER_BYTES:]


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child is gone with all that it started, and the pipes are closed."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if child.poll() is None:
            # The process that holds the model has a session of its own. It would end by itself when its parent is gone,
            # but a visit needs its memory now. Stopped first: what it started is then neither buried nor more.
            os.kill(child.pid, signal.SIGSTOP)
            for process in started_by(child.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def started_by(process: int) -> list[int]:
    """The process ids of all that a process has started and that has not ended; none where /proc does not say."""
    found: list[int] = []
    for path in sorted(Path("/proc", str(process), "task").glob("*/children")):
        with contextlib.suppress(OSError, ValueError):
            for child in map(int, path.read_text().split()):
                found += [child, *started_by(child)]
    return found
