"""One thread for what takes longer than a frame: the vault's writes, Argon2, an export.

All work on the vault goes through the same thread, so that its connection is used by one thread only and writes keep
their order. `call` waits for the answer (short work at a tap); `post` returns at once and its `done` is called from
`poll`, in the thread that draws.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Done = Callable[[Any, BaseException | None], None]


class Worker:
    """A thread and the answers that wait to be told."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="edge-vault")
        self._answers: queue.SimpleQueue[tuple[Done, Future[Any]]] = queue.SimpleQueue()

    def call(self, work: Callable[..., Answer], *args: Any, **options: Any) -> Answer:
        """Do it now and wait. Errors: those of `work`."""
        return self._pool.submit(work, *args, **options).result()

    def post(self, work: Callable[..., Any], *args: Any, done: Done | None = None) -> Future[Any]:
        """Do it soon. done(answer, error) is called by the next `poll` after it ended."""
        future = self._pool.submit(work, *args)
        if done is not None:
            wanted = done
            future.add_done_callback(lambda ended: self._answers.put((wanted, ended)))
        return future

    def poll(self) -> int:
        """Tell what has ended; never waits. Returns how many were told."""
        told = 0
        while not self._answers.empty():
            done, future = self._answers.get()
            error = future.exception()
            done(None if error else future.result(), error)
            told += 1
        return told

    def close(self) -> None:
        """Wait for what was begun, then end the thread."""
        self._pool.shutdown(wait=True)
