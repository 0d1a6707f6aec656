"""Headings of a note: which section a character lies in, and whether a wrong fact there changes management."""

from __future__ import annotations

import re

_HEADING = re.compile(r"^[ \t•*\-]*([A-Z][A-Za-z/&,() ]{2,50}?)[ \t]*:?[ \t]*$", re.MULTILINE)
_MAJOR = re.compile(r"assess|plan|impression|diagnos|medical decision|recommend|a/p|disposition", re.IGNORECASE)


def is_major_section(section: str) -> bool:
    """Assessment, plan and their like: a wrong fact there changes management."""
    return bool(_MAJOR.search(section))


def section_spans(text: str) -> list[tuple[str, int, int]]:
    """(heading, start, end) of a note by its heading lines, upper case or ending in a colon; before the first: ""."""
    marks = [
        (match[1].strip(), match.start(), match.end())
        for match in _HEADING.finditer(text)
        if match[1].isupper() or text[match.end(1) : match.end()].strip() == ":"
    ]
    edges = [("", 0, 0), *marks]
    ends = [start for _, start, _ in marks] + [len(text)]
    return [(name, start, end) for (name, start, _), end in zip(edges, ends, strict=True) if start < end]


def section_at(spans: list[tuple[str, int, int]], place: int) -> str:
    """The heading that character `place` stands under."""
    return next((name for name, start, end in spans if start <= place < end), "")
