"""Whether a fact of a note follows from its source; each kind has its own rule, and each rule says why not."""

from __future__ import annotations

from edge.clinical.facts.lexicon import lexicon
from edge.clinical.facts.model import (
    ABSENT,
    ALLERGY,
    DOSE,
    DRUG,
    LAT,
    NUM,
    PRESENT,
    REFUSED,
    STATED,
    UNKNOWN,
    VITAL,
    Fact,
)
from edge.clinical.facts.numbers import AGE, CLOCK, DATE, ORDINAL, plain
from edge.clinical.facts.phrases import PHRASE
from edge.clinical.facts.source import FactSource, SourceNumber, meaning
from edge.clinical.facts.tokens import listed, phrase_key

MARGIN = 0  # how many more words must agree with the other side or polarity, where the source has both
_PAIN = frozenset(("pain", "scale", "hurt", "severe", "bad", "rate", "pain score", "headache", "worst", "discomfort"))
_EMPTY_WORDS = frozenset(listed("and of the type with to in a disease disorder syndrome acute chronic pain"))


def reason_unsupported(fact: Fact, source: FactSource) -> str:
    """Why nothing in the source supports the fact, "" when something does."""
    if meaning(fact) in source.same:
        return ""
    if fact.kind in (NUM, VITAL, DOSE) and fact.unit == DATE:
        return _date(fact, source)
    if fact.kind == DRUG:
        return _medicine(fact, source)
    if fact.kind == ALLERGY:
        return _allergy(fact, source)
    if fact.kind == LAT:
        return _side(fact, source)
    if fact.kind == DOSE:
        return _dose(fact, source)
    if fact.kind in (NUM, VITAL):
        return _number(fact, source)
    return _named(fact, source)


def _date(fact: Fact, source: FactSource) -> str:
    wanted = tuple(int(part) for part in fact.value.split("-"))
    for date in source.dates:
        pairs = list(zip(wanted, date, strict=True))
        fits = all(not here or not there or here == there for here, there in pairs)
        if fits and any(here and here == there for here, there in pairs):
            return ""
    if wanted[1] == 0 and str(wanted[0]) in source.numbers:
        return ""
    return "date is not in the source"


def _drug(concept: str, source: FactSource) -> bool:
    if concept in source.drugs:
        return True
    words = [word for word in phrase_key(concept).split() if word not in _EMPTY_WORDS]
    return bool(words) and all(word in source.words for word in words)


def _medicine(fact: Fact, source: FactSource) -> str:
    if not _drug(fact.concept, source):
        return "medicine is not in the source"
    known = source.drugs.get(fact.concept, ())
    said = {item.polarity for item in known if item.status in (STATED, REFUSED)}
    if not known or UNKNOWN in said or fact.polarity == UNKNOWN or not said:
        return ""
    if fact.polarity in said or any(item.status not in (STATED, REFUSED) for item in known):
        return ""
    if fact.status != STATED or any(item.status == REFUSED for item in known):
        return ""
    return "opposite of the source"


def _allergy(fact: Fact, source: FactSource) -> str:
    if not fact.concept:
        if any(known.polarity == PRESENT and known.concept for known in source.allergies):
            return "opposite of the source: an allergy is named there"
        return (
            ""
            if source.allergies or "allergy" in source.words or "allergic" in source.words
            else "no word on allergies in the source"
        )
    known = [item.polarity for item in source.allergies if item.concept == fact.concept]
    if not known:
        return "" if _drug(fact.concept, source) else "allergy is not in the source"
    if fact.polarity == UNKNOWN or fact.polarity in known or UNKNOWN in known:
        return ""
    return "opposite of the source"


def _side(fact: Fact, source: FactSource) -> str:
    """Same part first, then the region; where the source tells both sides, the words around decide."""
    region = lexicon().region
    place = region.get(fact.concept, "")
    same = [known for known in source.sides if not fact.concept or known.concept == fact.concept]
    if not same:
        same = [known for known in source.sides if region.get(known.concept) == place or not known.concept]
    told = {known.side for known in same}
    if fact.side == "bilateral":
        return "" if not told or "bilateral" in told or {"left", "right"} <= told else "side is not in the source"
    other = {"left": "right", "right": "left"}[fact.side]
    if fact.side in told:
        if other in told and _overlap(fact, same, other) > _overlap(fact, same, fact.side) + MARGIN:
            return "opposite of the source: other side"
        return ""
    if "bilateral" in told and other not in told:
        return ""
    return "opposite of the source: other side" if other in told else "side is not in the source"


def _overlap(fact: Fact, known: list[Fact], side: str) -> int:
    """Most words that a mention of this side shares with the fact."""
    wanted = set(fact.anchor)
    return max((len(wanted.intersection(item.anchor)) for item in known if item.side == side), default=0)


def _candidates(fact: Fact, source: FactSource) -> list[SourceNumber]:
    """Numbers of the source with the same value and a unit that does not contradict."""
    scale = lexicon().scale
    out = [
        item
        for item in source.numbers.get(fact.value, ())
        if item.unit == fact.unit or not item.unit or not fact.unit or {item.unit, fact.unit} == {AGE, "year"}
    ]
    if fact.unit in scale and "/" not in fact.value:
        dimension, factor = scale[fact.unit]
        out += [
            item for item in source.scaled.get((dimension, round(float(fact.value) * factor, 6)), ()) if item not in out
        ]
    return out


