"""The words that a clinician changed in a drafted line, for the review."""

from __future__ import annotations

import difflib
import re

SAME, ADDED, REMOVED = "same", "added", "removed"
_PIECE = re.compile(r"\s+|\w+(?:[.,/:'’-]\w+)*|[^\w\s]")


def diff_words(old: str, new: str) -> tuple[tuple[str, str], ...]:
    """(op, text) with op SAME, ADDED or REMOVED, by whole words; a number such as 37.5 or 120/80 is one word.

    All SAME and REMOVED texts together are `old`, all SAME and ADDED ones `new`; what was removed stands before what
    was put in its place.
    """
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    found: list[tuple[str, str]] = []
    for op, a0, a1, b0, b1 in matcher.get_opcodes():
        if op == "equal":
            found.append((SAME, "".join(before[a0:a1])))
            continue
        if a1 > a0:
            found.append((REMOVED, "".join(before[a0:a1])))
        if b1 > b0:
            found.append((ADDED, "".join(after[b0:b1])))
    return tuple(found)
