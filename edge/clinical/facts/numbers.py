"""Numbers as they are said and written, with their place: "one thirty over eighty", "98.6", "july thirty first".

`read_numbers` walks the tokens once. A value is written in digits without trailing zeros ("1000", "0.4"); a pair keeps
its stroke ("130/80", "3/6"); a date is year-month-day with 0 for what was not said ("2009-1-10", "0-7-31", "2018-0-0").
Ranges ("6 to 8 weeks", "four or five days") give one number each, with the unit of the range. The years and the dates
never become amounts, which is where the ready-made converters fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edge.clinical.facts.lexicon import lexicon
from edge.clinical.facts.tokens import Reading, listed

ONES = {
    word: value
    for value, word in enumerate(
        listed(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen"
        )
    )
}
TENS = {
    word: 10 * (value + 2)
    for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"])
}
TENS["fourty"] = 40
MONTHS = {
    word: value + 1
    for value, word in enumerate(
        listed("january february march april may june july august september october november december")
    )
}
MONTHS |= {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "sept": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip
ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "nineth": 9,
    "twenty-first": 21,
}  # fmt: skip
DATE = "date"
ORDINAL = "ordinal"
CLOCK = "clock"
AGE = "age"
_DIGITS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+")
_FULL_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2,4})")
_LEVEL = re.compile(r"[ctls]\d{1,2}")
_YEAR = re.compile(r"\d{4}")
_MINUTES = re.compile(r"[0-5]\d")
_SUFFIX = frozenset(("st", "nd", "rd", "th"))
_RANGE = frozenset(("to", "or", "-", "–", "and", "through"))


@dataclass(frozen=True, slots=True)
class Number:
    """value in digits; unit canonical, "" if none was said; tokens first..last (excluded), the unit included.

    digits: whether it was written in digits; bare words under ten are too common to be facts on their own.
    """

    value: str
    unit: str
    first: int
    last: int
    digits: bool


def plain(value: float) -> str:
    """A number without trailing zeros: 5.0 -> "5", .4 -> "0.4"."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value != int(value) else str(int(value))


def read_numbers(reading: Reading) -> list[Number]:
    """Every number, date, pair and range of a text, in order, none overlapping."""
    keys = reading.keys
    found: list[Number] = []
    index = 0
    while index < len(keys):
        number = _ordinal(keys, index) or _date(keys, index) or _amount(reading, index)
        if number is None:
            index += 1
            continue
        if _enumerates(reading, number):
            index = number.last
            continue
        found.append(number)
        index = number.last
    return _ranges(keys, found)


def _ordinal(keys: tuple[str, ...], index: int) -> Number | None:
    """ "fifth", "twenty first"; "second" may be a time, so it counts only before a word that is no number."""
    if keys[index] in ORDINALS:
        return Number(str(ORDINALS[keys[index]]), ORDINAL, index, index + 1, False)
    return None


def _date(keys: tuple[str, ...], index: int) -> Number | None:
    key = keys[index]
    match = _FULL_DATE.fullmatch(key)
    if match:
        month, day, year = (int(part) for part in match.groups())
        return Number(f"{_year(year)}-{month}-{day}", DATE, index, index + 1, True)
    if key in MONTHS:
        after = index + 1
        if after < len(keys) and keys[after] in ("the", "of"):
            after += 1
        day, end = _day(keys, after)
        comma = end + 1 if end < len(keys) and keys[end] in (",", "of", "in") else end
        year, year_end = _said_year(keys, comma)
        if year:
            return Number(f"{year}-{MONTHS[key]}-{day}", DATE, index, year_end, True)
        if day:
            return Number(f"0-{MONTHS[key]}-{day}", DATE, index, end, True)
        return None if key in ("may", "march", "mar") else Number(f"0-{MONTHS[key]}-0", DATE, index, index + 1, True)
    written = key.isdigit() and len(key) <= 2 and 1 <= int(key) <= 12 and keys[index + 1 : index + 2] == ("/",)
    if written and _YEAR.fullmatch("".join(keys[index + 2 : index + 3])):
        return Number(f"{keys[index + 2]}-{int(key)}-0", DATE, index, index + 3, True)
    year, end = _said_year(keys, index)
    if year and (1900 <= year <= 2099) and end - index >= 1 and not _unit_follows(keys, end):
        if key.isdigit() and len(key) != 4:
            return None
        return Number(f"{year}-0-0", DATE, index, end, True)
    return None


def _unit_follows(keys: tuple[str, ...], index: int) -> bool:
    return index < len(keys) and keys[index] in lexicon().units and keys[index] not in ("in", "x")


def _year(year: int) -> int:
    return year if year > 99 else year + (2000 if year < 40 else 1900)


