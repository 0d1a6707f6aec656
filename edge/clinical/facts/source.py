"""The source of a note, read once: transcript and context with the indexes that the check asks."""

from __future__ import annotations

from dataclasses import dataclass

from edge.clinical.facts.bind import STOP_WORDS, anchors
from edge.clinical.facts.extract import Analysis, analyse
from edge.clinical.facts.lexicon import lexicon
from edge.clinical.facts.model import (
    ABSENT,
    ALLERGY,
    ASKED,
    DOSE,
    DRUG,
    DX,
    LAT,
    PRESENT,
    STATED,
    SX,
    VITAL,
    Fact,
)
from edge.clinical.facts.numbers import DATE, Number, read_numbers
from edge.clinical.facts.tokens import Reading

SOURCE_REACH = 16
_COUNTED = {
    "a": "1",
    "an": "1",
    "couple": "2",
    "another": "1",
    "last": "1",
    "next": "1",
    "per": "1",
    "every": "1",
    "each": "1",
}


@dataclass(frozen=True)
class SourceNumber:
    """A number of the source. near: content words and concepts around it, the question before it included.

    at: its first token; drugs: medicines in its turn or the one before."""

    value: str
    unit: str
    at: int
    measure: str
    near: frozenset[str]
    drugs: frozenset[str]


@dataclass(frozen=True)
class FactSource:
    """Built by `of`; holds no model and no file. relevant: facts of this patient that a note should carry."""

    analysis: Analysis
    words: dict[str, tuple[int, ...]]
    content: frozenset[str]
    same: frozenset[tuple[object, ...]]
    numbers: dict[str, tuple[SourceNumber, ...]]
    scaled: dict[tuple[str, float], tuple[SourceNumber, ...]]
    dates: tuple[tuple[int, int, int], ...]
    drugs: dict[str, tuple[Fact, ...]]
    named: dict[str, tuple[Fact, ...]]
    sides: tuple[Fact, ...]
    doses: dict[str, tuple[Fact, ...]]
    allergies: tuple[Fact, ...]
    relevant: tuple[Fact, ...]

    @classmethod
    def of(cls, transcript_text: str, context: str = "") -> FactSource:
        """Read a transcript. context: age, sex, vitals as text; it is appended as one more turn of the source."""
        text = transcript_text if not context.strip() else f"{transcript_text}\n[doctor] {context}"
        analysis = analyse(text, dialogue=True)
        reading = analysis.reading
        facts = analysis.facts
        named: dict[str, list[Fact]] = {}
        drugs: dict[str, list[Fact]] = {}
        doses: dict[str, list[Fact]] = {}
        for fact in facts:
            if fact.kind in (DX, SX):
                named.setdefault(fact.concept, []).append(fact)
            elif fact.kind in (DRUG, ALLERGY) and fact.concept:
                drugs.setdefault(fact.concept, []).append(fact)
            if fact.kind == DOSE:
                doses.setdefault(fact.concept, []).append(fact)
        numbers, scaled, dates = _numbers(analysis)
        return cls(
            analysis,
            _places(reading),
            _content(analysis),
            frozenset(meaning(fact) for fact in facts),
            numbers,
            scaled,
            dates,
            {key: tuple(value) for key, value in drugs.items()},
            {key: tuple(value) for key, value in named.items()},
            tuple(fact for fact in facts if fact.kind == LAT),
            {key: tuple(value) for key, value in doses.items()},
            tuple(fact for fact in facts if fact.kind == ALLERGY),
            tuple(fact for fact in facts if _relevant(fact)),
        )


def _places(reading: Reading) -> dict[str, tuple[int, ...]]:
    """Tokens at which each word stands."""
    found: dict[str, list[int]] = {}
    for index, key in enumerate(reading.keys):
        found.setdefault(key, []).append(index)
    return {key: tuple(value) for key, value in found.items()}


def meaning(fact: Fact) -> tuple[object, ...]:
    """All of a fact but its place: two equal ones in equal words say the same."""
    return (
        fact.kind, fact.concept, fact.value, fact.unit, fact.frequency, fact.side, fact.polarity, fact.anchor,
    )  # fmt: skip


def _content(analysis: Analysis) -> frozenset[str]:
    """Words of statements that carry content: four letters or more, no function word, not only asked."""
    return frozenset(
        key
        for key, said in zip(analysis.reading.keys, analysis.states.status, strict=True)
        if said != ASKED and len(key) > 3 and key[0].isalpha() and key not in STOP_WORDS
    )


