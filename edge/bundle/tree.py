"""A folder of regular files: safe relative paths, a listing that follows no link, digests, bounded reads."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import unicodedata
from pathlib import Path

from edge.errors import BundleError, EdgeError, ResourceError
from edge.files import CHUNK_BYTES

MAX_PATH_BYTES = 240
MEND = "fetch or build the bundle again"


def check_path(path: object, where: str) -> str:
    """`path` if it is a plain relative POSIX path that stays inside its folder on every file system.

    Errors: BundleError for absolute paths, `..`, hidden names, control characters, backslashes, other than
    NFC.
    """
    good = (
        isinstance(path, str)
        and 0 < len(os.fsencode(path) if path.isprintable() else "") <= MAX_PATH_BYTES
        and "\\" not in path
        and unicodedata.is_normalized("NFC", path)
        and all(part and not part.startswith(".") for part in path.split("/"))
    )
    if not good or not isinstance(path, str):
        raise BundleError(f"path {str(path)[:80]!r} is not allowed in a bundle", where=where, mend=MEND)
    return path


def read_error(error: OSError, where: str) -> EdgeError:
    """Say an OSError met while reading in the words of a user."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return BundleError("is missing", where=where, mend=MEND)
    if error.errno == errno.ELOOP:
        return BundleError("is a link, which a bundle never holds", where=where, mend=MEND)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ResourceError("cannot be read", where=where, mend="give your user the right to read it")
    return ResourceError(f"cannot be read ({error.strerror})", where=where, mend="check the disk")


def open_regular(path: Path) -> int:
    """A descriptor of a regular file. Follows no link and does not wait on a pipe.

    Errors: BundleError when it is missing or not a regular file; ResourceError when it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise read_error(error, str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleError("is not a regular file", where=str(path), mend=MEND)
    return descriptor


def read_small(path: Path, limit_bytes: int) -> bytes:
    """The whole of a small file. Errors: as open_regular, and BundleError above `limit_bytes`."""
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            data = file.read(limit_bytes + 1)
        except OSError as error:
            raise read_error(error, str(path)) from error
    if len(data) > limit_bytes:
        raise BundleError(f"is larger than {limit_bytes} bytes", where=str(path), mend=MEND)
    return data


def digest_file(path: Path) -> tuple[str, int]:
    """Hex sha256 and size in bytes of a regular file, read in 1 MiB pieces into one buffer."""
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        try:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                size += count
        except OSError as error:
            raise read_error(error, str(path)) from error
    return digest.hexdigest(), size


def list_tree(root: Path) -> tuple[dict[str, int], list[str]]:
    """All below `root`: {relative file path: size in bytes} and the relative folders, neither following
    links.

    Errors: BundleError names the first link, device, socket or pipe.
    """
    files: dict[str, int] = {}
    folders: list[str] = []
    pending = [""]
    try:
        while pending:
            folder = pending.pop()
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(path)
                        pending.append(path)
                    elif stat.S_ISREG(status.st_mode):
                        files[path] = status.st_size
                    else:
                        raise BundleError(
                            "is a link or a device, which a bundle never holds",
                            where=str(root / path),
                            mend=MEND,
                        )
    except OSError as error:
        raise read_error(error, str(root)) from error
    return dict(sorted(files.items())), sorted(folders)
