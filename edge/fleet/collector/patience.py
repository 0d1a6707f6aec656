"""How long to wait after a failure, and how often to say so."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from edge.errors import EdgeError

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
SAY_EVERY_S = 60.0


class Patience:
    """Waits that double, with chance in them so that collectors do not come back in step; one line a minute."""

    def __init__(self, say: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._say, self._now_s = say, now_s
        self._failures = 0
        self._said_at_s: dict[str, float] = {}
        self._told = False

    def failed(self, error: EdgeError) -> float:
        """Say the error, unless it was said within a minute; the seconds to wait."""
        self._failures += 1
        now_s, text = self._now_s(), str(error)
        self._said_at_s = {said: at_s for said, at_s in self._said_at_s.items() if now_s - at_s < SAY_EVERY_S}
        if text not in self._said_at_s:
            self._said_at_s[text] = now_s
            self._told = True
            self._say(text)
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * float(1 << min(self._failures - 1, 10)))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  no secret hangs on it

    def worked(self, text: str) -> None:
        """Say that it works again, if the failure was said."""
        self._failures = 0
        if self._told:
            self._told = False
            self._say(text)


def once_a_minute(say: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """`say`, for several threads that meet the same trouble: the same line at most once a minute."""
    said_at_s: dict[str, float] = {}
    lock = threading.Lock()

    def quietly(text: str) -> None:
        with lock:
            at_s = now_s()
            for old in [old for old, then in said_at_s.items() if at_s - then >= SAY_EVERY_S]:
                del said_at_s[old]
            if text in said_at_s:
                return
            said_at_s[text] = at_s
        say(text)

    return quietly
