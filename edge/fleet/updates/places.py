"""Places that updates come from: what the client asks of each, and the folder (a stick, a mirror) as a place.

A place is never trusted: metadata is checked by its signatures, chunks by their digests. What a place can do is fail,
and each way has its error: NotThereError, UnreachableError, SlowError.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edge.errors import EdgeError, InputError
from edge.fleet.updates.errors import NotThereError, UnreachableError

PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class RangeReply:
    """Bytes of a file from `start_bytes` on. whole: the place sent the file from its beginning to its end, because it
    knows no ranges. pieces may end early; close when done."""

    start_bytes: int
    whole: bool
    pieces: Iterator[bytes]
    close: Callable[[], None]


class UpdatePlace(Protocol):
    """A folder in the layout of a published repository, near or far."""

    @property
    def name(self) -> str:
        """For people: the address or the folder."""

    def read(self, path: str) -> Iterator[bytes]:
        """A whole file in pieces. The caller stops reading when it is too long. Errors: see the module."""

    def read_range(self, path: str, start_bytes: int, size_bytes: int) -> RangeReply:
        """A part of a file. Errors: see the module, at once or while reading."""

    def server_time(self) -> datetime | None:
        """The time that the place last told, not to be trusted; None where it tells none."""

    def close(self) -> None:
        """Let go of connections."""


class FolderPlace:
    """A folder, read only. Links are followed within it and never out of it; a pipe or device is refused."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def read(self, path: str) -> Iterator[bytes]:
        """See UpdatePlace."""
        with os.fdopen(self._open(path), "rb", buffering=0) as file:
            yield from self._pieces(file.fileno(), None)

    def read_range(self, path: str, start_bytes: int, size_bytes: int) -> RangeReply:
        """See UpdatePlace."""
        descriptor = self._open(path)

        def close() -> None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

        try:
            os.lseek(descriptor, start_bytes, os.SEEK_SET)
        except OSError as error:
            close()
            raise self._broken(error) from error
        return RangeReply(start_bytes, False, self._pieces(descriptor, size_bytes), close)

    def server_time(self) -> datetime | None:
        """A folder tells no time."""
        return None

    def close(self) -> None:
        """Nothing is held open."""

    def _open(self, path: str) -> int:
        real = os.path.realpath(self.folder)
        place = os.path.realpath(os.path.join(real, path))  # noqa: PTH118  of the resolved folder
        if not place.startswith(os.path.join(real, "")):  # noqa: PTH118
            raise NotThereError("a link leads out of the folder", where=self.name, mend="copy the repository again")
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotThereError(f"lacks {path[:80]}", where=self.name, mend="copy the repository again") from error
        except OSError as error:
            raise self._broken(error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotThereError(f"{path[:80]} is no file", where=self.name, mend="copy the repository again")
        return descriptor

    def _pieces(self, descriptor: int, limit_bytes: int | None) -> Iterator[bytes]:
        left = limit_bytes
        try:
            while piece := os.read(descriptor, PIECE_BYTES if left is None else min(left, PIECE_BYTES)):
                left = None if left is None else left - len(piece)
                yield piece
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> EdgeError:
        return UnreachableError(
            f"cannot be read ({error.strerror})", where=self.name, mend="put the stick in again, or take another"
        )


def open_place(place: str, credentials: object | None = None) -> UpdatePlace:
    """The place of an address (https://...) or a folder. credentials: see HttpPlace.

    Errors: InputError for an address of another kind.
    """
    scheme, mark, _ = place.partition("://")
    if not mark:
        return FolderPlace(place)
    if scheme not in ("https", "http"):
        raise InputError(f"{scheme[:20]}:// is no kind of update place", mend="give an https:// address or a folder")
    from edge.fleet.updates.http_place import HttpPlace

    return HttpPlace(place, credentials)  # type: ignore[arg-type]
