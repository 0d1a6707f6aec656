"""Words and times as FHIR takes them: clean strings, escaped XHTML, instants with a zone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from xml.sax.saxutils import escape

XHTML = "http://www.w3.org/1999/xhtml"
# What XML 1.0 cannot carry, not even escaped: control characters, halves of surrogate pairs, two non-characters.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def clean(text: str) -> str:
    """Text without characters that XML cannot carry (each becomes U+FFFD) and without space around it."""
    return _NOT_XML.sub("\ufffd", text).strip()


def escaped(text: str) -> str:
    """Clean text for the inside of an XHTML element."""
    return escape(clean(text), {'"': "&quot;", "'": "&#39;"})


def div(*parts: str) -> str:
    """The XHTML of a narrative from parts that are XHTML already."""
    return f'<div xmlns="{XHTML}">{"".join(parts)}</div>'


def paragraph(text: str) -> str:
    """One paragraph of plain words."""
    return f"<p>{escaped(text)}</p>"


def items(lines: Iterable[str]) -> str:
    """A list of XHTML lines; '' when there are none, because an empty list is not valid XHTML."""
    found = [f"<li>{line}</li>" for line in lines]
    return f"<ul>{''.join(found)}</ul>" if found else ""


def narrative(*parts: str, status: str = "generated") -> dict[str, str]:
    """A FHIR Narrative."""
    return {"status": status, "div": div(*parts)}


def instant(text: str) -> str:
    """A time of the encounter with its zone, to the second; '' where it is none. A time without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return ""
    if not _DATE.match(text) or found.year < 1000:
        return ""
    return stamp(found if found.tzinfo else found.replace(tzinfo=UTC))


def stamp(moment: datetime) -> str:
    """An aware time as FHIR writes it: UTC, seconds."""
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        moment = moment.replace(tzinfo=UTC)
    return moment.isoformat(timespec="seconds")


def birth_date(text: str) -> str:
    """An ISO date, '' where it is none."""
    try:
        return date.fromisoformat(text).isoformat() if _DATE.fullmatch(text) else ""
    except ValueError:
        return ""


def number(value: float) -> int | float | None:
    """A JSON number, None for what is none (NaN, infinity)."""
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else round(value, 6)
