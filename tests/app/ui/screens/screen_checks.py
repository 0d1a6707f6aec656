"""What holds for every screen: targets are large enough, words stay inside, a lock leaves no word of a patient."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

TOUCH_DP = 48
SIZES = ((1280, 800), (800, 1280), (1920, 1200))


def small_targets(ui: Any, root: Any) -> list[str]:
    """Touchable widgets below 48 dp."""
    from kivy.metrics import dp

    from edge.app.ui.kit import Touchable

    found = []
    for widget in ui.walk(root):
        small = min(widget.width, widget.height) < dp(TOUCH_DP) - 0.5
        if isinstance(widget, Touchable) and small and not hidden(widget):
            found.append(f"{type(widget).__name__} {widget.width:.0f}x{widget.height:.0f}")
    return found


def hidden(widget: Any) -> bool:
    """Whether it, or something around it, takes no place or is not drawn."""
    while widget is not None and widget is not widget.parent:
        if not widget.opacity or widget.height < 1 or widget.width < 1:
            return True
        widget = widget.parent
    return False


def overflowing(ui: Any, root: Any) -> list[str]:
    """Labels that are wider than their place or stand outside of their parent."""
    from kivy.uix.label import Label

    found = []
    for widget in ui.walk(root):
        if not isinstance(widget, Label) or not widget.text or hidden(widget):
            continue
        if widget.texture_size[0] > widget.width + 1.5 or widget.texture_size[1] > widget.height + 1.5:
            found.append(f"{type(widget).__name__} {len(widget.text)} letters {widget.texture_size} in {widget.size}")
        top, parent = widget, widget.parent
        if parent is not None and parent is not root and (top.x < parent.x - 1.5 or top.right > parent.right + 1.5):
            found.append(f"{type(widget).__name__} stands outside of {type(parent).__name__}")
    return found


def alive() -> set[int]:
    """Ids of the widgets that there are: what earlier tests left."""
    from kivy.uix.widget import Widget

    # type() and not isinstance, which asks proxies of what is gone.
    return {id(one) for one in gc.get_objects() if issubclass(type(one), Widget)}


def words_left(patient_words: Iterable[str], known: set[int]) -> list[str]:
    """Widgets that came since `known`, shown or not, that hold one of these words."""
    from kivy.uix.widget import Widget

    wanted = [one.lower() for one in patient_words]
    found = []
    gc.collect()
    for widget in gc.get_objects():
        if not issubclass(type(widget), Widget) or id(widget) in known:
            continue
        for name in ("text", "markup_text", "words", "context", "was_text", "title", "value", "name", "title_text"):
            value = getattr(widget, name, "")
            if isinstance(value, str) and any(word in value.lower() for word in wanted):
                found.append(f"{type(widget).__name__}.{name}")
        data = getattr(widget, "data", None)
        if isinstance(data, list) and any(word in str(data).lower() for word in wanted):
            found.append(f"{type(widget).__name__}.data")
    return found
