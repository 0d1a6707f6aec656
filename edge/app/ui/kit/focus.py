"""The keyboard: Tab and Shift-Tab move a visible ring, Enter and Space act, Esc closes, shortcuts by letter.

Own and not Kivy's FocusBehavior, which would ask for the on-screen keyboard for every button. A dialog is a scope: the
ring stays inside it. A touch takes the ring away; it shows only where a keyboard is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.uix.widget import Widget

from edge.app.ui.kit.base import EdgeScroll, Touchable

TAB, ENTER, ENTER_PAD, ESCAPE, SPACE = 9, 13, 271, 27, 32


class FocusRing:
    """Where the keyboard is. `scopes`: roots, the last one counts; `shortcuts`: (modifiers, letter) -> command."""

    def __init__(self) -> None:
        self.scopes: list[Widget] = []
        self.shortcuts: dict[tuple[frozenset[str], str], Callable[[], None]] = {}
        self.current: Any = None
        self._window: Any = None

    def install(self, window: Any, root: Widget) -> None:
        """Listen to this window; `root` is the outermost scope."""
        self.remove()
        self._window = window
        self.scopes = [root]
        window.bind(on_key_down=self._key, on_touch_down=self._touched)

    def remove(self) -> None:
        """Listen no more."""
        if self._window is not None:
            self._window.unbind(on_key_down=self._key, on_touch_down=self._touched)
        self._window, self.current, self.scopes = None, None, []
        self.shortcuts.clear()

    def push(self, scope: Widget) -> None:
        """A dialog opens: the ring stays inside it."""
        self.scopes.append(scope)
        self.move_to(None)

    def pop(self, scope: Widget) -> None:
        """A dialog closes."""
        if scope in self.scopes:
            self.scopes.remove(scope)
        self.move_to(None)

    def stops(self) -> list[Any]:
        """What the ring can stand on now, in reading order."""
        return [] if not self.scopes else [w for w in _walk(self.scopes[-1]) if _stands(w)]

    def move(self, step: int) -> None:
        """One further (1) or back (-1), around at the ends."""
        stops = self.stops()
        if not stops:
            return
        if self.current in stops:
            self.move_to(stops[(stops.index(self.current) + step) % len(stops)])
        else:
            self.move_to(stops[0 if step > 0 else -1])

    def move_to(self, widget: Any) -> None:
        """Put the ring on a widget, or nowhere (None)."""
        if self.current is not None and self.current is not widget:
            _set(self.current, False)
        self.current = widget
        if widget is None:
            return
        _set(widget, True)
        parent = widget.parent
        while parent is not None and parent is not parent.parent:
            if isinstance(parent, EdgeScroll):
                parent.show(widget)
                break
            parent = parent.parent

    def _touched(self, *_: object) -> bool:
        if self.current is not None and isinstance(self.current, Touchable):
            self.move_to(None)
        return False

    def _key(self, _window: Any, key: int, _scan: int, text: str | None, modifiers: list[str]) -> bool:
        if key == TAB:
            self.move(-1 if "shift" in modifiers else 1)
            return True
        if key == ESCAPE:
            scope = self.scopes[-1] if self.scopes else None
            escape = getattr(scope, "escape", None)
            if escape is not None:
                escape()
            else:
                self.move_to(None)
            return True
        if key in (ENTER, ENTER_PAD, SPACE) and isinstance(self.current, Touchable):
            if _stands(self.current):
                self.current.activate()
            return True
        letter = chr(key) if 97 <= key <= 122 else (text or "")
        held = frozenset(m for m in modifiers if m in ("ctrl", "shift", "alt", "meta"))
        command = self.shortcuts.get((held, letter)) if len(self.scopes) <= 1 else None
        if command is None:
            return False
        command()
        return True


def _walk(widget: Widget) -> Any:
    for child in reversed(widget.children):
        yield child
        yield from _walk(child)


def _stands(widget: Any) -> bool:
    if not getattr(widget, "takes_focus", False) or widget.disabled or widget.width < 1 or widget.height < 1:
        return False
    parent = widget
    while parent is not None and parent is not parent.parent:
        if parent.opacity == 0:
            return False
        parent = parent.parent
    return widget.get_root_window() is not None


def _set(widget: Any, on: bool) -> None:
    if isinstance(widget, Touchable):
        widget.focused = on
    else:
        widget.focus = on  # a text field


ring = FocusRing()
