"""The agent's child processes: one at a time, each ended with the agent, none of them heard but by its files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edge.errors import ResourceError
from edge.fleet.agent.job_files import BenchJob, ChangeJob, Done, read_done, write_job
from edge.fleet.wire.messages import CommandReason
from edge.privacy import TELEMETRY_OFF

# -P: a file in the current folder must not stand in for a module of ours.
MEASURE = (sys.executable, "-P", "-m", "edge.fleet.agent.measure")
CHANGE = (sys.executable, "-P", "-m", "edge.fleet.agent.change")
GRACE_S = 120.0
CHANGE_LIMIT_S = 24 * 3600.0


class Child:
    """A process that works on a job's folder.

    command: gets the folder as its last argument. environment: added to this process's own. clock: monotonic seconds.
    Errors: ResourceError when the folder cannot be written or the process not be started.
    """

    def __init__(
        self,
        folder: Path,
        job: BenchJob | ChangeJob,
        *,
        clock: Callable[[], float],
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.job, self._folder, self._clock = job, folder, clock
        limit_s = job.time_limit_s + GRACE_S if isinstance(job, BenchJob) else CHANGE_LIMIT_S
        self._until_s = clock() + limit_s
        chosen = command or (MEASURE if isinstance(job, BenchJob) else CHANGE)
        try:
            write_job(folder, job)
            self._process = subprocess.Popen(
                [*chosen, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "EDGE_HOME": job.keys, **TELEMETRY_OFF, **(environment or {})},
            )
        except OSError as error:
            raise ResourceError(
                f"a child process cannot be started ({error.strerror})", mend="free memory and disk"
            ) from error

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def poll(self) -> tuple[Done, bytes | None] | None:
        """How it ended and its report; None while it runs. One that died without a word has an answer too."""
        status = self._process.poll()
        if status is None:
            if self._clock() < self._until_s:
                return None
            self.stop()
            return self._without_word("timed_out")
        self.stop()
        found = read_done(self._folder) if status in (0, 1) else None
        if found is not None:
            return found
        # -9 that nobody of us sent is the kernel's, for lack of memory.
        return self._without_word("memory" if status == -signal.SIGKILL else "other")

    def _without_word(self, reason: CommandReason) -> tuple[Done, None]:
        if isinstance(self.job, BenchJob):
            return Done(reason=reason), None
        return Done(outcome="failed", install_reason="interrupted"), None

    def stop(self) -> None:
        """End it and all that it started, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
