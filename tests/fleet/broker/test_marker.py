"""If these fail, a broker is said to keep, or to lose, what nobody has seen it keep or lose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.broker.marker import GRACE_S, Mark, judge, read_mark

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
MARK, OTHER = Mark("a" * 16, AT), Mark("b" * 16, AT)


@pytest.mark.parametrize(
    ("was_set", "there", "started_after_s", "expected"),
    [
        (None, None, 100, "unknown"),
        (None, MARK, 100, "unknown"),
        (MARK, MARK, None, "unknown"),
        (MARK, MARK, -100, "unknown"),
        (MARK, None, -100, "unknown"),
        (MARK, None, GRACE_S - 1, "unknown"),
        (MARK, MARK, GRACE_S - 1, "unknown"),
        (MARK, MARK, GRACE_S, "kept"),
        (MARK, None, GRACE_S, "lost"),
        (MARK, OTHER, 100, "lost"),
    ],
)
def test_rules(was_set: Mark | None, there: Mark | None, started_after_s: float | None, expected: str) -> None:
    """One of the rules of the module does not hold."""
    started = None if started_after_s is None else AT + timedelta(seconds=started_after_s)
    assert judge(was_set, there, started) == expected


def test_round_trip() -> None:
    """A mark that was set is not known again."""
    assert read_mark(MARK.to_bytes()) == MARK


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Bytes under the mark's topic end in a traceback."""
    assert read_mark(data) is None or read_mark(data) == read_mark(data)
