"""Facts of a text: every medicine, dose, condition, side, allergy, vital and number, each with its characters."""

from __future__ import annotations

from dataclasses import dataclass

from edge.clinical.facts.bind import (
    ANCHOR_REACH,
    DOSE_DIMENSIONS,
    anchors,
    drug_for,
    frequencies,
    frequency_for,
    measure_for,
    near_by,
    side_anchors,
    sides,
)
from edge.clinical.facts.lexicon import Mention, lexicon
from edge.clinical.facts.model import (
    ABSENT,
    ALLERGY,
    ALWAYS_MAJOR,
    DOSE,
    DRUG,
    DX,
    LAT,
    NUM,
    PRESENT,
    STATED,
    VITAL,
    Fact,
)
from edge.clinical.facts.negation import States, read_states
from edge.clinical.facts.numbers import DATE, ORDINAL, Number, read_numbers
from edge.clinical.facts.phrases import phrases
from edge.clinical.facts.sections import is_major_section, section_at, section_spans
from edge.clinical.facts.tokens import Reading, read
from edge.clinical.transcript import Span

NAMED_REACH = 5
_ALLERGY_WORDS = frozenset(("allergy", "allergic", "nkda", "nka", "allergen"))
_NO_ALLERGY = frozenset(("nkda", "nka"))


@dataclass(frozen=True)
class Analysis:
    """A text read for facts. at: first token of each fact, in step with `facts`; last: one past its last token."""

    reading: Reading
    facts: tuple[Fact, ...]
    at: tuple[int, ...]
    mentions: tuple[Mention, ...]
    states: States


def extract_facts(text: str, *, section: str = "") -> tuple[Fact, ...]:
    """Facts of a note or a transcript, in order of their place; speaker turns are recognised."""
    return analyse(text, dialogue=True, section=section).facts


def analyse(text: str, *, dialogue: bool, section: str = "") -> Analysis:
    """Read a text once. section: the heading of the whole text, where the caller knows it."""
    reading = read(text, dialogue=dialogue)
    lists = lexicon()
    states = read_states(reading)
    mentions = lists.mentions(reading)
    numbers = _free_numbers(read_numbers(reading), mentions)
    spans = [(section, 0, len(text))] if section or dialogue else section_spans(text)
    found: list[tuple[int, Fact]] = []
    found += _named(reading, mentions, states, spans)
    if not dialogue:
        found += phrases(reading, mentions, states, spans)
    found += _amounts(reading, mentions, numbers, states, spans)
    for side in sides(reading, lists.body(reading)):
        fact = Fact(
            LAT,
            _span(reading, side.first, side.last),
            concept=side.part,
            side=side.side,
            polarity=states.polarity[side.at],
            status=states.status[side.at],
            anchor=side_anchors(reading, side.at),
            major=True,
        )
        found.append((side.at, fact))
    found.sort(key=lambda item: (item[1].span, item[1].kind, item[1].concept))
    return Analysis(
        reading, tuple(fact for _, fact in found), tuple(place for place, _ in found), tuple(mentions), states
    )


def _span(reading: Reading, first: int, last: int) -> Span:
    return Span(reading.tokens[first].start, reading.tokens[last - 1].end)


def _free_numbers(numbers: list[Number], mentions: list[Mention]) -> list[Number]:
    """Numbers that are no part of a name ("type 2 diabetes", "vitamin b12")."""
    inside = {token for mention in mentions for token in range(mention.first, mention.last)}
    return [number for number in numbers if number.first not in inside]


def _named(
    reading: Reading, mentions: list[Mention], states: States, spans: list[tuple[str, int, int]]
) -> list[tuple[int, Fact]]:
    """Medicines, conditions and allergies."""
    out: list[tuple[int, Fact]] = []
    keys = reading.keys
    allergic = [index for index, key in enumerate(keys) if key in _ALLERGY_WORDS]
    taken: set[int] = set()
    for mention in mentions:
        place = mention.first
        span = _span(reading, mention.first, mention.last)
        section = section_at(spans, span.start)
        polarity, status = states.polarity[place], states.status[place]
        if mention.kind == DRUG:
            cue = _allergy_cue(reading, allergic, place, section)
            if cue is not None:
                taken.add(cue)
                out.append((place, Fact(ALLERGY, span, mention.concept, polarity=polarity, status=status, major=True)))
                continue
        major = mention.kind in ALWAYS_MAJOR or is_major_section(section)
        near = anchors(reading, mention.first, mention.last, NAMED_REACH) if mention.kind != DRUG else ()
        fact = Fact(mention.kind, span, mention.concept, polarity=polarity, status=status, anchor=near, major=major)
        out.append((place, fact))
    for cue in allergic:
        if cue in taken:
            continue
        polarity = ABSENT if keys[cue] in _NO_ALLERGY else states.polarity[cue]
        if polarity == ABSENT and keys[max(0, cue - 1)] not in ("seasonal", "environmental", "food"):
            fact = Fact(ALLERGY, _span(reading, cue, cue + 1), polarity=ABSENT, status=states.status[cue], major=True)
            out.append((cue, fact))
    if "allerg" in section_at(spans, 0).lower() and not allergic and not any(f.kind == ALLERGY for _, f in out):
        none = next(
            (index for index, key in enumerate(keys) if key in ("none", "no", "nkda", "denies", "negative")), None
        )
        if none is not None:
            out.append((none, Fact(ALLERGY, _span(reading, none, none + 1), polarity=ABSENT, major=True)))
    return out


