"""What the agent and its children hand to each other: a folder with a job, and what came of it. JSON, words of lists.

    job.json      what to do, written by the agent before the child starts
    report.json   a FieldReport or an InstallReport, whole or not there
    done.json     how it ended; comes last

No text of an error goes this way: an error is one of the wire's words, so that whatever a library or a file says stays
in the child that read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from edge.bundle.canonical import HEX_DIGEST, SLUG
from edge.errors import InputError
from edge.files import write_atomic
from edge.fleet.wire.messages import CommandReason, InstallOutcomeName, InstallReason

JOB, REPORT, DONE = "job.json", "report.json", "done.json"
MAX_BYTES = 256 << 10
Name = Annotated[str, Field(pattern=f"^{SLUG.pattern}$")]
Digest = Annotated[str, Field(pattern=f"^{HEX_DIGEST.pattern}$")]


@dataclass(frozen=True)
class BenchJob:
    """Measure `bundle` (a folder) of `profile`. keys: EDGE_HOME. results: where the whole result is kept."""

    bundle: str
    profile: Name
    release: Name | None
    workload: Literal["quick", "full"]
    keys: str
    lock_folder: str
    results: str
    time_limit_s: float
    version: int = 1


@dataclass(frozen=True)
class ChangeJob:
    """Install `release`, which must be `digest` where that is said; or go back; or take up what was cut short.

    updates: places, https:// or folders; ca, certificate, tls_key: files for the former. updates_home: of UpdateClient.
    """

    operation: Literal["install", "rollback", "resume"]
    slots: str
    profile: Name
    keys: str
    lock_folder: str
    updates_home: str
    updates: tuple[str, ...]
    ca: str
    certificate: str
    tls_key: str
    release: Name | None = None
    digest: Digest | None = None
    rollout: Name | None = None
    version: int = 1


@dataclass(frozen=True)
class Done:
    """How a child ended. measured, passed, reason, digest: of a benchmark; outcome, install_reason, no_update: of an
    install; None: there was nothing to take up. report_sha256: of report.json, None where there is none."""

    measured: bool = False
    passed: bool = False
    reason: CommandReason = "none"
    digest: Digest | None = None
    outcome: InstallOutcomeName | None = None
    install_reason: InstallReason = "none"
    no_update: bool = False
    report_sha256: Digest | None = None
    version: int = 1


_BENCH, _CHANGE, _DONE = TypeAdapter(BenchJob), TypeAdapter(ChangeJob), TypeAdapter(Done)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES)


def _write(path: Path, value: object) -> None:
    write_atomic(path, json.dumps(asdict(value), sort_keys=True).encode())  # type: ignore[call-overload]


def write_job(folder: Path, job: BenchJob | ChangeJob) -> None:
    """Begin a folder anew with this job. Errors: ResourceError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (DONE, REPORT, JOB):
        (folder / name).unlink(missing_ok=True)
    _write(folder / JOB, job)


def read_bench_job(folder: Path) -> BenchJob:
    """Errors: InputError."""
    try:
        return _BENCH.validate_json(_read(folder / JOB))
    except (OSError, ValidationError) as error:
        raise InputError("is no job of this agent", where=JOB) from error


def read_change_job(folder: Path) -> ChangeJob:
    """Errors: InputError."""
    try:
        return _CHANGE.validate_json(_read(folder / JOB))
    except (OSError, ValidationError) as error:
        raise InputError("is no job of this agent", where=JOB) from error


def read_done(folder: Path) -> tuple[Done, bytes | None] | None:
    """How it ended, and the report as it was hashed; None where there is no such word."""
    try:
        done = _DONE.validate_json(_read(folder / DONE))
        report = None if done.report_sha256 is None else _read(folder / REPORT)
    except (OSError, ValidationError):
        return None
    if report is not None and hashlib.sha256(report).hexdigest() != done.report_sha256:
        return None
    return done, report


class Answer:
    """A child's one answer. Whoever answers first decides; the process then ends, whatever runs in other threads."""

    def __init__(self, folder: Path, leave: Callable[[int], object] = os._exit) -> None:
        self._folder, self._leave = folder, leave
        self._once = threading.Lock()

    def give(self, done: Done, report: bytes | None = None) -> None:
        """Write and end. Without room on the disk it ends without an answer."""
        if not self._once.acquire(blocking=False):
            return
        status = 0
        try:
            if report is not None:
                write_atomic(self._folder / REPORT, report)
                done = Done(**(asdict(done) | {"report_sha256": hashlib.sha256(report).hexdigest()}))
            _write(self._folder / DONE, done)
        except Exception:  # noqa: BLE001  nobody hears a word of it, and the agent sees that there is no answer
            status = 1
        self._leave(status)


def end_with_agent(answer: Callable[[], None]) -> None:
    """Call `answer` when the agent is gone: it holds the other end of standard input."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        answer()

    threading.Thread(target=watch, name="edge-agent", daemon=True).start()


def quiet() -> None:
    """Nothing that a library prints leaves this process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
