"""The lock between visits and installers: apps share it while an encounter is open, an installer has it alone for
the instants in which it exchanges a build. A second one is held by an installer while it tests a build: by that an app
knows when to free its memory, and it keeps no visit out.

Locks of the file system, so that they end with the process that held them, however that ended. The files hold nothing,
and are only ever opened for reading, which is enough for a lock: one that root made counts for the app's user too.
They lie where the app and the agent both may write, and never among patients' data: `EDGE_LOCK`, else the home of the
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
    def testing(self) -> bool:
        """Whether an installer tests a build now, and no visit is open here."""


class NoLock:
    """Where nothing can be swapped."""

    def acquire(self) -> None:
        """Nothing to hold."""

    def release(self) -> None:
        """Nothing to let go."""

    @property
    def testing(self) -> bool:
        """Never."""
        return False


NO_LOCK = NoLock()
LOCK_NAME = "encounter-open.lock"
TEST_LOCK_NAME = "self-test.lock"
MODE = 0o644
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in its place is not waited for
LOOKS_S = (0.01, 0.05)
# Of a visit that is opened: a link and a small file are written meanwhile, and a slow card flushes them.
VISIT_LOOKS_S = (0.01, 0.05, 0.1, 0.2, 0.4)
WAIT_LOOK_S = 0.1


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

        Waits for the instant that an exchange takes. Errors: ResourceError when it takes longer than most of a second,
        as while edge's own package is exchanged.
        """
        if self._descriptor is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, _OPEN | os.O_CREAT, MODE)
        except OSError:
            return
        if not _taken(descriptor, fcntl.LOCK_SH, VISIT_LOOKS_S):
            os.close(descriptor)
            raise ResourceError("the model is being exchanged", mend="try again in a few seconds")
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def testing(self) -> bool:
        """Whether an installer tests a build. Never while a visit is open here: the test is ended by that."""
        return self._descriptor is None and self_test_runs(self.path.parent)


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


def visit_open(folder: Path) -> bool:
    """Whether a visit is open, or may be: a lock that cannot be asked may be held."""
    try:
        return not swap_allowed(folder)
    except OSError:
        return True


def self_test_runs(folder: Path) -> bool:
    """Whether an installer tests a build now: then memory and cores are its own, unless a visit wants them."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / TEST_LOCK_NAME, _OPEN)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


@contextlib.contextmanager
def exclusive(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock alone: no visit can be opened until this ends, so it is held for an instant only.

    Errors: VisitOpenError while a visit is open or another installer holds it, after wait_s; ResourceError when the
    file cannot be made: an installer, unlike an app, changes nothing without the lock.
    """
    with _alone(folder, LOCK_NAME) as descriptor:
        until_s = time.monotonic() + wait_s
        while not _taken(descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= until_s:
                raise VisitOpenError
            time.sleep(WAIT_LOOK_S)
        yield


@contextlib.contextmanager
def under_test(folder: Path) -> Iterator[None]:
    """Say that a build is tested: apps without a visit free their memory, and no benchmark runs beside it.

    Errors: SelfTestRunsError while another one is; ResourceError when the file cannot be made.
    """
    with _alone(folder, TEST_LOCK_NAME) as descriptor:
        if not _taken(descriptor, fcntl.LOCK_EX):
            raise SelfTestRunsError
        yield


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[int]:
    """The file of a lock that only an installer takes alone; made where it is not there."""
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_NOFOLLOW, MODE)
    except OSError as error:
        raise resource_error(error, str(path)) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int, kind: int, looks_s: tuple[float, ...] = LOOKS_S) -> bool:
    """Whether the lock is ours; asked a few times, since whoever only looks holds it for an instant."""
    for pause_s in (*looks_s, None):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        if pause_s is not None:
            time.sleep(pause_s)
    return False


class VisitOpenError(ResourceError):
    """A visit is open, so nothing is exchanged now."""

    def __init__(
        self, what: str = "a visit is open in the app on this device", mend: str = "finish it, then run this again"
    ) -> None:
        super().__init__(what, mend=mend)


class SelfTestRunsError(ResourceError):
    """Another build is in its self-test: two models may be more than this device's memory."""

    def __init__(self) -> None:
        super().__init__("another build is being tested on this device", mend="wait for it, then run this again")
