"""Drives widgets without a screen: mount one, run frames, tap, type, look at the pixels.

Kivy is set up once a process, so every test of a process shares one window and one backend (EDGE_UI_BACKEND: mock,
which draws nothing, or offscreen, which draws). Tests wait on state, never on time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BACKEND = os.environ.get("EDGE_UI_BACKEND", "mock")
KEYS = {"tab": 9, "enter": 13, "escape": 27, "space": 32, "backspace": 8, "left": 276, "right": 275}


class Driver:
    """One window for all. Use the fixture `ui`."""

    _started = False

    def __init__(self) -> None:
        prepare()
        self.backend = BACKEND
        from kivy.base import EventLoop, runTouchApp
        from kivy.clock import Clock
        from kivy.core.window import Window

        import edge.app.ui.kit  # noqa: F401  (makes the kv names known)
        from edge.app.ui.kit.dialog import EdgeDialog
        from edge.app.ui.kit.focus import ring
        from edge.app.ui.theme import theme

        self.window, self.loop, self.clock, self.theme, self.ring = Window, EventLoop, Clock, theme, ring
        self._dialogs = EdgeDialog
        Clock._max_fps = 0
        runTouchApp(embedded=True)
        self.root: Any = None

    def mount(
        self,
        widget: Any,
        *,
        size: tuple[int, int] = (1280, 800),
        scale: float = 1.0,
        night: bool = False,
        language: str = "en",
    ) -> Any:
        """Show a widget as the only one; a callable is called once the theme stands. Returns the widget."""
        from edge.app.i18n import translator

        self.clear()
        translator.language = language
        self.theme.night, self.theme.scale = night, scale
        self.resize(size)
        self.root = widget() if callable(widget) and not hasattr(widget, "canvas") else widget
        self.ring.install(self.window, self.root)
        self.window.add_widget(self.root)  # a shell installs its own keys now
        self.frame(3)
        return self.root

    def clear(self) -> None:
        """Take everything off the window."""
        from edge.app.ui.kit.let_go import take_apart

        self._dialogs.close_all()
        if self.root is not None and hasattr(self.root, "close"):
            self.root.close()  # a shell: it listens to its desk
        self.ring.remove()
        for child in tuple(self.window.children):
            self.window.remove_widget(child)
        if self.root is not None:
            # Kivy keeps each text field that was drawn: not with all that stood around it, which follows the theme.
            if getattr(self.root, "is_shown", False):
                self.root.hide()
            take_apart(self.root)
        self.root = None

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window another size in pixels."""
        if tuple(self.window.size) != tuple(size):
            self.window.system_size = size
            self.window.size = size
            self.frame(2)

    def frame(self, count: int = 1) -> None:
        """Let the event loop go round."""
        for _ in range(count):
            self.loop.idle()

    def until(self, state: Callable[[], Any], limit_s: float = 10.0) -> None:
        """Run frames until a state is reached; fails after so long."""
        end = time.monotonic() + limit_s
        while not state():
            assert time.monotonic() < end, "the state was not reached"
            self.frame()

    def tap(self, widget: Any, *, hold: Callable[[], bool] | None = None) -> None:
        """A finger on the middle of a widget; with `hold`, until that is true."""
        self.touch(*widget.to_window(widget.center_x, widget.center_y), hold=hold)

    def touch(self, x: float, y: float, *, hold: Callable[[], bool] | None = None) -> None:
        """A finger at a place of the window, in pixels from the lower left."""
        from kivy.input.motionevent import MotionEvent

        class Finger(MotionEvent):
            def depack(self, args: Any) -> None:
                self.is_touch = True
                self.sx, self.sy = args["x"], args["y"]
                self.profile = ["pos"]
                super().depack(args)

        width, height = self.window.size
        finger = Finger("test", 1, {"x": x / max(width - 1, 1), "y": y / max(height - 1, 1)})
        self.loop.post_dispatch_input("begin", finger)
        self.frame()
        if hold is not None:
            self.until(hold)
        self.loop.post_dispatch_input("end", finger)
        self.frame(2)

    def type(self, text: str) -> None:
        """Letters from a keyboard, into the field that has the cursor."""
        for letter in text:
            self.window.dispatch("on_textinput", letter)
        self.frame()

    def key(self, name: str, *modifiers: str) -> None:
        """A key by name (KEYS) or letter, with modifiers."""
        code = KEYS.get(name) or ord(name)
        self.window.dispatch("on_key_down", code, 0, name if len(name) == 1 else None, list(modifiers))
        self.window.dispatch("on_key_up", code, 0)
        self.frame()

    def walk(self, root: Any = None) -> Iterator[Any]:
        """Every widget that can be seen, from `root` (default: what is mounted) down."""
        root = root or self.root
        yield root
        for child in reversed(root.children):
            if child.opacity > 0:
                yield from self.walk(child)

    def find(self, **wanted: Any) -> Any:
        """The first widget with these property values, as find(text='Night'). Fails when there is none."""
        for top in tuple(self.window.children):
            for widget in self.walk(top):
                if all(getattr(widget, name, None) == value for name, value in wanted.items()):
                    return widget
        raise AssertionError(f"no widget with {sorted(wanted)}")

    def words(self, root: Any = None) -> str:
        """All words on the screen, a line each."""
        return "\n".join(w.text for w in self.walk(root) if isinstance(getattr(w, "text", None), str) and w.text)

    def screenshot(self, path: Path | None = None) -> Any:
        """The window as a PIL image (offscreen backend only), saved when a path is given."""
        from PIL import Image

        from edge.app.ui.picture import pixels

        self.frame(2)
        width, height, data = pixels(self.window)
        image = Image.frombytes("RGBA", (width, height), data).transpose(Image.Transpose.FLIP_TOP_BOTTOM).convert("RGB")
        if path is not None:
            image.save(path)
        return image


_driver: Driver | None = None


def prepare() -> None:
    """Set Kivy up for this process, before a test module imports it; conftest.py calls it."""
    from edge.app.ui import environment

    if "kivy" not in sys.modules:
        environment.prepare(backend=BACKEND)


def shared() -> Driver:
    """The driver of this process."""
    global _driver
    if _driver is None:
        _driver = Driver()
    return _driver
