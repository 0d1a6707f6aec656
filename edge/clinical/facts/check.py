"""The fact check: what a note says that its source does not, and what the source says that the note leaves out.

Definitions after Asgari 2025 (npj Digital Medicine): unsupported = in the note and not derivable from the source;
missing = a relevant source fact that the note leaves out; major = it could change diagnosis or management. This is a
deterministic screen on typed facts, no proof of a note's safety: gold notes themselves carry unsupported numbers.
"""

from __future__ import annotations

from edge.clinical.facts.coverage import omission_rate, worded
from edge.clinical.facts.extract import analyse
from edge.clinical.facts.model import ALLERGY, DOSE, DRUG, DX, SX, VITAL, Fact, FactFinding, FactReport
from edge.clinical.facts.phrases import PHRASE
from edge.clinical.facts.sections import is_major_section
from edge.clinical.facts.source import FactSource
from edge.clinical.facts.support import reason_unsupported


def check_note(note_text: str, source: FactSource, *, section: str = "") -> FactReport:
    """Both directions for a whole note. section: its heading, when the note is one section without headings."""
    note = analyse(note_text, dialogue=False, section=section)
    return FactReport(
        unsupported=_unsupported(note.facts, source, section),
        missing=_missing(note.facts, frozenset(note.reading.keys), source),
        note_facts=sum(fact.anchor != PHRASE for fact in note.facts),
        source_facts=len(source.relevant),
        omission_rate=omission_rate(note.facts, frozenset(note.reading.keys), source),
    )


def check_line(line_text: str, section: str, source: FactSource) -> tuple[FactFinding, ...]:
    """Unsupported facts of one line of a note; under 2 ms, so that drafting can ask for every line."""
    return _unsupported(analyse(line_text, dialogue=False, section=section or " ").facts, source, section)


def missing_facts(note_text: str, source: FactSource) -> tuple[FactFinding, ...]:
    """Facts of the source that the note (as far as it is written) leaves out, in the source's order."""
    note = analyse(note_text, dialogue=False)
    return _missing(note.facts, frozenset(note.reading.keys), source)


def _unsupported(facts: tuple[Fact, ...], source: FactSource, section: str) -> tuple[FactFinding, ...]:
    out = []
    for fact in facts:
        reason = reason_unsupported(fact, source)
        if reason:
            major = fact.major or "opposite" in reason or is_major_section(section)
            out.append(FactFinding(fact, reason, major))
    return tuple(out)


def _missing(facts: tuple[Fact, ...], words: frozenset[str], source: FactSource) -> tuple[FactFinding, ...]:
    """Each fact is asked for once, by its meaning."""
    drugs = {fact.concept for fact in facts if fact.kind in (DRUG, DOSE, ALLERGY)}
    named = {fact.concept for fact in facts if fact.kind in (DX, SX)}
    doses = {(fact.concept, fact.value) for fact in facts if fact.kind == DOSE}
    values = {fact.value for fact in facts if fact.value}
    allergies = {(fact.concept, fact.polarity) for fact in facts if fact.kind == ALLERGY}
    allergic = {concept for concept, _ in allergies}
    asked: set[tuple[str, ...]] = set()
    out = []
    for fact in source.relevant:
        key = (fact.kind, fact.concept, fact.value, fact.polarity)
        if key in asked:
            continue
        asked.add(key)
        if fact.kind == DRUG and fact.concept not in drugs and not worded(fact.concept, words):
            out.append(FactFinding(fact, "medicine of the source is not in the note", True))
        elif fact.kind == DOSE and fact.value and (fact.concept, fact.value) not in doses and fact.value not in values:
            out.append(FactFinding(fact, "dose of the source is not in the note", True))
        elif fact.kind == ALLERGY and fact.concept and fact.concept not in allergic:
            out.append(FactFinding(fact, "allergy of the source is not in the note", True))
        elif fact.kind == ALLERGY and not fact.concept and not allergies and "none" not in words:
            out.append(FactFinding(fact, "answer on allergies is not in the note", True))
        elif fact.kind == VITAL and fact.value not in values:
            out.append(FactFinding(fact, "abnormal value of the source is not in the note", True))
        elif fact.kind == DX and fact.concept not in named and not worded(fact.concept, words):
            out.append(FactFinding(fact, "condition of the source is not in the note", fact.major))
    return tuple(out)
