"""Where a bundle comes from: a folder or a .tar here; edge.fleet.updates brings chunks from a server or a stick.

A source writes the files of the manifest and nothing else: the installer clears the slot before, writes manifest and
signature after, and verifies all of it. Files are fetched into `.NAME.partial` beside their place, made durable and
renamed; a partial file is resumed, and thrown away once when the whole then has another digest. Hidden names are the
source's own; what is left of them when `fill` returns is removed.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.bundle.archive import TarReader
from edge.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME, FileEntry, Manifest
from edge.bundle.open import MAX_SIGNATURE_BYTES, unsigned
from edge.bundle.tree import digest_file, list_tree, open_regular, read_error, read_small
from edge.errors import BundleError
from edge.files import CHUNK_BYTES, fsync_directory, resource_error

SYNC_EVERY_BYTES = 64 << 20  # a power cut costs at most this much of a large file


@dataclass(frozen=True)
class Moved:
    """moved_bytes: fetched from where the bundle comes from; kept_bytes: found on the device."""

    moved_bytes: int
    kept_bytes: int


class BundleSource(Protocol):
    """A bundle on its way. An EdgeError that it raises may carry `install_reason`, one of rules.REASONS."""

    def head(self) -> tuple[bytes, bytes]:
        """The bytes of manifest.json and signature, not yet checked. Errors: EdgeError."""

    def needed_bytes(self, folder: Path, installed: Path | None) -> int:
        """What `fill` will still write into `folder` at most."""

    def fill(self, folder: Path, installed: Path | None) -> Moved:
        """Write every file of the manifest into `folder`, durably; what is there and right is kept.

        installed: the slot that is in force, to be read only. Errors: EdgeError; a later call goes on from there.
        """


def partial_path(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f".{path.name}.partial")


class _WholeFiles(ABC):
    """A source that can read each file from any place on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digests: dict[tuple[int, ...], tuple[str, int]] = {}

    @abstractmethod
    def head(self) -> tuple[bytes, bytes]:
        """See BundleSource."""

    @abstractmethod
    def _read(self, entry: FileEntry, offset: int) -> Iterator[bytes]:
        """The content of a file from `offset` on."""

    def _entries(self) -> tuple[FileEntry, ...]:
        return Manifest.from_bytes(self.head()[0], str(self.path)).files

    def needed_bytes(self, folder: Path, installed: Path | None) -> int:
        """See BundleSource."""
        needed = 0
        for entry in self._entries():
            path = folder / entry.path
            if not self._right(path, entry):
                needed += entry.size_bytes - min(entry.size_bytes, _size(partial_path(path)))
        return needed

    def fill(self, folder: Path, installed: Path | None) -> Moved:
        """See BundleSource."""
        moved = kept = 0
        try:
            for entry in self._entries():
                path = folder / entry.path
                if self._right(path, entry):
                    kept += entry.size_bytes
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                fetched = self._fetch(entry, partial_path(path))
                partial_path(path).replace(path)
                moved += fetched
                kept += max(0, entry.size_bytes - fetched)
            for name in ("", *list_tree(folder)[1]):
                fsync_directory(folder / name)
        except OSError as error:
            raise resource_error(error, str(folder)) from error
        return Moved(moved, kept)

    def _right(self, path: Path, entry: FileEntry) -> bool:
        """Whether a file is there with the right content; hashed once for as long as it stays as it is."""
        try:
            status = path.lstat()
        except OSError:
            return False
        if status.st_size != entry.size_bytes:
            return False
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        try:
            if key not in self._digests:
                self._digests[key] = digest_file(path)
        except BundleError:
            return False
        return self._digests[key] == (entry.sha256, entry.size_bytes)

    def _fetch(self, entry: FileEntry, partial: Path) -> int:
        """Bring a file to its partial name, whole; returns the bytes that were read for it."""
        fetched = 0
        for resume in (True, False):
            resumed, count, digest = self._append(entry, partial, resume=resume)
            fetched += count
            if digest == entry.sha256:
                return fetched
            partial.unlink()
            if not resumed:
                break
        raise BundleError(
            f"file {entry.path!r} was changed (its sha256 differs)",
            where=str(self.path),
            mend="fetch or build the bundle again",
        )

    def _append(self, entry: FileEntry, partial: Path, *, resume: bool) -> tuple[int, int, str]:
        """(bytes that were there, bytes that were read, sha256 of all)."""
        digest, there, count, unsynced = hashlib.sha256(), 0, 0, 0
        with partial.open("r+b" if resume and _size(partial) else "wb") as file:
            if 0 < _size(partial) <= entry.size_bytes:
                while piece := file.read(CHUNK_BYTES):
                    digest.update(piece)
                    there += len(piece)
            file.seek(there)
            file.truncate()
            for piece in self._read(entry, there):
                file.write(piece)
                digest.update(piece)
                count += len(piece)
                unsynced += len(piece)
                if unsynced >= SYNC_EVERY_BYTES:
                    file.flush()
                    os.fsync(file.fileno())
                    unsynced = 0
            file.flush()
            os.fsync(file.fileno())
            # Out of the page cache, so that the verification reads the disk and not memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return there, count, digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


class FolderSource(_WholeFiles):
    """A bundle folder on this device or on a stick."""

    def head(self) -> tuple[bytes, bytes]:
        """See BundleSource. Errors: BundleError when it is no bundle, UntrustedError when unsigned."""
        if not (self.path / MANIFEST_NAME).is_file():
            raise BundleError(
                f"is not a bundle (no {MANIFEST_NAME})", where=str(self.path), mend="give a bundle folder or a .tar"
            )
        if not os.path.lexists(self.path / SIGNATURE_NAME):
            raise unsigned(self.path)
        manifest = read_small(self.path / MANIFEST_NAME, MAX_MANIFEST_BYTES)
        return manifest, read_small(self.path / SIGNATURE_NAME, MAX_SIGNATURE_BYTES)

    def _read(self, entry: FileEntry, offset: int) -> Iterator[bytes]:
        left = entry.size_bytes - offset
        place = self.path / entry.path
        with os.fdopen(open_regular(place), "rb", buffering=0) as file:
            try:
                file.seek(offset)
                while left > 0 and (piece := file.read(min(left, CHUNK_BYTES))):
                    left -= len(piece)
                    yield piece
            except OSError as error:
                raise read_error(error, str(place)) from error


class TarSource(_WholeFiles):
    """A bundle as a .tar. Its structure is checked when it is opened; close it, or use it as a context manager.

    Errors: BundleError when it is no whole .tar of a bundle.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tar = TarReader(path)

    def head(self) -> tuple[bytes, bytes]:
        """See BundleSource."""
        return self._tar.head()

    def _read(self, entry: FileEntry, offset: int) -> Iterator[bytes]:
        member = self._tar.members.get(entry.path)
        if member is None or member.size_bytes != entry.size_bytes:
            raise BundleError(f"file {entry.path!r} is missing or has another size", where=str(self.path))
        return self._tar.pieces_from(entry.path, offset)

    def close(self) -> None:
        """Close the file."""
        self._tar.close()

    def __enter__(self) -> TarSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(path: Path) -> FolderSource | TarSource:
    """The source of a folder or a .tar. Errors: BundleError when there is neither."""
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return TarSource(path)
    raise BundleError("there is no bundle", where=str(path), mend="give a bundle folder or a .tar, see `edge build`")
