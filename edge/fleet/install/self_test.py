"""The power-on self-test of a build in its slot: what `edge verify` does, with the smallest workload, in a child.

The child opens the bundle, runs the golden cases and the tasks' own self-tests, measures as little as gives the budgets
a number, and signs what came out with the device's key, passed or not: by that the runtime takes or refuses the build
on this device. A child that crashes (SIGKILL, SIGILL), takes too long or says nothing sensible has failed; nothing is
signed then. The child holds the model, so that the process that waits for it stays small.
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
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.bundle.install.outcome import SelfTestOutcome

# -P: a file in the current folder must not stand in for a module of ours.
CHILD = (sys.executable, "-P", "-m", "edge.fleet.install.self_test_child")
TIMEOUT_S = 1800.0
MAX_ANSWER_BYTES = 64 << 10
_SIGNALS = {
    int(signal.SIGKILL): "most likely for lack of memory",
    int(signal.SIGILL): "this CPU lacks an instruction of the build",
    int(signal.SIGSEGV): "it broke its memory",
}


class ChildSelfTest:
    """Called with a slot's folder. workload: a name, a YAML file, or "" for the smallest.

    command: of the child; environment: of it, None for this process's own. timeout_s: of the whole self-test.
    """

    def __init__(
        self,
        *,
        workload: str = "",
        timeout_s: float = TIMEOUT_S,
        command: Sequence[str] = CHILD,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = (*command, *(("--workload", workload) if workload else ()))
        self._timeout_s, self._environment = timeout_s, environment

    def __call__(self, folder: Path) -> SelfTestOutcome:
        """Run it to its end, or to its time limit."""
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
        answer = b""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Not communicate: that would close the standard input, which tells the child that this process lives.
            answer = _read(child, self._timeout_s)
            status = child.wait(10)
            return read_answer(answer, status)
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


def _read(child: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Standard output to its end. Errors: TimeoutExpired."""
    if child.stdout is None:
        return b""
    deadline_s, pieces = time.monotonic() + timeout_s, b""
    descriptor = child.stdout.fileno()
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            raise subprocess.TimeoutExpired(child.args, timeout_s)
        piece = os.read(descriptor, 4096)
        if not piece:
            return pieces
        pieces = (pieces + piece)[-MAX_ANSWER_BYTES:]


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and its session are gone, and the pipes closed."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
