"""The scripted engine behaves as a real one does, or tests of screens prove nothing."""

from __future__ import annotations

from edge.app.engine.messages import (
    Cancel,
    Close,
    Died,
    DraftNote,
    LineDrafted,
    Piece,
    Progress,
    RankDifferential,
    Ready,
    Refused,
    Result,
)
from edge.app.engine.scripted import FACTS, After, ScriptedClient, both, differential_answer, note_answer

NOTE = {"sections": [{"section": "HPI", "lines": [{"text": "A cough.", "origin": "model", "evidence": []}]}]}
RUN = DraftNote("r1", "e1", "x")


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def client(**options: object) -> tuple[ScriptedClient, Clock]:
    clock = Clock()
    answer = both(note_answer(NOTE), differential_answer({"options": []}))
    return ScriptedClient(clock, answer=answer, **options), clock  # type: ignore[arg-type]


def test_a_note_comes_word_by_word() -> None:
    """In the order and at the times of the script."""
    one, clock = client()
    one.submit(RUN)  # not started: nobody hears it
    assert one.requests == []
    one.start()
    assert one.poll() == [Ready(FACTS)]
    one.submit(RUN)
    one.poll()
    clock.now_s = 0.15
    assert [event.text for event in one.poll() if isinstance(event, Piece)] == ["HPI: "]
    clock.now_s = 5.0
    found = one.poll()
    assert any(isinstance(event, LineDrafted) for event in found)
    assert isinstance(found[-1], Result)
    assert found[-1].value == NOTE
    assert one.poll() == []


def test_a_differential_counts() -> None:
    """Progress to its end, then the result."""
    one, clock = client()
    one.start()
    one.submit(RankDifferential("r1", "e1", "ophthalmology", "x"))
    clock.now_s = 9.0
    found = one.poll()
    assert [event.done for event in found if isinstance(event, Progress)] == [0, 1, 2, 3, 4, 5]
    assert isinstance(found[-1], Result)
    assert found[-1].task == "ophthalmology"


def test_cancel_ends_a_run() -> None:
    """Nothing but the cancelled result."""
    one, clock = client()
    one.start()
    one.submit(RUN)
    clock.now_s = 0.2
    one.poll()
    one.submit(Cancel("r1"))
    clock.now_s = 9.0
    assert one.poll() == [Result("r1", "e1", "note", {}, cancelled=True)]
    one.cancel("r1")
    assert one.poll() == []


def test_an_engine_that_hangs_dies() -> None:
    """stop_s None: two seconds after the cancel."""
    one, clock = client(stop_s=None)
    one.start()
    one.submit(RUN)
    one.cancel("r1")
    clock.now_s = 1.9
    assert not any(isinstance(event, Died) for event in one.poll())
    clock.now_s = 2.1
    assert one.poll() == [Died(-9)]
    assert not one.alive
    one.start()
    assert one.starts == 2
    assert one.poll() == [Ready(FACTS)]


def test_refusal_pushes_and_close() -> None:
    """A refusal ends it; pushed events pass the same gate; close says nothing."""
    one, _ = client(loading=[After(0.0, Refused("missing", ""))])
    one.start()
    assert one.poll() == [Refused("missing", "")]
    assert not one.alive
    two, _ = client()
    two.start()
    two.poll()
    two.push(Piece("nobody", "x"))
    assert two.poll() == []
    two.submit(RUN)
    two.push(Died(-11))
    two.submit(Close())
    assert not two.alive
    assert two.poll() == []
