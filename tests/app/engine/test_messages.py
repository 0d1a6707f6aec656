"""The line protocol: what is written comes back, and nothing else is understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.engine import messages as m
from tests.app.engine.samples import EVENTS, JSON, REQUESTS


@given(REQUESTS | EVENTS)
def test_every_message_comes_back(message: m.Message) -> None:
    """If not: the screen shows something else than the engine said."""
    line = m.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert m.decode(line) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_one_error(data: bytes) -> None:
    """A broken engine must not be able to raise anything else in the reader."""
    try:
        m.decode(data)
    except m.ProtocolError as error:
        assert "\n" not in str(error)


@given(JSON, st.sampled_from(["Piece", "Ready", "Result", "Cancel", "Loading"]))
def test_any_json_is_a_message_or_one_error(value: Any, kind: str) -> None:
    """The same for what is JSON."""
    whole = {"v": 1, "type": kind, **value} if isinstance(value, dict) else value
    try:
        m.decode(json.dumps(whole).encode())
    except m.ProtocolError as error:
        assert "\n" not in str(error)


GOOD = {"v": 1, "type": "Piece", "run_id": "r", "text": "t", "tokens": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": "1"},
        {"v": True},
        {"v": None},
        {"type": "Peace"},
        {"type": 1},
        {"type": None},
        {"more": 1},
        {"run_id": 1},
        {"text": None},
        {"tokens": "1"},
        {"tokens": True},
        {"tokens": 1.5},
    ],
)
def test_other_versions_keys_and_types_are_refused(changes: dict[str, Any]) -> None:
    """A guess about an unknown message could put wrong words before a clinician."""
    assert m.decode(json.dumps(GOOD).encode()) == m.Piece("r", "t")
    with pytest.raises(m.ProtocolError):
        m.decode(json.dumps(GOOD | changes).encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"v":1,"type":"Loading","fraction":NaN,"seconds_left":null}',
        '{"v":1,"type":"Loading","fraction":1e999,"seconds_left":null}',
        '{"v":1,"type":"Loading","fraction":0.5}',
        '{"v":1,"type":"Refused","code":"other","message":"","free_bytes":0,"needed_bytes":0}',
        '{"v":1,"type":"Ready","facts":{}}',
        '{"v":1,"type":"Ready","facts":[]}',
        "[" * 100_000,
        "",
        "null",
    ],
)
def test_values_outside_the_form_are_refused(text: str) -> None:
    """Not-a-number, a missing key, an unknown code, a bottomless nest."""
    with pytest.raises(m.ProtocolError):
        m.decode(text.encode())


def test_too_long_is_refused_on_both_sides() -> None:
    """A line without end would fill the memory of the screen's process."""
    with pytest.raises(m.ProtocolError):
        m.encode(m.Piece("r", "x" * m.MAX_LINE_BYTES))
    with pytest.raises(m.ProtocolError):
        m.decode(b" " * (m.MAX_LINE_BYTES + 1))


@pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": {1, 2}}, {"x": object()}])
def test_what_is_no_json_is_not_written(value: dict[str, Any]) -> None:
    """An engine's bug is told as one error that quotes nothing."""
    with pytest.raises(m.ProtocolError) as told:
        m.encode(m.LineDrafted("r", value))
    assert "object at" not in str(told.value)


SECRET = "Rosalind Example, 52 mmHg"


@pytest.mark.parametrize(
    "message",
    [
        m.DraftNote("r", "e", SECRET),
        m.RankDifferential("r", "e", "differential", SECRET),
        m.Piece("r", SECRET),
        m.LineDrafted("r", {"text": SECRET}),
        m.Result("r", "e", "note", {"text": SECRET}),
    ],
)
def test_no_repr_holds_what_a_patient_said(message: m.Message) -> None:
    """A repr ends in a log or a traceback sooner or later."""
    assert "Rosalind" not in repr(message)
    line = m.encode(message)
    with pytest.raises(m.ProtocolError) as told:
        m.decode(line.replace(b'"v":1', b'"v":9'))
    assert "Rosalind" not in str(told.value)
    with pytest.raises(m.ProtocolError) as told:
        m.decode(line[:-3])
    assert "Rosalind" not in str(told.value)
    assert told.value.__cause__ is None


def test_tasks_of_requests() -> None:
    """A request goes to the bundle that has its task."""
    assert m.task_of(m.DraftNote("r", "e", "")) == "note"
    assert m.task_of(m.RankDifferential("r", "e", "ophthalmology", "")) == "ophthalmology"
    assert m.task_of(m.RunBenchmark("r")) == "benchmark"
    assert m.task_of(m.Close()) == ""
