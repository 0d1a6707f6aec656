"""Red flags of a transcript that grows: only lines whose surroundings changed are read again.

The result is that of edge.clinical.redflags.red_flags. No wording of a rule reaches over a line break, and what is made
of the words depends on at most WIDTH characters to either side and on the turn before and behind. So each line is read
with these around it, by itself; who the patient is and the rules are decided anew of what the lines gave.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from edge.clinical.encounter.text_diff import parsed, same_start, same_turns
from edge.clinical.patient import (
    PatientContext,
    Sex,
    Statement,
    ages_in,
    agreed,
    answered_age,
    bodily_in,
    forms_in,
    pronouns_in,
    titles_in,
    told_sexes,
)
from edge.clinical.polarity import WINDOW_CHARACTERS, Status, status_of, turn_of
from edge.clinical.redflag_phrases import Phrase, normalised
from edge.clinical.redflag_rules import RuleTable
from edge.clinical.redflag_vitals import Measurement, measurements
from edge.clinical.redflags import RedFlag, Visit, flags_of, red_flags
from edge.clinical.transcript import CLINICIAN, OTHER, Span, Transcript, Turn

WIDTH = WINDOW_CHARACTERS + 80
LINES_KEPT = 4096
# Readers of numbers step over blanks; so many of them would reach out of what is read around a line.
_FAR_APART = re.compile(r"\s{60}")
_ASKS_AGE = re.compile(r"how old|your age")
_Turns = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Facts:
    """What a line gives; all places count from its start."""

    said: tuple[tuple[str, int, int, Status], ...] = field(default=(), repr=False)
    measured: tuple[Measurement, ...] = field(default=(), repr=False)
    ages: tuple[Statement[int], ...] = field(default=(), repr=False)
    sexes: tuple[Statement[Sex], ...] = field(default=(), repr=False)
    titles: tuple[Statement[Sex], ...] = field(default=(), repr=False)
    bodily: tuple[Statement[Sex], ...] = field(default=(), repr=False)


_NOTHING = _Facts()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line at start..end. reads_to: end of what its facts rest on; last_turn: index of the last turn among it."""

    start: int
    end: int
    reads_to: int
    last_turn: int
    facts: _Facts | None = field(repr=False)


@dataclass(frozen=True)
class _Read:
    transcript: Transcript = field(repr=False)
    lines: tuple[_Line, ...] = field(repr=False)


