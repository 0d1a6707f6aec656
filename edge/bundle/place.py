"""The place of a bundle: one builder at a time, and a swap that a power cut cannot break.

Names beside the place NAME, all below its parent folder:

    .NAME.lock            held (flock) by whoever builds, unpacks or recovers; gone when nobody does
    .NAME.HEX.building    a bundle in the making; of a killed run it is litter
    .NAME.HEX.old         the bundle that stood there before, set aside for the swap
    .NAME.HEX.trash       something being deleted

Rules. (1) Only the holder of the lock touches these. (2) A `.building` folder is complete and on disk before
it is renamed to NAME. (3) The old bundle is renamed to `.old`, and only after the new one stands at NAME is
it renamed to `.trash` and deleted: a folder that is half deleted is never named `.old`. (4) Recovery: an
`.old` with nothing at NAME goes back to NAME; otherwise it is trash, as is every `.building`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ResourceError
from edge.files import fsync_directory, resource_error


def absolute(path: Path | str) -> Path:
    """`path` from the root, without `..`, its last link not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the link


def beside(place: Path, kind: str) -> Path:
    """A fresh name beside `place`; kind: building, old or trash."""
    return place.with_name(f".{place.name}.{os.urandom(4).hex()}.{kind}")


def leftovers(place: Path, kind: str) -> list[Path]:
    """What a killed run left beside `place`."""
    pattern = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}\.{kind}")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        return sorted(path for path in place.parent.iterdir() if pattern.fullmatch(path.name))
    return []


@contextlib.contextmanager
def locked(place: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `place`, creating its parent folder.

    Errors: ResourceError when another run holds it (unless `wait`), or the folder cannot be written.
    """
    lock = place.with_name(f".{place.name}.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _take(lock, wait)
    except BlockingIOError as error:
        raise ResourceError(
            "another run is writing this bundle",
            where=str(place),
            mend="wait for it, or stop it, and run again",
        ) from error
    except OSError as error:
        raise resource_error(error, str(place)) from error
    try:
        yield
    finally:
        # Unlinked while held: whoever waits on this file finds that it lost its name and opens a new one.
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _take(lock: Path, wait: bool) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(lock)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def recover(place: Path) -> None:
    """Put right what a killed run left at `place`: afterwards the old or the new bundle stands there, whole.

    Errors: ResourceError when another run is at work there, or the folder cannot be written.
    """
    with locked(place):
        recover_locked(place)


def recover_locked(place: Path) -> None:
    """As recover, for the holder of the lock. Rule 4 of this module."""
    try:
        for old in leftovers(place, "old"):
            if os.path.lexists(place):
                discard(place, old)
            else:
                old.rename(place)
                fsync_directory(place.parent)
        for litter in leftovers(place, "building") + leftovers(place, "trash"):
            discard(place, litter)
    except OSError as error:
        raise resource_error(error, str(place)) from error


def swap_in(building: Path, place: Path) -> None:
    """Let `building` take the place. Rules 2 and 3 of this module.

    Errors: OSError; the caller then recovers.
    """
    old = beside(place, "old")
    replaces = os.path.lexists(place)
    if replaces:
        place.rename(old)
        fsync_directory(place.parent)
    building.rename(place)
    fsync_directory(place.parent)
    if replaces:
        discard(place, old)


def discard(place: Path, folder: Path) -> None:
    """Delete a folder beside `place`; what cannot be deleted now is left as trash for the next run."""
    import shutil

    with contextlib.suppress(OSError):
        trash = beside(place, "trash")
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
