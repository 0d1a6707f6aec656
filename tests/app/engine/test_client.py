"""The gate: events of runs that are not this screen's never pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.app.engine.client import RunGate
from edge.app.engine.messages import ENDS, Cancel, DraftNote, Event, Failed, Loading, Piece, Result, RunBenchmark
from tests.app.engine.samples import EVENTS


def gate(*runs: str) -> RunGate:
    made = RunGate()
    for run in runs:
        made.submitted(DraftNote(run, "e1", "x"))
    return made


def test_a_run_passes_until_its_end() -> None:
    """What comes after the end of a run is of nobody."""
    one = gate("r1")
    assert one.admit(Piece("r1", "a")) == Piece("r1", "a")
    assert one.admit(Result("r1", "e1", "note", {})) is not None
    assert one.admit(Piece("r1", "b")) is None
    assert one.admit(Result("r1", "e1", "note", {})) is None
    assert one.admit(Loading(0.5)) == Loading(0.5)


def test_another_encounter_never_passes() -> None:
    """Two patients must not be mixed, whatever the engine says."""
    one = gate("r1")
    assert one.admit(Result("r1", "e2", "note", {})) is None
    assert one.admit(Result("r1", "e1", "note", {})) is not None


def test_after_cancel_only_the_cancelled_result() -> None:
    """Stop is stop in the same frame."""
    one = gate("r1", "r2")
    assert one.cancelled("r1")
    assert not one.cancelled("r1")
    assert one.stopping("r1")
    assert one.admit(Piece("r1", "a")) is None
    assert one.admit(Piece("r2", "a")) is not None
    result = one.admit(Result("r1", "e1", "note", {}))
    assert isinstance(result, Result)
    assert result.cancelled
    assert not one.stopping("r1")
    one.cancelled("r2")
    assert one.admit(Failed("r2", "x")) is None
    assert not one.stopping("r2")


def test_only_runs_are_counted() -> None:
    """Cancel of an unknown run, and requests that are none, change nothing."""
    one = gate()
    one.submitted(Cancel("r1"))
    assert not one.cancelled("r1")
    one.submitted(RunBenchmark("b"))
    assert one.cancelled("b")
    one.clear()
    assert not one.stopping("b")


@given(st.lists(EVENTS, max_size=30), st.booleans())
def test_nothing_of_a_stopped_or_unknown_run_passes(events: list[Event], stop: bool) -> None:
    """For any flood of events: one end at most, and with a stop nothing else."""
    one = gate("r1")
    if stop:
        one.cancelled("r1")
    passed = [event for event in map(one.admit, events) if event is not None]
    own = [event for event in passed if getattr(event, "run_id", None) is not None]
    assert {event.run_id for event in own} <= {"r1"}  # type: ignore[union-attr]
    assert sum(isinstance(event, ENDS) for event in own) <= 1
    if stop:
        assert all(isinstance(event, Result) and event.cancelled for event in own)
