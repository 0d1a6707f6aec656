"""Lines for the journal: each is said when it is new, and again only after a while, however often it comes up."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
AGAIN_S = 6 * 3600.0
MOST_LINES = 100


class Said:
    """Each line about a matter once in `again_s`, also when several take turns, until the matter is over.

    clock: monotonic seconds.
    """

    def __init__(self, say: Say, clock: Callable[[], float], again_s: float = AGAIN_S) -> None:
        self._say, self._clock, self._again_s = say, clock, again_s
        self._told: dict[str, dict[str, float]] = {}

    def __call__(self, matter: str, line: str) -> None:
        """Say `line` about `matter`, unless it was said just so a short while ago."""
        told, now_s = self._told.setdefault(matter, {}), self._clock()
        if now_s - told.get(line, -self._again_s) < self._again_s:
            return
        if len(told) >= MOST_LINES:
            told.clear()
        told[line] = now_s
        self._say(line)

    def over(self, matter: str, line: str = "") -> None:
        """The matter is settled; `line` is said if anything was said about it."""
        if self._told.pop(matter, None) and line:
            self._say(line)
