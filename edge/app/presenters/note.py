"""The note: a transcript with its ways in on the left, the SOAP note with its links on the right.

Rules
- What the model wrote is a proposal: each line waits for a person, each number, drug, negation and side for a tap.
- A link is shown only while the transcript is the one that the line was drafted from.
- While the model writes, its text and the lines that passed the fact check are shown for reading; they become lines of
  the note only with the whole draft. A stopped draft adds nothing.
- A person's own and edited lines outlive every draft.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.engine.state import EngineView, status_key
from edge.app.i18n import tr
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import words as said
from edge.app.presenters.folders import MOST_TEXT_BYTES, TextFileError, read_text
from edge.app.presenters.follow import follow
from edge.app.presenters.note_text import Row, appended, open_marks, replaced, row_range, rows_of, spoken_as
from edge.app.presenters.note_view import (
    Drafting,
    DraftingLine,
    NoteView,
    SectionCard,
    notices_of,
    section_cards,
    status_lines,
)
from edge.clinical.encounter import checks, edits
from edge.clinical.encounter.model import (
    Encounter,
    EncounterState,
    LineStatus,
    Note,
    Origin,
    Place,
    Ref,
    VisitText,
)
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

TASK = "note"
# A model that may not be used, or that ended: what a draft needs is not there.
OFF = ("missing", "mismatch", "untrusted", "unsupported", "unverified", "low_memory")


class NotePresenter(Presenter[NoteView]):
    """See the module's docstring. on_row: the screen scrolls to a row of the transcript when it is called."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(NoteView())
        self.workspace = workspace
        self.on_row: Callable[[int], None] | None = None
        self.on_line: Callable[[str], None] | None = None
        self._encounter_id = ""
        self._text = ""
        self._rows: tuple[Row, ...] = ()
        self._sha256 = ""
        self._selected = ""
        self._row = 0
        self._lit: tuple[int, int] = (0, -1)
        self._ask = ""
        self._waiting_text = ""
        self._message = ""
        self._cards: tuple[tuple[object, ...], tuple[SectionCard, ...]] = ((), ())
        follow(workspace, self.update)
        self.update()

    # ---- the transcript -------------------------------------------------------------------------------------

    def paste(self, text: str) -> None:
        """Take over a text; asks first when there is a transcript already."""
        if not text.strip():
            self._say(tr("note.pasted_nothing"))
        elif len(text) > MOST_TEXT_BYTES:
            self._say(tr("note.text_too_large"))
        elif self._encounter is not None and self._encounter.visit.text.strip():
            self._ask, self._waiting_text, self._message = "replace", text, ""
            self.refresh()
        else:
            self._set_visit(VisitText(text.replace("\r\n", "\n").strip()))

    def read_file(self, path: Path) -> None:
        """Take over a text file; says in words why it cannot be one."""
        try:
            self.paste(read_text(path))
        except TextFileError as error:
            self._say(tr(error.key))

    def answer_replace(self, *, replace_all: bool) -> None:
        """The new text takes the transcript's place, or its end."""
        text, self._waiting_text, self._ask = self._waiting_text, "", ""
        if not text or self._encounter is None:
            self.refresh()
            return
        text = text.replace("\r\n", "\n").strip()
        self._set_visit(VisitText(text) if replace_all else appended(self._encounter.visit, text))

    def cancel_ask(self) -> None:
        """Leave everything as it is."""
        self._ask, self._waiting_text = "", ""
        self.refresh()

    def add_turn(self, speaker: str, words: str) -> None:
        """Typed words of a speaker (clinician, patient, other or '') become the last turn."""
        if words.strip() and self._encounter is not None:
            visit = self._encounter.visit
            self._set_visit(appended(visit, spoken_as(speaker, words, visit.text)))

    def add_speech(self, speaker: str, words: str) -> None:
        """What speech recognition made of an utterance: its numbers, drugs, negations and sides wait for a tap."""
        if not words.strip() or self._encounter is None:
            return
        visit = self._encounter.visit
        turn = spoken_as(speaker, words, visit.text)
        self._set_visit(appended(visit, turn, checks.speech_marks(turn), spoken=True))

    def edit_row(self, number: int, words: str) -> None:
        """A person rewrites a row; without words it is deleted."""
        row = self.row(number)
        if row is None or self._encounter is None or words.strip() == row.text:
            return
        self._set_visit(replaced(self._encounter.visit, row.start, row.end, words))

    def confirm_visit(self, index: int) -> None:
        """A tap on what speech wrote: it is right."""
        self._edit(edits.confirm_visit_mark, index)

    def row(self, number: int) -> Row | None:
        """A row by its number."""
        return self._rows[number - 1] if 0 < number <= len(self._rows) else None

    def row_of_mark(self, index: int) -> int:
        """The row that a mark of the transcript lies in, 0 for none."""
        marks = self._encounter.visit.marks if self._encounter is not None else ()
        found = row_range(self._rows, Place(marks[index].start, marks[index].end)) if index < len(marks) else None
        return found[0] if found else 0

    def select_row(self, number: int) -> None:
        """Show which lines of the note stand on a row; the same row again lets it go."""
        self._row = 0 if number == self._row else number
        self._selected, self._lit = "", (0, -1)
        self.refresh()

    # ---- the draft ------------------------------------------------------------------------------------------

    def draft(self) -> None:
        """Ask the model for a draft; asks first when a draft is already there."""
        if self.view.draft_reason or self.view.drafting is not None:
            return
        note = self._encounter.note if self._encounter is not None else None
        if note is not None and note.run is not None:
            self._ask = "redraft"
            self.refresh()
        else:
            self.draft_now()

    def draft_now(self) -> None:
        """Begin the run."""
        self._ask = ""
        self._try(self.workspace.runs.start_note)
        self.update()

    def stop(self) -> None:
        """Stop it, in this frame. Nothing of it is added."""
        self.workspace.runs.stop()
        self.update()

    def dismiss_status(self) -> None:
        """A person has read the engine's words."""
        self.workspace.runs.dismiss(TASK)
        self.update()

    def retry(self) -> None:
        """Start the engine again after it ended."""
        self._try(self.workspace.runs.restart, TASK)
        self.update()

    # ---- the lines ------------------------------------------------------------------------------------------

    def select_line(self, line_id: str) -> None:
        """Light the rows that a line stands on and show the first of them; the same line again lets it go."""
        self._row = 0
        card = next((one for section in self.view.sections for one in section.lines if one.id == line_id), None)
        if card is None or line_id == self._selected:
            self._selected, self._lit = "", (0, -1)
        else:
            self._selected = line_id
            self._lit = (card.links[0].first, card.links[0].last) if card.links else (0, -1)
        self.refresh()
        if self._lit[1] > 0 and self.on_row is not None:
            self.on_row(self._lit[0])

    def keep(self, line_id: str) -> None:
        """The line is right."""
        self._edit(edits.set_line_status, line_id, LineStatus.KEPT)

    def remove(self, line_id: str) -> None:
        """The line does not belong into the note. It stays in sight, struck out, and can come back."""
        self._edit(edits.set_line_status, line_id, LineStatus.REMOVED)

    def reopen(self, line_id: str) -> None:
        """Take back what was decided: the line is as drafted and waits again."""
        line = next((one for one in self._note_lines() if one.id == line_id), None)
        if line is None:
            return
        if line.draft_text and line.text != line.draft_text:
            self._edit(edits.edit_line, line_id, line.draft_text)
        self._edit(edits.set_line_status, line_id, LineStatus.OPEN)

    def edit_line(self, line_id: str, text: str) -> None:
        """The clinician's words in place of the draft's; without words the line is removed."""
        words = " ".join(text.split())
        if not words:
            self.remove(line_id)
        elif any(one.id == line_id and one.text != words for one in self._note_lines()):
            self._edit(edits.edit_line, line_id, words)

    def hold_line(self, line_id: str, text: str) -> None:
        """Words of a line that were half typed when the screen locked: kept, and still to be decided."""
        self.edit_line(line_id, text)
        if any(one.id == line_id for one in self._note_lines()):
            self._edit(edits.set_line_status, line_id, LineStatus.OPEN)

    def confirm_mark(self, line_id: str, index: int) -> None:
        """A tap on a number, drug, negation or side of a line: it is right."""
        self._edit(edits.confirm_mark, line_id, index)

    def add_line(self, section: str, text: str) -> None:
        """The clinician's own line at the end of a section."""
        words = " ".join(text.split())
        if words:
            self._edit(edits.add_line, section, words, self.workspace.services.new_id())

    def undo(self) -> None:
        """Take the last change back, of the transcript or of the note."""
        self._try(self.workspace.undo)
        self.update()

    def redo(self) -> None:
        """Make it again."""
        self._try(self.workspace.redo)
        self.update()

    def show(self, ref: Ref) -> None:
        """Come here from another screen: to a place of the transcript, or to a line (kind 'line') of the note."""
        if ref.kind == "line":
            self._selected = ""
            self.select_line(ref.key)
            if self.on_line is not None:
                self.on_line(ref.key)
            return
        found = row_range(self._rows, Place(ref.start, ref.end))
        if ref.kind == "transcript" and found:
            self._selected, self._row, self._lit = "", 0, found
            self.refresh()
            if self.on_row is not None:
                self.on_row(found[0])

    # ---- the snapshot ---------------------------------------------------------------------------------------

    @property
    def _encounter(self) -> Encounter | None:
        return self.workspace.encounter

    def update(self) -> None:
        """Take over what the desk holds now."""
        encounter = self._encounter
        if (encounter.id if encounter else "") != self._encounter_id:
            self._encounter_id = encounter.id if encounter else ""
            self._cards = ((), ())
            self._selected, self._row, self._lit = "", 0, (0, -1)
            self._ask, self._waiting_text, self._message = "", "", ""
        text = encounter.visit.text if encounter else ""
        if (text is not self._text and text != self._text) or not self._sha256:
            self._rows, self._sha256 = rows_of(text), hashlib.sha256(text.encode()).hexdigest()
            self._lit, self._row = (0, -1), 0
        self._text = text
        self.refresh()

    def make_view(self) -> NoteView:
        """See Presenter."""
        encounter = self._encounter
        if encounter is None:
            return NoteView()
        note = encounter.note
        stale = note is not None and note.run is not None and note.transcript_sha256 != self._sha256
        cards = self._sections(note, stale)
        lines = [line for card in cards for line in card.lines]
        engine = self.workspace.runs.view(TASK)
        marks = open_marks(encounter.visit.text, encounter.visit.marks)
        return NoteView(
            open=True,
            read_only=encounter.state is EncounterState.SIGNED,
            rows=self._rows,
            visit_marks=marks,
            visit=encounter.visit,
            lit_rows=self._lit,
            selected_row=self._row,
            row_uses=sum(line.uses_row for line in lines),
            sections=cards,
            has_note=note is not None and bool(note.lines or note.run),
            open_lines=sum(line.status is LineStatus.OPEN for line in lines),
            to_confirm=sum(len(line.to_confirm) for line in lines),
            stale=stale,
            withheld=note.withheld if note is not None else 0,
            notices=notices_of(note),
            drafting=self._drafting(encounter),
            status=status_lines(engine),
            draft_word=tr("note.redraft") if note is not None and note.run is not None else tr("note.draft"),
            draft_reason=self._reason(encounter, engine),
            ask=self._ask,
            message=self._message,
            can_undo=self.workspace.can_undo,
            can_redo=self.workspace.can_redo,
        )

    def _sections(self, note: Note | None, stale: bool) -> tuple[SectionCard, ...]:
        """The note's sections; made once for all the pieces that the model writes beside them."""
        key = (note, self._rows, stale, self._selected, self._row)
        # By identity: encounters are values that are never changed, and comparing whole notes costs as much.
        if len(self._cards[0]) != len(key) or any(a is not b for a, b in zip(key, self._cards[0], strict=True)):
            cards = section_cards(note, self._rows, stale=stale, selected=self._selected, row=self._row)
            self._cards = (key, cards)
        return self._cards[1]

    def _drafting(self, encounter: Encounter) -> Drafting | None:
        streaming = self.workspace.streaming
        if streaming is None or streaming.task != TASK or streaming.encounter_id != encounter.id:
            return None
        lines = tuple(
            DraftingLine(
                str(line.get("section", "")),
                str(line.get("text", "")),
                Origin(str(line.get("origin", Origin.MODEL))),
                bool(line.get("evidence")),
            )
            for line in streaming.lines
        )
        return Drafting(streaming.run_id, streaming.part, streaming.parts, streaming.text, lines)

    def _reason(self, encounter: Encounter, engine: EngineView) -> str:
        """Why no draft can be asked for now, in words."""
        facts = self.workspace.facts(TASK)
        if encounter.state is EncounterState.SIGNED:
            return tr("note.signed")
        if TASK not in self.workspace.services.engines or (facts is not None and TASK not in facts.tasks):
            return tr("note.engine_none")
        if engine.status in OFF:
            key, values = status_key(engine)
            return tr(key, **values)
        if not encounter.visit.text.strip():
            return tr("note.need_transcript")
        streaming = self.workspace.streaming
        return tr("note.busy_other") if streaming is not None and streaming.task != TASK else ""

    def _note_lines(self) -> tuple[Any, ...]:
        encounter = self._encounter
        return encounter.note.lines if encounter is not None and encounter.note is not None else ()

    def _set_visit(self, visit: VisitText) -> None:
        self._edit(edits.set_visit, visit)

    def _edit(self, function: Callable[..., Encounter], *args: Any) -> None:
        self._try(self.workspace.edit, function, *args)
        self.update()

    def _try(self, function: Callable[..., Any], *args: Any) -> None:
        self._message = ""
        try:
            function(*args)
        except EdgeError as error:
            self._message = said(error)

    def _say(self, words: str) -> None:
        self._message = words
        self.refresh()
