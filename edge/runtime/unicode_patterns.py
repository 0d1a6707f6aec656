r"""Patterns with Unicode properties (`\p{L}`, `\p{Lu}`) in the words of Python's own `re`, which has none.

A property becomes a class of ranges from this Python's Unicode tables. `\s` becomes Unicode's white space: Python's
own also takes U+001C to U+001F.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache

_PROPERTY = re.compile(r"\\([pP])(?:\{(\^?)([A-Za-z]{1,2})\}|([A-Z]))")
# What a pattern may hold beside properties; anything else could mean something else to the library.
_PLAIN_ESCAPES = frozenset("rntsSdD\\/.-[](){}|?*+^$'\"")
SPACES = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


@lru_cache(maxsize=1)
def _runs() -> tuple[tuple[int, int, str], ...]:
    """(first, last, category) of all runs of one category."""
    found: list[tuple[int, int, str]] = []
    first, kind = 0, unicodedata.category("\0")
    for point in range(1, sys.maxunicode + 1):
        other = unicodedata.category(chr(point))
        if other != kind:
            found.append((first, point - 1, kind))
            first, kind = point, other
    return (*found, (first, sys.maxunicode, kind))


@lru_cache(maxsize=64)
def ranges(category: str) -> str:
    """The inside of a class for a category ("Lu") or a group of them ("L"). Errors: ValueError for an unknown one."""
    spans: list[list[int]] = []
    for first, last, kind in _runs():
        if kind.startswith(category):
            if spans and spans[-1][1] == first - 1:
                spans[-1][1] = last
            else:
                spans.append([first, last])
    if not spans:
        raise ValueError(f"no Unicode category {category!r}")
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)


def translate(pattern: str) -> str:
    """The pattern for Python's `re`. Errors: ValueError for what would not mean the same there."""
    out: list[str] = []
    position, inside = 0, False
    while position < len(pattern):
        here = pattern[position]
        if here != "\\":
            if here == "[" and inside:
                raise ValueError("a class inside a class")
            if inside and pattern.startswith(("&&", "--", "~~", "||"), position):
                raise ValueError("an operation on classes")
            if here == "[":
                inside = True
            elif here == "]":
                inside = False
            elif not inside and re.match(r"[*+?}]\+", pattern[position : position + 2]):
                raise ValueError("a possessive quantifier")
            out.append(here)
            position += 1
            continue
        found = _PROPERTY.match(pattern, position)
        if found:
            negative = (found[1] == "P") != (found[2] == "^")
            out.append(_in_class(ranges(found[3] or found[4]), inside, negative))
            position = found.end()
            continue
        after = pattern[position + 1 : position + 2]
        if after in ("s", "S"):
            out.append(_in_class(SPACES, inside, after == "S"))
        elif after in ("d", "D"):
            out.append(_in_class(ranges("Nd"), inside, after == "D"))
        elif after and (after in _PLAIN_ESCAPES or after == " "):
            out.append(f"\\{after}")
        else:
            raise ValueError(f"the escape \\{after}")
        position += 2
    return "".join(out)


def _in_class(content: str, inside: bool, negative: bool) -> str:
    if inside and negative:
        raise ValueError("the opposite of a property inside a class")
    return content if inside else f"[{'^' if negative else ''}{content}]"
