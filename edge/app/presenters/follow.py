"""A presenter follows the desk as long as somebody holds the presenter: screens come and go with every lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod, ref

from edge.app.presenters.base import Observable


def follow(source: Observable, follower: Any, tell: Callable[[Any], object] | None = None) -> None:
    """Call the bound method `follower`, or tell(follower), after every change of `source` until its object is gone."""
    held: Callable[[], Any] = WeakMethod(follower) if tell is None else ref(follower)

    def told() -> None:
        alive = held()
        if alive is None:
            end()
        elif tell is None:
            alive()
        else:
            tell(alive)

    end = source.subscribe(told)
