"""A draft's way into the encounter: what fails here shows a sentence with a source that it does not have."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

from edge.clinical.encounter.from_draft import to_note
from edge.clinical.encounter.model import LineStatus, Note, Origin, RunStamp

VISIT = "[doctor] how are you ?\n[patient] my knee hurts since monday , i take ibuprofen 400 milligrams .\n"
RUN = RunStamp("r", "note", "b", "0" * 64)


def drafted(*lines: dict[str, Any]) -> Note:
    """A note of one section."""
    ids = itertools.count()
    value = {"sections": [{"section": "HPI", "lines": list(lines)}], "withheld": 2, "notices": [{"message": "Short."}]}
    return to_note(value, RUN, VISIT, lambda: f"l{next(ids)}")


def line(text: str, start: int = 33, end: int = 60, origin: str = "model") -> dict[str, Any]:
    """A line with one place."""
    return {"text": text, "origin": origin, "evidence": [{"start": start, "end": end}]}


def test_lines_come_open_with_their_places() -> None:
    """Nothing is accepted in advance; the digest ties the links to this transcript."""
    note = drafted(line("The knee hurts since Monday."), line("i take ibuprofen 400 milligrams", origin="quote"))
    assert [(one.status, bool(one.evidence)) for one in note.lines] == [(LineStatus.OPEN, True)] * 2
    assert [one.origin for one in note.lines] == [Origin.MODEL, Origin.QUOTE]
    assert (note.withheld, note.notices) == (2, ("Short.",))
    assert note.transcript_sha256 == hashlib.sha256(VISIT.encode()).hexdigest()


def test_places_outside_are_left_out() -> None:
    """A link that points beyond the text would break the screen or show other words."""
    note = drafted(line("The knee hurts.", 5, 10_000), line("The knee hurts.", 20, 20))
    assert [one.evidence for one in note.lines] == [(), ()]


def test_an_age_that_nobody_said_has_no_source() -> None:
    """A small model makes ages up; beside true words such a line looked sourced."""
    note = drafted(line("The patient is a 40-year-old female with knee pain."))
    assert note.lines[0].evidence == ()
