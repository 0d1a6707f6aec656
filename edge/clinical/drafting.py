"""Drafting the note of a visit: part by part, each line with its evidence, each fact checked before it is shown.

The way of a visit through here
1. It is cut into parts that a small model reads at once (parts.py). The model writes lines `SECTION: text` for each
   part under a grammar, so that what it writes always parses; NONE is an answer.
2. Every line is tied to the places of its part that it shares most words with: its evidence, with offsets.
3. The fact check (facts/) reads every line. A line with a major fact that the visit does not support (a number, a
   drug, a dose, a side, a flipped negation) is not shown: no source, no assertion. It is counted.
4. The draft is filled up with the visit's own most note-worthy sentences that no line covers, in reported speech
   (extracts.py), labelled as the visit's words.
5. Facts that the visit states and that no line carries (drugs, doses, allergies, abnormal values) are added with the
   sentence they were said in, labelled so.

The model is never asked to be complete, and never believed to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from edge.clinical.extracts import extracts_for
from edge.clinical.facts import FactSource, check_line
from edge.clinical.note import Task, read_task
from edge.clinical.note_draft import MODEL, Figures, NoteDraft, NoteLine
from edge.clinical.note_evidence import evidence_for, quotes_for, same_line
from edge.clinical.note_prompt import part_messages, patient_phrase, read_answer
from edge.clinical.notices import inspect_input
from edge.clinical.parts import Part, split_parts
from edge.clinical.patient import patient_context
from edge.clinical.redflags import red_flags
from edge.clinical.sections import NOTHING, SECTIONS
from edge.clinical.transcript import parse_transcript

if TYPE_CHECKING:
    from edge.runtime.constraint import Grammar
    from edge.runtime.drafts import Drafter
    from edge.runtime.generate import Finished
    from edge.runtime.session import Session


_PRONOUNS = {"male": "he", "female": "she", None: "the patient"}


def answer_grammar() -> str:
    """Lark: NONE, or lines of a section's label and its text; bounded, so that a loop ends."""
    labels = " | ".join(f'"{label}"' for label in SECTIONS)
    return (
        f'start: "{NOTHING}" | line ("\\n" line)*\n'
        'line: LABEL ": " TEXT\n'
        f"LABEL: {labels}\n"
        "TEXT: /[A-Z0-9][^\\n\\t]{1,400}/\n"
    )


@lru_cache(maxsize=1)
def _grammar() -> Grammar:
    from edge.runtime.constraint import lark_grammar

    return lark_grammar(answer_grammar(), public=True)


@dataclass(frozen=True)
class PartStarted:
    """The model begins to read part `index` (from 0) of `count`."""

    index: int
    count: int


Event = PartStarted | NoteLine | NoteDraft


def draft_note(session: Session, transcript_text: str, **options: Any) -> NoteDraft:
    """The whole draft; see draft_events."""
    *_, draft = draft_events(session, transcript_text, **options)
    if not isinstance(draft, NoteDraft):
        raise TypeError("the last event of a draft is the draft")
    return draft


