"""A step is written whole or not at all, and once: two controllers at a time, and one that dies at any statement."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import Connection, event, select

from edge.fleet.rollout.controller import tick
from edge.fleet.store.store import Store
from edge.fleet.store.tables import decisions, desired, rollout_devices, rollouts
from tests.fleet.rollout.small_fleet import SmallFleet, changed_plan, sqlite_fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SmallFleet]:
    """Twenty devices, nothing started."""
    found = sqlite_fleet(tmp_path)
    yield found
    found.store.close()


class Meeting(Store):
    """A database whose first two writers begin at once, with what they have read before."""

    meet: ClassVar[threading.Barrier]

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        with contextlib.suppress(threading.BrokenBarrierError):
            self.meet.wait(5)
        with super().writing() as connection:
            yield connection


def test_two_controllers_do_not_double(fleet: SmallFleet, tmp_path: Path) -> None:
    """Two collectors hold the lease for a moment, and devices are started twice."""
    fleet.start(tmp_path, changed_plan(rings__0__rate_per_h=60))
    Meeting.meet = threading.Barrier(2)
    store = Meeting(fleet.store.engine, fleet.store.url, fleet.store.clock)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(tick(store, fleet.now))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert list(fleet.versions().values()) == [1]
    assert fleet.decided() == ["started", "devices_started"]
    assert found[0] == found[1] and len(found[0]) == 1, "both publish the same version"


def drive(fleet: SmallFleet, ticked: Callable[[], Any]) -> None:
    """A rollout in which one device fails and is set back, one is asked again, and the ring opens."""
    for step in range(8):
        ticked()
        if step == 4:
            first = fleet.on("notes-2")
            fleet.now += timedelta(minutes=1)
            for device in first[:3]:
                fleet.result(device)
            fleet.install(first[3], "refused", "changed")
        if step == 5:
            fleet.now += timedelta(hours=2.2)
        fleet.now += timedelta(minutes=1)


def whole(fleet: SmallFleet) -> Any:
    """All that a rollout left in the database."""
    with fleet.store.reading() as connection:
        told = [tuple(row)[1:] for row in connection.execute(select(decisions).order_by(decisions.c.id))]
        wants = sorted(tuple(row)[:-1] for row in connection.execute(select(desired)))
        statuses = sorted(tuple(row) for row in connection.execute(select(rollout_devices)))
        state = connection.execute(select(rollouts.c.state)).scalar_one()
    return told, wants, statuses, state


@pytest.mark.parametrize("stride", [17, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_at_any_statement(tmp_path: Path, stride: int) -> None:
    """A controller that dies between two statements has done half of a step, or does it twice."""

    class KilledError(Exception):
        pass

    def run(folder: Path, die_at: int | None) -> tuple[Any, int]:
        folder.mkdir()
        fleet, seen = sqlite_fleet(folder), 0
        fleet.start(folder)
        armed = False

        @event.listens_for(fleet.store.engine, "before_cursor_execute")
        def count(*_: Any) -> None:
            nonlocal seen, armed
            if armed:
                seen += 1
                if seen == die_at:
                    armed = False
                    raise KilledError

        def ticked() -> None:
            nonlocal armed
            while True:
                armed = die_at is None or seen < die_at
                try:
                    fleet.tick()
                    return
                except KilledError:
                    continue  # the next controller
                finally:
                    armed = False

        drive(fleet, ticked)
        found = whole(fleet)
        fleet.store.close()
        return found, seen

    straight, statements = run(tmp_path / "straight", None)
    assert statements > 80
    assert [one[3] for one in straight[0]].count("ring_opened") == 1
    for die_at in range(1, statements + 1, stride):
        killed, _ = run(tmp_path / f"killed-{die_at}", die_at)
        assert killed == straight, f"differs after dying at statement {die_at}"
