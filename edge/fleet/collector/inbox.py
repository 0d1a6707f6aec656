"""What has arrived and waits for the thread that owns the database. Bounded, thread-safe.

The broker stops by itself: it sends no more than Receive Maximum messages that were not acknowledged. A session that it
kept from before may know another maximum, so nothing is read from the connection while the inbox is full (`full`). Only
QoS 0, which promises nothing, is ever dropped. When a connection is lost, what came by it is dropped too, because the
broker sends it again.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from edge.fleet.collector.client import CollectorClient, Frame

_QOS = 0x06  # bits of the first byte
Arrived = tuple[CollectorClient, Frame]


class Inbox:
    """limit: messages that are held before reading stops; the last read may go a little over it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: deque[Arrived] = deque()
        self._changed = threading.Condition()
        self._wanted = 1
        self._closed = False
        self.dropped = 0

    def put(self, client: CollectorClient, frames: list[Frame]) -> None:
        """Add what a read brought; called in the network's thread."""
        with self._changed:
            if len(self._held) >= self._limit:
                kept = [frame for frame in frames if frame[0] & _QOS]
                self.dropped += len(frames) - len(kept)
                frames = kept
            self._held.extend([(client, frame) for frame in frames])
            if len(self._held) >= self._wanted:
                self._changed.notify()

    def full(self) -> bool:
        """Whether nothing more should be read."""
        return len(self._held) >= self._limit

    def take(self, limit: int, wait_s: float) -> list[Arrived]:
        """Up to `limit` messages: waits for the first, then up to `wait_s` for the others. Empty when closed."""
        with self._changed:
            self._wanted = 1
            while not self._held and not self._closed:
                self._changed.wait(1.0)
            self._wanted = limit
            end = time.monotonic() + wait_s
            while len(self._held) < limit and not self._closed and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return [self._held.popleft() for _ in range(min(limit, len(self._held)))]

    def forget(self, client: CollectorClient) -> None:
        """Drop what came by a connection that is gone."""
        with self._changed:
            self._held = deque(one for one in self._held if one[0] is not client)

    def close(self) -> None:
        """Let `take` return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._held)
