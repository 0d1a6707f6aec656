"""Marks of a transcript that grows."""

from __future__ import annotations

import time

from hypothesis import given, settings

from edge.clinical.encounter import edits, visit_marks
from edge.clinical.encounter.checks import speech_marks
from edge.clinical.encounter.model import Mark, Origin, VisitText
from tests.clinical.encounter.grown import grown
from tests.clinical.encounter.made import NOW, new


@given(grown())
@settings(max_examples=300, deadline=None)
def test_a_changed_text_is_marked_as_a_new_one(states: list[str]) -> None:
    """A number or a drug that speech wrote needs no tap, because only a part of the text was read again."""
    for text in states:
        assert visit_marks.visit_marks(text) == speech_marks(text)


def test_a_number_over_two_turns() -> None:
    """A number that goes on in the next turn is cut in two."""
    text = "[doctor] how much ? five\n[patient] hundred milligrams of metoprolol"
    assert visit_marks.visit_marks(text) == speech_marks(text)
    assert len(visit_marks._marked._last.pieces) == 1  # type: ignore[union-attr]


def test_each_line_by_itself() -> None:
    """Lines that end as sentences do are read again with the whole text."""
    text = "[doctor] any fever ?\n[patient] no .\n[doctor] you take 25 mg of metoprolol\n[patient] sometimes"
    visit_marks.visit_marks(text)
    assert len(visit_marks._marked._last.pieces) == 4  # type: ignore[union-attr]


def test_nothing_is_kept_after_forget() -> None:
    """Words of a patient stay in memory while the app is locked."""
    from edge.clinical.facts.tokens import stem

    visit_marks.visit_marks("[patient] i take aspirin .")
    visit_marks.forget()
    held = visit_marks._marked
    assert held._last is None
    assert held.marks.cache_info().currsize == held._piece.cache_info().currsize == stem.cache_info().currsize == 0


def test_the_recognisers_own_marks_stay() -> None:
    """What the recogniser was unsure of loses its mark, or overlaps another."""
    text = "[patient] i take 25 mg of metoprolol and something"
    own = (Mark("number", text.index("something"), len(text)), Mark("number", 0, len(text)))
    made = edits.set_visit(new(), VisitText(text, Origin.SPEECH, own), NOW).visit.marks
    assert own[0] in made
    assert own[1] not in made
    assert [one.start for one in made] == sorted(one.start for one in made)


def test_an_utterance_more_is_quick() -> None:
    """Each utterance of a long visit stops the screen. Allows for a busy machine: 9 ms at 2,000 lines were measured."""
    text = "\n".join(f"[patient] i take {i} mg of metoprolol and no aspirin ." for i in range(600))
    enc = edits.set_visit(new(), VisitText(text, Origin.SPEECH), NOW)
    best = 1.0
    for number in range(4):
        visit = VisitText(f"{enc.visit.text}\n[doctor] {number} hours .", Origin.SPEECH, enc.visit.marks)
        begun = time.perf_counter()
        enc = edits.set_visit(enc, visit, NOW)
        best = min(best, time.perf_counter() - begun)
    assert len(enc.visit.marks) >= 600
    assert best < 0.05