def _dose(fact: Fact, source: FactSource) -> str:
    said = source.doses.get(fact.concept, ())
    if fact.frequency and fact.frequency != "as needed":
        known = {item.frequency for item in said if item.frequency}
        if known and not known & _same_frequency(fact.frequency):
            return "frequency differs from the source"
    if not fact.value:
        return ""
    if any(item.value == fact.value and (item.unit == fact.unit or not item.unit or not fact.unit) for item in said):
        return ""
    near = _candidates(fact, source)
    if any(fact.concept in item.drugs for item in near):
        return ""
    if fact.concept == "aspirin" and fact.value == "81" and "baby" in source.words:
        return ""
    return "dose is not in the source"


def _same_frequency(said: str) -> set[str]:
    """A nightly medicine is a daily one; "as needed" says nothing against a schedule."""
    return {said, "as needed"} | ({"daily", "nightly"} if said in ("daily", "nightly") else set())


def _number(fact: Fact, source: FactSource) -> str:
    if fact.unit == CLOCK:
        return _clock(fact, source)
    near = _candidates(fact, source)
    if not near and fact.value.endswith("/10"):
        near = [item for item in source.numbers.get(fact.value[:-3], ()) if not item.unit and _PAIN & item.near]
    if not near and "/" in fact.value and _month_day(fact, source):
        return ""
    if not near:
        return "number is not in the source"
    if fact.kind == VITAL:
        if any(item.measure in (fact.concept, "") or fact.concept in item.near for item in near):
            return ""
        return "value belongs to another measure in the source"
    if fact.unit == ORDINAL or fact.unit == AGE or "/" in fact.value or fact.unit:
        return ""
    if len(fact.value.replace(".", "")) > 1:
        return ""
    wanted = set(fact.anchor)
    if not wanted or any(wanted & item.near for item in near):
        return ""
    return "number stands for something else in the source"


def _clock(fact: Fact, source: FactSource) -> str:
    hour, _, minutes = fact.value.partition(":")
    known = source.numbers.get(fact.value, ()) or source.numbers.get(f"{int(hour)}{minutes}", ())
    if minutes == "00":
        known = known or source.numbers.get(plain(float(hour)), ())
    return "" if known else "time is not in the source"


def _month_day(fact: Fact, source: FactSource) -> bool:
    """ "04/10" may be the tenth of April, "9/03" the September of 2003."""
    month, _, rest = fact.value.partition("/")
    return any(
        str(known) == month and rest in (str(day), str(year % 100) if year else "-")
        for year, known, day in source.dates
    )


def _phrase(fact: Fact, source: FactSource) -> str:
    """Where the source says most of the words together: is it always said there with the other polarity?"""
    words = phrase_key(fact.concept).split()
    states = source.analysis.states
    windows: dict[int, dict[str, int]] = {}
    for word in words:
        for at in source.words.get(word, ()):
            windows.setdefault(at // 8, {})[word] = at
            windows.setdefault(at // 8 + 1, {})[word] = at
    best = max((len(found) for found in windows.values()), default=0)
    if best < max(2, (len(words) + 1) // 2):
        return ""
    said = set()
    for found in windows.values():
        if len(found) == best:
            for at in found.values():
                unclear = states.polarity[at] == UNKNOWN or states.status[at] not in (STATED, REFUSED)
                said.add(UNKNOWN if unclear else states.polarity[at])
    return "opposite of the source" if UNKNOWN not in said and fact.polarity not in said else ""


def _near(fact: Fact, known: tuple[Fact, ...], polarity: str) -> int:
    """Most words that a mention of this polarity shares with the fact."""
    wanted = set(fact.anchor)
    return max((len(wanted.intersection(item.anchor)) for item in known if item.polarity == polarity), default=0)


def _named(fact: Fact, source: FactSource) -> str:
    if fact.anchor == PHRASE:
        return _phrase(fact, source)
    known = source.named.get(fact.concept, ())
    if not known:
        words = [word for word in phrase_key(fact.concept).split() if word not in _EMPTY_WORDS]
        if words and all(word in source.words for word in words):
            return _phrase(fact, source) if len(phrase_key(fact.concept).split()) > 1 else ""
        return "condition is not in the source"
    if fact.status == STATED:  # what was only feared, or is a relative's, decides nothing about the patient
        known = tuple(item for item in known if item.status == STATED) or known
    said = {item.polarity for item in known}
    if fact.polarity in (PRESENT, ABSENT) and {PRESENT, ABSENT} <= said:
        other = ABSENT if fact.polarity == PRESENT else PRESENT
        fits = _near(fact, known, other) > _near(fact, known, fact.polarity) + MARGIN
        return "opposite of the source, where the words around agree" if fits else ""
    if fact.polarity == UNKNOWN or fact.polarity in said or said == {UNKNOWN}:
        return ""
    if fact.polarity == ABSENT and all(item.status != "stated" for item in known):
        return ""
    return "opposite of the source"
