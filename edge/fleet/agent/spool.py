"""Reports that wait for a place in the outbox: files, so that a result outlives a full disk and a full outbox.

A report is a file before it is an event, and the file goes when the event is on disk. Its name is its digest; the
outbox knows the digests that it has queued, so a kill between the two queues nothing twice. Each file is held against
its schema before it is signed, whoever put it there, and must be what the schema itself would write: only listed
fields leave the device, and nothing between or beside them (a key that stands twice, a number with a tail).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from edge.errors import EdgeError, InputError, ResourceError
from edge.files import fsync_directory, resource_error, write_atomic
from edge.fleet.agent.outbox import Outbox
from edge.fleet.wire.event import INSTALL, MAX_EVENT_BYTES, RESULT
from edge.fleet.wire.messages import InstallReport
from edge.fleet.wire.report import FieldReport

KINDS = {"result": RESULT, "install": INSTALL}
_NAME = re.compile(r"(result|install)-([0-9a-f]{64})\.json")
MOST_FILES = 500


class _TooLargeNowError(ResourceError):
    """The broker of this connection takes less; another will take it."""


AGAIN_S = 30.0


def is_report(path: Path) -> bool:
    """Whether a file is a FieldReport and nothing else: only fields that are listed, no free text."""
    try:
        data = path.read_bytes()[: MAX_EVENT_BYTES + 1]
        return FieldReport.from_bytes(data, "report").to_bytes() == data
    except (OSError, InputError):
        return False


class Spool:
    """The folder `results` of the agent's home. said: (matter, line) for the journal. clock: monotonic seconds.

    is_result: whether a file is a FieldReport and nothing else.
    """

    def __init__(
        self,
        folder: Path,
        said: Callable[[str, str], None],
        clock: Callable[[], float],
        is_result: Callable[[Path], bool] = is_report,
    ) -> None:
        self._folder, self._said, self._clock, self._is_result = folder, said, clock, is_result
        self._next_s = 0.0

    def put(self, kind: str, data: bytes, file: Path | None = None) -> None:
        """Keep a report, durably. file: where it lies already; it is renamed, which a full disk allows too.

        Errors: ResourceError: it could not be kept.
        """
        path = self._folder / f"{kind}-{hashlib.sha256(data).hexdigest()}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise resource_error(error, str(self._folder)) from error
        try:
            if file is None or file.read_bytes() != data:
                raise FileNotFoundError
            file.replace(path)
            fsync_directory(self._folder)
        except OSError:
            write_atomic(path, data)
        self._next_s = 0.0

    def empty_into(self, outbox: Outbox) -> list[tuple[str, int]]:
        """Queue what can be queued; (kind, sequence number) of each. What cannot stays and is tried again later."""
        queued: list[tuple[str, int]] = []
        if self._clock() < self._next_s:
            return queued
        for path in self._files():
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            kind, digest = match.groups()
            try:
                seq = self._queue(path, kind, digest, outbox)
            except InputError as error:
                self._said(path.name, f"a {kind} cannot be sent and is kept as a file ({error.what})")
                self._rename(path)
                continue
            except _TooLargeNowError as error:
                self._said("size", f"a {kind} waits as a file: {error}")
                self._next_s = self._clock() + AGAIN_S
                continue
            except EdgeError as error:
                self._said("spool", f"a {kind} waits as a file: {error}")
                self._next_s = self._clock() + AGAIN_S
                return queued
            queued.append((kind, seq))
        return queued

    def _queue(self, path: Path, kind: str, digest: str, outbox: Outbox) -> int:
        try:
            data = path.read_bytes()[: MAX_EVENT_BYTES + 1]
        except OSError as error:
            raise resource_error(error, path.name) from error
        if len(data) <= MAX_EVENT_BYTES and hashlib.sha256(data).hexdigest() != digest:
            raise InputError("it was changed on the disk")
        if outbox.most_bytes < len(data) <= MAX_EVENT_BYTES:
            raise _TooLargeNowError(
                f"it has {len(data)} bytes, and this broker takes {outbox.most_bytes}",
                mend="look at the broker's max_packet_size",
            )
        outbox.check_size(KINDS[kind], data)
        if kind == "install":
            if InstallReport.from_bytes(data, kind).to_bytes() != data:
                raise InputError("it is written in another way than a report")
        elif not self._is_result(path):
            raise InputError("it is no report of a benchmark")
        seq = outbox.queue(KINDS[kind], data, origin=digest)
        if seq is None:
            raise ResourceError("the outbox took it for telemetry")
        try:
            path.unlink()
        except OSError as error:
            raise resource_error(error, path.name) from error
        return seq

    def _files(self) -> list[Path]:
        try:
            found = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
            return sorted(found, key=lambda path: path.stat().st_mtime_ns)[:MOST_FILES]
        except OSError:
            return []

    def _rename(self, path: Path) -> None:
        try:
            path.rename(path.with_suffix(".kept"))
        except OSError as error:
            self._said("spool", str(resource_error(error, path.name)))
            self._next_s = self._clock() + AGAIN_S
