"""The screens by name. Each is imported and made at its first use, so that the lock is there at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from edge.app.ui.kit.screen import EdgeScreen
from edge.app.workspace import Workspace

# name -> (module of the screen and of its presenter, class of the screen, class of the presenter)
SCREENS: dict[str, tuple[str, str, str]] = {
    "lock": ("lock", "LockScreen", "LockPresenter"),
    "worklist": ("worklist", "WorklistScreen", "WorklistPresenter"),
    "exam": ("exam", "ExamScreen", "ExamPresenter"),
    "eye": ("eye", "EyeScreen", "EyePresenter"),
    "note": ("note", "NoteScreen", "NotePresenter"),
    "review": ("review", "ReviewScreen", "ReviewPresenter"),
    "device": ("device", "DeviceScreen", "DevicePresenter"),
    "settings": ("settings", "SettingsScreen", "SettingsPresenter"),
}


def make_screen(name: str, workspace: Workspace) -> EdgeScreen:
    """A screen over a presenter of its own."""
    module, screen, presenter = SCREENS[name]
    make_presenter: Any = getattr(import_module(f"edge.app.presenters.{module}"), presenter)
    make: Any = getattr(import_module(f"edge.app.ui.screens.{module}"), screen)
    made: EdgeScreen = make(make_presenter(workspace), workspace)
    return made


def make_screens(workspace: Workspace) -> dict[str, Callable[[], EdgeScreen]]:
    """What makes each screen, for the shell."""
    return {name: partial(make_screen, name, workspace) for name in SCREENS}
