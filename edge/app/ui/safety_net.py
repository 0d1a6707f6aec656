"""A mistake that no screen caught is said in words, and the app goes on.

An EdgeError is a person's mistake or a full disk, raised before anything changed. Ending the app for it would cost what
is half typed, and on a full disk what could not be saved. Everything else still ends the app: it is a bug.
"""

from __future__ import annotations

from collections.abc import Callable

from kivy.base import ExceptionHandler, ExceptionManager

from edge.errors import EdgeError


class SafetyNet(ExceptionHandler):
    """tell: shows the error to the person."""

    def __init__(self, tell: Callable[[EdgeError], None]) -> None:
        super().__init__()
        self._tell = tell

    def handle_exception(self, exception: BaseException) -> int:
        """Whether the event loop goes on."""
        if not isinstance(exception, EdgeError):
            return int(ExceptionManager.RAISE)
        self._tell(exception)
        return int(ExceptionManager.PASS)

    def spread(self) -> None:
        """Catch from now on."""
        ExceptionManager.add_handler(self)

    def fold(self) -> None:
        """Catch no more."""
        ExceptionManager.remove_handler(self)
