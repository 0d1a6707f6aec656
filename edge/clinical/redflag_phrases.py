"""The wordings of the red-flag table: how lay and clinical synonyms are written, and how they are found in a visit.

In a wording a|b are alternatives, (a b|c) groups of words, w? may be missing, w* is a word that begins so, w(s) has
an optional ending, ".." stands for up to four words, none of them a denial. Fillers ("uh", "really") may stand
between any two words; a full stop may not. "can't" also finds the "ca n't" of the ACI-Bench tokeniser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ENDING = "\x00"  # the "(s)" of a wording, while it is read
_SEPARATOR = r"(?:[^\w.?!\n]|\b(?:uh|um|really|very|pretty|kinda|kind of)\b)*"
_GAP = rf"(?:(?!(?:no|not|without|denies|denied|never|nor|but)\b)[\w'%-]+{_SEPARATOR}){{0,4}}?"
_TOKEN = re.compile(rf"\.\.|[^\s()|?*{ENDING}]+[*{ENDING}]?|[()|?]")
_CLOSING = frozenset((")", "|"))


@dataclass(frozen=True)
class Phrase:
    """One wording. pattern: finds it in lower-case text; needs: of each group one must be in the text (a fast test)."""

    pattern: re.Pattern[str]
    needs: tuple[tuple[str, ...], ...]

    def find(self, lowered: str) -> Iterator[re.Match[str]]:
        """Its places in a text in lower case."""
        if all(any(word in lowered for word in group) for group in self.needs):
            yield from self.pattern.finditer(lowered)


@dataclass(frozen=True)
class _Item:
    """A read part: its pattern, the words of which one must occur, whether it may be missing."""

    pattern: str
    needs: tuple[tuple[str, ...], ...]
    optional: bool = False


def compile_phrase(wording: str) -> Phrase:
    """A wording as a pattern. Errors: ValueError for brackets that do not fit or a wording that may be empty."""
    tokens = _TOKEN.findall(wording.lower().replace("(s)", ENDING))
    item, end = _sequence(tokens, 0, inside=False)
    if end < len(tokens):
        raise ValueError(f"a bracket or a bar is out of place in '{wording}'")
    if not item.needs:
        raise ValueError(f"'{wording}' holds no word that must be said")
    return Phrase(re.compile(item.pattern), item.needs)


def normalised(text: str) -> str:
    """Lower case with straight apostrophes, the same length as `text`, so that places agree."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters change their length in lower case
        lowered = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    return lowered.replace("\u2019", "'")  # the apostrophe of phones


def _sequence(tokens: list[str], place: int, *, inside: bool) -> tuple[_Item, int]:
    """Items up to the end or, inside brackets, up to a bar or the closing bracket."""
    items: list[_Item] = []
    while place < len(tokens) and tokens[place] not in _CLOSING:
        item, place = _choice(tokens, place, inside=inside)
        items.append(item)
    needs = tuple(group for item in items if not item.optional for group in item.needs)
    pattern = ""
    for number, item in enumerate(items):
        if number == 0:
            pattern = f"(?:{item.pattern}{_SEPARATOR})?" if item.optional else item.pattern
        elif item.optional:
            pattern += f"(?:{_SEPARATOR}{item.pattern})?"
        else:
            pattern += _SEPARATOR + item.pattern
    return _Item(pattern, needs), place


def _choice(tokens: list[str], place: int, *, inside: bool) -> tuple[_Item, int]:
    """A word or group; outside brackets, bars join single words to one choice."""
    if tokens[place] == "..":
        return _Item(_GAP, ()), place + 1
    choices: list[_Item] = []
    while True:
        item, place = _atom(tokens, place)
        choices.append(item)
        if inside or place + 1 >= len(tokens) or tokens[place] != "|" or tokens[place + 1] in _CLOSING:
            break
        place += 1
    optional = place < len(tokens) and tokens[place] == "?"
    return _joined(choices, optional), place + optional


def _atom(tokens: list[str], place: int) -> tuple[_Item, int]:
    part = tokens[place]
    if part == "(":
        alternatives: list[_Item] = []
        while True:
            item, place = _sequence(tokens, place + 1, inside=True)
            alternatives.append(item)
            if place >= len(tokens) or tokens[place] == ")":
                break
        if place >= len(tokens):
            raise ValueError("a bracket is not closed")
        return _joined(alternatives, False), place + 1
    if part in ("?", "..", "|", ")"):
        raise ValueError(f"'{part}' is out of place")
    return _word(part), place + 1


def _joined(choices: list[_Item], optional: bool) -> _Item:
    if any(not choice.needs for choice in choices):
        needs: tuple[tuple[str, ...], ...] = ()
    elif len(choices) == 1:
        needs = choices[0].needs
    else:
        needs = (tuple(min(choice.needs, key=len)[0] for choice in choices if len(min(choice.needs, key=len)) == 1),)
        if len(needs[0]) < len(choices):  # an alternative that itself has alternatives: all their words count
            needs = (tuple(word for choice in choices for word in choice.needs[0]),)
    pattern = choices[0].pattern if len(choices) == 1 else "(?:" + "|".join(choice.pattern for choice in choices) + ")"
    return _Item(pattern, needs, optional)


def _word(token: str) -> _Item:
    if token.endswith("n't"):
        stem = token[:-3]
        known = {"ca": r"\b(?:ca ?n't|can't|cannot|can not)\b", "": r"n't\b"}
        return _Item(known.get(stem, rf"\b{re.escape(stem)} ?n't\b"), ((stem or "n't",),))
    if token in ("can't", "cannot"):
        return _Item(r"\b(?:ca ?n't|can't|cannot|can not)\b", (("ca",),))
    if token.endswith("*"):
        return _Item(rf"\b{re.escape(token[:-1])}\w*", ((token[:-1],),))
    if token.endswith(ENDING):
        return _Item(rf"\b{re.escape(token[:-1])}s?\b", ((token[:-1],),))
    return _Item(rf"\b{re.escape(token)}\b", ((token,),))
