"""Taking a patient's words out of widgets that something may still hold."""

from __future__ import annotations

from kivy.uix.label import Label
from kivy.uix.widget import Widget

from edge.app.ui.kit.fields import EdgeInput


def empty(root: Widget) -> None:
    """Take the words out of every widget below; those with `clear_text` of their own do it themselves."""
    for child in tuple(root.children):
        empty_whole(child)


def empty_whole(widget: Widget) -> None:
    """The same for a widget and all that is in it."""
    own = getattr(widget, "clear_text", None)
    if own is not None:
        own()
    if isinstance(widget, EdgeInput):
        widget.text = ""
        widget.reset_undo()
    elif isinstance(widget, Label) or isinstance(getattr(widget, "text", None), str):
        widget.text = ""
    empty(widget)
