"""Rows of the worklist: which match a search, in which order, in which words. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from edge.app.i18n import tr, tr_n
from edge.app.presenters.when import when_words
from edge.clinical.encounter.model import EncounterState

if TYPE_CHECKING:
    from edge.clinical.encounter.summary import Summary

FILTERS = ("all", *(state.value for state in EncounterState))
SORTS = ("changed", "flags", "bed", "name")
_MASK = "•*·. "


@dataclass(frozen=True)
class Row:
    """A visit on the list, in words. state: new, exam, draft or signed; opened: it is the one that is open."""

    id: str
    name: str = field(repr=False)
    detail: str = field(repr=False)
    bed: str = field(repr=False)
    state: str
    state_words: str
    red_flags: int
    flag_words: str
    changed: str
    opened: bool = False


def plain(text: str) -> str:
    """Small letters without accents, for search: 'Müller' is found by 'muller'."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which bed 2 comes before bed 12, and no bed comes last."""
    if not text.strip():
        return ((2, 0, ""),)
    parts = re.findall(r"\d+|\D+", plain(text))
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def shown_digits(masked_mrn: str) -> str:
    """The end of a record number that its mask leaves readable."""
    return plain(masked_mrn).lstrip(_MASK)


def same_end(mrn: str, masked_mrn: str) -> bool:
    """Whether a full record number may be the masked one."""
    shown = shown_digits(masked_mrn)
    return bool(shown) and plain(mrn).endswith(shown)


def matches(summary: Summary, query: str) -> bool:
    """Every word of the query is in the name, begins the bed, or agrees with the end of the record number."""
    name, bed, shown = plain(summary.name), plain(summary.bed), shown_digits(summary.masked_mrn)
    for word in plain(query).split():
        number = len(word) >= 2 and bool(shown) and (shown.endswith(word) or word.endswith(shown))
        if not (word in name or bed.startswith(word) or word in bed.split() or number):
            return False
    return True


def listed(summaries: Sequence[Summary], query: str, state: str, sort: str) -> tuple[Summary, ...]:
    """What a search and a filter leave, in order; equal ones with the last changed first."""
    found = [one for one in summaries if state in ("all", str(one.state)) and matches(one, query)]
    found.sort(key=lambda one: one.updated_at, reverse=True)
    if sort == "flags":
        found.sort(key=lambda one: -one.red_flags)
    elif sort == "bed":
        found.sort(key=lambda one: natural(one.bed))
    elif sort == "name":
        found.sort(key=lambda one: (not one.name, plain(one.name)))
    return tuple(found)


def person_words(age: str, sex: str) -> str:
    """'F 68', 'F', '68' or ''. age: as in the summary, '47', '14 mo' or ''."""
    short = tr(f"patient.sex_{sex}_short") if sex in ("female", "male", "other") else ""
    return " ".join(part for part in (short, age) if part)


def name_words(name: str) -> str:
    """The name, or that there is none yet."""
    return name or tr("worklist.unnamed")


def row(summary: Summary, opened: str, now: datetime, zone: tzinfo | None = None) -> Row:
    """A summary in words. opened: id of the visit that is open, '' for none."""
    state = str(summary.state)
    mrn = tr("worklist.mrn", mrn=summary.masked_mrn) if summary.masked_mrn else ""
    detail = "  ".join(part for part in (person_words(summary.age, summary.sex), mrn) if part)
    return Row(
        id=summary.id,
        name=name_words(summary.name),
        detail=detail,
        bed=tr("worklist.bed", bed=summary.bed) if summary.bed else tr("worklist.no_bed"),
        state=state,
        state_words=tr(f"worklist.state_{state}"),
        red_flags=summary.red_flags,
        flag_words=tr_n("worklist.flags", summary.red_flags) if summary.red_flags else "",
        changed=when_words(summary.updated_at, now, zone),
        opened=summary.id == opened,
    )


def who_words(summary: Summary) -> str:
    """Name and bed in one line, for a question."""
    bed = tr("worklist.bed", bed=summary.bed) if summary.bed else ""
    return ", ".join(part for part in (name_words(summary.name), bed) if part)


def filter_words(summaries: Sequence[Summary]) -> tuple[tuple[str, str], ...]:
    """Each filter with the number of visits that it would show."""
    counts = {name: sum(str(one.state) == name for one in summaries) for name in FILTERS[1:]}
    counts["all"] = len(summaries)
    return tuple((name, tr(f"worklist.filter_{name}", count=counts[name])) for name in FILTERS)
