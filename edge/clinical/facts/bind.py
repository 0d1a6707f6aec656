"""What a number, a side or a frequency belongs to: the nearest fitting name in its sentence."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TypeVar

from edge.clinical.facts.lexicon import Mention
from edge.clinical.facts.numbers import ONES, Number
from edge.clinical.facts.tokens import Reading, listed

DOSE_DIMENSIONS = frozenset(("mass", "volume", "unit", "meq", "puff", "tablet", "drop"))
ANCHOR_REACH = 8
REACH = 30  # nothing binds over more tokens
T = TypeVar("T")
_SIDE_WORDS = ("left", "right", "bilateral", "bilaterally", "both", "side", "sided")
STOP_WORDS = frozenset(
    listed(
        "a an the and or of in on at to for from with without by is are was were be been being am do does did "
        "done have has had having he she it they we you i me him her them us his hers its their our your my mine "
        "this that these those there here what which who when where how why not no nor n't so if then than as but "
        "about into over under out up down off again just also very really okay ok um uh like know yeah yes right "
        "alright well mm-hmm get got go gon na going wan want would could should will can may might must let 's "
        "'m 're 've 'd 'll think say said see look looks looking little bit kind sort thing things some any all "
        "more most much many other another each every patient doctor dr mr mrs ms hi hey hello thank thanks good "
        "great sure sorry oh hm now today too only still back one two three four five six seven eight nine ten , "
        ". ? ! ; : / - ( ) • * + = < > [ ] % $ # approximately around roughly states reports reported notes noted "
        "states denies currently ago since last past time times year month week day hour old presents present"
    )
) | {"\n", " "}
_SIDE_STOP = STOP_WORDS - {"one", "two", "three", "four", "five"} | frozenset(_SIDE_WORDS)
_NOT_SIDE_BEFORE = frozenset(
    ("all", "that's", "is", "you're", "it's", "be", "was", "sound", "sounds", "feel", "just", "i'm")
)
_NOT_SIDE_AFTER = frozenset(
    ("now", "away", "after", "?", "before", "here", "there", "so", "on", "?", "about", "handed")
)
_SIDES = {
    "left": "left", "right": "right", "bilateral": "bilateral", "bilaterally": "bilateral", "both": "bilateral",
    "leftsided": "left", "rightsided": "right",
}  # fmt: skip


def anchors(reading: Reading, first: int, last: int, reach: int) -> tuple[str, ...]:
    """Content words around tokens first..last inside their sentence, sorted."""
    left, right = reading.bounds(first)
    words = reading.keys[max(left, first - reach) : first] + reading.keys[last : min(right, last + reach)]
    return tuple(sorted({word for word in words if word not in STOP_WORDS and not word[0].isdigit()}))


def side_anchors(reading: Reading, at: int) -> tuple[str, ...]:
    """Words and figures around a side word: they tell which of two sides a finding belongs to."""
    left, right = reading.bounds(at)
    words = reading.keys[max(left, at - 7) : min(right, at + 9)]
    return tuple(sorted({word for word in words if word not in _SIDE_STOP}))


def near_by(items: list[T], firsts: list[int], place: int) -> list[T]:
    """The items that start within REACH tokens of `place`; firsts: their first tokens, ascending."""
    return items[bisect_left(firsts, place - REACH) : bisect_right(firsts, place + REACH)]


def drug_for(reading: Reading, number: Number, drugs: list[Mention], dimension: str) -> Mention | None:
    """The medicine an amount belongs to: the last one named before it in the sentence, else the next ("20 mg of x")."""
    if ("/" in number.value and dimension == "") or (dimension and dimension not in DOSE_DIMENSIONS):
        return None
    sentence = reading.sentence[number.first]
    before = [drug for drug in drugs if reading.sentence[drug.first] == sentence and drug.last <= number.first]
    after = [drug for drug in drugs if reading.sentence[drug.first] == sentence and drug.first >= number.last]
    if not dimension:
        bare = before and number.first - before[-1].last <= 1 and not number.unit
        return before[-1] if bare else None
    adjoins = after and after[0].first - number.last <= 1
    if adjoins and (
        not before or number.first - before[-1].last > 2 or "of" in reading.keys[number.last : after[0].first]
    ):
        return after[0]
    if before and number.first - before[-1].last <= 12:
        return before[-1]
    if after and after[0].first - number.last <= 4:
        return after[0]
    return None


def measure_for(reading: Reading, number: Number, measures: list[Mention], dimension: str) -> str:
    """The vital or lab that a number gives, "" if none: the nearest named before it, else right after it."""
    if dimension in ("time", "month", "times", "mass", "tablet", "puff", "pack", "unit", "volume", "drop"):
        return ""
    if number.unit in ("age",):
        return ""
    sentence = reading.sentence[number.first]
    best, distance = "", 13
    for measure in measures:
        if reading.sentence[measure.first] != sentence:
            continue
        gap = number.first - measure.last
        if 0 <= gap < distance and not _crossed(reading, measure.last, number.first, number):
            best, distance = measure.concept, gap
        gap = measure.first - number.last
        if 0 <= gap <= 3 and gap < distance:
            best, distance = measure.concept, gap
    if best == "blood pressure" and "/" not in number.value and float(number.value) < 30:
        return ""
    if best in ("oxygen saturation",) and "/" in number.value:
        return ""
    return best


def _crossed(reading: Reading, start: int, stop: int, number: Number) -> bool:
    """Whether another number's clause stands between (the measure then belongs to that one)."""
    between = reading.keys[start:stop]
    return ";" in between or ("," in between and any(key[0].isdigit() for key in between))