class Heard:
    """Reads transcripts by one table of rules, and keeps the last one to read a changed one from."""

    def __init__(self, table: RuleTable) -> None:
        """flags: the red flags of a transcript, as `red_flags(text, table)` finds them."""
        self.table = table
        self._last: _Read | None = None
        self.flags = lru_cache(maxsize=2)(self._flags_of)
        self._facts = lru_cache(maxsize=LINES_KEPT)(self._facts_of)
        self._pronouns = lru_cache(maxsize=LINES_KEPT)(_pronouns_of)
        self._by_word: dict[str, list[tuple[str, Phrase]]] = {}
        for name, phrases in table.phrases.items():
            for phrase in phrases:
                fewest: tuple[str, ...] = min(phrase.needs, key=len)
                for word in set(fewest):
                    self._by_word.setdefault(word, []).append((name, phrase))

    def _flags_of(self, text: str) -> tuple[RedFlag, ...]:
        visit = self.visit(text)
        return flags_of(visit) if visit is not None else red_flags(text, self.table)

    def visit(self, text: str) -> Visit | None:
        """The transcript read line by line; None where only the whole can be read. Of the patient age and sex only."""
        transcript = parsed(text)
        if not transcript.turns:
            return None
        kept = self._kept(transcript)
        new = tuple(self._lines(transcript, kept[-1].end + 1 if kept else 0))
        if any(line.facts is None for line in new):
            return None
        lines = kept + new
        self._last = _Read(transcript, lines)
        said: dict[str, list[tuple[Span, Status]]] = {name: [] for name in self.table.phrases}
        measured: list[Measurement] = []
        given = [(line.start, line.facts) for line in lines if line.facts and line.facts is not _NOTHING]
        for at, facts in given:
            for name, start, end, status in facts.said:
                said[name].append((Span(at + start, at + end), status))
            for one in facts.measured:
                measured.append(Measurement(one.vital, one.value, Span(at + one.span.start, at + one.span.end)))
        patient = self._patient(transcript, [facts for _, facts in given])
        return Visit(transcript, self.table, patient, tuple(measured), dict(said))

    def forget(self) -> None:
        """Drop every word of a patient."""
        self._last = None
        self.flags.cache_clear()
        self._facts.cache_clear()
        self._pronouns.cache_clear()

    def _lines(self, transcript: Transcript, start: int) -> Iterator[_Line]:
        """Its lines from the one that begins at `start`."""
        text, turns = transcript.text, transcript.turns
        first = turn_of(transcript, Span(start, start))
        while start <= len(text):
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            while first + 1 < len(turns) and turns[first + 1].start <= start:
                first += 1
            last = first
            while last + 1 < len(turns) and turns[last + 1].start <= end:
                last += 1
            last += 1  # the turn behind may be the answer
            reads_to = end + WIDTH
            low, high = max(0, start - WIDTH), min(len(text), reads_to)
            words = text[low:high]
            around: _Turns = tuple(
                (one.speaker, min(max(one.start, low), high) - low, min(max(one.end, low), high) - low)
                for one in turns[first:last]
            )
            if last < len(turns):
                # Put right behind, without what else a long turn says before its answer.
                reply = turns[last]
                at = min(reply.start, high + 1) - low
                stop = max(min(reply.end, reply.start + WINDOW_CHARACTERS), high)
                reads_to = max(reads_to, reply.start + WINDOW_CHARACTERS)
                words = words[:at].ljust(at, "\n") + text[reply.start : stop]
                around = (*around, (reply.speaker, at, at + min(reply.end, stop) - reply.start))
            facts = (
                self._facts(words, start - low, end - low, around, min(first, 3), low == 0) if start < end else _NOTHING
            )
            yield _Line(start, end, reads_to, last, facts)
            start = end + 1

    def _kept(self, transcript: Transcript) -> tuple[_Line, ...]:
        """The first lines of the transcript before that stand here with all around them."""
        last = self._last  # once: another thread may forget it
        if last is None:
            return ()
        old, lines = last.transcript, last.lines
        same = same_start(old.text, transcript.text)
        turns = same_turns(old, transcript, same)
        all_here = turns == len(old.turns) == len(transcript.turns)
        count = bisect_left(lines, same, key=lambda line: line.reads_to)
        while count and lines[count - 1].last_turn >= turns + all_here:
            count -= 1
        return lines[:count]

    def _facts_of(self, text: str, start: int, end: int, turns: _Turns, first: int, at_head: bool) -> _Facts | None:
        """Reads text[start:end]; turns are those around, first is the index of the first of them (3: or later)."""
        if _FAR_APART.search(text):
            return None
        transcript = Transcript(text, tuple(Turn(*one) for one in turns))
        lowered = normalised(text[start:end])
        places = {
            (name, *match.span())
            for word, phrases in self._by_word.items()
            if word in lowered
            for name, phrase in phrases
            for match in phrase.find(lowered)
        }
        said = tuple(
            (name, left, right, status_of(transcript, Span(start + left, start + right)))
            for name, left, right in sorted(places)
            if left < right
        )
        measured = tuple(
            Measurement(one.vital, one.value, Span(one.span.start - start, one.span.end - start))
            for one in measurements(transcript, start, end)
        )
        stated = [pair for turn in transcript.turns for pair in ages_in(transcript, turn)]
        ages, sexes = forms_in(text, at_head=at_head)
        ages += [age for age, _ in stated]
        sexes += [sex for _, sex in stated if sex is not None]
        titles = titles_in(transcript, first)[0]
        own = [
            [one for one in found if start <= one.span.start < end] for found in (sexes, titles, bodily_in(transcript))
        ]
        aged = [one for one in ages if start <= one.span.start < end]
        if not (said or measured or aged or any(own)):
            return _NOTHING
        return _Facts(said, measured, tuple(aged), *(tuple(found) for found in own))

    def _patient(self, transcript: Transcript, given: Sequence[_Facts]) -> PatientContext:
        turns, low = transcript.turns, normalised(transcript.text)
        asked = sorted({turn_of(transcript, Span(*match.span())) for match in _ASKS_AGE.finditer(low)})
        ages = [one for facts in given for one in facts.ages]
        ages += [
            one
            for index in asked
            if index + 1 < len(turns)
            for one in answered_age(transcript, turns[index], turns[index + 1])
        ]
        sexes = told_sexes(
            [one for facts in given for one in facts.sexes],
            [one for facts in given for one in facts.titles],
            any(turn.speaker == OTHER for turn in turns),
            lambda: [
                one for turn in turns if turn.speaker == CLINICIAN for one in self._pronouns(transcript.words_of(turn))
            ],
            lambda: [one for facts in given for one in facts.bodily],
        )
        return PatientContext(agreed(ages)[0], agreed(sexes)[0])


def _pronouns_of(words: str) -> tuple[Statement[Sex], ...]:
    return tuple(Statement(sex, Span(start, end)) for sex, start, end in pronouns_in(words))
