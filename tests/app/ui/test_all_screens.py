"""What holds for every screen there is: one that is thrown away is gone, with its presenter and its words."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.app.ui.kit import EdgeButton
from edge.app.ui.screens import SCREENS, make_screen
from edge.app.ui.theme import theme
from tests.app.presenters.note_desk import NoteDesk
from tests.app.ui.driver import Driver


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    made.draft()
    yield made
    made.close()


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_that_ends_is_gone(ui: Driver, desk: NoteDesk, name: str) -> None:
    """Each lock makes new screens: one that stays alive holds memory, and words that nobody clears any more."""
    if name == "lock":
        desk.workspace.lock()
    root = ui.mount(lambda: make_screen(name, desk.workspace))
    root.show()
    ui.frame(4)
    desk.settle()
    for pane in (1, 0):
        root.pane = pane
        ui.frame(2)
    kept = [weakref.ref(root), weakref.ref(root.presenter)]
    kept += [weakref.ref(pane) for pane in (root.left, root.right) if pane is not None]
    ui.window.remove_widget(root)
    root.end()
    ui.clear()
    del root
    ui.frame(3)
    gc.collect()
    assert [one() for one in kept] == [None] * len(kept)


def test_what_is_left_of_a_screen_follows_nothing(ui: Driver, desk: NoteDesk) -> None:
    """A part that something still holds would ask for neighbours that are gone: larger type would end the app."""
    desk.workspace.lock()
    root = ui.mount(lambda: make_screen("lock", desk.workspace))
    root.show()
    ui.frame(4)
    parts = [widget for widget in root.walk(restrict=True) if type(widget).__name__ == "EdgeField"]
    parts += [root.ids.host.__self__]
    ui.window.remove_widget(root)
    root.end()
    ui.root = None
    del root
    gc.collect()
    ui.theme.scale, ui.theme.night = 2.0, True
    ui.frame(3)
    assert all(part.parent is None for part in parts)


class Bound(EdgeButton):
    """Listens to the theme by fbind."""

    def heard(self, *_: object) -> None:
        """Nothing."""


def test_the_theme_holds_nobody(ui: Driver) -> None:
    """The theme lives as long as the app: fbind of a method would keep a screen for ever."""
    widget = Bound()
    theme.fbind("overlay", widget.heard)
    kept = weakref.ref(widget)
    del widget
    ui.frame(2)
    gc.collect()
    assert kept() is None


def test_what_is_gone_does_not_end_the_app(ui: Driver) -> None:
    """A part of a screen that was taken apart asks for a neighbour that is gone, where nobody can help it."""
    heard: list[int] = []

    class Asks(EdgeButton):
        def ask(self, *_: object) -> None:
            heard.append(1)
            raise ReferenceError

    widget = Asks()
    theme.bind(night=widget.ask)
    theme.bind(night=widget.ask)
    ui.theme.night = True
    assert heard == [1]
    theme.unbind(night=widget.ask)
    ui.theme.night = False
    assert heard == [1]
