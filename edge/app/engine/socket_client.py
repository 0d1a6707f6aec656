"""The engine as a service of its own, over a Unix socket: where the system starts processes and not the app (Android).

The service must run as the same user: the socket's file is 0600 and both sides ask the kernel who the other one is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from edge.app.engine.line_client import STOP_S, Channel, LineClient
from edge.app.engine.messages import UNKNOWN_EXIT

CONNECT_S = 20.0
RETRY_S = 0.05
ANSWER_S = 1.0
_CREDENTIALS = struct.Struct("3i")


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """(process id, user id) of the other side, as the kernel knows it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


class SocketChannel:
    """A Channel over a connected socket. Errors: PermissionError when the other side is another user's."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.pid, uid = peer_of(connection)
        if uid != os.getuid():
            connection.close()
            raise PermissionError("the engine's socket belongs to another user")
        self._file = connection.makefile("rb")
        self._killed = False

    def readline(self, limit: int) -> bytes:
        """See Channel."""
        try:
            return self._file.readline(limit)
        except ConnectionResetError:  # the other side was killed: an end like any other
            return b""

    def write(self, data: bytes) -> None:
        """See Channel."""
        self._socket.sendall(data)

    def kill(self) -> None:
        """See Channel."""
        self._killed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self.pid > 0 and self.pid != os.getpid():
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> int | None:
        """See Channel: only the service's parent can know its exit code."""
        return -signal.SIGKILL if self._killed else UNKNOWN_EXIT

    def close(self) -> None:
        """See Channel."""
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()


def connect(
    path: Path, launch: Callable[[], None], given_up: Callable[[], bool], *, timeout_s: float = CONNECT_S
) -> SocketChannel:
    """A line to the service at `path`; launch is called once when nobody answers there.

    A service that has a client already hangs up at once: this one waits until that client is gone.
    Errors: TimeoutError; OSError.
    """
    ends_s, launched = time.monotonic() + timeout_s, False
    while not given_up() and time.monotonic() < ends_s:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
            if connection.recv(1, socket.MSG_PEEK):  # it greets whom it serves
                connection.settimeout(None)
                return SocketChannel(connection)
        except PermissionError:
            raise
        except OSError:
            if not launched:
                launched = True
                launch()
        connection.close()
        time.sleep(RETRY_S)
    raise TimeoutError("no engine answers")


def no_launch() -> None:
    """For a service that somebody else starts."""


class SocketClient(LineClient):
    """An EngineClient whose engine is a service.

    Parameters
    ----------
    path: of its socket.
    launch: asks the system to start it; called in a thread.
    connect_s: how long to wait for it. clock, stop_s: as LineClient.
    """

    def __init__(
        self,
        path: Path,
        *,
        launch: Callable[[], None] = no_launch,
        connect_s: float = CONNECT_S,
        clock: Callable[[], float] = time.monotonic,
        stop_s: float = STOP_S,
    ) -> None:
        def open_channel(given_up: Callable[[], bool]) -> Channel:
            return connect(path, launch, given_up, timeout_s=connect_s)

        super().__init__(open_channel, clock=clock, stop_s=stop_s)