def draft_events(
    session: Session,
    transcript_text: str,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    drafts: bool = True,
    checked: bool = True,
    constrained: bool = True,
    options: Mapping[str, Any] | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Iterator[Event]:
    """Draft a note; yields lines as soon as they are checked, and the NoteDraft at the end.

    checked False: the model's lines as they are, nothing withheld or quoted (for measurements). constrained False:
    without the grammar. drafts: guess words from the visit and confirm several at once (prompt lookup; it changes the
    speed and no word, and switches itself off where it does not pay). options: temperature, top_p, seed and
    max_new_tokens in place of the task's own. on_text: called with the model's text as it is written, before any
    check: to show that it works, never to keep.
    Errors: InputError when not even one part fits into the model's context.
    """
    task = _with(read_task(session.folder, "note"), options or {})
    transcript = parse_transcript(transcript_text)
    parts = split_parts(transcript, task.part_words)
    patient = patient_context(transcript_text)
    phrase = patient_phrase(patient)
    notices = tuple(inspect_input(transcript_text))
    flags = tuple(red_flags(transcript_text))
    source = FactSource.of(transcript_text, phrase)
    shown: list[NoteLine] = []
    written: list[NoteLine] = []
    withheld, parsed, stopped = 0, True, False
    figures = Figures(parts=len(parts))
    # One for the whole visit: what earlier parts said and what was written of them is guessed from too.
    drafter = _drafter() if drafts else None
    for index, part in enumerate(parts):
        yield PartStarted(index, len(parts))
        writer = _PartWriter(session, task, part, phrase)
        answer = writer.write(cancelled, drafter, constrained=constrained, on_text=on_text)
        figures = _sum(figures, writer.finished)
        parsed = parsed and writer.parsed
        for section, text in read_answer(answer):
            line = NoteLine(section, text, evidence_for(text, part, transcript_text), MODEL, index)
            if any(same_line(section, text, old) for old in written):
                continue
            written.append(line)
            problems = [found for found in check_line(text, section, source) if found.major] if checked else []
            if checked and (problems or not line.evidence):
                withheld += 1
                continue
            shown.append(line)
            yield line
        if cancelled():
            stopped = True
            break
    if checked and not stopped:
        for line in _extracts(shown, parts, transcript_text, _PRONOUNS[patient.sex], task.extract_share, source):
            shown.append(line)
            yield line
        for line in quotes_for(tuple(shown), source, transcript_text, parts):
            shown.append(line)
            yield line
    yield NoteDraft(transcript_text, tuple(shown), withheld, notices, flags, parsed, figures, stopped, tuple(written))


def _extracts(
    shown: list[NoteLine], parts: tuple[Part, ...], text: str, pronoun: str, share: float, source: FactSource
) -> list[NoteLine]:
    """The visit's own sentences that fill the draft up; what the check would withhold of a model's line goes too."""
    words = sum(len(piece.span.of(text).split()) for part in parts for piece in part.pieces)
    found = extracts_for(shown, parts, text, pronoun, round(share * words))
    return [line for line in found if not any(item.major for item in check_line(line.text, line.section, source))]


def _with(task: Task, options: Mapping[str, Any]) -> Task:
    given = {name: options[name] for name in ("temperature", "top_p", "seed") if options.get(name) is not None}
    limit = int(options.get("max_new_tokens") or task.max_new_tokens)
    return replace(task, sampler=replace(task.sampler, **given), max_new_tokens=limit)


def _drafter() -> Drafter:
    from edge.runtime.drafts import PromptLookup

    return PromptLookup()


class _PartWriter:
    """One part through the model."""

    def __init__(self, session: Session, task: Task, part: Part, patient: str) -> None:
        from edge.runtime.text import Message

        self._session, self._task = session, task

        def prompt(text: str, who: str) -> list[int]:
            messages = [Message(item["role"], item["content"]) for item in part_messages(text, who)]
            return session.tokenizer.encode_chat(messages)

        self.prompt_ids = prompt(part.text, patient)
        # What every part's prompt begins with holds no word of a patient: it may be kept on disk.
        self.public_tokens = 0
        if session.prefix_cache is not None:
            others = (self.prompt_ids, prompt("a", ""), prompt("1", ""))
            same = takewhile(lambda ids: len(set(ids)) == 1, zip(*others, strict=False))
            self.public_tokens = sum(1 for _ in same)
        self.finished: Finished | None = None
        self.parsed = True

    def write(
        self,
        cancelled: Callable[[], bool],
        drafter: Drafter | None,
        *,
        constrained: bool,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The answer's text. A line that was written before ends the answer: the model has begun to repeat itself."""
        from edge.runtime.generate import Finished
        from edge.runtime.session import TextPiece

        pieces: list[str] = []

        def stop() -> bool:
            text = "".join(pieces)
            done = text.split("\n")[:-1]
            return cancelled() or len(done) != len(set(done))

        self._session.engine.rewind(0)
        for event in self._session.stream(
            self.prompt_ids,
            sampler=self._task.sampler,
            max_new_tokens=self._task.max_new_tokens,
            cancelled=stop,
            constraint=_grammar() if constrained else None,
            drafter=drafter,
            public_prefix_tokens=self.public_tokens,
        ):
            if isinstance(event, TextPiece):
                pieces.append(event.text)
                if on_text is not None:
                    on_text(event.text)
            elif isinstance(event, Finished):
                self.finished = event
        text = "".join(pieces)
        if self.finished is not None and self.finished.reason in {"length", "context", "cancelled"}:
            # The last line may be cut: only its whole sentences are kept.
            head, newline, last = text.rpartition("\n")
            text = head + newline + last[: last.rfind(".") + 1]
        lines = [line for line in text.splitlines() if line.strip()]
        self.parsed = text.strip() == NOTHING or len(read_answer(text)) == len(lines)
        return text


def _sum(figures: Figures, finished: Finished | None) -> Figures:
    if finished is None:
        return figures
    return Figures(
        figures.parts,
        figures.prompt_tokens + finished.prompt_tokens,
        figures.new_tokens + finished.new_tokens,
        figures.drafted_tokens + int(getattr(finished, "drafted_tokens", 0)),
        figures.accepted_tokens + int(getattr(finished, "accepted_tokens", 0)),
        figures.forced_tokens + int(getattr(finished, "forced_tokens", 0)),
        figures.elapsed_ms + finished.elapsed_ms,
        str(getattr(finished, "drafting", "") or figures.drafting),
    )
