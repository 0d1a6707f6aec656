"""Where two texts are the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.encounter.text_diff import same_ends, same_start

short = st.text("ab", max_size=12)


@given(short, short)
def test_same_start(old: str, new: str) -> None:
    """A changed place is taken for one that stayed."""
    count = same_start(old, new)
    assert old[:count] == new[:count]
    assert count == min(len(old), len(new)) or old[count] != new[count]


@given(short, short)
def test_same_ends(old: str, new: str) -> None:
    """The same words count at the beginning and at the end, or one of the two goes on further."""
    before, after = same_ends(old, new)
    assert before == same_start(old, new)
    assert before + after <= min(len(old), len(new))
    assert old[len(old) - after :] == new[len(new) - after :]
    assert before + after == min(len(old), len(new)) or old[-1 - after] != new[-1 - after]
