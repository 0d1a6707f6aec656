"""The marks of a transcript that grows: only lines near a change are read again.

The result is that of checks.speech_marks for the whole text. Names, numbers and frequencies are read word by word and
may in principle run over the end of a turn ("five" / "hundred"); the text is cut only where none can, and each piece is
read by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from edge.clinical.age_words import word_list
from edge.clinical.encounter.checks import speech_marks
from edge.clinical.encounter.model import Mark
from edge.clinical.encounter.text_diff import parsed, same_start, same_turns
from edge.clinical.transcript import Transcript, parse_transcript

PIECES_KEPT = 4096
_PERCENT = re.compile(r"\s*%")  # belongs to a number, even one in the line before
# A point behind a single letter may be one of "b.i.d".
_CLOSED = re.compile(r"(?:[?!]|(?:\w\w|\d)\s*\.)$")
_WORD = re.compile(r"[A-Za-zµ]{2,}[0-9]*(?:['’][A-Za-z]+)?(?![\w'’])")
# Words that go on with a number, a unit, a date or a frequency; those of the word lists come on top.
_GOES_ON = frozenset(
    word_list(
        """
        a an and at as bed bedtime before by bid bit day daily dozen each evening every half hour hr hundred in
        million month monthly morning nd needed night nightly o of oh old or other out over per point prn qd qhs qid
        rd second st th the thousand through tid time to week weekly x y year yo zero one two three four five six
        seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty
        thirty forty fourty fifty sixty seventy eighty ninety once twice thrice jan feb mar apr jun jul aug sep sept
        oct nov dec january february march april may june july august september october november december first
        third fourth fifth sixth seventh eighth ninth nineth tenth eleventh twelfth thirteenth fourteenth fifteenth
        sixteenth seventeenth eighteenth nineteenth twentieth thirtieth everyday
        """
    )
)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters start..end, read by themselves. last_turn: index of the last turn that begins before its end."""

    start: int
    end: int
    last_turn: int
    marks: tuple[Mark, ...] = field(repr=False)


@dataclass(frozen=True)
class _Read:
    transcript: Transcript = field(repr=False)
    pieces: tuple[_Piece, ...] = field(repr=False)


class _Marked:
    """Keeps the last transcript, to read a changed one from."""

    def __init__(self) -> None:
        self._last: _Read | None = None
        self.marks = lru_cache(maxsize=2)(self._marks_of)
        self._piece = lru_cache(maxsize=PIECES_KEPT)(_marks_of_piece)

    def forget(self) -> None:
        """Drop every word of a patient."""
        self._last = None
        self.marks.cache_clear()
        self._piece.cache_clear()

    def _marks_of(self, text: str) -> tuple[Mark, ...]:
        transcript = parsed(text)
        kept = self._kept(transcript)
        new = []
        for start, end, first, last in _pieces(transcript, kept[-1].end if kept else 0):
            turns = transcript.turns[first : last + 1]
            inside = ((max(turn.start, start) - start, min(turn.end, end) - start) for turn in turns)
            found = self._piece(text[start:end], tuple(one for one in inside if one[0] < one[1]))
            if found is None:
                return speech_marks(text)
            new.append(_Piece(start, end, last, tuple(Mark(kind, start + at, start + to) for kind, at, to in found)))
        self._last = _Read(transcript, (*kept, *new))
        return tuple(mark for piece in self._last.pieces for mark in piece.marks)

    def _kept(self, transcript: Transcript) -> tuple[_Piece, ...]:
        """The first pieces of the transcript before that stand here, as does the piece behind them."""
        last = self._last  # once: another thread may forget it
        if last is None:
            return ()
        same = same_start(last.transcript.text, transcript.text)
        turns = same_turns(last.transcript, transcript, same)
        count = bisect_left(last.pieces, same, key=lambda piece: piece.end)
        while count and last.pieces[count - 1].last_turn >= turns:
            count -= 1
        return last.pieces[: max(0, count - 1)]


def visit_marks(text: str) -> tuple[Mark, ...]:
    """Numbers, drugs and negations of a transcript: checks.speech_marks, quick for one that was read before its
    last change."""
    return _marked.marks(text)


def forget() -> None:
    """Drop every word of a patient that is kept for speed."""
    from edge.clinical.facts.tokens import stem

    _marked.forget()
    parsed.cache_clear()
    stem.cache_clear()


def _marks_of_piece(text: str, turns: tuple[tuple[int, int], ...]) -> tuple[tuple[str, int, int], ...] | None:
    """(kind, start, end) of each mark; None where the piece by itself has other turns than in its transcript."""
    alone = tuple((turn.start, turn.end) for turn in parse_transcript(text).turns)
    if alone != _stripped(text, turns):
        return None
    return tuple((mark.kind, mark.start, mark.end) for mark in speech_marks(text))


def _stripped(text: str, turns: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The turns without the blanks that a cut inside of a turn leaves at its edges."""
    kept = []
    for start, end in turns:
        words = text[start:end]
        left, right = start + len(words) - len(words.lstrip()), start + len(words.rstrip())
        if left < right:
            kept.append((left, right))
    return tuple(kept)


def _pieces(transcript: Transcript, start: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, first turn, last turn) of the pieces from `start` on."""
    text, turns = transcript.text, transcript.turns
    at = start
    # the turn at the place that is looked at, -1 before the first
    turn = bisect_left(turns, start + 1, key=lambda one: one.start) - 1
    first = max(turn, 0)
    while start < len(text):
        newline = text.find("\n", at)
        at = len(text) if newline < 0 else newline + 1
        while turn + 1 < len(turns) and turns[turn + 1].start < at:
            turn += 1
        if at < len(text) and not _may_cut(transcript, at, turn):
            continue
        yield start, at, first, turn
        start, first = at, max(turn, 0)


def _may_cut(transcript: Transcript, at: int, turn: int) -> bool:
    """Whether no name and no number can run over the line break before `at`. turn: the last that begins before."""
    text, turns = transcript.text, transcript.turns
    if _PERCENT.match(text, at):
        return False
    if turn < 0 or turn + 1 >= len(turns) or at <= turns[turn].end:
        return True  # there is nothing on one side, or the break itself is a word of the turn
    if _CLOSED.search(text, max(turns[turn].start, turns[turn].end - 40), turns[turn].end):
        return True
    word = _WORD.match(text, turns[turn + 1].start, turns[turn + 1].end)
    return word is not None and _begins_anew(word[0])


def _begins_anew(word: str) -> bool:
    from edge.clinical.facts.tokens import stem  # with the word lists, which take a moment to load

    key = stem(word)
    return key not in _GOES_ON and key not in _inner_words()


@lru_cache(maxsize=1)
def _inner_words() -> frozenset[str]:
    """Words that stand in a name of the word lists behind its first, and all of the units."""
    from edge.clinical.facts.lexicon import lexicon

    lists = lexicon()
    names = [name for table in (lists.terms, lists.measures) for name in table]
    return frozenset(word for name in names for word in name.split(" ")[1:]) | frozenset(
        word for unit in lists.units for word in unit.split(" ")
    )


_marked = _Marked()
