"""ROUGE-1, ROUGE-2 and ROUGE-Lsum as ACI-Bench reports them.

rouge-score 0.1.2 without a stemmer; texts are scored as they are, the summary-level LCS parts them at line breaks
(no sentence splitting), and the published "ROUGE-L" is ROUGE-Lsum. F-measures; a system's figure is the mean over
visits. Source: Yim et al. 2023, Aci-bench, and the transcript-copied row of its test set 1, which this reproduces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from edge.evaluate.extras import need

TYPES = ("rouge1", "rouge2", "rougeLsum")


@lru_cache(maxsize=1)
def _scorer() -> Any:
    return need("rouge_score.rouge_scorer", "ROUGE").RougeScorer(list(TYPES), use_stemmer=False)


def rouge(reference: str, note: str) -> dict[str, float]:
    """F-measures (0 to 1) of a note against its reference. An empty note has 0. Errors: MissingToolError."""
    scores = _scorer().score(reference, note)
    return {name: float(scores[name].fmeasure) for name in TYPES}


def mean_rouge(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over visits. Errors: ValueError when there is none."""
    if not rows:
        raise ValueError("there is nothing to average")
    return {name: sum(row[name] for row in rows) / len(rows) for name in TYPES}
