"""A release as a source for the installer: chunks that the device has are copied, the others are fetched.

Rules. (1) A file grows in `.NAME.partial` beside its place, chunks at their offsets, and is renamed when all are right
and durable. (2) What is on disk is believed by its digest alone: after a kill -9 or a power cut every chunk that is
there is hashed, right ones stay, others are brought again. (3) A chunk of the installed slot, in whichever of its
files, is copied and hashed while it is copied. (4) A chunk that stands in several places is fetched once. (5) Manifest
and signature are the installer's to write: it has checked them by then.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.install.source import SYNC_EVERY_BYTES, Moved, partial_path
from edge.bundle.tree import list_tree, open_regular
from edge.errors import BundleError, EdgeError, ResourceError
from edge.files import fsync_directory, resource_error
from edge.fleet.updates.chunk_manifest import ChunkManifest, FileChunks, Release, Span
from edge.fleet.updates.fetching import FetchCount, Fetcher, FetchOptions, Progress
from edge.fleet.updates.places import UpdatePlace


class NoSpaceError(ResourceError):
    """The disk is too small for the release."""

    install_reason = "no_space"


@dataclass(frozen=True)
class FillPlan:
    """What a fill would do, in bytes of the bundle. there: right in the folder; copied: from the installed slot."""

    total_bytes: int
    there_bytes: int
    copied_bytes: int
    fetched_bytes: int


@dataclass(frozen=True)
class _Found:
    """A chunk in a file of the installed slot."""

    path: Path
    offset_bytes: int
    size_bytes: int


class ChunkSource:
    """A BundleSource over update places. Made by UpdateClient.source; holds no lock and no open file between calls."""

    def __init__(self, chunks: ChunkManifest, places: Sequence[UpdatePlace], options: FetchOptions | None = None):
        self.chunks = chunks
        self.places = tuple(places)
        self.options = options or FetchOptions()
        self.last_fetch = FetchCount()
        self._hashed: dict[tuple[str, tuple[int, ...]], tuple[str, ...]] = {}

    @property
    def release(self) -> Release:
        """The release that this is."""
        return self.chunks.release

    def head(self) -> tuple[bytes, bytes]:
        """See BundleSource: from the chunk manifest, so nothing is fetched."""
        return self.chunks.manifest, self.chunks.signature

    def needed_bytes(self, folder: Path, installed: Path | None) -> int:
        """See BundleSource: the chunks that are not right in `folder` yet, fetched or copied."""
        plan = self.plan(folder, None)
        return plan.total_bytes - plan.there_bytes

    def plan(self, folder: Path, installed: Path | None) -> FillPlan:
        """What `fill` would copy and fetch. Reads and hashes what is there, changes nothing."""
        missing = [span for item in self.chunks.files for span in self._missing(folder, item)[1]]
        found = self._index(installed, {span.sha256 for span in missing})
        total = self.release.size_bytes
        absent = sum(span.size_bytes for span in missing)
        wanted: dict[str, int] = {span.sha256: span.size_bytes for span in missing if span.sha256 not in found}
        fetched = sum(wanted.values())
        return FillPlan(total, total - absent, absent - fetched, fetched)

    def fill(self, folder: Path, installed: Path | None) -> Moved:
        """See BundleSource. Errors: NoSpaceError before anything is written; those of Fetcher.fetch; ResourceError."""
        try:
            self._check_space(folder)
            with contextlib.ExitStack() as stack:
                return _Fill(self, folder, installed, stack).run()
        except OSError as error:
            raise resource_error(error, str(folder)) from error

    def _check_space(self, folder: Path) -> None:
        needed = 0
        for item in self.chunks.files:
            there, spans = self._missing(folder, item)
            # A wrong chunk is written over where it is: what the file has of the disk already is not needed again.
            has = 0 if there is None else there.lstat().st_blocks * 512
            needed += min(sum(span.size_bytes for span in spans), max(0, item.entry.size_bytes - has))
        free = self.options.free_bytes(folder)
        if free < needed:
            raise NoSpaceError(
                f"needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free",
                where=str(folder),
                mend="free space and run the same again",
            )

    # ---- what is there ----------------------------------------------------------------------------------

    def _missing(self, folder: Path, item: FileChunks) -> tuple[Path | None, list[Span]]:
        """(the file as far as it is there, final or partial; the spans that are not right in it)."""
        spans = list(self.chunks.spans(item.entry.path))
        final = folder / item.entry.path
        for path in (final, partial_path(final)):
            with contextlib.suppress(BundleError, OSError):
                digests = self._digests(path)
                if path == final and path.lstat().st_size != item.entry.size_bytes:
                    continue
                right = dict(enumerate(digests))
                return path, [
                    span for span in spans if right.get(span.offset_bytes // self.chunks.chunk_bytes) != span.sha256
                ]
        return None, spans

    def _index(self, installed: Path | None, wanted: set[str]) -> dict[str, _Found]:
        """Where the installed slot has chunks that are wanted. What cannot be read there is not there."""
        found: dict[str, _Found] = {}
        if installed is None or not wanted:
            return found
        size = self.chunks.chunk_bytes
        with contextlib.suppress(EdgeError):
            for name, size_bytes in list_tree(installed)[0].items():
                path = installed / name
                with contextlib.suppress(EdgeError, OSError):
                    for number, digest in enumerate(self._digests(path)):
                        if digest in wanted:
                            found.setdefault(digest, _Found(path, number * size, min(size, size_bytes - number * size)))
        return found

    def _digests(self, path: Path) -> tuple[str, ...]:
        """The digest of each chunk of a file; hashed once for as long as the file stays as it is."""
        with os.fdopen(open_regular(path), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            key = (str(path), state)
            if key not in self._hashed:
                self._hashed[key] = tuple(self._hash(file.fileno(), status.st_size))
            return self._hashed[key]

    def _hash(self, descriptor: int, size_bytes: int) -> Iterator[str]:
        for offset in range(0, size_bytes, self.chunks.chunk_bytes):
            data = os.pread(descriptor, self.chunks.chunk_bytes, offset)
            yield hashlib.sha256(data).hexdigest()


class _Fill:
    """One fill: open files, what is missing, and where it goes."""

    def __init__(self, source: ChunkSource, folder: Path, installed: Path | None, stack: contextlib.ExitStack) -> None:
        self._source, self._folder, self._installed, self._stack = source, folder, installed, stack
        self._files: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._wanted: dict[str, list[Span]] = {}
        self._total = source.release.size_bytes
        self._kept = 0
        self._fetched = 0
        self._unsynced = 0

    def run(self) -> Moved:
        missing: dict[str, int] = {}
        for item in self._source.chunks.files:
            path = item.entry.path
            spans = self._prepare(item)
            missing[path] = len(spans)
            for span in spans:
                self._wanted.setdefault(span.sha256, []).append(span)
        self._kept = self._total - sum(span.size_bytes for spans in self._wanted.values() for span in spans)
        self._tell()
        self._copy()
        fetcher = Fetcher(self._source.places, self._source.options, self._put_fetched)
        self._source.last_fetch = fetcher.count
        order = [spans[0] for spans in self._wanted.values()]
        if order:
            fetcher.fetch(order)
        self._finish(item for item in self._source.chunks.files if item.entry.path in self._open)
        return Moved(fetcher.count.received_bytes, self._total - self._fetched)

    def _prepare(self, item: FileChunks) -> list[Span]:
        """Have the file ready for the spans that it lacks. A final file that is not right becomes a partial one."""
        final = self._folder / item.entry.path
        partial = partial_path(final)
        there, spans = self._source._missing(self._folder, item)
        if there == final and not spans:
            partial.unlink(missing_ok=True)
            return []
        final.parent.mkdir(parents=True, exist_ok=True)
        real = Path(os.path.realpath(final.parent))
        if not real.is_relative_to(os.path.realpath(self._folder)):
            raise BundleError("a link leads out of the folder", where=str(final.parent), mend="remove it")
        if there == final:
            final.replace(partial)
        elif os.path.lexists(final):
            final.unlink()
        if os.path.lexists(partial) and there is None:
            partial.unlink()
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._stack.callback(os.close, descriptor)
        os.ftruncate(descriptor, item.entry.size_bytes)
        self._open[item.entry.path] = descriptor
        return spans

    def _copy(self) -> None:
        found = self._source._index(self._installed, set(self._wanted))
        for digest, place in found.items():
            with contextlib.suppress(EdgeError):
                with os.fdopen(open_regular(place.path), "rb", buffering=0) as file:
                    data = os.pread(file.fileno(), place.size_bytes, place.offset_bytes)
                # The slot is in use: what was hashed a moment ago is hashed again before it counts.
                if hashlib.sha256(data).hexdigest() == digest:
                    spans = self._wanted.pop(digest)
                    self._put(spans, data)
                    self._kept += sum(span.size_bytes for span in spans)
                    self._tell()

    def _put_fetched(self, span: Span, data: bytes) -> None:
        spans = self._wanted.pop(span.sha256)
        self._put(spans, data)
        self._fetched += span.size_bytes
        self._kept += sum(item.size_bytes for item in spans[1:])
        self._tell()

    def _put(self, spans: Sequence[Span], data: bytes) -> None:
        for span in spans:
            descriptor, offset, rest = self._open[span.path], span.offset_bytes, memoryview(data)
            try:
                while rest:
                    count = os.pwrite(descriptor, rest, offset)
                    rest, offset = rest[count:], offset + count
                self._unsynced += span.size_bytes
                if self._unsynced >= SYNC_EVERY_BYTES:
                    self._unsynced = 0
                    os.fdatasync(descriptor)
            except OSError as error:
                raise resource_error(error, str(self._folder)) from error

    def _finish(self, items: Iterable[FileChunks]) -> None:
        for item in items:
            descriptor = self._open[item.entry.path]
            os.fsync(descriptor)
            # Out of the page cache, so that the verification reads the disk and not memory.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            final = self._folder / item.entry.path
            partial_path(final).replace(final)
        for name in ("", *list_tree(self._folder)[1]):
            fsync_directory(self._folder / name)

    def _tell(self) -> None:
        if self._source.options.progress is not None:
            self._source.options.progress(Progress(self._total, self._kept, self._fetched))
