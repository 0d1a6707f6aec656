"""What must be set before Kivy is imported: no log file, no argv, no home folder of its own, our density.

Kivy reads its settings at import: it parses the command line, writes ~/.kivy and a log file (which could hold a
patient's words) unless told otherwise. `prepare` is called once, before anything of edge.app.ui that draws.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

# The four switches that keep Kivy from reading our command line and from writing files of its own.
_QUIET = ("KIVY_NO_CONFIG", "KIVY_NO_ARGS", "KIVY_NO_FILELOG", "KIVY_NO_CONSOLELOG", "KIVY_NO_ENV_CONFIG")


def prepare(
    *,
    density: float = 1.0,
    size: tuple[int, int] = (1280, 800),
    backend: str = "",
    fullscreen: bool = False,
    on_screen_keyboard: bool = False,
    home: Path | None = None,
) -> None:
    """Set Kivy up. Opens no window and imports only Kivy's settings.

    Parameters
    ----------
    density: pixels per dp, the panel's dots per inch / 160.
    size: of the window in pixels.
    backend: '' is what the machine has; 'mock' draws nothing (tests of layout and touch); 'offscreen' draws without a
        display.
    fullscreen: fill the panel (kiosk).
    on_screen_keyboard: letters at the lower edge of the panel, for a board that has no keyboard. It covers almost half
        of a 7 inch panel, so chips, steppers and the app's own number pads come first.
    home: Kivy's own folder; a temporary one when None.

    Raises
    ------
    RuntimeError: Kivy was imported before, so that the settings would be ignored.
    """
    if "kivy" in sys.modules:
        raise RuntimeError("environment.prepare must run before Kivy is imported")
    for name in _QUIET:
        os.environ[name] = "1"
    # Kivy neither takes over stderr nor adds handlers, and what it says itself goes nowhere: it may quote a widget.
    os.environ["KIVY_LOG_MODE"] = "PYTHON"
    logging.getLogger("kivy").addHandler(logging.NullHandler())
    logging.getLogger("kivy").propagate = False
    os.environ["KIVY_HOME"] = str(home or _passing_folder())
    os.environ["KIVY_METRICS_DENSITY"] = repr(float(density))
    os.environ["KIVY_DPI"] = repr(160.0 * density)
    os.environ["KIVY_CLIPBOARD"] = os.environ.get("KIVY_CLIPBOARD", "sdl2")
    os.environ.pop("KIVY_GL_BACKEND", None)
    if backend == "mock":
        os.environ["KIVY_GL_BACKEND"] = "mock"
    if backend in ("mock", "offscreen"):
        # With no display the wheel's SDL falls back to its `offscreen` driver; a display would win, so hide it.
        os.environ["SDL_VIDEODRIVER"] = "offscreen"
        os.environ.pop("DISPLAY", None)
        os.environ.pop("WAYLAND_DISPLAY", None)
    from kivy.config import Config

    Config.set("graphics", "multisamples", "0")  # half the drawing time; the kit's shapes smooth their own edges
    Config.set("graphics", "width", str(size[0]))
    Config.set("graphics", "height", str(size[1]))
    Config.set("graphics", "fullscreen", "auto" if fullscreen else "0")
    Config.set("graphics", "min_state_time", "0")
    Config.set("kivy", "exit_on_escape", "0")
    Config.set("kivy", "log_enable", "0")
    Config.set("kivy", "log_level", "error")
    Config.set("kivy", "keyboard_mode", "systemanddock" if on_screen_keyboard else "")
    Config.set("input", "mouse", "mouse,disable_multitouch")
    _metrics()


def _passing_folder() -> str:
    """A folder that goes when the app ends."""
    folder = tempfile.mkdtemp(prefix="edge-kivy-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _metrics() -> None:
    """Ask for a dp first: reading Metrics.dpi before any dp makes later ones negative."""
    from kivy.metrics import dp

    dp(1)
