"""A visit cut into parts that a small model can read at once, each as the model reads it.

A part is a run of turns of about PART_WORDS words that begins with a question or a statement of the clinician, so that
an answer stays with its question; a long dictation is cut between sentences. The text for the model leaves out what
carries nothing (fillers, bare acknowledgements between two statements) and undoes the spacing of transcription
services ("do n't", "45 %"); the offsets always point into the transcript as given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edge.clinical.transcript import CLINICIAN, PATIENT, Span, Transcript

PART_WORDS = 130
LONGEST_PIECE_WORDS = 110
# No language writes words of hundreds of letters; text without spaces is cut all the same, or one "word" would fill
# the model's context. Ordinary text never comes near these.
LONGEST_WORD = 120
LONGEST_PIECE_CHARACTERS = 1500
CHARACTERS_OF_A_WORD = 12

_FILLER = re.compile(r"\b(?:um+|uh+|mm+[- ]?hmm+|hmm+|you know|i mean)\b(?:\s*,)?\s*", re.IGNORECASE)
_STUTTER = re.compile(r"\b(\w+(?:'\w+)?)(?:\s*[,.-]+\s*\1\b)+", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.?!;])\s+(?=[A-Za-z0-9\[])")
_BARE = re.compile(
    r"(?:(?:okay|ok|all right|alright|right|yeah|sure|good|great|perfect|sounds good|thank you|thanks|got it|i see|"
    r"gotcha|awesome|excellent|wonderful|of course|absolutely)[\s,.!]*)+",
    re.IGNORECASE,
)
_SPEAKER_WORDS = {CLINICIAN: "Doctor", PATIENT: "Patient"}


@dataclass(frozen=True)
class Piece:
    """A turn, or some sentences of a long one: who speaks and where it lies."""

    speaker: str
    span: Span


@dataclass(frozen=True)
class Part:
    """pieces: in order. text: what the model reads ('Doctor: ...' lines)."""

    pieces: tuple[Piece, ...]
    text: str

    @property
    def span(self) -> Span:
        """From the first to the last character."""
        return Span(self.pieces[0].span.start, self.pieces[-1].span.end)


def clean(words: str) -> str:
    """Words of a turn without fillers and with ordinary spacing; numbers, names and negations are untouched."""
    words = " ".join(words.split())
    words = re.sub(r"\b(\w+) n't\b", r"\1n't", words)
    words = re.sub(r"\b(gon|wan) na\b", r"\1na", words)
    words = re.sub(r"\b(lem|gim) me\b", r"\1me", words)
    words = re.sub(r"\s+([,.;:?!%])", r"\1", words)
    words = re.sub(r"(\d)\s*,\s*(\d{3})\b", r"\1,\2", words)
    words = _FILLER.sub("", words)
    words = _STUTTER.sub(r"\1", words)
    words = re.sub(r"(?:\.\s*){2,}", ". ", words)
    words = re.sub(r"\s*,(?:\s*,)+", ",", words)
    words = re.sub(r"([.?!])\s*,\s*", r"\1 ", words)
    return re.sub(r"\s{2,}", " ", words).strip(" ,-")


def split_parts(transcript: Transcript, part_words: int = PART_WORDS) -> tuple[Part, ...]:
    """The visit's parts in order; every turn that says something lies in exactly one of them."""
    parts: list[Part] = []
    pieces: list[Piece] = []
    lines: list[str] = []
    count = 0
    for piece in _pieces(transcript):
        words = clean(piece.span.of(transcript.text))
        size = max(len(words.split()), len(words) // CHARACTERS_OF_A_WORD)
        opens = piece.speaker != PATIENT and not _BARE.fullmatch(words)
        if pieces and ((count >= part_words and opens) or count + size > 2 * part_words):
            parts.append(Part(tuple(pieces), "\n".join(lines)))
            pieces, lines, count = [], [], 0
        pieces.append(piece)
        # A bare "okay" says something only as the answer to a question.
        asked = bool(lines) and lines[-1].endswith("?") and piece.speaker == PATIENT
        if any(letter.isalnum() for letter in words) and (asked or not _BARE.fullmatch(words)):
            name = _SPEAKER_WORDS.get(piece.speaker, "Speaker")
            previous = f"{name}: "
            if lines and lines[-1].startswith(previous):
                lines[-1] += f" {words}"
            else:
                lines.append(previous + words)
            count += size
    if pieces and lines:
        parts.append(Part(tuple(pieces), "\n".join(lines)))
    elif pieces and parts:
        parts[-1] = Part((*parts[-1].pieces, *pieces), parts[-1].text)
    return tuple(parts)


def _pieces(transcript: Transcript) -> Iterator[Piece]:
    """Turns, the long ones cut between sentences."""
    for turn in transcript.turns:
        words = transcript.words_of(turn)
        start, count = 0, 0
        for mark in _SENTENCE_END.finditer(words):
            count = len(words[start : mark.start()].split())
            if count >= LONGEST_PIECE_WORDS // 2:
                yield from _cut(turn.speaker, words, turn.start, start, mark.start())
                start = mark.end()
        yield from _cut(turn.speaker, words, turn.start, start, len(words))


def _cut(speaker: str, words: str, offset: int, start: int, end: int) -> Iterator[Piece]:
    """words[start:end] as one piece, or as several where a sentence never ends (speech without punctuation)."""
    first, count = start, 0
    for mark in re.finditer(rf"\S{{1,{LONGEST_WORD}}}\s*", words[start:end]):
        place = start + mark.start()
        if count >= LONGEST_PIECE_WORDS or place - first >= LONGEST_PIECE_CHARACTERS:
            yield Piece(speaker, Span(offset + first, offset + place))
            first, count = place, 0
        count += 1
    if words[first:end].strip():
        yield Piece(speaker, Span(offset + first, offset + end))