@dataclass(frozen=True)
class Side:
    """left, right or bilateral of a body part; part "" when only "left-sided" was said. at: token of the side word."""

    side: str
    part: str
    first: int
    last: int
    at: int


def sides(reading: Reading, parts: list[Mention]) -> list[Side]:
    """Each side word with the body part it belongs to."""
    out: list[Side] = []
    keys = reading.keys
    by_first = {mention.first: mention for mention in parts}
    ends = {mention.last: mention for mention in parts}
    for index, key in enumerate(keys):
        side = _SIDES.get(key)
        if side is None:
            continue
        before = keys[index - 1] if index else ""
        after = keys[index + 1] if index + 1 < len(keys) else ""
        left, right = reading.bounds(index)
        if side == "right" and (after in ("now", "away", "?") or before == "all"):
            continue
        reach = next(
            (at for at in range(index + 1, min(right, index + 5)) if keys[at] in _SIDES), min(right, index + 5)
        )
        part = next((by_first[at] for at in range(index + 1, reach) if at in by_first), None)
        if part is None and side == "right" and (before in _NOT_SIDE_BEFORE or after in _NOT_SIDE_AFTER):
            continue
        if part is None:
            part = next((ends[at] for at in range(index, max(left, index - 7), -1) if at in ends), None)
        if part is not None:
            first, last = min(index, part.first), max(index + 1, part.last)
            out.append(Side(side, part.concept, first, last, index))
        elif side != "bilateral" and (not reading.turns[0].speaker or after in ("sided", "side", "handed")):
            out.append(Side(side, "", index, index + 1, index))
    return out


@dataclass(frozen=True)
class Frequency:
    """How often, canonical ("twice daily"), at tokens first..last."""

    said: str
    first: int
    last: int


