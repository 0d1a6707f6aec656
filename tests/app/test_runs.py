"""Results of the engines: what fails here ends the app during a visit, or puts a broken answer in a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine.messages import Result
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Eye, FoundItem, Presence, VisitText
from tests.app.desk import NOTE, Desk

LINE = NOTE["sections"][0]["lines"][0]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An unlocked desk with an open encounter and an engine that says nothing by itself."""
    made = Desk(tmp_path).create().with_patient()
    made.workspace.runs.start_engines()
    made.wait(0.1)
    yield made
    made.close()


def answer(desk: Desk, task: str, value: dict[str, Any]) -> None:
    """The engine answers the run that is under way."""
    running = desk.workspace.streaming
    assert running is not None
    desk.engine.push(Result(running.run_id, running.encounter_id, task, value))
    desk.wait(0.3)


def section(name: str, lines: object) -> dict[str, Any]:
    """A draft with one section."""
    return {**NOTE, "sections": [{"section": name, "heading": name, "lines": lines}]}


@pytest.mark.parametrize(
    "value",
    [
        {"sections": 3},
        {"sections": [{}]},
        section("ZZZ", [LINE]),
        section("HPI", [{"text": "Pain.", "origin": "model", "evidence": [{"start": "x", "end": 3}]}]),
        section("HPI", [{"text": " ", "origin": "model", "evidence": []}]),
    ],
)
def test_a_note_without_its_form_adds_nothing_and_says_so(desk: Desk, value: dict[str, Any]) -> None:
    """An answer that cannot be read is a state with words; it must not end the app."""
    desk.workspace.runs.start_note()
    answer(desk, "note", value)
    assert desk.workspace.runs.view("note").status == "unreadable"
    assert desk.workspace.streaming is None
    assert desk.workspace.encounter is not None and desk.workspace.encounter.note is None
    desk.workspace.runs.start_note()
    answer(desk, "note", NOTE)
    assert desk.workspace.runs.view("note").status == "done"
    assert desk.workspace.encounter.note is not None


@pytest.mark.parametrize("value", [{}, {"options": [{"name": "x"}]}, {"options": 1, "missing": [], "notices": []}])
def test_a_ranking_without_its_form_adds_nothing_and_says_so(desk: Desk, value: dict[str, Any]) -> None:
    """As of a note."""
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Eye pain", Presence.PRESENT, Eye.OD))
    desk.workspace.runs.start_differential()
    answer(desk, "differential", value)
    assert desk.workspace.runs.view("differential").status == "unreadable"
    assert desk.workspace.encounter is not None and desk.workspace.encounter.differential is None


def test_a_transcript_that_became_shorter_meanwhile(desk: Desk) -> None:
    """A row that is deleted while the model writes must neither end the app nor leave a link to words that are gone."""
    desk.workspace.runs.start_note()
    desk.workspace.edit(edits.set_visit, VisitText("[doctor] start again ."))
    answer(desk, "note", NOTE)
    assert desk.workspace.runs.view("note").status == "done"
    note = desk.workspace.encounter and desk.workspace.encounter.note
    assert note is not None
    assert [line.evidence for line in note.lines] == [(), ()]
