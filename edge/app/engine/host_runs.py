"""The runs themselves: a note that streams as it is written, and options that are compared one by one.

A visit of more words than LONG_WORDS (nearly an hour of talk) is read from a later turn on; the left-out minutes are
said before anything is written, and every offset in the result points into the text as it was given.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge.app.engine.messages import (
    DraftNote,
    Event,
    Figures,
    LineDrafted,
    Piece,
    Progress,
    RankDifferential,
    Reading,
    Result,
    Started,
    TooLong,
    Unreadable,
)
from edge.clinical.note_draft import MODEL, NoteDraft, NoteLine
from edge.clinical.notices import LONG_WORDS, inspect_input
from edge.clinical.redflags import red_flags
from edge.clinical.transcript import Span, parse_transcript
from edge.errors import InputError
from edge.runtime.engine import Engine, Logits, TokenIds, forward_of

if TYPE_CHECKING:
    from edge.clinical.scoring import ScoringVariant
    from edge.runtime.constraint import GrammarTokenizer
    from edge.runtime.session import Session
    from edge.runtime.text import ChatTokenizer

WORDS_PER_MINUTE = 140
Send = Callable[[Event], None]
Cancelled = Callable[[], bool]


class RunCancelledError(Exception):
    """A run was left at its next step."""


def left_out(text: str, most_words: int = LONG_WORDS) -> tuple[int, int]:
    """(characters at the beginning of a transcript that are not read, their minutes); (0, 0) for one that fits.

    The cut lies between two turns where there is one in the rest.
    """
    words = text.split()
    if len(words) <= most_words:
        return 0, 0
    position = 0
    for word in words[: len(words) - most_words]:
        position = text.index(word, position) + len(word)
    turns = parse_transcript(text).turns
    cuts = [before.end for before, turn in itertools.pairwise(turns) if turn.start > position <= before.end]
    cut = cuts[0] if cuts else position
    return cut, math.ceil(len(text[:cut].split()) / WORDS_PER_MINUTE)


class _NoteRun:
    """One draft: events out, figures kept."""

    def __init__(self, session: Session, request: DraftNote, send: Send, cancelled: Cancelled) -> None:
        self.session, self.request, self.send, self.cancelled = session, request, send, cancelled
        self.offset, minutes = left_out(request.text)
        self.started_s = time.perf_counter()
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.writing_s, self.written = 0.0, 0
        self.begun = False
        if minutes:
            self.begin(0)
            send(TooLong(request.run_id, minutes))

    def begin(self, parts: int) -> None:
        if not self.begun:
            self.begun = True
            self.send(Started(self.request.run_id, self.request.encounter_id, "note", parts))

    def on_text(self, text: str) -> None:
        now_s = time.perf_counter()
        self.first_s = self.first_s or now_s
        if self.last_s is not None:  # the first piece of a part came after reading, not after writing
            self.writing_s, self.written = self.writing_s + now_s - self.last_s, self.written + 1
        self.last_s = now_s
        self.send(Piece(self.request.run_id, text))

    def run(self) -> Result:
        from edge.clinical.drafting import PartStarted, draft_events

        run_id, text = self.request.run_id, self.request.text
        model_line, held = False, list[NoteLine]()
        for event in draft_events(self.session, text[self.offset :], cancelled=self.cancelled, on_text=self.on_text):
            if isinstance(event, PartStarted):
                self.begin(event.count)
                self.last_s = None
                self.send(Reading(run_id, event.index + 1, event.count))
            elif isinstance(event, NoteLine):
                model_line = model_line or event.origin == MODEL
                if model_line:
                    self.line(event)
                else:  # not shown before it is known whether the model's answers could be read
                    held.append(event)
            else:
                self.begin(0)
                return self.result(event, held, readable=event.parsed or model_line or event.cancelled)
        raise InputError("the draft ended without a result")

    def line(self, line: NoteLine) -> None:
        moved = self.moved(line)
        evidence = [{"start": s.start, "end": s.end, "quote": s.of(self.request.text)} for s in moved.evidence]
        value = {"section": line.section, "text": line.text, "origin": line.origin, "part": line.part}
        self.send(LineDrafted(self.request.run_id, value | {"evidence": evidence}))

    def moved(self, line: NoteLine) -> NoteLine:
        spans = tuple(Span(span.start + self.offset, span.end + self.offset) for span in line.evidence)
        return replace(line, evidence=spans)

    def result(self, draft: NoteDraft, held: Sequence[NoteLine], *, readable: bool) -> Result:
        run_id, text = self.request.run_id, self.request.text
        if readable:
            for line in held:
                self.line(line)
        else:
            self.send(Unreadable(run_id))
        if self.offset:
            draft = replace(
                draft,
                source=text,
                lines=tuple(self.moved(line) for line in draft.lines),
                notices=tuple(inspect_input(text)),
                red_flags=tuple(red_flags(text)),
            )
        figures = Figures(
            ttft_ms=None if self.first_s is None else (self.first_s - self.started_s) * 1000,
            tokens_per_s=self.written / self.writing_s if self.writing_s > 0 else None,
            new_tokens=draft.figures.new_tokens,
            elapsed_ms=(time.perf_counter() - self.started_s) * 1000,
            prompt_tokens=draft.figures.prompt_tokens,
        )
        value = draft.to_json() if readable else {}
        return Result(run_id, self.request.encounter_id, "note", value, figures, draft.cancelled)


def run_note(session: Session, request: DraftNote, send: Send, cancelled: Cancelled) -> Result:
    """Draft a note; the Result of a cancelled run holds the lines that were checked. Errors: EdgeError."""
    return _NoteRun(session, request, send, cancelled).run()


class WatchedEngine:
    """An engine that looks whether the run was cancelled before each step and counts what was compared."""

    def __init__(self, engine: Engine, cancelled: Cancelled, scored: Callable[[], None]) -> None:
        self._engine, self._cancelled, self._scored = engine, cancelled, scored
        self._exact = forward_of(engine, exact=True)
        self.read_tokens = 0

    @property
    def vocab_size(self) -> int:
        """See Engine."""
        return self._engine.vocab_size

    @property
    def context_tokens(self) -> int:
        """See Engine."""
        return self._engine.context_tokens

    @property
    def length(self) -> int:
        """See Engine."""
        return self._engine.length

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See Engine. Errors: RunCancelledError."""
        self._step(len(token_ids))
        return self._engine.forward(token_ids, wanted)

    def forward_exact(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See ExactEngine. Errors: RunCancelledError."""
        self._step(len(token_ids))
        return self._exact(token_ids, wanted)

    def rewind(self, length: int) -> None:
        """See Engine. Back to a prompt: one candidate has been scored."""
        self._engine.rewind(length)
        if length:
            self._scored()

    def close(self) -> None:
        """The session closes its engine itself."""

    def _step(self, tokens: int) -> None:
        if self._cancelled():
            raise RunCancelledError
        self.read_tokens += tokens


class WatchedReader:
    """A session as scoring needs it, with a watched engine."""

    def __init__(self, session: Session, engine: WatchedEngine) -> None:
        self._session, self.engine = session, engine

    @property
    def tokenizer(self) -> ChatTokenizer:
        """See Reader."""
        return self._session.tokenizer

    @property
    def grammar_tokenizer(self) -> GrammarTokenizer:
        """See Reader."""
        return self._session.grammar_tokenizer


def comparisons(scoring: ScoringVariant, candidates: int) -> int:
    """How often candidates are scored in a run: once for each likelihood that has a weight."""
    passes = (scoring.direct_weight, scoring.prior_weight, scoring.open_weight, scoring.open_weight)
    return candidates * sum(1 for weight in passes if weight)


def run_scored(session: Session, request: RankDifferential, send: Send, cancelled: Cancelled) -> Result:
    """Rank the table's candidates for a case. A cancelled run has an empty value. Errors: EdgeError."""
    from edge.clinical.differential import NAME, differential, read_differential_task
    from edge.clinical.ophthalmology import NAME as EYE_NAME
    from edge.clinical.ophthalmology import ophthalmology

    if request.task not in (NAME, EYE_NAME):
        raise InputError("the engine does not know this task", mend="ask for differential or ophthalmology")
    task = read_differential_task(session.folder, request.task)
    total = max(1, comparisons(task.open_scoring, task.open_limit))
    started_s, done = time.perf_counter(), 0
    send(Started(request.run_id, request.encounter_id, request.task, 1))
    send(Progress(request.run_id, 0, total))

    def scored() -> None:
        nonlocal done
        done = min(done + 1, total)
        send(Progress(request.run_id, done, total))

    engine = WatchedEngine(session.engine, cancelled, scored)
    reader = WatchedReader(session, engine)
    value: dict[str, Any] = {}
    stopped = False
    try:
        if request.task == NAME:
            value = differential(reader, request.text, None, task).to_json()
        else:
            value = ophthalmology(reader, request.text, None, request.eye, task).to_json()
    except RunCancelledError:
        stopped = True
    else:
        send(Progress(request.run_id, total, total))
    elapsed_ms = (time.perf_counter() - started_s) * 1000
    figures = Figures(elapsed_ms=elapsed_ms, prompt_tokens=engine.read_tokens)
    return Result(request.run_id, request.encounter_id, request.task, value, figures, stopped)
