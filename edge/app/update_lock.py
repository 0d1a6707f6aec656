"""The lock that an installer must take before it swaps a bundle: held while an encounter is open.

A lock of the file system, so that it ends with the process that held it, however that ended.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from edge.errors import ResourceError


class UpdateLock(Protocol):
    """Held or not; both calls may come twice."""

    def acquire(self) -> None:
        """An encounter is open."""

    def release(self) -> None:
        """None is."""


class NoLock:
    """Where nothing can be swapped."""

    def acquire(self) -> None:
        """Nothing to hold."""

    def release(self) -> None:
        """Nothing to let go."""


NO_LOCK = NoLock()
LOCK_NAME = "encounter-open.lock"


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
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ResourceError("the model is being exchanged", mend="try again in a minute") from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def swap_allowed(folder: Path) -> bool:
    """Whether no encounter is open: what an installer asks before it swaps."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