def _relevant(fact: Fact) -> bool:
    """Whether a note should carry it: a person said it as a fact of this patient."""
    if fact.status != STATED:
        return False
    if fact.kind == ALLERGY:
        return fact.polarity == PRESENT or (not fact.concept and fact.polarity == ABSENT)
    if fact.kind == VITAL:
        return abnormal(fact)
    return fact.kind in (DRUG, DOSE, DX) and fact.polarity == PRESENT


def abnormal(fact: Fact) -> bool:
    """Whether a vital or lab lies outside the ordinary adult range; False where no range is kept."""
    measure = lexicon().ranges.get(fact.concept)
    if measure is None or not (measure.low or measure.high):
        return False
    try:
        parts = [float(part) for part in fact.value.split("/")]
    except ValueError:
        return False
    if len(parts) < max(len(measure.low), len(measure.high)):
        return False
    low = any(part < bound for part, bound in zip(parts, measure.low, strict=False))
    return low or any(part > bound for part, bound in zip(parts, measure.high, strict=False))


def _numbers(
    analysis: Analysis,
) -> tuple[
    dict[str, tuple[SourceNumber, ...]],
    dict[tuple[str, float], tuple[SourceNumber, ...]],
    tuple[tuple[int, int, int], ...],
]:
    reading = analysis.reading
    measures = {at: fact.concept for fact, at in zip(analysis.facts, analysis.at, strict=True) if fact.kind == VITAL}
    concepts: dict[int, str] = {mention.first: mention.concept for mention in lexicon().measured(reading)}
    concepts |= {mention.first: mention.concept for mention in analysis.mentions}
    drugs = {mention.first: mention.concept for mention in analysis.mentions if mention.kind == DRUG}
    found: dict[str, list[SourceNumber]] = {}
    scaled: dict[tuple[str, float], list[SourceNumber]] = {}
    dates: list[tuple[int, int, int]] = []
    scale = lexicon().scale
    for number in [*read_numbers(reading), *_counted(reading)]:
        if number.unit == DATE:
            year, month, day = (int(part) for part in number.value.split("-"))
            dates.append((year, month, day))
            continue
        start, stop = _window(reading, number.first)
        near = set(anchors_between(reading, start, stop))
        near |= {concepts[at] for at in range(start, stop) if at in concepts}
        medicines = frozenset(
            drugs[at] for at in range(max(0, start - 25), min(len(reading.keys), stop + 10)) if at in drugs
        )
        entry = SourceNumber(
            number.value, number.unit, number.first, measures.get(number.first, ""), frozenset(near), medicines
        )
        found.setdefault(number.value, []).append(entry)
        for part in number.value.split("/") if "/" in number.value else ():
            found.setdefault(part, []).append(entry)
        if number.unit in scale and "/" not in number.value:
            dimension, factor = scale[number.unit]
            scaled.setdefault((dimension, round(float(number.value) * factor, 6)), []).append(entry)
    return (
        {key: tuple(value) for key, value in found.items()},
        {key: tuple(value) for key, value in scaled.items()},
        tuple(dates),
    )


def _window(reading: Reading, at: int) -> tuple[int, int]:
    """Tokens around `at` that say what a number is about: some words each way, across turns."""
    return max(0, at - SOURCE_REACH), min(len(reading.keys), at + SOURCE_REACH)


def anchors_between(reading: Reading, start: int, stop: int) -> tuple[str, ...]:
    """Content words of tokens start..stop."""
    return tuple(word for word in reading.keys[start:stop] if word not in STOP_WORDS and not word[0].isdigit())


def _counted(reading: Reading) -> list[Number]:
    """ "a week", "a couple of months", "last year": counts said without a number."""
    units = lexicon().units
    keys = reading.keys
    out = []
    for index in range(len(keys) - 3):  # "a pack and a half", "year and a half"
        if keys[index] in units and keys[index + 1 : index + 4] == ("and", "a", "half"):
            out.append(Number("1.5", units[keys[index]], index, index + 4, False))
    for index, key in enumerate(keys):
        value = _COUNTED.get(key)
        if value is None:
            continue
        after = index + 1
        if key == "couple" and after < len(keys) and keys[after] == "of":
            after += 1
        if key in ("couple", "pair") and after < len(keys):
            out.append(Number("2", units.get(keys[after], ""), index, after + 1, False))
        elif after < len(keys) and keys[after] in units and keys[after] not in ("x", "in", "h", "l", "g"):
            out.append(Number(value, units[keys[after]], index, after + 1, False))
    return out


__all__ = ["FactSource", "SourceNumber", "abnormal", "anchors"]