def _allergy_cue(reading: Reading, allergic: list[int], place: int, section: str) -> int | None:
    """The allergy word that makes the medicine at `place` an allergy; -1 when the section does; None if it is none."""
    keys = reading.keys
    for cue in allergic:
        if reading.sentence[cue] == reading.sentence[place] and -5 <= place - cue <= 14:
            between = keys[cue + 1 : place]
            if not {"take", "taking", "takes", "use", "medication", "using"} & set(between):
                return cue
        turn, asked = reading.tokens[place].turn, reading.tokens[cue].turn
        if turn == asked + 1 and place - cue <= 22 and reading.turns[asked].speaker != reading.turns[turn].speaker:
            return cue
    return -1 if "allerg" in section.lower() else None


def _amounts(
    reading: Reading,
    mentions: list[Mention],
    numbers: list[Number],
    states: States,
    spans: list[tuple[str, int, int]],
) -> list[tuple[int, Fact]]:
    """Doses, vitals, labs and other numbers; the frequency of a medicine that has no amount is a dose too."""
    lists = lexicon()
    drugs = [mention for mention in mentions if mention.kind == DRUG]
    measures = lists.measured(reading)
    times = frequencies(reading)
    drug_at, measure_at = [item.first for item in drugs], [item.first for item in measures]
    time_at = [item.first for item in times]
    in_frequency = {token for item in times for token in range(item.first, item.last)}
    out: list[tuple[int, Fact]] = []
    dosed: set[int] = set()
    for number in numbers:
        place = number.first
        major = is_major_section(section_at(spans, reading.tokens[place].start))
        near = anchors(reading, number.first, number.last, ANCHOR_REACH)
        status, polarity = states.status[place], PRESENT
        span = _span(reading, number.first, number.last)
        dimension = lists.scale.get(number.unit, ("", 1.0))[0]
        drug = drug_for(reading, number, near_by(drugs, drug_at, place), dimension) if number.unit != DATE else None
        if drug is not None and place not in in_frequency:
            dosed.add(drug.first)
            said = frequency_for(
                reading, drug, near_by(drugs, drug_at, drug.first), near_by(times, time_at, drug.first)
            )
            fact = Fact(DOSE, span, drug.concept, number.value, number.unit, said, "", polarity, status, near, True)
            out.append((place, fact))
            continue
        measure = (
            measure_for(reading, number, near_by(measures, measure_at, place), dimension)
            if number.unit not in (DATE, ORDINAL)
            else ""
        )
        if measure:
            fact = Fact(VITAL, span, measure, number.value, number.unit, "", "", polarity, status, near, True)
        elif not number.digits and (number.unit == ORDINAL or (not number.unit and not _says_much(number))):
            continue
        else:
            fact = Fact(NUM, span, "", number.value, number.unit, "", "", polarity, status, near, major)
        out.append((place, fact))
    for drug in drugs:
        said = (
            ""
            if drug.first in dosed
            else frequency_for(reading, drug, near_by(drugs, drug_at, drug.first), near_by(times, time_at, drug.first))
        )
        if said:
            span = _span(reading, drug.first, drug.last)
            out.append(
                (
                    drug.first,
                    Fact(DOSE, span, drug.concept, frequency=said, status=states.status[drug.first], major=True),
                )
            )
    return out


def _says_much(number: Number) -> bool:
    """A bare number in words counts from ten on: "one" and "two" are mostly no amounts."""
    return "/" in number.value or float(number.value) >= 10


__all__ = [
    "DOSE_DIMENSIONS",
    "DX",
    "STATED",
    "Analysis",
    "analyse",
    "extract_facts",
    "is_major_section",
    "section_spans",
]
