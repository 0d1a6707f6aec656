"""A board that is stood in for: its command line, its environment, its death in one line.

A program of the board runs as a process of this machine under qemu-user: it sees the board's files before this
machine's, the board's CPU, and otherwise this machine's file system and clock. A program that the board's CPU could
not run dies of the same signal here.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.device.emulation.target import EmulatedTarget
from edge.errors import BundleError, EdgeError, InputError, ResourceError

RUNNER = "edge-run"  # in the prefix: starts the emulator with any program
PYTHONS = ("python", "python3")
KEPT_VARIABLES = ("HOME", "TMPDIR")
OUTPUT_LINE_CHARS = 200


@dataclass(frozen=True)
class Completed:
    """An ended program. returncode: negative for a signal."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Emulated:
    """A prepared board.

    prefix: its file system; python: a program of this machine that is the board's python, also for programs inside
    (`sys.executable` is this path); environment: all variables that a program of the board gets; words: what stands
    in for the board, for a report.
    """

    target: EmulatedTarget
    prefix: Path
    python: str
    environment: Mapping[str, str] = field(repr=False)
    words: str
    emulator_version: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command on this machine that runs `argv` on the board.

        argv[0]: `python3`, a path on the board, a name in its /usr/bin or /bin, or a program of the board that
        lies elsewhere on this machine. Errors: InputError when it is none of these.
        """
        if not argv:
            raise InputError("no program is named", mend="name one")
        program = argv[0]
        if program in (*PYTHONS, self.python):
            return [self.python, *argv[1:]]
        inside = [self.prefix / program.lstrip("/")] if "/" in program else []
        inside += [] if "/" in program else [self.prefix / "usr/bin" / program, self.prefix / "bin" / program]
        for path in [*inside, *([Path(program)] if "/" in program else [])]:
            if path.is_file():
                return [str(self.prefix / RUNNER), str(path), *argv[1:]]
        raise InputError(
            f"the emulated {self.target.name} has no program '{program[:80]}'", mend="give the path of one for aarch64"
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 600.0,
        cwd: Path | None = None,
        input_text: str = "",
        check: bool = False,
    ) -> Completed:
        """Run a program of the board to its end.

        environment: added to the board's own. Errors: ResourceError after timeout_s, with everything that it
        started stopped; with `check`, those of `death` when it did not end well.
        """
        try:
            process = subprocess.Popen(
                self.command(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**self.environment, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise ResourceError(
                f"the emulated {self.target.name} cannot be started ({error.strerror})", mend="prepare it again"
            ) from error
        try:
            out, err = process.communicate(input_text, timeout=timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ResourceError(
                    f"the program on the emulated {self.target.name} took more than {timeout_s:g} s",
                    mend="give it more time: emulation is many times slower than the board",
                ) from error
            raise
        done = Completed(process.returncode, out, err)
        if check and done.returncode != 0:
            raise death(self.target, done)
        return done


def signal_of(returncode: int) -> int:
    """The signal that ended a program, 0 for none; a shell in between reports 128 + signal."""
    if returncode < 0:
        return -returncode
    return returncode - 128 if 128 < returncode <= 128 + int(max(signal.Signals)) else 0


def death(target: EmulatedTarget, done: Completed) -> EdgeError:
    """A program that did not end well on an emulated board, in one line."""
    died = signal_of(done.returncode)
    on = f"on the emulated {target.name}"
    if died == signal.SIGILL:
        return BundleError(
            f"The program died (signal 4) {on}: its CPU ({target.stands_for or target.cpu}) lacks an instruction of it",
            mend="build for this device's target",
        )
    if died == signal.SIGKILL:
        return ResourceError(
            f"The program died (signal 9) {on}, most likely for lack of memory", mend="close other programs"
        )
    if died:
        return EdgeError(f"The program died (signal {died}) {on}", mend="run it again")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    said = f" ({lines[-1].strip()[:OUTPUT_LINE_CHARS]})" if lines else ""
    return EdgeError(f"The program stopped with code {done.returncode} {on}{said}", mend="run it again")
