"""The Kivy application: one window, one shell, one tick a frame. Everything it knows is in the workspace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kivy.app import App
from kivy.clock import Clock
from kivy.core.window import Window

from edge.app.samples.fill import fill_empty_worklist
from edge.app.ui.screens import make_screens
from edge.app.ui.shell.shell import Shell
from edge.app.ui.theme import theme
from edge.app.workspace import Workspace


def nothing() -> None:
    """No wish when the window is there."""


def nobody(_now_s: float) -> None:
    """No watchdog."""


class BedsideApp(App):
    """samples: fill an empty worklist with sample patients. on_window: called once the first frame was drawn. alive:
    called each frame, for a watchdog.
    """

    title = "edge"

    def __init__(
        self,
        workspace: Workspace,
        *,
        samples: bool = False,
        on_window: Callable[[], None] = nothing,
        alive: Callable[[float], None] = nobody,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.workspace = workspace
        self._samples = samples
        self._on_window, self._alive = on_window, alive
        self.shell: Shell | None = None

    def load_kv(self, filename: str | None = None) -> None:
        """No kv file of the app's own: Kivy would load one that is named like this class a second time."""

    def build(self) -> Shell:
        """The shell, in the colours and the size of the settings."""
        self._apply_settings()
        Window.clearcolor = theme.background
        self.shell = Shell(self.workspace, make_screens(self.workspace))
        return self.shell

    def on_start(self) -> None:
        """From here on a tick a frame; models begin to load after the first one."""
        self.workspace.subscribe(self._changed)
        Window.bind(on_touch_down=self._touched, on_touch_move=self._touched, on_key_down=self._touched)
        Clock.schedule_interval(self._tick, 0)
        Clock.schedule_once(self._first_frame, 0)

    def _first_frame(self, _dt: float) -> None:
        self._on_window()
        self.workspace.runs.start_engines()

    def _tick(self, _dt: float) -> None:
        self.workspace.tick()
        self._alive(time.monotonic())

    def _touched(self, *_: Any) -> bool:
        self.workspace.touch()
        return False

    def _changed(self) -> None:
        if self._samples and not self.workspace.locked:
            self._samples = False
            fill_empty_worklist(self.workspace)
        self._apply_settings()

    def _apply_settings(self) -> None:
        """Colours and the size of type follow at once; a language changes the words where they stand."""
        settings = self.workspace.settings
        theme.night = settings.night
        theme.scale = settings.font_scale
        Window.clearcolor = theme.background

    def on_stop(self) -> None:
        """Nothing is lost when the window is closed."""
        self.workspace.save_now()
