"""Tells systemd that the app is up and alive, so that a frozen screen is started again.

The word goes over the local socket that systemd names; where there is none, on a desktop, all of this does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping

Send = Callable[[bytes], None]


class Notifier:
    """ready: the first frame is drawn. alive: called every frame, tells at half the watchdog's time. No call fails."""

    def __init__(self, send: Send | None = None, watchdog_s: float = 0.0) -> None:
        self._send = send
        self._every_s = watchdog_s / 2
        self._told_s: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, pid: int | None = None) -> Notifier:
        """As systemd set it up for this process; a notifier that does nothing without systemd."""
        known = os.environ if environment is None else environment
        address = known.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        own = known.get("WATCHDOG_PID", "")
        watched = not own or own == str(os.getpid() if pid is None else pid)
        period = known.get("WATCHDOG_USEC", "")
        watchdog_s = int(period) / 1e6 if watched and period.isdigit() else 0.0
        # systemd writes '@' for the zero byte of an abstract address.
        return cls(
            lambda data: _send(address.replace("@", "\0", 1) if address[0] == "@" else address, data), watchdog_s
        )

    def ready(self) -> None:
        """The app can be used."""
        self._tell(b"READY=1")

    def alive(self, now_s: float) -> None:
        """A frame was drawn at `now_s` of a monotonic clock."""
        if self._every_s and (self._told_s is None or now_s - self._told_s >= self._every_s):
            self._told_s = now_s
            self._tell(b"WATCHDOG=1")

    def stopping(self) -> None:
        """The app ends on purpose."""
        self._tell(b"STOPPING=1")

    def _tell(self, data: bytes) -> None:
        if self._send is not None:
            # A missing or full socket must not stop a clinician's work; systemd's own time limit then decides.
            with contextlib.suppress(OSError):
                self._send(data)


def _send(address: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.setblocking(False)
        channel.sendto(data, address)
