"""Which part of a visit a sentence of its note comes from.

A note's sentence is given to the part that shares most of its weight (inverse document frequency over the note's own
visit and a background) and kept only when enough of that weight, and every number of it, is said there: a model that
is trained on sentences without a source learns to invent.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from edge.clinical.overlap import words_of

_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "first": 1, "second": 2, "third": 3, "once": 1,
    "twice": 2, "couple": 2,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
SUPPORTED_SHARE = 0.33


def numbers_said(text: str) -> frozenset[str]:
    """Numbers of a text, digits or words ('one thirty' gives 1, 30, 130 and 31 is not among them)."""
    found: set[str] = set()
    run: list[int] = []
    for spoken in re.findall(r"[a-z]+|\d+(?:\.\d+)?", text.lower().replace("-", " ")):
        value = _UNITS.get(spoken, _TENS.get(spoken))
        if value is None and spoken in {"hundred", "thousand"} and run:
            run[-1] *= 100 if spoken == "hundred" else 1000
            found.add(str(run[-1]))
            continue
        if value is None:
            if spoken == "half":
                found |= {"0.5", ".5", "2"}
            if spoken not in {"and", "point"}:
                run = []
            if spoken[0].isdigit():
                found |= {spoken, spoken.split(".")[0]}
            continue
        found.add(str(value))
        if run:
            before = run[-1]
            found.add(f"{before}{value}")
            if before >= 20 and before % 10 == 0 and value < 10:
                found.add(str(before + value))
            if before % 100 == 0:
                found.add(str(before + value))
            if len(run) > 1:
                found.add(f"{run[-2]}{before + value if before % 10 == 0 and value < 10 else value}")
                found.add(str(run[-2] + before + value))
        run.append(value)
    return frozenset(found)


def numbers_supported(sentence: str, source: str) -> bool:
    """Whether each number of a sentence is said in the source."""
    said = numbers_said(source)
    return all(
        piece in said or piece.lstrip("0") in said
        for number in re.findall(r"\d+(?:\.\d+)?", sentence.replace(",", ""))
        for piece in (number,)
    )


class Aligner:
    """Weights from a background of texts; `best` finds the part of a visit that a sentence comes from."""

    def __init__(self, background: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        total = 0
        for text in background:
            counts.update(set(words_of(text)))
            total += 1
        self._weights = {word: math.log((total + 1) / (count + 0.5)) for word, count in counts.items()}
        self._rare = math.log((total + 1) / 0.5)

    def share(self, sentence: str, part: frozenset[str]) -> float:
        """The share (0 to 1) of a sentence's weight that a part's words cover."""
        weights = {word: self._weights.get(word, self._rare) for word in words_of(sentence)}
        total = sum(weights.values())
        return sum(weight for word, weight in weights.items() if word in part) / total if total else 0.0

    def best(self, sentence: str, parts: Sequence[frozenset[str]]) -> tuple[int, float]:
        """(index, share) of the part that covers most of a sentence; the earlier one on a tie."""
        shares = [self.share(sentence, part) for part in parts]
        index = max(range(len(parts)), key=lambda number: (shares[number], -number))
        return index, shares[index]
