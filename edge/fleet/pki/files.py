"""Files of the PKI: private keys that nobody else reads, one writer at a time, nothing half-written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.errors import SpecError, UntrustedError
from edge.files import fsync_directory, resource_error

MAX_FILE_BYTES = 16 << 20


def write_private(path: Path, data: bytes) -> None:
    """Write `data` whole and durable, mode 0600 from its first byte on."""
    write_with_mode(path, data, 0o600)


def write_public(path: Path, data: bytes) -> None:
    """Write `data` whole and durable, readable by all (a broker runs as its own user)."""
    write_with_mode(path, data, 0o644)


def write_with_mode(path: Path, data: bytes, mode: int) -> None:
    """As `edge.files.write_atomic`, with a mode that holds from the start. Errors: ResourceError."""
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        beside.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise resource_error(error, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder that may be there already. Errors: ResourceError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise resource_error(error, str(path)) from error


def read_file(path: Path, mend: str) -> bytes:
    """A small file. Errors: SpecError when it is missing, too large or unreadable; `mend` says what to do."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise SpecError("there is no such file", where=str(path), mend=mend) from error
    except OSError as error:
        raise resource_error(error, str(path)) from error
    if len(data) > MAX_FILE_BYTES:
        raise SpecError("is too large", where=str(path), mend=mend)
    return data


def read_private(path: Path, mend: str) -> bytes:
    """A private file. Errors: as read_file; UntrustedError when others can read it."""
    data = read_file(path, mend)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UntrustedError("others can read this private key", where=str(path), mend=f"run `chmod 600 {path}`")
    return data


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` alone; wait for whoever holds it. Errors: ResourceError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise resource_error(error, str(path)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
