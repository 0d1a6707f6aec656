"""Fetch chunks from places: ranges, retries, another place when one fails. No files here: chunks are handed over.

Rules. (1) Chunks that lie side by side in one blob are one request. (2) A chunk is handed over only with the digest
that was asked for; what is handed over is never asked for again. (3) A place that breaks off is asked again from
where it stopped, `tries` times without one new chunk; then the next place. A chunk with wrong bytes is asked for once
more, then of the next place. A place that lacks the blob is not asked again for it. (4) A place that knows no ranges
sends a blob whole, and all chunks that are wanted of it are taken from that one reply. (5) The bandwidth limit is an
average over a second; the sleep is the caller's.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import EdgeError, OfflineError, ResourceError
from edge.fleet.updates.chunk_manifest import Span
from edge.fleet.updates.cutting import blob_name
from edge.fleet.updates.errors import ChangedDataError, NotThereError, UnreachableError
from edge.fleet.updates.places import RangeReply, UpdatePlace


def free_bytes(folder: Path) -> int:
    """What this user may still write where `folder` is."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@dataclass(frozen=True)
class Progress:
    """Of one fill, in bytes of the bundle: all, right already or found on the device, fetched."""

    total_bytes: int
    kept_bytes: int
    fetched_bytes: int


@dataclass(frozen=True)
class FetchOptions:
    """limit_bytes_per_s: 0 for none. tries: of a place without progress. request_bytes: most that one range asks for.

    progress: called after every chunk. free_bytes: of the disk that a folder is on.
    """

    limit_bytes_per_s: int = 0
    tries: int = 4
    retry_s: float = 1.0
    request_bytes: int = 64 << 20
    progress: Callable[[Progress], None] | None = None
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    free_bytes: Callable[[Path], int] = free_bytes


@dataclass
class FetchCount:
    """What a fetch cost: requests that were answered, and bytes of chunks that came, useless ones among them."""

    requests: int = 0
    received_bytes: int = 0


@dataclass
class _Brake:
    """Keeps the average speed below a limit."""

    options: FetchOptions
    _since: float = field(default=0.0)
    _count: int = field(default=0)

    def passed(self, size_bytes: int) -> None:
        limit = self.options.limit_bytes_per_s
        if not limit:
            return
        now = self.options.monotonic()
        if now - self._since > 1.0 + self._count / limit:  # idle since: no credit for a burst
            self._since, self._count = now, 0
        self._count += size_bytes
        ahead = self._count / limit - (now - self._since)
        if ahead > 0:
            self.options.sleep(ahead)


class Fetcher:
    """Fetches spans. put: takes a span and its bytes, which have the right digest."""

    def __init__(self, places: Sequence[UpdatePlace], options: FetchOptions, put: Callable[[Span, bytes], None]):
        self._places = list(places)
        self._options = options
        self._put = put
        self._brake = _Brake(options)
        self.count = FetchCount()

    def fetch(self, spans: Sequence[Span]) -> None:
        """Fetch all. Errors: the last place's EdgeError when none could give a chunk."""
        blobs: dict[str, list[Span]] = {}
        for span in spans:
            blobs.setdefault(span.part, []).append(span)
        for blob, wanted in blobs.items():
            self._fetch_blob(blob, sorted(wanted, key=lambda span: span.part_offset_bytes))

    def _fetch_blob(self, blob: str, wanted: list[Span]) -> None:
        error: EdgeError = OfflineError("no place to take updates from is set", mend="give an address or a folder")
        for place in self._places:
            left = self._options.tries
            while wanted and left:
                before = len(wanted)
                try:
                    self._ask(place, blob, wanted)
                except (OfflineError, ChangedDataError) as failed:
                    error = failed
                    if len(wanted) < before:
                        left = self._options.tries
                    if isinstance(failed, NotThereError):
                        break
                    left = min(left - 1, 1) if isinstance(failed, ChangedDataError) else left - 1
                    if left:
                        self._options.sleep(self._options.retry_s * (self._options.tries - left))
            if not wanted:
                # The place that served is asked first for the next blob: the others may be waiting for a timeout.
                self._places.sort(key=lambda item: item is not place)
                return
        raise error

    def _ask(self, place: UpdatePlace, blob: str, wanted: list[Span]) -> None:
        """One request. Takes what it handed over out of `wanted`."""
        group = _adjacent(wanted, self._options.request_bytes)
        start = group[0].part_offset_bytes
        size = group[-1].part_offset_bytes + group[-1].size_bytes - start
        try:
            reply = place.read_range(blob_name(blob), start, size)
        except ResourceError as error:  # of the place (certificates that cannot be used), not of what is written
            raise UnreachableError(error.what, where=error.where, mend=error.mend) from error
        self.count.requests += 1
        try:
            stream = _Stream(reply, self._received)
            for span in list(wanted) if reply.whole else group:
                data = stream.take(span.part_offset_bytes, span.size_bytes, place.name)
                if hashlib.sha256(data).hexdigest() != span.sha256:
                    raise ChangedDataError(
                        f"a chunk of {span.path} was changed (at byte {span.offset_bytes})",
                        where=place.name,
                        mend="copy the repository there again",
                    )
                self._put(span, data)
                wanted.remove(span)
        finally:
            reply.close()

    def _received(self, size_bytes: int) -> None:
        self.count.received_bytes += size_bytes
        self._brake.passed(size_bytes)


def _adjacent(wanted: Sequence[Span], limit_bytes: int) -> list[Span]:
    """The first spans of a row without a gap, at least one."""
    group = [wanted[0]]
    for span in wanted[1:]:
        end = group[-1].part_offset_bytes + group[-1].size_bytes
        if span.part_offset_bytes != end or end + span.size_bytes - group[0].part_offset_bytes > limit_bytes:
            break
        group.append(span)
    return group


class _Stream:
    """The bytes of a reply by their offset in the blob."""

    def __init__(self, reply: RangeReply, received: Callable[[int], None]) -> None:
        self._at = reply.start_bytes
        self._pieces: Iterator[bytes] = reply.pieces
        self._received = received
        self._buffer = bytearray()

    def take(self, offset_bytes: int, size_bytes: int, where: str) -> bytes:
        """The bytes from `offset_bytes`, which is not before what was taken last."""
        while self._at + len(self._buffer) < offset_bytes + size_bytes:
            piece = next(self._pieces, b"")
            if not piece:
                raise UnreachableError(
                    "ended before all was sent", where=where, mend="try again, it goes on from there"
                )
            self._received(len(piece))
            self._buffer += piece
            skip = min(len(self._buffer), max(0, offset_bytes - self._at))
            del self._buffer[:skip]
            self._at += skip
        skip = offset_bytes - self._at
        data = bytes(self._buffer[skip : skip + size_bytes])
        del self._buffer[: skip + size_bytes]
        self._at += skip + size_bytes
        return data
