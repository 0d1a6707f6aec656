"""Who is at work and who waits: a wrong answer here runs two models at once, or none."""

from __future__ import annotations

import io
import threading

from edge.app.engine.host_desk import MOST_WAITING, Desk, Run
from edge.app.engine.host_link import Link
from edge.app.engine.messages import DraftNote, RunBenchmark

LINK = Link(io.BytesIO(), io.BytesIO())


def note(run_id: str) -> Run:
    return Run(DraftNote(run_id, "e", ""), LINK)


BENCH = Run(RunBenchmark("b"), LINK)


def test_runs_come_in_order() -> None:
    """First come, first served; a run id twice is refused."""
    desk = Desk()
    assert desk.add(note("1"))
    assert desk.add(note("2"))
    assert not desk.add(note("2"))
    assert not desk.busy
    assert desk.next().request.run_id == "1"
    assert desk.busy
    assert not desk.add(note("1"))
    desk.done()
    assert desk.next().request.run_id == "2"


def test_a_benchmark_is_alone() -> None:
    """Numbers that were measured beside a run would be wrong, and memory would hold two models."""
    desk = Desk()
    assert desk.add(BENCH)
    assert not desk.add(note("1"))
    desk.next()
    assert not desk.add(note("1"))
    desk.done()
    assert desk.add(note("1"))
    assert not desk.add(BENCH)
    desk.next()
    assert not desk.add(BENCH)


def test_cancel() -> None:
    """One that waits is handed back, the one at work is told, an unknown one is nothing; the next is not stopped."""
    desk = Desk()
    desk.add(note("1"))
    desk.add(note("2"))
    desk.add(note("3"))
    desk.next()
    assert desk.cancel("2") == note("2")
    assert desk.cancel("9") is None
    assert not desk.stopped()
    assert desk.cancel("1") is None
    assert desk.stopped()
    desk.done()
    assert desk.next().request.run_id == "3"
    assert not desk.stopped()


def test_a_client_that_leaves_takes_its_runs_along() -> None:
    """Nothing is written for nobody."""
    desk = Desk()
    desk.clear()
    assert not desk.stopped()
    desk.add(note("1"))
    desk.add(note("2"))
    desk.next()
    desk.clear()
    assert desk.stopped()
    desk.done()
    assert desk.add(note("2"))


def test_the_queue_is_bounded() -> None:
    """A client that goes mad does not fill the memory."""
    desk = Desk()
    assert all(desk.add(note(str(number))) for number in range(MOST_WAITING))
    assert not desk.add(note("one more"))


def test_next_waits() -> None:
    """The working thread sleeps until there is something."""
    desk, got = Desk(), []
    thread = threading.Thread(target=lambda: got.append(desk.next()), daemon=True)
    thread.start()
    desk.add(note("1"))
    thread.join(10)
    assert got == [note("1")]
