"""Many links in one process and one thread: a simulated fleet, or one device. Built on selectors, not on select(),
which ends at 1,024 descriptors. A device takes about six: socket, outbox with its journal, locks.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from edge.fleet.agent.link import Link


class LinkLoop:
    """Links are looked after when they have something to read, when their time has come, and when they are woken.

    clock: monotonic seconds, the same as the links'.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._due_s: dict[Link, float] = {}
        self._watched: dict[Link, tuple[socket.socket, int]] = {}

    def add(self, link: Link) -> None:
        """Look after `link` from now on."""
        self._due_s[link] = self._clock()

    def wake(self, link: Link) -> None:
        """Something was queued for it."""
        if link in self._due_s:
            self._due_s[link] = self._clock()

    def remove(self, link: Link) -> None:
        """Look after it no longer; it is not closed."""
        self._due_s.pop(link, None)
        self._unwatch(link)

    def step(self, most_s: float) -> None:
        """One round, at most `most_s` long."""
        now_s = self._clock()
        for link, due_s in list(self._due_s.items()):
            if due_s <= now_s:
                self._look(link)
        wait_s = min((due_s - self._clock() for due_s in self._due_s.values()), default=most_s)
        for key, ready in self._selector.select(max(0.0, min(most_s, wait_s))):
            link = key.data
            if ready & selectors.EVENT_READ:
                link.readable()
            if ready & selectors.EVENT_WRITE:
                link.writable()
            self._look(link)

    def close(self) -> None:
        """Let the selector go."""
        self._selector.close()

    def _look(self, link: Link) -> None:
        link.tick()
        self._watch(link)
        if link in self._due_s:
            self._due_s[link] = self._clock() + link.wait_s(1.0)

    def _watch(self, link: Link) -> None:
        sock = link.socket()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_write() else 0)
        before = self._watched.get(link)
        if before is not None and before[0] is sock and before[1] == wanted:
            return
        self._unwatch(link)
        if sock is not None and sock.fileno() >= 0:
            self._selector.register(sock, wanted, link)
            self._watched[link] = (sock, wanted)

    def _unwatch(self, link: Link) -> None:
        before = self._watched.pop(link, None)
        if before is None:
            return
        # A socket that was closed has no descriptor any more: it is found by its object.
        for key in [key for key in self._selector.get_map().values() if key.fileobj is before[0]]:
            self._selector.unregister(key.fd)
