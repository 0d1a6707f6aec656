"""Copying: what fails here leaves a patient's words with other programs after the screen was locked."""

from __future__ import annotations

from typing import Any

from tests.app.ui.driver import Driver


class Board:
    """A clipboard of the system."""

    def __init__(self) -> None:
        self.text = ""

    def copy(self, data: str = "") -> None:
        """Put; as Kivy does, nothing where there is nothing."""
        self.text = data or self.text

    def paste(self) -> str:
        """Get."""
        return self.text


def test_a_selection_stays_in_its_field(ui: Driver) -> None:
    """X11's selection buffer is read by every program and outlives the lock."""
    from kivy.uix import textinput

    from edge.app.ui.clipboard import no_selection_buffer
    from edge.app.ui.kit import EdgeField

    no_selection_buffer()
    told: list[Any] = []
    field = ui.mount(EdgeField(label="Name", text="MORALES"))
    field.ids.input._ensure_clipboard()
    field.ids.input.bind(selection_text=lambda _widget, text: told.append(text))
    field.ids.input.select_all()
    ui.frame(3)
    assert told and textinput.CutBuffer is None


def test_a_lock_takes_back_what_was_copied_here() -> None:
    """And nothing that came from another program since."""
    from edge.app.ui.clipboard import CopiedHere

    board = Board()
    here = CopiedHere(board)
    board.copy("MORALES")
    assert board.text == "MORALES"
    here.forget()
    assert not board.text.strip()
    board.copy("MORALES")
    board.text = "of another program"
    here.forget()
    here.forget()
    assert board.text == "of another program"
