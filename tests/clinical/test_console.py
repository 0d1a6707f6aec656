"""What a person at a terminal is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.console import printable


@given(st.text())
def test_a_model_cannot_steer_the_terminal(text: str) -> None:
    """Escape sequences in an answer could hide or repaint what the clinician reads."""
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(letter < " " and letter not in "\n\t" for letter in shown)
    assert "\x7f" not in shown


def test_ordinary_text_is_shown_as_it_is() -> None:
    """A note loses nothing."""
    assert printable("Blood pressure 120/80\n\t— naïve ✓") == "Blood pressure 120/80\n\t— naïve ✓"
