"""One exception tree, one line a message, exit codes that never change."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import errors
from edge.errors import EdgeError, ExitStatus, SpecError

# Scripts and the fleet read these numbers: a changed one is a broken promise.
NUMBERS = {
    "OK": 0,
    "INTERNAL": 1,
    "USAGE": 2,
    "SPEC": 3,
    "SOURCE": 4,
    "BUNDLE": 5,
    "UNTRUSTED": 6,
    "RESOURCE": 7,
    "GATE": 8,
    "INPUT": 9,
    "MISSING_TOOL": 10,
    "OFFLINE": 11,
    "UNVERIFIED": 12,
    "CLOCK": 13,
    "INTERRUPTED": 130,
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgeError)]


def test_exit_codes_keep_their_numbers() -> None:
    """A new code may be added at the end; an old one never moves."""
    assert {status.name: status.value for status in ExitStatus} == NUMBERS


def test_every_kind_has_its_own_code() -> None:
    """Two kinds under one code cannot be told apart by a script."""
    statuses = [kind.status for kind in KINDS]
    assert len(set(statuses)) == len(statuses)
    assert ExitStatus.OK not in statuses


@given(st.text(), st.text(), st.text())
def test_a_message_is_one_line(what: str, where: str, mend: str) -> None:
    """A library's text with line breaks in it must not spill over the screen."""
    text = str(SpecError(what, where=where, mend=mend))
    assert len(text.splitlines()) <= 1
    assert text == " ".join(text.split())


@pytest.mark.parametrize(
    ("where", "mend", "line"),
    [("x.yaml:3", "say so", "x.yaml:3: wrong; say so."), ("", "", "wrong."), ("", "mend", "wrong; mend.")],
)
def test_what_where_and_how_to_mend(where: str, mend: str, line: str) -> None:
    """The shape that every command prints."""
    assert str(SpecError("wrong", where=where, mend=mend)) == line


@pytest.mark.parametrize("kind", KINDS)
def test_errors_cross_processes(kind: type[EdgeError]) -> None:
    """The harness' worker is a process of its own: its error must arrive as it was."""
    error = kind("wrong", where="here", mend="do")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert type(back) is kind
    assert (str(back), back.what, back.where, back.mend) == (str(error), "wrong", "here", "do")
