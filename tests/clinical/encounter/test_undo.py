"""Undo and redo."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Encounter
from edge.clinical.encounter.undo import History
from tests.clinical.encounter.made import NOW, Step, encounters, new, steps


@given(encounters(), steps)
@settings(max_examples=40, deadline=None)
def test_undo_after_an_edit_is_the_state_before(enc: Encounter, step: Step) -> None:
    """Undo leaves something of the edit behind, or takes more away; redo does not bring it back."""
    before = History(enc)
    after = before.push(step(enc))
    assert after.undo().present == enc
    assert after.undo().redo() == after
    assert after.undo().can_redo
    assert not after.undo().can_undo


@given(st.lists(st.integers(), max_size=80), st.integers(0, 90))
def test_as_many_as_the_limit(values: list[int], back: int) -> None:
    """History grows without end, or forgets what is within its limit."""
    history = History(0)
    for value in values:
        history = history.push(value)
    assert len(history.past) <= 50
    states = [0, *values]
    for _ in range(back):
        history = history.undo()
    assert history.present == states[-1 - min(back, len(history.past) + len(history.future))]
    assert len(history.past) + len(history.future) == min(len(values), 50)


def test_a_new_edit_forgets_what_was_undone() -> None:
    """Redo would bring back an edit that never followed this state."""
    assert not History(1).push(2).undo().push(3).can_redo


def test_never_past_a_signature() -> None:
    """A signed encounter is open again after undo."""
    signed = edits.sign(edits.set_patient(_found(), new().patient, NOW), "Dr. Who", NOW)
    history = History(_found()).push(signed)
    assert not history.can_undo
    assert history.undo().present == signed
    assert history.undo().past == ()


def _found() -> Encounter:
    return edits.add_line(new(), "PLAN", "Rest.", "l1", NOW)
