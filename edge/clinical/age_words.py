"""Ages as they are said: "fifty-eight", "one hundred and two", "58"."""

from __future__ import annotations

import re

MAX_AGE_YEARS = 120


def word_list(text: str) -> list[str]:
    """The words of a table that is written as running text."""
    return text.split()


_UNITS = word_list("one two three four five six seven eight nine")
_TEENS = word_list("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = word_list("twenty thirty forty fifty sixty seventy eighty ninety")
_SMALL = {word: number for number, word in enumerate([*_UNITS, *_TEENS], 1)}
_SMALL |= {word: 10 * number for number, word in enumerate(_TENS, 2)}
WORD_NUMBER = (
    rf"(?:(?:one|a) hundred(?:[ -]and)?(?:[ -](?:{'|'.join(_UNITS)}))?"
    rf"|(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_UNITS)}))?|{'|'.join(sorted(_TEENS, key=len, reverse=True))}"
    rf"|{'|'.join(_UNITS)})"
)


def years_of(words: str) -> int:
    """ "58" or "fifty-eight" as a number."""
    if words.isdigit():
        return int(words)
    total = 0
    for word in re.split(r"[ -]+", words.lower()):
        total += 100 if word == "hundred" else _SMALL.get(word, 0) if word != "and" else 0
    return total - 1 if words.lower().startswith("one hundred") else total
