"""Red flags: what in a visit may point to something dangerous, found by the rules of redflags.yaml and never by a
model.

A flag is an option to consider with the words it rests on and the guideline it comes from; no flag is no all-clear.
Only what is said of this patient as present counts: denials, answers, relatives and hypotheticals are read by
polarity.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from edge.clinical.patient import PatientContext, patient_context
from edge.clinical.polarity import Status, status_of
from edge.clinical.redflag_phrases import normalised
from edge.clinical.redflag_rules import AnyOf, Condition, Measured, Near, Rule, RuleTable, Said, rule_table
from edge.clinical.redflag_vitals import Measurement, measurements
from edge.clinical.transcript import Span, Transcript, parse_transcript

MAX_SPANS_PER_CONDITION = 2
NEAR_CHARACTERS_PER_WORD = 7


@dataclass(frozen=True)
class RedFlag:
    """One rule that fired. title: what it may mean; source: the guideline; spans: the words it rests on."""

    rule_id: str
    title: str
    source: str
    spans: tuple[Span, ...]
    area: str = "general"
    note: str = ""


def red_flags(text: str, table: RuleTable | None = None) -> tuple[RedFlag, ...]:
    """The red flags of a transcript or written case, in the order of the table (edge's own unless one is given)."""
    rules = table or rule_table()
    transcript = parse_transcript(text)
    if not transcript.turns:
        return ()
    return flags_of(Visit(transcript, rules, patient_context(text), measurements(transcript)))


def flags_of(visit: Visit) -> tuple[RedFlag, ...]:
    """The red flags of a visit that was read, in the order of its table."""
    found = []
    for rule in visit.table.rules:
        spans = _evidence(rule, visit)
        if spans is not None:
            found.append(RedFlag(rule.id, rule.title, rule.source, spans, rule.area, rule.note))
    return tuple(found)


@dataclass
class Visit:
    """One visit while the rules are run over it; phrases are looked up once each.

    said: places of names of the table with what is said of them, for whoever has looked them up already.
    """

    transcript: Transcript
    table: RuleTable
    patient: PatientContext
    measured: tuple[Measurement, ...]
    said: dict[str, Sequence[tuple[Span, Status]]] = field(default_factory=dict)

    @cached_property
    def lowered(self) -> str:
        """The text that the phrases are looked for in."""
        return normalised(self.transcript.text)

    def places(self, name: str, *, past: bool = False) -> list[Span]:
        """Where a name of the table is said of the patient, in order."""
        if name not in self.said:
            spans = sorted({Span(*m.span()) for phrase in self.table.phrases[name] for m in phrase.find(self.lowered)})
            kept = [span for span in spans if span.start < span.end]
            self.said[name] = tuple((span, status_of(self.transcript, span)) for span in kept)
        wanted = (Status.PRESENT, Status.PAST) if past else (Status.PRESENT,)
        return [span for span, status in self.said[name] if status in wanted]


def _evidence(rule: Rule, visit: Visit) -> tuple[Span, ...] | None:
    """The spans a rule rests on, None where it does not fire."""
    age, sex = visit.patient.age_years, visit.patient.sex
    if rule.sex and sex and sex != rule.sex:
        return None
    if age is not None and not (rule.age_min_years or 0) <= age <= (rule.age_max_years or 200):
        return None
    spans: set[Span] = set()
    for condition in rule.all:
        held = _holds(condition, visit)
        if not held:
            return None
        spans |= set(held[:MAX_SPANS_PER_CONDITION])
    if rule.any:
        held = _holds(AnyOf(rule.any), visit)
        if not held:
            return None
        spans |= set(held)
    if any(_holds(condition, visit) for condition in rule.none):
        return None
    return tuple(sorted(spans))


def _holds(condition: Condition, visit: Visit) -> list[Span]:
    """The places that make a condition true; none where it is false."""
    if isinstance(condition, Said):
        return visit.places(condition.name, past=condition.past)
    if isinstance(condition, Near):
        return _near(visit.places(condition.first), visit.places(condition.second), condition.words)
    if isinstance(condition, Measured):
        return [
            item.span for item in visit.measured if item.vital == condition.vital and _beyond(item.value, condition)
        ]
    return [span for inner in condition.conditions for span in _holds(inner, visit)[:MAX_SPANS_PER_CONDITION]]


def _beyond(value: float, condition: Measured) -> bool:
    if condition.below is not None:
        return value < condition.below
    # A value that was converted (Fahrenheit, Snellen) may miss its threshold by a rounding.
    return condition.at_least is not None and value >= condition.at_least - 1e-6


def _near(first: list[Span], second: list[Span], words: int) -> list[Span]:
    """The first pair that stands at most `words` words apart (a word is counted as seven characters)."""
    reach = words * NEAR_CHARACTERS_PER_WORD
    for left in first:
        for right in second:
            if max(left.start, right.start) - min(left.end, right.end) <= reach:
                return sorted({left, right})
    return []
