"""The engine as a child process of the app: requests on its standard input, events on its standard output."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge.app.engine.line_client import STOP_S, Channel, LineClient


def host_command(
    bundle: Path, *, results: Path | None = None, force: bool = False, root: Path | None = None
) -> tuple[str, ...]:
    """The command that serves a bundle over its pipes.

    results: where benchmarks are written; force: run a build that failed its device test; root: where /proc and /sys
    are read.
    """
    # -P: a file in the current folder must not stand in for a module of ours.
    command = [sys.executable, "-P", "-m", "edge.app.engine.host", str(bundle), "--parent", str(os.getpid())]
    for name, value in (("--results", results), ("--root", root)):
        command += [name, str(value)] if value is not None else []
    return (*command, "--force") if force else tuple(command)


class PipeChannel:
    """A Channel to a child process."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        # No preexec_fn: with it Python forks the whole app instead of a cheap vfork. The child lowers its own
        # priority. Its standard error is dropped: a library's complaint may quote what it was given.
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment) if environment is not None else None,
        )

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._process.pid

    def readline(self, limit: int) -> bytes:
        """See Channel."""
        return self._process.stdout.readline(limit) if self._process.stdout else b""

    def write(self, data: bytes) -> None:
        """See Channel."""
        if self._process.stdin:
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def kill(self) -> None:
        """See Channel."""
        self._process.kill()

    def wait(self, timeout_s: float) -> int | None:
        """See Channel."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def close(self) -> None:
        """See Channel."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()


class PipeClient(LineClient):
    """An EngineClient whose engine is a child process.

    Parameters
    ----------
    command: of the child, as host_command makes it; a function is asked at each start.
    environment: of the child; None: this process's own.
    clock, stop_s: as LineClient.
    """

    def __init__(
        self,
        command: Sequence[str] | Callable[[], Sequence[str]],
        *,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        stop_s: float = STOP_S,
    ) -> None:
        def open_channel(_given_up: Callable[[], bool]) -> Channel:
            return PipeChannel(command() if callable(command) else command, environment)

        super().__init__(open_channel, clock=clock, stop_s=stop_s)
