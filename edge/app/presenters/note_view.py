"""The note screen as frozen values, and the pure functions that make them from an encounter. No Kivy, no workspace."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.app.engine.state import DISMISSABLE, EngineView, overlays, status_key
from edge.app.i18n import tr
from edge.app.presenters.note_text import MarkItem, Row, Segment, row_range, segments
from edge.clinical.encounter import checks
from edge.clinical.encounter.model import LineStatus, Note, NoteLine, Origin, VisitText
from edge.clinical.sections import SECTIONS

# S, O, A, P: which section stands below which heading of a SOAP note.
GROUPS: dict[str, tuple[str, ...]] = {
    "s": ("CC", "HPI", "HISTORY", "SOCIAL", "MEDICATIONS", "ALLERGIES", "ROS"),
    "o": ("VITALS", "EXAM", "RESULTS"),
    "a": ("ASSESSMENT",),
    "p": ("PLAN",),
}
RETRY = ("died", "low_memory")
TONES = {"streaming": "busy", "loading": "busy", "done": "good", "mismatch": "danger", "untrusted": "danger"}
GROUP_OF = {section: group for group, sections in GROUPS.items() for section in sections}


@dataclass(frozen=True)
class Link:
    """Rows first..last of the transcript that a note line stands on."""

    first: int
    last: int


@dataclass(frozen=True)
class LineCard:
    """One line of the note. linked: it has evidence. stale: the transcript changed after it was drafted. was: the
    draft's words when a person changed them, else ''. uses_row: the row that is selected is among its evidence."""

    id: str
    section: str
    text: str = field(repr=False)
    segments: tuple[Segment, ...] = field(default=(), repr=False)
    to_confirm: tuple[MarkItem, ...] = field(default=(), repr=False)
    origin: Origin = Origin.MODEL
    status: LineStatus = LineStatus.OPEN
    links: tuple[Link, ...] = ()
    linked: bool = True
    stale: bool = False
    was: str = field(default="", repr=False)
    selected: bool = False
    uses_row: bool = False


@dataclass(frozen=True)
class SectionCard:
    """A section with its lines. group: s, o, a or p."""

    section: str
    group: str
    lines: tuple[LineCard, ...] = ()

    @property
    def key(self) -> str:
        """Its heading in the catalogue."""
        return f"note.section_{self.section.lower()}"


@dataclass(frozen=True)
class DraftingLine:
    """A line that passed the fact check while the model still writes: for reading only."""

    section: str
    text: str = field(repr=False)
    origin: Origin = Origin.MODEL
    linked: bool = True


