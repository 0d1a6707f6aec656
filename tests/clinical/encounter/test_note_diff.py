"""What changed in a line, word by word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.encounter.note_diff import ADDED, REMOVED, SAME, diff_words

texts = st.text(max_size=40) | st.lists(st.sampled_from(["no", "fever", "37.5", "C", ",", "OD", "OS"])).map(" ".join)


@given(texts, texts)
def test_both_texts_come_out_of_it(old: str, new: str) -> None:
    """The review hides a word that was added or removed."""
    pieces = diff_words(old, new)
    assert "".join(text for op, text in pieces if op != ADDED) == old
    assert "".join(text for op, text in pieces if op != REMOVED) == new
    assert all(text for _, text in pieces)


@given(texts)
def test_the_same(text: str) -> None:
    """An unchanged line looks changed."""
    assert diff_words(text, text) == (((SAME, text),) if text else ())


def test_whole_words() -> None:
    """A changed dose is shown as a changed digit, which one overlooks."""
    assert diff_words("Timolol 0.5 % OD", "Timolol 0.25 % OS") == (
        (SAME, "Timolol "),
        (REMOVED, "0.5"),
        (ADDED, "0.25"),
        (SAME, " % "),
        (REMOVED, "OD"),
        (ADDED, "OS"),
    )
