"""The word lists of edge/clinical/data, loaded once: medicines, conditions, body parts, units, vitals and labs.

A phrase is keyed by its stems (tokens.phrase_key), the longest phrase wins. The lists are made by
benchmarks/make_lexicon.py (MeSH and a drug list) and by hand; data/README.md names the sources and licences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from edge.clinical.facts.model import DRUG, DX, SX
from edge.clinical.facts.tokens import Reading, phrase_key

PART = "PART"
MEASURE = "MEASURE"


@dataclass(frozen=True, slots=True)
class Mention:
    """Tokens first..last (last excluded) that name `concept` of `kind`."""

    kind: str
    concept: str
    first: int
    last: int


@dataclass(frozen=True)
class Measure:
    """A vital or lab. low, high: bounds of the ordinary adult range as numbers (pair for blood pressure), or ()."""

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Lexicon:
    """phrases: key -> (kind, concept) for each table; heads: first word -> longest phrase in words."""

    terms: dict[str, tuple[str, str]]
    term_heads: dict[str, int]
    parts: dict[str, tuple[str, str]]
    part_heads: dict[str, int]
    measures: dict[str, tuple[str, str]]
    measure_heads: dict[str, int]
    units: dict[str, str]
    scale: dict[str, tuple[str, float]]
    region: dict[str, str]
    ranges: dict[str, Measure]

    def mentions(self, reading: Reading, start: int = 0, end: int | None = None) -> list[Mention]:
        """Medicines and conditions, longest first, none overlapping."""
        return list(_scan(reading, self.terms, self.term_heads, start, end))

    def body(self, reading: Reading) -> list[Mention]:
        """Body parts."""
        return list(_scan(reading, self.parts, self.part_heads, 0, None))

    def measured(self, reading: Reading) -> list[Mention]:
        """Vitals and labs."""
        return list(_scan(reading, self.measures, self.measure_heads, 0, None))


def _scan(
    reading: Reading, table: dict[str, tuple[str, str]], heads: dict[str, int], start: int, end: int | None
) -> Iterator[Mention]:
    keys = reading.keys
    stop = len(keys) if end is None else end
    index = start
    while index < stop:
        longest = heads.get(keys[index], 0)
        step = 1
        for length in range(min(longest, stop - index), 0, -1):
            phrase = keys[index] if length == 1 else " ".join(keys[index : index + length])
            found = table.get(phrase)
            if found is not None:
                yield Mention(found[0], found[1], index, index + length)
                step = length
                break
        index += step


def _rows(name: str) -> list[list[str]]:
    text = files("edge.clinical").joinpath("data", name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.split("\n") if line and line[0] != "#"]


def _heads(table: dict[str, tuple[str, str]]) -> dict[str, int]:
    heads: dict[str, int] = {}
    for phrase in table:
        first = phrase.split(" ", 1)[0]
        words = phrase.count(" ") + 1
        if words > heads.get(first, 0):
            heads[first] = words
    return heads


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """All lists, read once (about 50 ms on a tablet)."""
    terms: dict[str, tuple[str, str]] = {}
    for concept, kind, wordings in _rows("findings.tsv"):
        found = (DX if kind == "dx" else SX, concept)
        for wording in (concept, *wordings.split("|")):
            terms.setdefault(phrase_key(wording), found)
    for concept, wordings in _rows("drugs_own.tsv"):
        for wording in (concept, *wordings.split("|")):
            terms.setdefault(phrase_key(wording), (DRUG, concept))
    for name, kind in (("drugs.tsv", DRUG), ("conditions.tsv", DX)):  # these are keyed already
        for concept, keys in _rows(name):
            found = (kind, concept)
            for key in keys.split("|"):
                terms.setdefault(key, found)
    parts: dict[str, tuple[str, str]] = {}
    region: dict[str, str] = {}
    for part, place, wordings in _rows("body_parts.tsv"):
        region[part] = place
        for wording in (part, *wordings.split("|")):
            parts.setdefault(phrase_key(wording), (PART, part))
    units: dict[str, str] = {}
    scale: dict[str, tuple[str, float]] = {}
    for unit, dimension, factor, wordings in _rows("units.tsv"):
        scale.setdefault(unit, (dimension, float(factor)))
        for wording in wordings.split("|"):
            units.setdefault(phrase_key(wording) if wording.isascii() and wording != "%" else wording, unit)
    measures: dict[str, tuple[str, str]] = {}
    ranges: dict[str, Measure] = {}
    for measure, low, high, wordings in _rows("vitals.tsv"):
        ranges[measure] = Measure(measure, _bound(low), _bound(high))
        for wording in (measure, *wordings.split("|")):
            measures.setdefault(phrase_key(wording), (MEASURE, measure))
    return Lexicon(terms, _heads(terms), parts, _heads(parts), measures, _heads(measures), units, scale, region, ranges)


def _bound(cell: str) -> tuple[float, ...]:
    return tuple(float(part) for part in cell.split("/")) if cell else ()
