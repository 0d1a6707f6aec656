"""The catalogue of findings: what the examination offers, by system, in English and German, with synonyms for search.

`en` is what is stored and what case, tables and rules read; `de` is for display. A clinician may always write a finding
that is not listed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from edge.errors import SpecError

TABLE = "findings.yaml"
VERSION = 1
LANGUAGES = ("en", "de")
MOST_RESULTS = 24
LEAST_LIKENESS = 80.0  # of 100; below it a word is another word, not a slip
LEAST_TYPED = 3  # characters of a query from which on slips are looked for
_FLAGS = frozenset({"eye", "red"})
_SPLIT = re.compile(r"[^\w]+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


@dataclass(frozen=True)
class Concept:
    """A finding of the catalogue. system: key; asks_eye: it is of one eye; red: a reason to look at the red flags."""

    id: str
    system: str
    en: str
    de: str
    synonyms: tuple[str, ...] = ()
    asks_eye: bool = False
    red: bool = False

    def name(self, language: str) -> str:
        """For display."""
        return self.de if language == "de" else self.en


@lru_cache(maxsize=1)
def _table() -> tuple[Mapping[str, Concept], Mapping[str, str]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = yaml.load(files(__package__).joinpath(TABLE).read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
        if value["version"] != VERSION:
            raise ValueError("version")
        concepts: dict[str, Concept] = {}
        for system, body in value["systems"].items():
            for key, row in body["findings"].items():
                concept = _concept(system, key, row)
                if concept.id in concepts:
                    raise ValueError("id")
                concepts[concept.id] = concept
        icons = {system: str(body["icon"]) for system, body in value["systems"].items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, IndexError) as error:
        raise SpecError("the catalogue of findings cannot be read", where=TABLE, mend="install edge again") from error
    return MappingProxyType(concepts), MappingProxyType(icons)


def _concept(system: str, key: str, row: list[Any]) -> Concept:
    flags = set(str(row[3]).split()) if len(row) > 3 else set()
    if flags - _FLAGS or len(row) > 4:
        raise ValueError("flags")
    synonyms = tuple(word for word in str(row[2]).split("|") if word) if len(row) > 2 else ()
    return Concept(f"{system}.{key}", system, str(row[0]), str(row[1]), synonyms, "eye" in flags, "red" in flags)


def catalogue() -> Mapping[str, Concept]:
    """Every finding by its id, in the order of the examination. Errors: SpecError when the table is wrong."""
    return _table()[0]


def systems() -> Mapping[str, str]:
    """Each system with the name of its icon, in order."""
    return _table()[1]


def search(query: str, language: str = "en", limit: int = MOST_RESULTS) -> tuple[Concept, ...]:
    """Findings for what was typed, best first: names and synonyms of both languages, typing slips included.

    The name in `language` goes before synonyms; () for an empty query or when nothing is near.
    """
    typed = _plain(query)
    if not typed:
        return ()
    for score in (_literal, _near):  # slips only where nothing was written so
        best = {
            concept.id: max(score(typed, phrase) * weight for phrase, weight in _phrases(language)[concept.id])
            for concept in catalogue().values()
        }
        good = sorted((key for key, value in best.items() if value > 0), key=lambda key: -best[key])  # stable
        if good:
            return tuple(catalogue()[key] for key in good[:limit])
    return ()


def _plain(text: str) -> str:
    """Small letters without accents; umlauts as two letters, as people type them without a German keyboard."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).casefold().translate(_UMLAUTS))
    return " ".join(_SPLIT.split("".join(char for char in folded if not unicodedata.combining(char)))).strip()


@lru_cache(maxsize=2)
def _phrases(language: str) -> Mapping[str, tuple[tuple[str, float], ...]]:
    """id -> (phrase, weight): the name in the language, the name in the other, synonyms."""
    rows = {}
    for concept in catalogue().values():
        other = concept.en if language == "de" else concept.de
        named = [(concept.name(language), 1.0), (other, 0.9), *((one, 0.9) for one in concept.synonyms)]
        rows[concept.id] = tuple((_plain(words), weight) for words, weight in named)
    return rows


def _literal(typed: str, phrase: str) -> float:
    """100 the same, 95 its beginning, 90 each typed word begins one of its words, 85 inside of one; else 0."""
    if phrase == typed:
        return 100.0
    if phrase.startswith(typed):
        return 95.0
    words = phrase.split()
    if all(any(word.startswith(one) for word in words) for one in typed.split()):
        return 90.0
    # Inside a German compound: "schmerz".
    return 85.0 if len(typed) > LEAST_TYPED and typed in phrase else 0.0


def _near(typed: str, phrase: str) -> float:
    """How near the worst of the typed words is to a word, 0 where it is another; a half typed word to as much of it."""
    # Only here, since it takes a moment to load and most searches need none of it.
    from rapidfuzz.distance import DamerauLevenshtein

    least = 100.0
    for one in typed.split():
        parts = {part for word in phrase.split() for part in (word, word[: len(one)], word[: len(one) + 1])}
        allowed = LEAST_LIKENESS if len(one) < 8 else LEAST_LIKENESS - 8
        best = max(100 * DamerauLevenshtein.normalized_similarity(one, part) for part in parts)
        if best < allowed or (len(one) <= LEAST_TYPED and best < 100):
            return 0.0
        least = min(least, best)
    return least
