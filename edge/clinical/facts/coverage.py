"""How much of its source a note leaves out, as one share that follows the human omission rate.

Named facts (conditions, medicines, allergies whose polarity is known) weigh 1, the other content words of statements
WORD_WEIGHT each: a word list never names everything that matters. The share is shrunk towards the mean human omission
rate by PRIOR_FACTS, since one fact of one is no rate. The three constants were chosen on half of MTS-Dialog's
human-scored summaries (the correlation study) and hold on the other half (benchmarks/run_facts.py prints both).
"""

from __future__ import annotations

from edge.clinical.facts.model import ALLERGY, DRUG, DX, SX, UNKNOWN, Fact
from edge.clinical.facts.source import FactSource
from edge.clinical.facts.tokens import phrase_key

WORD_WEIGHT = 0.4
PRIOR_FACTS = 4.0
PRIOR_RATE = 0.4
_LINKS = frozenset(("and", "of", "the", "type"))


def omission_rate(facts: tuple[Fact, ...], words: frozenset[str], source: FactSource) -> float:
    """0 (all of the source is there) .. 1. facts, words: of the note; a source without content gives PRIOR_RATE."""
    concepts = {fact.concept for fact in facts}
    named = {
        fact.concept
        for fact in source.analysis.facts
        if fact.kind in (DX, SX, DRUG, ALLERGY) and fact.concept and fact.polarity != UNKNOWN
    }
    missing = sum(1.0 for concept in named if concept not in concepts and not worded(concept, words))
    content = source.content
    total = len(named) + WORD_WEIGHT * len(content) + PRIOR_FACTS
    missing += WORD_WEIGHT * len(content - words) + PRIOR_FACTS * PRIOR_RATE
    return missing / total


def worded(concept: str, words: frozenset[str]) -> bool:
    """Whether every content word of a concept stands somewhere in the note."""
    return all(word in words for word in phrase_key(concept).split() if word not in _LINKS)
