"""Helpers for the tests of Exam, Eye and the differential's pane."""

from __future__ import annotations

from typing import Any

from kivy.properties import ListProperty, StringProperty

from edge.app.ui.kit import EdgeLabel
from edge.app.ui.kit.face import EdgeFace
from tests.app.desk import Desk
from tests.app.ui.driver import Driver

SIZES = ((1280, 800), (800, 1280), (480, 900))
SCALES = (1.0, 1.3, 2.0)


def everything(root: Any) -> list[Any]:
    """Every widget below, also what cannot be seen."""
    found = [root]
    for child in root.children:
        found += everything(child)
    return found


def holds(root: Any, words: tuple[str, ...]) -> list[str]:
    """Properties of widgets below that hold one of the words."""
    found = []
    for widget in everything(root):
        for name, kind in widget.properties().items():
            if isinstance(kind, StringProperty) or (isinstance(kind, ListProperty) and name in ("items", "options")):
                told = str(getattr(widget, name))
                found += [f"{type(widget).__name__}.{name}" for word in words if word in told]
    return found


def cut_words(ui: Driver, root: Any) -> list[str]:
    """Words that stand out of their widget."""
    found = []
    for widget in ui.walk(root):
        if isinstance(widget, EdgeFace) and widget.text and widget.width > 1:
            size = widget.words.size
        elif isinstance(widget, EdgeLabel) and widget.text.strip() and not widget.elide and widget.height > 1:
            size = widget.texture_size
        else:
            continue
        if size[0] > widget.width + 1 or size[1] > widget.height + 1:
            found.append(widget.text)
    return found


def out_of_sight(ui: Driver, root: Any, width: int) -> list[str]:
    """Targets that stand out of the window at its sides; a strip that scrolls sideways may."""
    from edge.app.ui.kit import Touchable
    from edge.app.ui.screens.exam import SystemTab

    return [
        f"{type(w).__name__} {getattr(w, 'text', '')}"
        for w in ui.walk(root)
        if isinstance(w, Touchable) and not isinstance(w, SystemTab) and w.width > 1
        if w.to_window(w.x, w.y)[0] < -1 or w.to_window(w.right, w.y)[0] > width + 1
    ]


def run(desk: Desk, ui: Driver, seconds: float = 1.0) -> None:
    """Time passes on the desk and on the screen."""
    desk.wait(seconds)
    ui.frame(3)
