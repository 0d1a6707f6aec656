"""Is a named diagnosis the true one? And among the first k of a ranked list?

Names mean the same when they are equal after normalising, when ICD-10-CM or MeSH lists one as the other's synonym, or
when they carry the same specific code. Which of these held is recorded. A model that chooses from a given list is
compared by the list's own names only: two candidates may be synonyms for MeSH and yet be two answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from edge.clinical.icd10 import icd_table, name_key
from edge.evaluate.metrics.answers import map_answer, normalise
from edge.evaluate.metrics.concepts import mesh_concepts_of_name

Same = Literal["name", "words", "mesh", "icd", "none"]
TOP = (1, 3, 5)
# Codes that gather unlike diseases: sharing one says nothing.
_GATHERING = re.compile(r"^other\b|\bother specified\b|not elsewhere classified|\bunspecified\b", re.IGNORECASE)


@lru_cache(maxsize=4096)
def same_diagnosis(name: str, truth: str) -> Same:
    """How two names mean the same, or none."""
    if normalise(name) == normalise(truth) != "":
        return "name"
    if name_key(name) == name_key(truth) != "":
        return "words"
    if mesh_concepts_of_name(name) & mesh_concepts_of_name(truth):
        return "mesh"
    code, other = icd_table().code_for(name), icd_table().code_for(truth)
    if code is not None and code == other and not _GATHERING.search(code.title):
        return "icd"
    return "none"


def rank_of(ranked: Sequence[str], truth: str, candidates: Sequence[str] = ()) -> int | None:
    """Place (1 is first) of the true diagnosis in a ranked list, or None.

    With candidates, a name that is none of them takes its place in the list and is wrong.
    """
    for place, name in enumerate(ranked, 1):
        if candidates:
            mapped = map_answer(name, candidates)
            if mapped.index is not None and candidates[mapped.index] == truth:
                return place
        elif same_diagnosis(name, truth) != "none":
            return place
    return None


def top_k(rank: int | None) -> dict[str, float]:
    """top1, top3 and top5 as 0 or 1, and the reciprocal rank."""
    hits = {f"top{k}": float(rank is not None and rank <= k) for k in TOP}
    return {**hits, "reciprocal_rank": 1 / rank if rank else 0.0}
