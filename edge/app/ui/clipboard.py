"""What leaves a field by copying: nothing by itself, and nothing of it after a lock.

Kivy hands every selection on X11 to a program of its own (xclip), which keeps it for every other program to read, past
a lock and past the end of this one. A person who copies means it; a person who only selects does not.
"""

from __future__ import annotations

import sys
from typing import Any

from kivy import kivy_options


def no_selection_buffer() -> None:
    """A selection stays in its field."""
    kivy_options["cutbuffer"] = ()
    for name in ("kivy.core.clipboard", "kivy.uix.textinput"):
        if (module := sys.modules.get(name)) is not None:
            module.CutBuffer = None  # type: ignore[attr-defined]


EMPTY = " "  # Kivy copies no empty text


class CopiedHere:
    """Remembers what was copied from this app, so that a lock takes back that and nothing of another program."""

    def __init__(self, clipboard: Any = None) -> None:
        if clipboard is None:
            from kivy.core.clipboard import Clipboard  # only now: it needs a window

            clipboard = Clipboard
        self._clipboard, self._copy = clipboard, clipboard.copy
        self._copied = ""
        clipboard.copy = self._remember

    def _remember(self, data: str = "") -> None:
        self._copied = str(data)
        self._copy(data)

    def forget(self) -> None:
        """The app is locked: the clipboard holds none of it any more."""
        copied, self._copied = self._copied, ""
        if copied and self._clipboard.paste() == copied:
            self._copy(EMPTY)
