"""What holds for every screen: targets, nothing past the edge, nothing left after a lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SIDEWAYS = ("FilterStrip", "SystemStrip")


def everything(widget: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Every widget below, also hidden ones and what a recycled list keeps."""
    seen = seen if seen is not None else set()
    if id(widget) in seen:
        return
    seen.add(id(widget))
    yield widget
    for child in widget.children:
        yield from everything(child, seen)


def all_of(*roots: Any) -> list[Any]:
    """Every widget below some, to be looked at also after they were parted."""
    seen: set[int] = set()
    return [widget for root in roots for widget in everything(root, seen)]


def words_in(widgets: list[Any]) -> str:
    """All words that these widgets hold, in whichever property."""
    found = []
    for widget in widgets:
        for name in ("text", "name", "detail", "bed", "hint_text", "visit", "body", "title", "error"):
            value = getattr(widget, name, None)
            if isinstance(value, str):
                found.append(value)
        found.append(str(getattr(widget, "data", "")))
    return "\n".join(found)


def small_targets(ui: Any, root: Any) -> list[str]:
    """Touchables below 48 dp that can be seen and used."""
    from kivy.metrics import dp

    from edge.app.ui.kit.base import Touchable

    return [
        f"{type(w).__name__} {getattr(w, 'text', '')!r} {w.width:.0f}x{w.height:.0f}"
        for w in ui.walk(root)
        if isinstance(w, Touchable) and not w.disabled and w.height > 1 and min(w.width, w.height) < dp(48) - 0.5
    ]


def past_the_edge(ui: Any, root: Any) -> list[str]:
    """Words that begin or end outside of the window, or are wider than their widget."""
    from kivy.uix.label import Label

    wrong = []

    def look(widget: Any) -> None:
        if widget.opacity == 0 or type(widget).__name__ in SIDEWAYS:
            return
        if isinstance(widget, Label) and widget.text and widget.width > 1:
            left, _ = widget.to_window(widget.x, widget.y)
            outside = left < -1 or left + widget.width > ui.window.width + 1
            cut = not widget.shorten and widget.texture_size[0] > widget.width + 2
            if outside or cut:
                wrong.append(f"{type(widget).__name__} {widget.text!r} {left:.0f}+{widget.width:.0f}")
        for child in widget.children:
            look(child)

    look(root)
    return wrong
