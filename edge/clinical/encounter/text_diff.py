"""Where two texts are the same: their common beginning and end, found without looking at each letter."""

from __future__ import annotations

from functools import lru_cache

from edge.clinical.transcript import Transcript, parse_transcript

# The marks and the red flags of one text both need its turns.
parsed = lru_cache(maxsize=2)(parse_transcript)


def same_start(old: str, new: str) -> int:
    """How many characters the two have in common at their beginning."""
    low, high = 0, min(len(old), len(new))
    if old[:high] == new[:high]:
        return high
    while high - low > 1:  # the first `low` characters are the same, the first `high` are not
        middle = (low + high) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle
    return low


def same_ends(old: str, new: str) -> tuple[int, int]:
    """Characters in common at the beginning and, behind those, at the end; together never more than the shorter has."""
    before = same_start(old, new)
    rest = min(len(old), len(new)) - before
    low, high = 0, rest + 1
    while high - low > 1:
        middle = (low + high) // 2
        if old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]:
            low = middle
        else:
            high = middle
    return before, low


def same_turns(old: Transcript, new: Transcript, same: int) -> int:
    """How many turns of the two are the same from the first on, as far as the `same` characters at their start go."""
    count = 0
    for one, other in zip(old.turns, new.turns, strict=False):
        ends = one.end == other.end or min(one.end, other.end) >= same
        if one.start >= same or one.start != other.start or one.speaker != other.speaker or not ends:
            break
        count += 1
    return count
