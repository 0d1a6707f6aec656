"""Mistakes that no screen caught: when this fails, one of them ends the app in the middle of a visit."""

from __future__ import annotations

from kivy.base import ExceptionManager

from edge.app.ui.safety_net import SafetyNet
from edge.errors import EdgeError, InputError


def test_a_mistake_is_said_and_a_bug_is_raised() -> None:
    """The event loop asks the manager; it must go on for the one and end for the other."""
    told: list[EdgeError] = []
    net = SafetyNet(told.append)
    net.spread()
    try:
        mistake = InputError("a finding needs an id and a name")
        assert ExceptionManager.handle_exception(mistake) == ExceptionManager.PASS
        assert told == [mistake]
        assert ExceptionManager.handle_exception(KeyError("x")) == ExceptionManager.RAISE
    finally:
        net.fold()
    assert ExceptionManager.handle_exception(mistake) == ExceptionManager.RAISE