def _day(keys: tuple[str, ...], index: int) -> tuple[int, int]:
    """Day of a month at `index` and the token after it; (0, index) if there is none."""
    if index >= len(keys):
        return 0, index
    key = keys[index]
    if key.isdigit() and len(key) <= 2 and 1 <= int(key) <= 31:
        end = index + 1
        return int(key), end + 1 if end < len(keys) and keys[end] in _SUFFIX else end
    if key in ORDINALS:
        return ORDINALS[key], index + 1
    if key in TENS and TENS[key] <= 30:
        if index + 1 < len(keys) and keys[index + 1] in ORDINALS and ORDINALS[keys[index + 1]] < 10:
            return TENS[key] + ORDINALS[keys[index + 1]], index + 2
        if key == "twenty" and index + 1 < len(keys) and 0 < ONES.get(keys[index + 1], 0) < 10:
            return 20 + ONES[keys[index + 1]], index + 2
        return TENS[key], index + 1
    if ONES.get(key, 0) > 0:
        return ONES[key], index + 1
    return 0, index


def _said_year(keys: tuple[str, ...], index: int) -> tuple[int, int]:
    """A year said or written at `index`: 2018, "twenty eighteen", "nineteen eighty two", "two thousand nine"."""
    if index >= len(keys):
        return 0, index
    key = keys[index]
    if key.isdigit() and len(key) == 4 and 1900 <= int(key) <= 2099:
        return int(key), index + 1
    rest, end = _under_hundred(keys, index + 1)
    if key in ("nineteen", "twenty") and end > index + 1 and rest >= 10:
        return (1900 if key == "nineteen" else 2000) + rest, end
    if (
        key in ("nineteen", "twenty")
        and index + 2 < len(keys)
        and keys[index + 1] in ("oh", "o")
        and 0 < ONES.get(keys[index + 2], 0) < 10
    ):
        return (1900 if key == "nineteen" else 2000) + ONES[keys[index + 2]], index + 3
    if key == "two" and index + 1 < len(keys) and keys[index + 1] == "thousand":
        start = index + 3 if index + 2 < len(keys) and keys[index + 2] == "and" else index + 2
        rest, end = _under_hundred(keys, start)
        if end > start and rest < 60 and keys[end : end + 1] != ("hundred",):
            return 2000 + rest, end
    return 0, index


def _under_hundred(keys: tuple[str, ...], index: int) -> tuple[int, int]:
    if index >= len(keys):
        return 0, index
    key = keys[index]
    if key in ONES:
        return ONES[key], index + 1
    if key in TENS:
        if index + 1 < len(keys) and 0 < ONES.get(keys[index + 1], 0) < 10:
            return TENS[key] + ONES[keys[index + 1]], index + 2
        return TENS[key], index + 1
    return 0, index


def _simple(keys: tuple[str, ...], index: int) -> tuple[float, int, bool] | None:
    """A number without pair or unit: (value, token after it, written in digits)."""
    if index >= len(keys):
        return None
    key = keys[index]
    if _DIGITS.fullmatch(key):
        value, end = float(key.replace(",", "")), index + 1
        if end < len(keys) and keys[end] in ("million", "thousand", "hundred"):
            value *= {"million": 1e6, "thousand": 1e3, "hundred": 1e2}[keys[end]]
            end += 1
        return value, end, True
    if key == "point" and index + 1 < len(keys) and keys[index + 1] in ONES:
        return _decimals(keys, 0.0, index + 1)
    if key == "a" and index + 1 < len(keys) and keys[index + 1] in ("hundred", "thousand"):
        scale = 100.0 if keys[index + 1] == "hundred" else 1000.0
        start = index + 3 if keys[index + 2 : index + 3] == ("and",) else index + 2
        rest, end = _under_hundred(keys, start)
        return (scale + rest, end, False) if end > start else (scale, index + 2, False)
    small, end = _under_hundred(keys, index)
    if end == index:
        if key == "dozen" or (key == "half" and index + 1 < len(keys) and keys[index + 1] in ("a", "an")):
            return (12.0, index + 1, False) if key == "dozen" else (0.5, index + 2, False)
        return None
    value = float(small)
    if end < len(keys) and keys[end] == "hundred":
        value, end = value * 100, end + 1
        start = end + 1 if end < len(keys) and keys[end] == "and" else end
        rest, after = _under_hundred(keys, start)
        if after > start:
            value, end = value + rest, after
    elif 1 <= small <= 9 and end == index + 1 and end < len(keys):
        if keys[end] in TENS or 10 <= ONES.get(keys[end], 0) <= 19:  # "one thirty", "two fifteen"
            rest, end = _under_hundred(keys, end)
            value = small * 100.0 + rest
        elif keys[end] in ("oh", "o") and end + 1 < len(keys) and 0 < ONES.get(keys[end + 1], 0) < 10:
            value, end = small * 100.0 + ONES[keys[end + 1]], end + 2
    if end < len(keys) and keys[end] == "thousand":
        value, end = value * 1000, end + 1
        below = _simple(keys, end)
        if below and below[0] < 1000 and not below[2]:
            value, end = value + below[0], below[1]
    if end + 1 < len(keys) and keys[end] == "point" and keys[end + 1] in ONES:
        return _decimals(keys, value, end + 1)
    return value, end, False


