"""A model's words to one of the options, in the exact order of arXiv 2601.03266, and the majority of three samples.

Order: the same text; the same after normalising; closest by difflib at 0.8 or above; closest of the normalised texts
at 0.9 or above; no match. Which of them matched is recorded, since a fuzzy match is weaker than an equal one.
Source of all: Benchmarking and Adapting On-Device LLMs for Clinical Decision Support, arXiv 2601.03266.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

How = Literal["exact", "normalised", "difflib", "normalised difflib", "none"]
DIFFLIB_CUTOFF = 0.8
NORMALISED_CUTOFF = 0.9
RUNS = 3
_DASHES = re.compile("[‐-―−﹘﹣-]")
_DROPPED = re.compile(r"[^\w\s-]")


@dataclass(frozen=True)
class Mapped:
    """index: of the option, None without a match; how: the step that matched."""

    index: int | None
    how: How


def recover_cp1252(text: str) -> str:
    """UTF-8 that was once read as cp1252 ("SjÃ¶gren"), read rightly again; any other text unchanged."""
    try:
        return text.encode("cp1252").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def normalise(text: str) -> str:
    """Mojibake recovered, NFKC, every dash a hyphen, only word characters, spaces and hyphens, squeezed, lower."""
    words = _DASHES.sub("-", unicodedata.normalize("NFKC", recover_cp1252(text)))
    return " ".join(_DROPPED.sub("", words).split()).lower()


def map_answer(answer: str, options: Sequence[str]) -> Mapped:
    """Which option an answer means. Between equally close options the first one counts."""
    wanted = answer.strip()
    for index, option in enumerate(options):
        if option.strip() == wanted:
            return Mapped(index, "exact")
    normal = normalise(answer)
    normals = [normalise(option) for option in options]
    if normal:
        for index, option in enumerate(normals):
            if option == normal:
                return Mapped(index, "normalised")
    closest = _closest(wanted, [option.strip() for option in options], DIFFLIB_CUTOFF)
    if closest is not None:
        return Mapped(closest, "difflib")
    closest = _closest(normal, normals, NORMALISED_CUTOFF)
    if closest is not None:
        return Mapped(closest, "normalised difflib")
    return Mapped(None, "none")


def _closest(wanted: str, options: Sequence[str], cutoff: float) -> int | None:
    if not wanted:
        return None
    found = difflib.get_close_matches(wanted, options, n=1, cutoff=cutoff)
    return options.index(found[0]) if found else None


def letters(answer: str | Sequence[str]) -> frozenset[str]:
    """The letters that an answer names: "ABE", "A, B and E"-like lists and lists of letters; empty when none.

    Spaces and punctuation between capital letters do not count, nor do letters twice. A word is no answer.
    """
    text = answer if isinstance(answer, str) else "".join(answer)
    squeezed = re.sub(r"[\s,;/&+.()]+", "", text.strip().upper())
    match = re.fullmatch(r"[A-Z]{1,26}", squeezed)
    return frozenset(squeezed) if match else frozenset()


def exact_set(answer: str | Sequence[str], truth: str | Sequence[str]) -> bool:
    """All right letters and no other."""
    found = letters(answer)
    return bool(found) and found == letters(truth)


def majority(right: Sequence[bool]) -> bool:
    """Nominal consensus: right in more than half of the samples (2 of 3). Errors: ValueError when there is none."""
    if not right:
        raise ValueError("a majority needs at least one sample")
    return 2 * sum(right) > len(right)


def consensus(scores: Sequence[float | None]) -> float | None:
    """Ordinal consensus: mean of the samples that gave a score, as the paper does; None when none did."""
    given = [score for score in scores if score is not None and math.isfinite(score)]
    return sum(given) / len(given) if given else None
