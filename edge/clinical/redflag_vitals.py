"""Vital signs and the few values that red flags have thresholds for, as they are said or written in a visit.

A value counts where its name stands before it in the same turn, at most a few words away, and where it can be one
(a heart rate of 2 cm cannot). Goals ("keep it above 92"), conditions ("if it is over 180") and relatives' values
are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edge.clinical.polarity import Status, status_of, turn_of
from edge.clinical.redflag_phrases import normalised
from edge.clinical.transcript import Span, Transcript

REACH_CHARACTERS = 48
MMOL_GLUCOSE = 18.0  # mg/dL in one mmol/L of glucose


@dataclass(frozen=True)
class Measurement:
    """value in the unit that VITALS names; span: from the name of the value to its number."""

    vital: str
    value: float
    span: Span


# name -> unit, lowest and highest value that can be meant
VITALS: dict[str, tuple[str, float, float]] = {
    "spo2": ("%", 50, 100),
    "sbp": ("mmHg", 50, 280),
    "dbp": ("mmHg", 20, 180),
    "hr": ("/min", 20, 260),
    "rr": ("/min", 4, 80),
    "temperature": ("C", 30, 45),
    "glucose": ("mg/dL", 15, 1500),
    "potassium": ("mmol/L", 1.5, 10),
    "iop": ("mmHg", 2, 90),
    "va": ("decimal", 0.0, 2.0),
}
_NAMES = {
    "spo2": r"spo2|o2 sat\w*|oxygen (?:sat\w*|level\w*)|oxygenation|pulse ox\w*|sats?|saturation\w*|satting|saturating",
    "bp": r"blood pressure\w*|bp",
    "systolic": r"systolic(?: blood pressure)?",
    "hr": r"heart rate|pulse rate|pulse(?! ox)|hr",
    "rr": r"respiratory rate|respirations?|breathing rate|rr",
    "temperature": r"temperature|temp|fever(?= (?:of|to|up to|was|is|at)\b)",
    "glucose": r"glucose|blood sugars?|sugars?|finger ?stick|bg",
    "potassium": r"potassium(?: level)?",
    "va": r"va|visual acuity|vision",  # only ends the reach of what stands before it
    "iop": r"iops?|intraocular pressures?|eye pressures?|pressures? in (?:the|my|your|his|her) (?:left |"
    r"right )?eyes?|tonometry",
}
_NAME = re.compile("|".join(rf"(?P<{name}>\b(?:{words})\b)" for name, words in _NAMES.items()))
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONE = {word: float(value) for value, word in enumerate(_ONES.split())}
_TEN = {word: 10.0 * value for value, word in enumerate(_TENS.split(), 2)}
_WORDS = "|".join(sorted((*_ONE, *_TEN), key=len, reverse=True))
_SPOKEN = rf"(?:{_WORDS}|a hundred)(?:[ -](?:hundred|thousand|and|point|oh|{_WORDS}))*"
_AMOUNT = rf"(?:\d{{1,4}}(?:\.\d+)?|{_SPOKEN})"
_NUMBER = re.compile(
    rf"\b(?P<value>{_AMOUNT})\b(?:\s*(?:/|over)\s*(?P<second>{_AMOUNT})\b)?"
    r"(?P<unit>\s*(?:mmol|%|percent|cm|mm\b(?!hg)|mg\b(?! ?/ ?dl)|milligram\w*|week\w*|day\w*|month\w*|year\w*|"
    r"hour\w*|minute\w*|times|"
    r"lit(?:er|re)\w*|l\b|pounds?|plus))?"
)
_NOT_THE_VALUE = re.compile(
    r"\b(?:above|over|below|under|less than|more than|greater than|at least|goal|target|keep|should|if|between|"
    r"normal is|until|"
    r"milligrams|number|times|last|every|for|next|took|take|taking|tablets?)\W*(?:about |around |of |is |the )*$"
)
_FOREIGN = frozenset(
    (
        "cm",
        "mm",
        "mg",
        "milligram",
        "week",
        "day",
        "month",
        "year",
        "hour",
        "minute",
        "times",
        "liter",
        "litre",
        "l",
        "pound",
        "plus",
    )
)
_ACUITY = re.compile(r"\b(?P<first>20|6)\s*(?:/|over)\s*(?P<second>\d{1,3})\b")
_SPOKEN_ACUITY = re.compile(rf"\btwenty[ -](?:over[ -])?(?P<second>{_SPOKEN})\b")
_EYE = re.compile(r"\b(?:eyes?|vision|visual|acuity|va|od|os|ou|snellen|sees|reads?|reading)\b")
_METRIC = frozenset((5, 6, 9, 12, 18, 24, 36, 60))
_POOR = re.compile(
    r"\b(?:count(?:ing|s)? fingers|hand motions?|hand movements?|light perception|no light perception|nlp)\b"
)


def measurements(transcript: Transcript, start: int = 0, end: int | None = None) -> tuple[Measurement, ...]:
    """All measurements of a visit, in order of their place; with start and end, those that begin between them."""
    stop = len(transcript.text) if end is None else end
    text = normalised(transcript.text)
    found = [*(_named(transcript, text) if _NAME.search(text, start, stop) else ()), *_acuities(transcript, text)]
    kept = [item for item in found if start <= item.span.start < stop]
    return tuple(sorted(kept, key=lambda item: (item.span, item.vital, item.value)))


def spoken(words: str) -> float | None:
    """ "one thirty" -> 130, "ninety eight point six" -> 98.6, "102.5" -> 102.5; None where it is no number."""
    if words[:1].isdigit():
        return float(words)
    whole, _, decimals = words.replace("-", " ").partition(" point ")
    total, group = 0.0, 0.0
    parts = [part for part in whole.split() if part not in ("and", "a")]
    for place, part in enumerate(parts):
        value = _ONE.get(part, _TEN.get(part))
        if part == "hundred":
            total, group = total + max(group, 1.0) * 100, 0.0
        elif part == "thousand":
            total, group = max(total + group, 1.0) * 1000, 0.0
        elif part == "oh":
            total, group = (total + group) * 100, 0.0
        elif value is None:
            return None
        elif place and 0 < group < 10 and value >= 10:  # "one thirty"
            total, group = total + group * 100, value
        elif place and (0 < group < 20 or (group and value >= 10) or group % 10):  # "ninety eighty", "two five"
            return None
        else:
            group += value
    total += group
    if not decimals:
        return total
    digits = "".join(str(int(_ONE[part])) for part in decimals.split() if _ONE.get(part, 10) < 10)
    return float(f"{int(total)}.{digits or 0}")


def _named(transcript: Transcript, text: str) -> Iterator[Measurement]:
    if not transcript.turns:
        return
    names = list(_NAME.finditer(text))
    for index, name in enumerate(names):
        turn = transcript.turns[turn_of(transcript, Span(*name.span()))]
        if not turn.start <= name.start() < turn.end:
            continue
        end = turn.end
        if index + 1 < len(names):
            end = min(end, names[index + 1].start())
        if status_of(transcript, Span(*name.span())) in (Status.HYPOTHETICAL, Status.FAMILY, Status.PAST):
            continue
        kind = str(name.lastgroup)
        if kind == "va":
            continue
        for number in _NUMBER.finditer(text, name.end(), end):
            far = number.start() - name.end() > REACH_CHARACTERS
            if (
                far
                or "?" in text[name.end() : number.start()]
                or _NOT_THE_VALUE.search(text[name.end() : number.start()])
            ):
                break
            values = list(_values(kind, number))
            for vital, value in values:
                yield Measurement(vital, value, Span(name.start(), number.end()))
            if values and kind != "iop":
                break


def _values(kind: str, number: re.Match[str]) -> Iterator[tuple[str, float]]:
    """What a number behind a name can be: nothing, where it is out of range or carries a foreign unit."""
    value = spoken(number["value"])
    second = spoken(number["second"]) if number["second"] else None
    unit = (number["unit"] or "").strip()
    if value is None or (number["second"] and second is None):
        return
    if any(unit == word or unit == f"{word}s" for word in _FOREIGN):
        return
    candidates: list[tuple[str, float]] = []
    if kind == "bp":
        candidates = [("sbp", value), ("dbp", second)] if second is not None else []
    elif kind == "systolic":
        candidates = [("sbp", value)]
    elif kind == "iop":
        candidates = [("iop", value)] + ([("iop", second)] if second is not None else [])
    elif second is None:
        if kind == "temperature" and value > 60:
            value = (value - 32) / 1.8
        if kind == "glucose" and unit == "mmol":
            value *= MMOL_GLUCOSE
        candidates = [(kind, value)]
    for vital, amount in candidates:
        _, low, high = VITALS[vital]
        if low <= amount <= high:
            yield vital, amount


def _acuities(transcript: Transcript, text: str) -> Iterator[Measurement]:
    """Snellen fractions near a word of the eye, as decimals; finger counting and less as 0.01."""
    for match in (*_ACUITY.finditer(text), *_SPOKEN_ACUITY.finditer(text), *_POOR.finditer(text)):
        if not _EYE.search(text, max(0, match.start() - 60), min(len(text), match.end() + 40)) or not transcript.turns:
            continue
        span = Span(*match.span())
        if status_of(transcript, span) in (Status.HYPOTHETICAL, Status.FAMILY, Status.PAST, Status.ABSENT):
            continue
        if match.re is _POOR:
            yield Measurement("va", 0.01, span)
            continue
        second = spoken(match["second"])
        first = 6 if match.re is _ACUITY and match["first"] == "6" else 20
        if second and (second in _METRIC if first == 6 else second % 5 == 0 and 10 <= second <= 800):
            yield Measurement("va", first / second, span)
