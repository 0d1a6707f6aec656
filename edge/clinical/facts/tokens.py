"""Words of a clinical text with their character offsets, in the one normal form that the whole fact check compares.

Every word is lower case with its plural ending taken off (`key`), so "fevers" and "fever" are the same word; letters
that a transcript spells out ("C B C", "M G") become one word; "do n't" of the ACI-Bench tokeniser and "don't" both end
in a word that negation knows. Offsets always point into the text as it was given.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache

from edge.clinical.transcript import CLINICIAN, PATIENT, Turn, parse_transcript


def listed(text: str) -> tuple[str, ...]:
    """Words of a literal list, in order."""
    return tuple(text.split())


_TOKEN = re.compile(
    r"\d{1,2}/\d{1,2}/\d{2,4}"  # a date is one word
    r"|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d+|(?<![\w.])\.\d+"
    r"|[A-Za-zµ]+[0-9]*(?:['’][A-Za-z]+)?"
    r"|[%°$#]|[.?!;:,/\-–()\n+=<>•*\[\]]"
)
_IRREGULAR = {
    "feet": "foot",
    "teeth": "tooth",
    "diagnoses": "diagnosis",
    "metastases": "metastasis",
    "vertebrae": "vertebra",
    "biopsies": "biopsy",
    "men": "man",
    "women": "woman",
    "children": "child",
    "calves": "calf",
    "bruises": "bruise",
    "medicines": "medicine",
    "diabetes": "diabetes",
    "herpes": "herpes",
    "rabies": "rabies",
    "series": "series",
    "caries": "caries",
    "scabies": "scabies",
    "yes": "yes",
    "his": "his",
    "was": "was",
    "has": "has",
    "does": "does",
    "always": "always",
    "perhaps": "perhaps",
    "towards": "toward",
    "as": "as",
    "is": "is",
    "its": "its",
    "this": "this",
    "gas": "gas",
    "pancreas": "pancreas",
}
SENTENCE = frozenset((".", "?", "!", "\n", "•"))


@lru_cache(maxsize=32768)
def stem(word: str) -> str:
    """The word without its plural or possessive ending, lower case: "fevers" -> "fever", "biopsies" -> "biopsy"."""
    word = word.lower().replace("’", "'")
    if word.endswith("'s"):
        word = word[:-2]
    found = _IRREGULAR.get(word)
    if found is not None:
        return found
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        if word.endswith("ies") and len(word) > 4:
            return word[:-3] + "y"
        if word.endswith(("sses", "shes", "ches", "xes")):
            return word[:-2]
        return word[:-1]
    return word


def phrase_key(phrase: str) -> str:
    """A phrase as the lexicons key it: stems joined by one blank, hyphens and points dropped."""
    return " ".join(stem(word) for word in re.findall(r"[a-z0-9']+", phrase.lower()))


@dataclass(frozen=True, slots=True)
class Token:
    """One word, number or mark. key: its normal form. start, end: characters of the text. turn: index of its turn."""

    key: str
    start: int
    end: int
    turn: int


@dataclass(frozen=True)
class Reading:
    """A text read once: its tokens, the turn and the sentence (a run number) of each token.

    sentence: one number per token, growing; a turn or a line always starts a new one.
    """

    text: str
    tokens: tuple[Token, ...]
    keys: tuple[str, ...]
    sentence: tuple[int, ...]
    turns: tuple[Turn, ...]

    def bounds(self, index: int) -> tuple[int, int]:
        """First token and one past the last token of the sentence that holds token `index`."""
        number = self.sentence[index]  # the numbers grow, so that a three-hour turn without a point stays quick
        return bisect_left(self.sentence, number), bisect_right(self.sentence, number)


def read(text: str, *, dialogue: bool) -> Reading:
    """Tokens and sentences of a text; with `dialogue`, speaker names are left out and each turn is its own."""
    if dialogue:
        turns = parse_transcript(text).turns
    else:
        turns = (Turn("", 0, len(text)),) if text.strip() else ()
    tokens: list[Token] = []
    sentence: list[int] = []
    number = 0
    for index, turn in enumerate(turns):
        number += 1
        raw = _spelled(list(_TOKEN.finditer(text, turn.start, turn.end)), text)
        for place, (word, start, end) in enumerate(raw):
            if word == "-" and not _between_numbers(raw, place):
                continue
            if word == "." and _said_point(raw, place):
                tokens.append(Token("point", start, end, index))
                sentence.append(number)
                continue
            if word in SENTENCE and not (word == "." and _inner_point(raw, place, text)):
                tokens.append(Token(word, start, end, index))
                sentence.append(number)
                number += 1
                continue
            tokens.append(Token(stem(word), start, end, index))
            sentence.append(number)
    return Reading(text, tuple(tokens), tuple(token.key for token in tokens), tuple(sentence), turns)


_SMALL = frozenset(
    listed(
        "zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred"
    )
)


def _between_numbers(raw: list[tuple[str, int, int]], place: int) -> bool:
    """A hyphen is kept between two figures ("6-8"), dropped inside words ("x-ray", "57-year-old")."""
    if place == 0 or place + 1 >= len(raw):
        return False
    return raw[place - 1][0][-1].isdigit() and raw[place + 1][0][0].isdigit()


def _said_point(raw: list[tuple[str, int, int]], place: int) -> bool:
    """Speech recognisers write "seven point five" as "seven . five": that point is a decimal point."""
    if place == 0 or place + 1 >= len(raw):
        return False
    before, after = raw[place - 1][0].lower(), raw[place + 1][0].lower()
    return before in _SMALL and after in _SMALL and raw[place][1] > raw[place - 1][2]


def _inner_point(raw: list[tuple[str, int, int]], place: int, text: str) -> bool:
    """A point inside an abbreviation ("y.o.", "Dr. X", "p.o.") ends no sentence."""
    if place == 0:
        return False
    word, _, end = raw[place - 1]
    if end != raw[place][1]:
        return False
    if word.lower() in ("dr", "mr", "mrs", "ms", "vs", "st"):
        return True
    if place + 1 < len(raw) and len(word) == 1 and word.isalpha():
        return raw[place + 1][1] == raw[place][2] or text[raw[place + 1][1]].islower()
    return False


def _spelled(matches: list[re.Match[str]], text: str) -> list[tuple[str, int, int]]:
    """Words with their offsets; capital letters said one by one ("C B C") are one word."""
    out: list[tuple[str, int, int]] = []
    index = 0
    while index < len(matches):
        match = matches[index]
        word = match.group()
        if len(word) == 1 and word.isupper():
            last = index
            while (
                last + 1 < len(matches)
                and len(matches[last + 1].group()) == 1
                and matches[last + 1].group().isupper()
                and text[matches[last].end() : matches[last + 1].start()] == " "
            ):
                last += 1
            if last > index:
                joined = "".join(item.group() for item in matches[index : last + 1])
                out.append((joined, match.start(), matches[last].end()))
                index = last + 1
                continue
        out.append((word, match.start(), match.end()))
        index += 1
    return out


def asks(reading: Reading, turn: int) -> bool:
    """Whether a turn was said by the clinician (a question in it is answered in the next turn)."""
    return bool(reading.turns) and reading.turns[turn].speaker == CLINICIAN


def answers(reading: Reading, turn: int) -> bool:
    """Whether a turn was said by the patient or someone who came along."""
    return bool(reading.turns) and reading.turns[turn].speaker in (PATIENT, "other")
