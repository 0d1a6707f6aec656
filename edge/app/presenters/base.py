"""The one pattern of all presenters: a frozen snapshot to draw, a call to subscribe, methods for what a finger does.

A screen draws `presenter.view` (a frozen dataclass; equal snapshots mean: nothing to draw) and calls methods. It
holds no state of its own but what is half typed. A presenter reads the workspace and calls it; it imports no Kivy, so
that every rule of the app is tested without a screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

View = TypeVar("View")


class Observable:
    """Listeners that are told that something changed, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change; returns what ends it. A listener may unsubscribe while it is called."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def changed(self) -> None:
        """Tell every listener."""
        for listener in tuple(self._listeners):
            listener()


class Presenter(Observable, Generic[View]):
    """Base of the presenters: `view` is what the screen draws; `refresh` makes it anew and tells whether it differs."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view

    def make_view(self) -> View:
        """The snapshot as things are now."""
        raise NotImplementedError

    def refresh(self) -> bool:
        """Make the snapshot; listeners are called only when it changed."""
        view = self.make_view()
        if view == self.view:
            return False
        self.view = view
        self.changed()
        return True
