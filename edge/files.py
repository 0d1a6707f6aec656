"""Write beside, fsync, rename: the only way edge puts a file where somebody may read it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.errors import EdgeError, ResourceError

CHUNK_BYTES = 1 << 20


def resource_error(error: OSError, where: str) -> EdgeError:
    """Say an OSError in the words of a user: no space, read-only, or not permitted."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("no space left", where=where, mend="free space and run the same command again")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ResourceError("cannot be written", where=where, mend="choose a folder that you may write to")
    return ResourceError(f"{error.strerror or error}", where=where, mend="check the path and the disk")


def fsync_directory(path: Path) -> None:
    """Make a rename in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` whole and durable, or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise resource_error(error, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees all of it or what was there before."""
    with atomic_file(path) as file:
        file.write(data)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()