def _decimals(keys: tuple[str, ...], whole: float, index: int) -> tuple[float, int, bool]:
    digits = ""
    while index < len(keys) and keys[index] in ONES and ONES[keys[index]] < 10 and len(digits) < 3:
        digits += str(ONES[keys[index]])
        index += 1
    return float(f"{int(whole)}.{digits or 0}"), index, False


def _amount(reading: Reading, index: int) -> Number | None:
    keys = reading.keys
    simple = _simple(keys, index)
    if simple is None:
        return None
    value, end, digits = simple
    if end + 2 < len(keys) and keys[end] == "and" and keys[end + 1] == "a" and keys[end + 2] == "half":
        value, end = value + 0.5, end + 3
    text = plain(value)
    pair = _pair(keys, end)
    if pair is not None:
        text, end = f"{text}/{plain(pair[0])}", pair[1]
        digits = True
    if end < len(keys) and keys[end] in _SUFFIX and digits:
        return Number(text, ORDINAL, index, end + 1, True)
    if index and keys[index - 1] == "$":
        return Number(text, "dollar", index, end, digits)
    unit, end = _unit(keys, end)
    if unit and "/" not in text and keys[end : end + 3] == ("and", "a", "half"):
        text, end = plain(float(text) + 0.5), end + 3
    if (
        not unit
        and digits
        and ":" in keys[end : end + 1]
        and keys[end + 1 : end + 2]
        and _MINUTES.fullmatch(keys[end + 1])
    ):
        text, unit, end = f"{text}:{keys[end + 1]}", CLOCK, end + 2
    return Number(text, unit, index, end, digits)


def _pair(keys: tuple[str, ...], index: int) -> tuple[float, int] | None:
    """The second half of "127 over 80", "3 / 6", "3 out of 6"; None if there is none."""
    if index >= len(keys):
        return None
    if keys[index] in ("over", "/"):
        second = _simple(keys, index + 1)
    elif keys[index] == "out" and index + 1 < len(keys) and keys[index + 1] == "of":
        second = _simple(keys, index + 2)
    else:
        return None
    return (second[0], second[1]) if second else None


def _unit(keys: tuple[str, ...], index: int) -> tuple[str, int]:
    """The unit at `index` and the token after it. "year old" and "yo" are an age."""
    if index < len(keys) and keys[index] == "-":
        index += 1
    if index >= len(keys):
        return "", index
    key = keys[index]
    unit = lexicon().units.get(key, "")
    if key in ("yo", "y.o", "y/o") or (key == "y" and keys[index + 1 : index + 3] in ((".", "o"), ("/", "o"))):
        return AGE, index + (1 if key != "y" else 3)
    if (
        unit == "year"
        and index + 1 < len(keys)
        and (keys[index + 1] == "old" or (keys[index + 1] == "-" and keys[index + 2 : index + 3] == ("old",)))
    ):
        return AGE, index + (2 if keys[index + 1] == "old" else 3)
    if key == "in" or (key == "x" and index + 1 < len(keys) and _DIGITS.fullmatch(keys[index + 1])):
        return "", index
    if unit:
        return unit, index + 1
    return "", index


def _ranges(keys: tuple[str, ...], found: list[Number]) -> list[Number]:
    """A number without a unit takes the unit of the next one when "to", "or", "by" or nothing stands between."""
    out = list(found)
    for place in range(len(out) - 2, -1, -1):
        here, following = out[place], out[place + 1]
        between = keys[here.last : following.first]
        if here.unit or not following.unit or following.unit in (DATE, ORDINAL) or len(between) > 1:
            continue
        if not between or between[0] in _RANGE or between[0] in ("x", "by"):
            out[place] = replace(here, unit=following.unit)
    return out


def _enumerates(reading: Reading, number: Number) -> bool:
    """Whether it only numbers a list: "1. Hypertension. 2. Gout" or "1) ..."."""
    tokens = reading.tokens
    if number.first > 1 and tokens[number.first - 1].key == "-" and _LEVEL.fullmatch(tokens[number.first - 2].key):
        return True  # "C5-6": the second figure of a spinal level
    if number.unit or number.last != number.first + 1 or not number.digits or "." in number.value:
        return False
    after = number.last
    if after >= len(tokens) or tokens[after].key not in (".", ")") or int(float(number.value)) > 30:
        return False
    if tokens[after].start != tokens[number.first].end:
        return False
    before = tokens[number.first - 1].key if number.first else "\n"
    follows = tokens[after + 1].key if after + 1 < len(tokens) else "\n"
    return before in (".", "\n", ":", "?", "•", "*", ";") and follows not in ("\n",)
