"""Sensors that are read by a command (vcgencmd, dumpsys), with care for a device that is at work.

Rules: a command is cut off after TIMEOUT_S. One that hangs or fails rests for REST_S before it is tried again. Once
opened, at most one command starts in SPACING_S, whatever is asked for; several take turns.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

TIMEOUT_S = 2.0
REST_S = 30.0
SPACING_S = 1.0
# One that waited for its turn and is not asked for any more must not block the others.
FORGOTTEN_S = 3.0
MOST_BYTES = 1 << 18
KILL_S = 0.5

# Runs a command and returns what it wrote; None when it is not there, failed, or took longer than TIMEOUT_S.
Runner = Callable[[Sequence[str]], str | None]


def run_local(argv: Sequence[str]) -> str | None:
    """Run a program of this device; a Runner. It and what it started end with this call.

    One that writes without end is cut off as one that hangs. One that cannot even be killed, because it waits in the
    kernel, is left behind: waiting for it would stop us as well.
    """
    if not argv or shutil.which(argv[0]) is None:  # most devices: nothing is started for what is not there
        return None
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    deadline_s = time.monotonic() + TIMEOUT_S
    output = _output(process, deadline_s)
    try:
        if output is not None and process.wait(max(0.0, deadline_s - time.monotonic())) == 0:
            return output.decode("utf-8", errors="replace")
    except subprocess.TimeoutExpired:
        output = None
    if output is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)
    return None


def _output(process: subprocess.Popen[bytes], deadline_s: float) -> bytes | None:
    """All that a process writes; None when it does not end in time or writes more than MOST_BYTES."""
    output = b""
    with contextlib.closing(selectors.DefaultSelector()) as selector:
        if process.stdout is None:
            return None
        with process.stdout as pipe:
            selector.register(pipe, selectors.EVENT_READ)
            while len(output) <= MOST_BYTES and selector.select(max(0.0, deadline_s - time.monotonic())):
                piece = os.read(pipe.fileno(), 1 << 16)
                if not piece:
                    return output
                output += piece
    return None


def adb_runner(serial: str, run: Runner = run_local) -> Runner:
    """A Runner for the device behind `adb -s SERIAL shell`."""
    return lambda argv: run(["adb", "-s", serial, "shell", shlex.join(argv)])


@dataclass(eq=False)
class Command:
    """One command of a device. every_s: how old its output may be at the least before it is run again."""

    argv: tuple[str, ...]
    every_s: float
    not_before_s: float = 0.0


@dataclass
class Commands:
    """Runs the commands of one device within the rules of this module.

    run: None where there are none to run (a fake tree). clock: monotonic seconds, injectable. Not for several threads.
    """

    run: Runner | None
    clock: Callable[[], float] = time.monotonic
    spacing_s: float = SPACING_S
    _last_s: float | None = None
    _waiting: list[tuple[Command, float]] = field(default_factory=list)

    def probe(self, argv: Sequence[str]) -> str | None:
        """Run once, now, to see whether the sensor is there."""
        return None if self.run is None else self._start(argv)

    def text(self, command: Command) -> str | None:
        """Fresh output; None when it is not its time or its turn, or it failed."""
        now_s = self.clock()
        if self.run is None or now_s < command.not_before_s:
            return None
        waiting = [(one, since_s) for one, since_s in self._waiting if now_s - since_s <= FORGOTTEN_S]
        ahead = bool(waiting) and waiting[0][0] is not command
        if ahead or (self._last_s is not None and now_s - self._last_s < self.spacing_s):
            place = next((index for index, (one, _) in enumerate(waiting) if one is command), len(waiting))
            waiting[place : place + 1] = [(command, now_s)]
            self._waiting = waiting
            return None
        self._waiting = [(one, since_s) for one, since_s in waiting if one is not command]
        output = self._start(command.argv)
        command.not_before_s = now_s + command.every_s if output is not None else self.clock() + REST_S
        return output

    def _start(self, argv: Sequence[str]) -> str | None:
        self._last_s = self.clock()
        return self.run(argv) if self.run is not None else None