_TIMES = {
    "once": 1,
    "one": 1,
    "twice": 2,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "1": 1,
    "2": 2,
    "3": 3,
    "4": 4,
    "5": 5,
    "6": 6,
    "thrice": 3,
}
_PER_DAY = {
    1: "daily",
    2: "twice daily",
    3: "3 times daily",
    4: "4 times daily",
    5: "5 times daily",
    6: "6 times daily",
}
_ABBREVIATED = {
    "daily": "daily", "qd": "daily", "bid": "twice daily", "tid": "3 times daily", "qid": "4 times daily",
    "qhs": "nightly", "nightly": "nightly", "weekly": "weekly", "prn": "as needed", "monthly": "monthly",
    "b.i.d": "twice daily", "q.d": "daily", "t.i.d": "3 times daily", "everyday": "daily",
}  # fmt: skip
_PERIOD = {
    "day": "daily",
    "night": "nightly",
    "bedtime": "nightly",
    "morning": "daily",
    "evening": "daily",
    "week": "weekly",
    "month": "monthly",
}


def frequencies(reading: Reading) -> list[Frequency]:
    """Every frequency of the text."""
    keys = reading.keys
    size = len(keys)
    out: list[Frequency] = []
    index = 0
    while index < size:
        found = _frequency(keys, index, size)
        if found is not None:
            out.append(found)
            index = found.last
        else:
            index += 1
    return out


def _frequency(keys: tuple[str, ...], index: int, size: int) -> Frequency | None:
    key = keys[index]
    following = keys[index + 1 : index + 5]
    if key in _TIMES:
        count = _TIMES[key]
        skip = 1 if following[:1] == ("time",) else 0
        if key in ("once", "twice", "thrice") or skip:
            rest = following[skip : skip + 2]
            if rest[:1] == ("daily",) or rest[:1] == ("weekly",):
                return Frequency(_per(count, rest[0]), index, index + 2 + skip)
            if rest[:1] in (("a",), ("per",), ("each",), ("every",), ("/",)) and len(rest) == 2 and rest[1] in _PERIOD:
                return Frequency(_per(count, _PERIOD[rest[1]]), index, index + 3 + skip)
        return None
    if key == "every" or key == "each":
        if following[:1] and following[0] in _PERIOD:
            return Frequency(_PERIOD[following[0]], index, index + 2)
        if following[:1] == ("other",) and following[1:2] == ("day",):
            return Frequency("every other day", index, index + 3)
        if len(following) > 1 and (following[0].isdigit() or following[0] in ONES):
            number = following[0] if following[0].isdigit() else str(ONES[following[0]])
            for place in (1, 3):
                if len(following) > place and following[place] in ("hour", "hr", "week", "day", "month"):
                    return Frequency(f"every {number} {following[place]}", index, index + 2 + place)
        return None
    if key == "a" and following[:1] == ("day",):
        return Frequency("daily", index, index + 2)
    if key == "per" and following[:1] == ("day",):
        return Frequency("daily", index, index + 2)
    if key in ("at", "before") and following[:1] in (("bedtime",), ("night",), ("bed",)):
        return Frequency("nightly", index, index + 2)
    if key == "as" and following[:1] == ("needed",):
        return Frequency("as needed", index, index + 2)
    if key in _ABBREVIATED:
        return Frequency(_ABBREVIATED[key], index, index + 1)
    for dotted, said in (("bid", "twice daily"), ("tid", "3 times daily"), ("qid", "4 times daily"), ("qd", "daily")):
        if key == dotted[0] and tuple(
            part for part in keys[index : index + 2 * len(dotted) - 1] if part != "."
        ) == tuple(dotted):
            return Frequency(said, index, index + 2 * len(dotted) - 1)
    return None


def _per(count: int, period: str) -> str:
    if period == "daily":
        return _PER_DAY.get(count, f"{count} times daily")
    return period if count == 1 else f"{count} times {period}"


def frequency_for(reading: Reading, drug: Mention, drugs: list[Mention], times: list[Frequency]) -> str:
    """The frequency that belongs to a medicine: the first after it in its sentence and before the next medicine."""
    sentence = reading.sentence[drug.first]
    stop = min((other.first for other in drugs if other.first >= drug.last), default=len(reading.keys))
    for item in times:
        if drug.last <= item.first < min(stop, drug.last + 18) and reading.sentence[item.first] == sentence:
            return item.said
    return ""
