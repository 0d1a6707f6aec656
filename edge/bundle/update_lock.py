"""The lock between visits and installers: apps share it while an encounter is open, an installer has it alone.

A lock of the file system, so that it ends with the process that held it, however that ended. The file holds nothing,
and is only ever opened for reading, which is enough for a lock: one that root made counts for the app's user too.
It lies where the app and the agent both may write, and never among patients' data: `EDGE_LOCK`, else the home of the
keys (/var/lib/edge on a device with the package); on Android the app's own folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edge.bundle.keys import default_home
from edge.errors import ResourceError
from edge.files import resource_error


class UpdateLock(Protocol):
    """Held or not; both calls may come twice."""

    def acquire(self) -> None:
        """An encounter is open."""

    def release(self) -> None:
        """None is."""

    @property
    def exchanging(self) -> bool:
        """Whether an installer has it now."""


class NoLock:
    """Where nothing can be swapped."""

    def acquire(self) -> None:
        """Nothing to hold."""

    def release(self) -> None:
        """Nothing to let go."""

    @property
    def exchanging(self) -> bool:
        """Never."""
        return False


NO_LOCK = NoLock()
LOCK_NAME = "encounter-open.lock"
MODE = 0o644
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in its place is not waited for
LOOKS_S = (0.01, 0.05)


def lock_folder() -> Path:
    """Where this machine's lock lies."""
    chosen = os.environ.get("EDGE_LOCK")
    return Path(chosen) if chosen else default_home()


class FileUpdateLock:
    """A shared lock on a file: several apps may hold it, an installer wants it for itself."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Hold it. A folder that cannot be written holds no bundle that could be swapped there: nothing to do.

        Errors: ResourceError while an installer has it: the bundle is being exchanged this very moment.
        """
        if self._descriptor is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, _OPEN | os.O_CREAT, MODE)
        except OSError:
            return
        if not _taken(descriptor, fcntl.LOCK_SH):
            os.close(descriptor)
            raise ResourceError("the model is being exchanged", mend="try again in a minute")
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def exchanging(self) -> bool:
        """Whether an installer has it: from its switch until it commits or rolls back.

        Now and then also when somebody only asked `swap_allowed`: who acts on it looks twice.
        """
        if self._descriptor is not None:
            return False
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, _OPEN)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
        return False


def swap_allowed(folder: Path) -> bool:
    """Whether no encounter is open: what an installer asks before it begins. `exclusive` decides.

    Takes up to a tenth of a second where one is: an app that only looks holds the lock for an instant, and must not end
    a benchmark by it. Errors: OSError when it cannot be asked.
    """
    try:
        descriptor = os.open(folder / LOCK_NAME, _OPEN)
    except FileNotFoundError:
        return True
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no file")
        return _taken(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock alone: no visit can be opened until this ends.

    Errors: ResourceError at once while a visit is open or another installer holds it, or when the file cannot be made:
    an installer, unlike an app, changes nothing without the lock.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_NOFOLLOW, MODE)
    except OSError as error:
        raise resource_error(error, str(path)) from error
    try:
        if not _taken(descriptor, fcntl.LOCK_EX):
            raise VisitOpenError
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int, kind: int) -> bool:
    """Whether the lock is ours; asked a few times, since whoever only looks holds it for an instant."""
    for pause_s in (*LOOKS_S, None):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        if pause_s is not None:
            time.sleep(pause_s)
    return False


class VisitOpenError(ResourceError):
    """A visit is open, so nothing is exchanged now."""

    def __init__(self) -> None:
        super().__init__("a visit is open in the app on this device", mend="finish it, then run this again")
