"""A visit's transcript as speaker turns with character offsets, so that whatever is said of it can point back.

Forms that are read: `[doctor] text`, `Doctor: text`, `DOCTOR - text`, one turn a line or all turns in one line
(ACI-Bench writes the first form, MTS-Dialog the second). Text before the first speaker, or without any, is one turn of
an unknown speaker: nothing that was written is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CLINICIAN = "clinician"
PATIENT = "patient"
OTHER = "other"

ROLES = {
    "doctor": CLINICIAN,
    "dr": CLINICIAN,
    "physician": CLINICIAN,
    "clinician": CLINICIAN,
    "provider": CLINICIAN,
    "nurse": CLINICIAN,
    "patient": PATIENT,
    "pt": PATIENT,
    "guest_family": OTHER,
    "guest_clinician": CLINICIAN,
    "family": OTHER,
    "mother": OTHER,
    "father": OTHER,
    "guest": OTHER,
}
_LONGEST_FIRST = sorted(ROLES, key=len, reverse=True)
_NAMES = "|".join(sorted((re.escape(name) for name in ROLES), key=len, reverse=True))
_BRACKET = re.compile(rf"\[\s*(?P<name>(?:{_NAMES})[\w .]*)\s*\]\s*", re.IGNORECASE)
_NAME_COLON = rf"(?P<name>(?:{_NAMES})[\w .]{{0,24}}?)\s*[:\-][ \t]+"
_COLON = re.compile(rf"^[ \t]*{_NAME_COLON}", re.IGNORECASE | re.MULTILINE)
# All turns in one line: looked for only where lines show no turns, since people also say "... . The doctor: ...".
_INLINE = re.compile(rf"(?:^[ \t]*|(?<=[.?!][ \t])){_NAME_COLON}", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, order=True)
class Span:
    """Characters start..end (end excluded) of the input text."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """The characters themselves."""
        return text[self.start : self.end]


@dataclass(frozen=True)
class Turn:
    """One speaker's words: speaker is clinician, patient, other or '' (not said); the offsets exclude the name."""

    speaker: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Its characters."""
        return Span(self.start, self.end)


@dataclass(frozen=True)
class Transcript:
    """text: exactly as given. turns: in order, never overlapping, none empty."""

    text: str
    turns: tuple[Turn, ...]

    def words_of(self, turn: Turn) -> str:
        """What was said in a turn."""
        return self.text[turn.start : turn.end]


def parse_transcript(text: str) -> Transcript:
    """Turns of a transcript; every word of `text` that is no speaker's name lies in exactly one turn."""
    marks = list(_BRACKET.finditer(text)) or list(_COLON.finditer(text))
    if len(marks) < 2:
        marks = list(_BRACKET.finditer(text)) or list(_INLINE.finditer(text))
    edges: list[tuple[str, int, int]] = []
    if not marks or text[: marks[0].start()].strip():
        edges.append(("", 0, marks[0].start() if marks else len(text)))
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        edges.append((_role(mark["name"]), mark.end(), end))
    turns = []
    for speaker, start, end in edges:
        words = text[start:end]
        left = start + len(words) - len(words.lstrip())
        right = start + len(words.rstrip())
        if left < right:
            turns.append(Turn(speaker, left, right))
    return Transcript(text, tuple(turns))


def _role(name: str) -> str:
    lowered = name.strip().lower()
    if lowered in ROLES:
        return ROLES[lowered]
    for known in _LONGEST_FIRST:
        if lowered.startswith(known):
            return ROLES[known]
    return OTHER
