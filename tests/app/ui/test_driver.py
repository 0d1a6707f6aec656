"""The driver itself and how Kivy is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app.ui.kit import EdgeButton
from tests.app.ui.driver import Driver

PICTURE = """
import sys
from pathlib import Path
from tests.app.ui.driver import prepare, shared
prepare()
from edge.app.ui.kit import EdgeButton, EdgeColumn
from edge.app.ui.tokens import LIGHT, NIGHT
ui = shared()
def build():
    box = EdgeColumn(pos_hint={"top": 1})
    box.add_widget(EdgeButton(text="Stop", kind="primary", big=True, size_hint_x=1))
    return box
for night, palette in ((False, LIGHT), (True, NIGHT)):
    for size in ((400, 300), (500, 700)):
        ui.mount(build, size=size, night=night)
        image = ui.screenshot()
        assert image.size == size, image.size
        assert "#%02X%02X%02X" % image.getpixel((40, 28)) == palette["primary"]
        assert "#%02X%02X%02X" % image.getpixel((40, size[1] - 5)) == palette["background"]
        words = image.crop((size[0] // 2 - 40, 10, size[0] // 2 + 40, 46)).getcolors(10000)
        assert len(words) > 10, "no letters were drawn"
print("drawn")
"""
QUIET = """
import sys
from edge.app.ui.environment import prepare
prepare(density=1.5, backend="mock", home=None)
assert "kivy.core.window" not in sys.modules
from kivy.metrics import dp, Metrics
assert dp(48) == 72.0, dp(48)
assert Metrics.density == 1.5
from kivy.base import EventLoop
assert EventLoop.window is None
from kivy.logger import Logger
Logger.error("a patient's words")
import os
assert not list(__import__("pathlib").Path(os.environ["KIVY_HOME"]).rglob("*.txt"))
assert sys.argv[1:] == ["--density", "-m", "screen"]
try:
    prepare()
except RuntimeError:
    print("refused")
"""


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, since Kivy is set up once a process."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[3],
        env={**os.environ, **environment},
    )


def test_pixels_are_drawn_without_a_display() -> None:
    """Fails when nothing reaches the screen: a colour of the tokens, in both palettes, at two sizes, with letters."""
    done = run(PICTURE, EDGE_UI_BACKEND="offscreen")
    assert done.stdout == "drawn\n", done.stderr[-2000:]


def test_kivy_writes_nothing_and_opens_nothing() -> None:
    """Fails when Kivy reads our arguments, logs a patient's words, or opens a window when it is only set up."""
    done = run(QUIET, "--density", "-m", "screen")
    assert done.stdout == "refused\n", done.stderr[-2000:]
    assert "patient" not in done.stderr


def test_until_fails_when_nothing_happens(ui: Driver) -> None:
    """Fails when a test could wait for ever."""
    ui.mount(lambda: EdgeButton(text="OK"))
    with pytest.raises(AssertionError, match="not reached"):
        ui.until(lambda: False, limit_s=0.05)


def test_words_and_find(ui: Driver) -> None:
    """Fails when the driver looks past what is shown."""
    button = ui.mount(lambda: EdgeButton(text="OK"))
    assert ui.find(text="OK") is button and "OK" in ui.words()
    with pytest.raises(AssertionError, match="no widget"):
        ui.find(text="Cancel")
