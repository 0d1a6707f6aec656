"""A device that is not there: its programs run on this machine under the emulator, its files lie in a folder here.

Nothing is copied over a wire, so `push` and `pull` are copies within this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edge.device.facts import local_facts
from edge.device.reach.base import BoardFacts, Completed, Copied, Line, Progress, nobody
from edge.device.reach.plan import Listing, check_space, local_files, plan_copy
from edge.errors import ResourceError
from edge.files import atomic_file, resource_error

ARCH = "aarch64"
WORKER = ("-P", "-m", "edge.bench.worker")


class Board(Protocol):
    """What edge.device.emulation.Emulated gives."""

    @property
    def prefix(self) -> Path:
        """The board's file system on this machine."""

    @property
    def python(self) -> str:
        """A program of this machine that is the board's Python."""

    @property
    def environment(self) -> Mapping[str, str]:
        """All variables that a program of the board gets."""

    @property
    def words(self) -> str:
        """What stands in for the board."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command on this machine that runs `argv` on the board."""


class EmulatedDevice:
    """Follows edge.device.reach.base.Device. name: of the target; folder: edge's folder of this device, here."""

    def __init__(self, name: str, board: Board, folder: Path) -> None:
        self.address = f"emulated:{name}"
        self.board, self._folder = board, folder
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def words(self) -> str:
        """The emulator, for a result."""
        return self.board.words

    @property
    def root(self) -> Path:
        """Where the board's /proc and /sys are."""
        return self.board.prefix

    def engine_command(self) -> list[str]:
        """The measuring process on the board, as a command of this machine; its environment is set by `env`."""
        pairs = [f"{name}={value}" for name, value in sorted(self.board.environment.items())]
        return ["/usr/bin/env", "-i", *pairs, *self.board.command([self.board.python, *WORKER])]

    def describe(self) -> str:
        """Address, board and emulator."""
        facts = self.facts()
        return f"{self.address} ({facts.board or facts.arch}, {self.words})"

    def facts(self) -> BoardFacts:
        """What the board's files say."""
        told = local_facts(self.board.prefix, arch=ARCH)
        place = self._folder
        while not place.is_dir():
            place = place.parent
        free = shutil.disk_usage(place).free
        return BoardFacts(ARCH, None, told.isa_features, told.board, told.os, free, str(self._folder))

    def push(self, local: Path, remote: str, progress: Progress = nobody) -> Copied:
        """As Device.push."""
        target = self._folder / remote
        wanted = local_files(local)
        there = {name: (one.sha256, one.size_bytes) for name, one in local_files(target).items()}
        plan = plan_copy(wanted, Listing(there, {}))
        check_space(plan, self.facts().free_bytes, self.address)
        try:
            for name in plan.remove:
                (target / name).unlink()
            for number, (name, _) in enumerate(plan.send):
                progress("copy", number / len(plan.send))
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                with wanted[name].path.open("rb") as source, atomic_file(target / name) as file:
                    shutil.copyfileobj(source, file, 1 << 20)
        except OSError as error:
            raise resource_error(error, str(target)) from error
        return Copied(len(plan.send), sum(wanted[name].size_bytes for name, _ in plan.send), plan.kept)

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, line: Line = nobody
    ) -> Completed:
        """As Device.run."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._running = subprocess.Popen(
            self.board.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.board.environment, **environment},
            cwd=self._folder,
            start_new_session=True,
        )
        try:
            out, err = self._running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ResourceError(
                f"the program took more than {timeout_s:.0f} s", where=self.address, mend="give it more time"
            ) from error
        finally:
            code = self._stop()
        text = out.decode("utf-8", "replace")
        for one in text.splitlines():
            line(one)
        return Completed(code, text, err.decode("utf-8", "replace"))

    def pull(self, remote: str, local: Path) -> None:
        """As Device.pull."""
        try:
            data = (self._folder / remote).read_bytes()
        except OSError as error:
            raise ResourceError(f"{remote} is not there", where=self.address, mend="run it again") from error
        with atomic_file(local) as file:
            file.write(data)

    def _stop(self) -> int:
        """End what runs, with all that it started; its exit code."""
        process, self._running = self._running, None
        if process is None:
            return 0
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        return process.wait()

    def close(self) -> None:
        """End what runs."""
        self._stop()

    def __enter__(self) -> EmulatedDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