@dataclass(frozen=True)
class Drafting:
    """What the model writes now. text: as it comes, unchecked."""

    run_id: str
    part: int
    parts: int
    text: str = field(repr=False)
    lines: tuple[DraftingLine, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class StatusLine:
    """What the engine says. tone: busy, good, warning or danger; dismissable: a tap lets it go; retry: a tap starts the
    engine again."""

    words: str
    tone: str = "busy"
    dismissable: bool = False
    retry: bool = False


@dataclass(frozen=True)
class NoteView:
    """The whole screen. lit_rows: first and last row of the selected line, (0, -1) for none. to_confirm: numbers and
    drugs of the note's lines that wait for a tap. ask: what waits for an answer: '', redraft or replace. draft_reason:
    why no draft can be asked for now, '' when it can. message: words for the last tap that could not be done."""

    open: bool = False
    read_only: bool = False
    rows: tuple[Row, ...] = field(default=(), repr=False)
    visit_marks: tuple[MarkItem, ...] = field(default=(), repr=False)
    visit: VisitText = field(default=VisitText(), repr=False)
    lit_rows: tuple[int, int] = (0, -1)
    selected_row: int = 0
    row_uses: int = 0
    sections: tuple[SectionCard, ...] = field(default=(), repr=False)
    has_note: bool = False
    open_lines: int = 0
    to_confirm: int = 0
    stale: bool = False
    withheld: int = 0
    notices: tuple[str, ...] = ()
    drafting: Drafting | None = None
    status: tuple[StatusLine, ...] = ()
    draft_word: str = ""
    draft_reason: str = ""
    ask: str = ""
    message: str = ""
    can_undo: bool = False
    can_redo: bool = False


def section_cards(
    note: Note | None, rows: tuple[Row, ...], *, stale: bool, selected: str, row: int
) -> tuple[SectionCard, ...]:
    """Every section in the note's order, those without lines too: a person may add a line to each."""
    lines = note.lines if note is not None else ()
    return tuple(
        SectionCard(
            section,
            GROUP_OF.get(section, "s"),
            tuple(
                line_card(line, rows, stale=stale, selected=selected, row=row)
                for line in lines
                if line.section == section
            ),
        )
        for section in SECTIONS
    )


def line_card(line: NoteLine, rows: tuple[Row, ...], *, stale: bool, selected: str, row: int) -> LineCard:
    """A line as its card. A link counts only while the transcript is the one that it was drafted from."""
    written = line.origin is Origin.CLINICIAN
    ranges = () if stale else tuple(found for place in line.evidence if (found := row_range(rows, place)))
    links = _merged(ranges)
    return LineCard(
        id=line.id,
        section=line.section,
        text=line.text,
        segments=segments(line.text, line.marks, 0, _tapped_kinds(line)),
        to_confirm=() if line.status is LineStatus.REMOVED else _taps(line),
        origin=line.origin,
        status=line.status,
        links=links,
        # What a person wrote is theirs to answer for: it needs no line of the transcript.
        linked=bool(line.evidence) or written,
        stale=stale and bool(line.evidence),
        was=line.draft_text if line.draft_text and line.draft_text != line.text else "",
        selected=line.id == selected,
        uses_row=bool(row) and any(link.first <= row <= link.last for link in links),
    )


def _tapped_kinds(line: NoteLine) -> frozenset[str]:
    return checks.LINE_TAPS if line.origin is Origin.MODEL else frozenset()


def _taps(line: NoteLine) -> tuple[MarkItem, ...]:
    """The marks of a line that wait for a tap: those that signing waits for."""
    wanted = checks.open_marks(line)
    return tuple(
        MarkItem(index, mark.kind, " ".join(line.text[mark.start : mark.end].split()))
        for index, mark in enumerate(line.marks)
        if mark in wanted
    )


def _merged(ranges: tuple[tuple[int, int], ...]) -> tuple[Link, ...]:
    """Ranges in order; those that touch become one."""
    out: list[Link] = []
    for first, last in sorted(set(ranges)):
        if out and first <= out[-1].last + 1:
            out[-1] = Link(out[-1].first, max(last, out[-1].last))
        else:
            out.append(Link(first, last))
    return tuple(out)


def notice_words(message: str) -> str:
    """A rule's notice in the reader's language where the catalogue has it, else the words as they came."""
    from edge.clinical.notices import MESSAGES

    for code, known in MESSAGES.items():
        if message in (code, known):
            return tr(f"note.notice_{code.replace('-', '_')}")
    return message


def notices_of(note: Note | None) -> tuple[str, ...]:
    """What rules say of the visit that the note was drafted from."""
    return tuple(notice_words(message) for message in note.notices) if note is not None else ()


def status_lines(engine: EngineView) -> tuple[StatusLine, ...]:
    """The engine's words, most important first. At rest it says nothing."""
    found = []
    if engine.status != "idle":
        key, values = status_key(engine)
        can_dismiss = engine.status in DISMISSABLE and not engine.busy
        tone = TONES.get(engine.status, "warning")
        found.append(StatusLine(tr(key, **values), tone, can_dismiss, engine.status in RETRY))
    for key, values in overlays(engine):
        words = tr(key, **values)
        if not any(one.words == words for one in found):
            found.append(StatusLine(words, "warning"))
    return tuple(found)
