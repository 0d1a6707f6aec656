"""Folders that take a minute to make and are then kept: a file system of a board, wheels of another machine.

A folder is made beside its place and renamed when it is whole, under a lock: of two runs at once one makes it and
the other waits and uses it. Each folder counts its own files in KEPT_FILE; one whose count or size differs (a full
disk, a power cut, somebody's `rm`) is made again and never used. Compiled Python is not counted, because
interpreters add it later.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.errors import EdgeError
from edge.files import fsync_directory, resource_error, write_atomic

KEPT_FILE = ".edge-kept.json"
KEPT_VERSION = 1
COMPILED = "__pycache__"

Say = Callable[[str], None]


def silent(_words: str) -> None:
    """For nobody."""


def measure(folder: Path) -> dict[str, int]:
    """Number of files and links below a folder, and the bytes of the files; compiled Python is left out."""
    files = size = 0
    for base, names, entries in os.walk(folder):
        names[:] = [name for name in names if name != COMPILED]
        links = [name for name in names if (Path(base) / name).is_symlink()]
        for name in [*entries, *links]:
            if name == KEPT_FILE:
                continue
            status = (Path(base) / name).lstat()
            files += 1
            size += 0 if (Path(base) / name).is_symlink() else status.st_size
    return {"files": files, "size_bytes": size}


def is_whole(folder: Path) -> bool:
    """The folder is there with all that was put into it."""
    try:
        record = json.loads((folder / KEPT_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(record == {"version": KEPT_VERSION} | measure(folder))


@contextlib.contextmanager
def locked(path: Path, say: Say = silent) -> Iterator[None]:
    """Hold the lock file `path`; waits for another run, which it says.

    The lock of a killed run is free when the programs that it had started (run_tool) have ended, too: an apt-get that
    goes on alone still writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(descriptor, True)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that makes {path.name.strip('.').removesuffix('.lock')}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def kept_folder(place: Path, make: Callable[[Path], None], *, say: Say = silent) -> Path:
    """The whole folder `place`, made by `make` where it is not there.

    make: writes into an empty folder beside `place`; what it raises goes on up, and nothing is left.
    Errors: ResourceError (no space, not writable) and those of `make`.
    """
    if is_whole(place):
        return place
    try:
        with locked(place.with_name(f".{place.name}.lock"), say):
            if is_whole(place):
                return place
            for stale in place.parent.glob(f".{place.name}.*.part"):
                shutil.rmtree(stale, ignore_errors=True)  # of a killed run: the lock is ours
            stage = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
            stage.mkdir()
            try:
                make(stage)
                record = {"version": KEPT_VERSION} | measure(stage)
                write_atomic(stage / KEPT_FILE, json.dumps(record).encode())
                if place.exists():
                    shutil.rmtree(place)
                stage.rename(place)
                fsync_directory(place.parent)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except EdgeError:
        raise
    except OSError as error:
        raise resource_error(error, str(place)) from error
    return place
