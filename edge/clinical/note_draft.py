"""A drafted note: its lines with their evidence, what was withheld, what the reader must be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.clinical.note import LABEL
from edge.clinical.notices import Notice
from edge.clinical.redflags import RedFlag
from edge.clinical.sections import SECTIONS
from edge.clinical.transcript import Span

MODEL, QUOTE = "model", "quote"


@dataclass(frozen=True)
class NoteLine:
    """One line of the note. origin: MODEL (written, labelled so) or QUOTE (the visit's own words). part: index."""

    section: str
    text: str
    evidence: tuple[Span, ...]
    origin: str
    part: int


@dataclass(frozen=True)
class Figures:
    """What one draft cost. seconds are wall time; tokens are the model's."""

    parts: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    forced_tokens: int = 0
    elapsed_ms: float = 0.0
    drafting: str = ""


@dataclass(frozen=True)
class NoteDraft:
    """A drafted note. unsupported: lines not shown, as findings; parsed: every answer had the form that was asked for.

    notices, red_flags: rules about the visit, not the model's words. cancelled: stopped by a person, incomplete.
    written: all that the model wrote, withheld lines too: for measurements, never shown.
    """

    source: str = field(repr=False)
    lines: tuple[NoteLine, ...]
    withheld: int
    notices: tuple[Notice, ...]
    red_flags: tuple[RedFlag, ...]
    parsed: bool
    figures: Figures
    cancelled: bool = False
    written: tuple[NoteLine, ...] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """The note as text: headings in order, a line a line."""
        return note_text(self.lines)

    @property
    def model_text(self) -> str:
        """What the model alone wrote, before any rule: for measurements, never shown."""
        return note_text(self.written)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: sections of lines, each with its evidence (start, end, quote)."""
        return {
            "schema_version": 1,
            "label": LABEL,
            "sections": [
                {
                    "section": label,
                    "heading": heading,
                    "lines": [
                        {"text": line.text, "origin": line.origin, "evidence": self._evidence(line.evidence)}
                        for line in self.lines
                        if line.section == label
                    ],
                }
                for label, heading in SECTIONS.items()
                if any(line.section == label for line in self.lines)
            ],
            "withheld": self.withheld,
            "notices": [{"code": notice.code, "message": notice.message} for notice in self.notices],
            "red_flags": [
                {
                    "rule": flag.rule_id,
                    "title": flag.title,
                    "source": flag.source,
                    "evidence": self._evidence(flag.spans),
                }
                for flag in self.red_flags
            ],
            "cancelled": self.cancelled,
        }

    def told(self) -> list[str]:
        """What the reader must know beside the note, a line each: rules and notices, not the model's words."""
        lines = [f"Notice: {notice.message}" for notice in self.notices]
        lines += [f"Red flag (a rule, {flag.source}): {flag.title}" for flag in self.red_flags]
        if self.withheld:
            what = "1 line was" if self.withheld == 1 else f"{self.withheld} lines were"
            lines.append(f"{what} withheld: the visit does not support what the model wrote there.")
        if not self.lines:
            lines.append("Nothing was found for a note in this text.")
        return lines

    def _evidence(self, spans: tuple[Span, ...]) -> list[dict[str, Any]]:
        return [{"start": span.start, "end": span.end, "quote": span.of(self.source)} for span in spans]


def note_text(lines: tuple[NoteLine, ...]) -> str:
    """Headings in the note's order, each followed by its lines."""
    blocks = []
    for label, heading in SECTIONS.items():
        found = [line.text for line in lines if line.section == label]
        if found:
            blocks.append(f"{heading}\n\n" + "\n".join(found))
    return "\n\n".join(blocks)


def shown_text(draft: NoteDraft, *, evidence: bool = False) -> str:
    """The note for a person's eyes: quotes are marked; evidence: below each line the words that it stands on."""
    blocks = []
    for label, heading in SECTIONS.items():
        rows = []
        for line in draft.lines:
            if line.section != label:
                continue
            rows.append(line.text + (" [from the visit's words]" if line.origin == QUOTE else ""))
            if evidence:
                rows += [f"    > {' '.join(span.of(draft.source).split())}" for span in line.evidence]
        if rows:
            blocks.append(f"{heading}\n\n" + "\n".join(rows))
    return "\n\n".join(blocks)
