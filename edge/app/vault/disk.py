"""Private files: 0600 in a 0700 folder, written beside and renamed, overwritten before they are removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.errors import ResourceError
from edge.files import fsync_directory, resource_error

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextlib.contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Say an OSError in one line."""
    try:
        yield
    except OSError as error:
        raise resource_error(error, where) from error


def no_core_dumps() -> None:
    """A crash of this process leaves no image of its memory on disk. For the app's start."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter; an existing one is closed to others."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o777 != FOLDER_MODE:
        path.chmod(FOLDER_MODE)


def new_file(path: Path) -> None:
    """Make an empty private file; SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, FILE_MODE))


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A private file that appears at `path` whole and durable, or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise resource_error(error, path.name) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write `data` so that a reader sees all of it or what was there before."""
    with private_file(path) as file:
        file.write(data)


def replace_and_shred(path: Path, data: bytes) -> None:
    """As `write_private`; then what was there before is overwritten where it lay (if the disk writes in place)."""
    old = os.open(path, os.O_WRONLY | _NO_FOLLOW)
    try:
        size = os.fstat(old).st_size
        write_private(path, data)
        _overwrite(old, size)
    finally:
        os.close(old)


def overwrite(path: Path, data: bytes) -> bool:
    """Write over a file of the same size where it lies; False when there is none, or it cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | _NO_FOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_size != len(data):
            return False
        os.write(descriptor, data)
        os.fsync(descriptor)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def shred(path: Path) -> None:
    """Overwrite with random bytes, sync, remove. Nothing happens where there is nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | _NO_FOLLOW)
    except FileNotFoundError:
        return
    try:
        _overwrite(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)
    fsync_directory(path.parent)


def _overwrite(descriptor: int, size: int) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, os.urandom(size))
    os.fsync(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove the files of a flat folder and the folder; one that is not there is no error."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        path.unlink(missing_ok=True)
    folder.rmdir()
    fsync_directory(folder.parent)


class FolderLock:
    """An flock on a file: held by one holder at a time, let go by the system when its process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """By this object."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take it. Errors: ResourceError when another holds it."""
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | _NO_FOLLOW, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ResourceError("the vault is in use by another process", mend="close the other one first") from error
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
