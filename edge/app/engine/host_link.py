"""The engine's side of the line: the standard pipes of a child, or a socket that serves one client at a time.

The pipe's file descriptors are moved away from 0 and 1 and both, and 2, lead nowhere then: whatever a library prints
can neither break the protocol nor end in a log.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.app.engine.messages import MAX_LINE_BYTES, Event, Message, ProtocolError, decode, encode
from edge.app.engine.socket_client import peer_of


class Link:
    """A line to a client. `send` may come from any thread; what is said to a client that is gone is dropped."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Write an event; waits while the client does not read."""
        data = encode(event)
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._sink.write(data)
            self._sink.flush()

    def messages(self) -> Iterator[Message]:
        """Messages as they come, to the end of the line. Errors: ProtocolError."""
        while line := self._line():
            if not line.endswith(b"\n"):
                raise ProtocolError("a line was cut off or is too long")
            yield decode(line)

    def _line(self) -> bytes:
        try:
            return self._source.readline(MAX_LINE_BYTES + 1)
        except (OSError, ValueError):
            return b""


def take_stdio() -> Link:
    """The line over this process's standard pipes, which belong to nobody else from now on."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silence(0, 1, 2)
    return Link(source, sink)


def silence(*descriptors: int) -> None:
    """Lead standard descriptors, and Python's streams on them, nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    if 1 in descriptors:
        sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w")


class Doorway:
    """A socket at `path`, mode 0600, that lets one client of the same user in at a time.

    Errors: OSError when the path is taken by something else than an old socket.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
                path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        self._listener.listen(4)
        self._taken = threading.Lock()

    def clients(self) -> Iterator[tuple[Link, socket.socket]]:
        """Clients as they are let in. Call `left` when one has gone. Others are hung up on meanwhile."""
        while True:
            connection, _ = self._listener.accept()
            _, uid = peer_of(connection)
            if uid != os.getuid() or not self._taken.acquire(blocking=False):
                connection.close()
                continue
            yield Link(connection.makefile("rb"), connection.makefile("wb")), connection

    def left(self, connection: socket.socket) -> None:
        """The client has gone: the next one may come in."""
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        self._taken.release()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
