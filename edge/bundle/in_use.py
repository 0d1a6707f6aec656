"""A bundle folder that a program has open: the installer never fills a slot that somebody still runs from.

A shared lock (flock) on the folder itself, so that it needs no file, no right to write, and ends with its process. An
engine maps its files into memory: were they exchanged beneath it, it would write with weights that nobody verified.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ResourceError
from edge.files import resource_error


class InUse:
    """Held from `hold_open` until `close` or the end of the process."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Let it go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def hold_open(folder: Path) -> InUse:
    """Say that this process runs from a bundle folder. Take it before the files are checked.

    A file system without such locks holds nothing off; the digests are checked all the same.
    Errors: ResourceError while an installer fills the folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return InUse(None)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ResourceError(
            "a model is being installed into this folder", where=str(folder), mend="try again in a minute"
        ) from None
    except OSError:
        os.close(descriptor)
        return InUse(None)
    return InUse(descriptor)


@contextlib.contextmanager
def nobody_else(folder: Path) -> Iterator[None]:
    """Hold a folder for its installer alone.

    Errors: ResourceError at once while a program runs from it, or when it cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise resource_error(error, str(folder)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StillUsedError(folder) from None
        yield
    finally:
        os.close(descriptor)


class StillUsedError(ResourceError):
    """A program runs from the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            "a program still runs from this folder",
            where=str(folder),
            mend="let it take the build that is in force (the app does between two visits), or close it",
        )
