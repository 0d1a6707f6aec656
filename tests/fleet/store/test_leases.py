"""Leases: one holder at a time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from edge.fleet.store.leases import release_lease, take_lease
from edge.fleet.store.store import open_store

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_one_holder_until_it_is_over(database_url: str) -> None:
    """If not: two collectors lead, or none does after the leader died."""
    clock = Clock()
    store = open_store(database_url, clock=clock)
    assert take_lease(store, "leader", "a", 15)
    assert not take_lease(store, "leader", "b", 15)
    assert take_lease(store, "leader", "a", 15)
    assert take_lease(store, "other", "b", 15)
    clock.now += timedelta(seconds=14)
    assert not take_lease(store, "leader", "b", 15)
    clock.now += timedelta(seconds=2)
    assert take_lease(store, "leader", "b", 15)
    assert not take_lease(store, "leader", "a", 15)
    store.close()


def test_released_is_free(database_url: str) -> None:
    """If not: after an orderly stop nobody leads until the lease is over; or anybody can end another's."""
    store = open_store(database_url)
    assert take_lease(store, "leader", "a", 15)
    release_lease(store, "leader", "b")
    assert not take_lease(store, "leader", "b", 15)
    release_lease(store, "leader", "a")
    assert take_lease(store, "leader", "b", 15)
    store.close()


def test_many_at_once(database_url: str) -> None:
    """If not: two that ask in the same moment both get it."""
    store = open_store(database_url)
    got: list[str] = []

    def ask(name: str) -> None:
        if take_lease(store, "leader", name, 15):
            got.append(name)

    threads = [threading.Thread(target=ask, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    store.close()
