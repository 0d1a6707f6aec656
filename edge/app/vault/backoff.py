"""How long a person waits after wrong PINs. Pure: a state in, a state out; edge.app.vault.attempts keeps it on disk.

A try is counted before it is made: what kills the app between counting and looking gives no free try. Time is taken
from the clock that counts since the machine was started, which nobody can set, as long as the machine was not
restarted since; else from the wall clock, of which only time that goes forward counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WAITS_S = (0, 0, 0, 30, 60, 300, 900, 3600)  # after the first, second, ... wrong PIN; the last holds from then on


@dataclass(frozen=True)
class Moment:
    """A reading of both clocks. wall_s: since 1970. boot_s: since the machine was started; boot: names that start,
    '' where the platform does not tell (then only the wall clock is used).
    """

    wall_s: float
    boot_s: float = 0.0
    boot: str = ""


@dataclass(frozen=True)
class Attempts:
    """failures: wrong PINs in a row, with the one being made. wait_s: was to be waited at `at`. doubtful: the record
    was missing or not authentic, so the longest wait is assumed.
    """

    failures: int = 0
    wait_s: float = 0.0
    at: Moment = Moment(0.0)
    doubtful: bool = False


def wait_after(failures: int) -> int:
    """Seconds to wait after so many wrong PINs."""
    if failures <= 0:
        return 0
    return WAITS_S[min(failures, len(WAITS_S)) - 1]


def elapsed_s(since: Moment, now: Moment) -> float:
    """Seconds that have surely passed; never negative."""
    if since.boot and since.boot == now.boot:
        return max(0.0, now.boot_s - since.boot_s)
    return max(0.0, now.wall_s - since.wall_s)


def left_s(attempts: Attempts, now: Moment) -> int:
    """Whole seconds until the next try is taken."""
    return max(0, math.ceil(attempts.wait_s - elapsed_s(attempts.at, now)))


def anchored(attempts: Attempts, now: Moment) -> Attempts:
    """The same wait, counted from now. Kept when a clock went back or the machine was restarted: a clock that was
    wrong in the future must not keep a person out for years, and one set back must not shorten the wait.
    """
    return Attempts(attempts.failures, float(left_s(attempts, now)), now, attempts.doubtful)


def needs_anchor(attempts: Attempts, now: Moment) -> bool:
    """Whether a wait is running by a clock that is no more, or that went back."""
    if left_s(attempts, now) == 0:
        return False
    return attempts.at.boot != now.boot or (not now.boot and now.wall_s < attempts.at.wall_s)


def counted(attempts: Attempts, now: Moment) -> Attempts:
    """One more try, to be kept on disk before it is looked at."""
    failures = attempts.failures + 1
    return Attempts(failures, float(wait_after(failures)), now, attempts.doubtful)


def doubted(now: Moment, wipe_after: int = 0) -> Attempts:
    """What is assumed when the record is missing or not authentic: the longest wait, and, where wiping is switched on,
    one try left.
    """
    failures = len(WAITS_S) if not wipe_after else min(len(WAITS_S), wipe_after - 1)
    return Attempts(failures, float(WAITS_S[-1]), now, doubtful=True)
