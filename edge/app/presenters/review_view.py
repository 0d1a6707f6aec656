"""The review screen as frozen values, and the pure functions that make them from an encounter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.app.i18n import tr, tr_n
from edge.clinical.encounter.checks import Block
from edge.clinical.encounter.model import (
    Encounter,
    LineStatus,
    NoteLine,
    Origin,
    Presence,
    Ref,
)
from edge.clinical.encounter.note_diff import diff_words
from edge.clinical.encounter.summary import display_age, encounter_day, masked_mrn
from edge.clinical.encounter.vitals import VITALS
from edge.clinical.sections import SECTIONS

if TYPE_CHECKING:
    from edge.clinical.encounter.flags import Flag

DIGEST_SHOWN = 12
SCREENS = {"finding": "exam", "history": "exam", "vital": "exam", "eye": "eye", "patient": "worklist"}
GROUPS = {"worklist": "patient", "exam": "exam", "eye": "eye", "note": "note"}
ICONS = {
    "patient-name": "account",
    "allergies": "alert",
    "nothing": "stethoscope",
    "line-open": "note",
    "line-unlinked": "link-off",
    "speech-item": "microphone",
    "speech-vital": "microphone",
}


@dataclass(frozen=True)
class Piece:
    """Words of a line. op: same, added or removed."""

    op: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class ChangedLine:
    """A line against its draft. tag: kept, edited, added, removed or open."""

    id: str
    pieces: tuple[Piece, ...] = field(repr=False)
    tag: str = "kept"
    origin: Origin = Origin.MODEL

    @property
    def changed(self) -> bool:
        """Whether it differs from what was drafted."""
        return self.tag in ("edited", "added", "removed")


@dataclass(frozen=True)
class ChangedSection:
    """A section with its lines; none without lines is made."""

    section: str
    title: str
    lines: tuple[ChangedLine, ...]


@dataclass(frozen=True)
class Item:
    """Something to settle. ref: where; screen: the one that shows it; group: patient, exam, eye or note."""

    number: int
    words: str = field(repr=False)
    icon: str = "alert-circle"
    screen: str = "note"
    ref: Ref = field(default=Ref("transcript"))

    @property
    def group(self) -> str:
        """Which group it stands in."""
        return GROUPS.get(self.screen, "note")


@dataclass(frozen=True)
class SummaryRow:
    """A name with its words. tone: '' plain, danger, warning or support; icon: beside words that have a tone."""

    name: str
    words: tuple[str, ...] = field(repr=False)
    tone: str = ""
    icon: str = ""


@dataclass(frozen=True)
class Signed:
    """The signature, and whether the content still is what was signed."""

    by: str
    at: str
    content_sha256: str
    digests: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class Exported:
    """A file that was written, or why none was. kind: fhir or pdf."""

    kind: str
    path: str = field(default="", repr=False)
    sha256: str = ""
    error: str = ""


@dataclass(frozen=True)
class ReviewView:
    """The whole screen. reason: why it cannot be signed now, '' when it can. pin_typed: how many characters; pin_error,
    checking: words of the sign dialog; pin_keyboard: it has a field for a passphrase instead of the pad. exporting: the
    kind that is being written, '' for none."""

    open: bool = False
    sections: tuple[ChangedSection, ...] = field(default=(), repr=False)
    only_changes: bool = False
    changed_lines: int = 0
    has_note: bool = False
    items: tuple[Item, ...] = field(default=(), repr=False)
    summary: tuple[SummaryRow, ...] = field(default=(), repr=False)
    signer: str = ""
    reason: str = ""
    signing: bool = False
    pin_typed: int = 0
    pin_error: str = ""
    pin_keyboard: bool = False
    checking: str = ""
    signed: Signed | None = None
    with_transcript: bool = False
    has_transcript: bool = False
    paper: str = "A4"
    exporting: str = ""
    exported: Exported | None = None


def changed_line(line: NoteLine) -> ChangedLine:
    """A line against its draft. A removed line is shown as taken out, whatever its words were."""
    if line.status is LineStatus.REMOVED:
        return ChangedLine(line.id, (Piece("removed", line.draft_text or line.text),), "removed", line.origin)
    if not line.draft_text:
        return ChangedLine(line.id, (Piece("added", line.text),), "added", line.origin)
    if line.text != line.draft_text:
        pieces = tuple(Piece(_op(op), text) for op, text in diff_words(line.draft_text, line.text) if text)
        return ChangedLine(line.id, pieces, "edited", line.origin)
    tag = "open" if line.status is LineStatus.OPEN else "kept"
    return ChangedLine(line.id, (Piece("same", line.text),), tag, line.origin)


def _op(op: str) -> str:
    return {"equal": "same", "same": "same", "insert": "added", "added": "added"}.get(op, "removed")


def changed_sections(encounter: Encounter, *, only_changes: bool) -> tuple[ChangedSection, ...]:
    """The note's sections with their lines, all or only those that differ from the draft."""
    lines = encounter.note.lines if encounter.note is not None else ()
    out = []
    for section in SECTIONS:
        found = tuple(changed_line(line) for line in lines if line.section == section)
        found = tuple(line for line in found if line.changed or not only_changes)
        if found:
            out.append(ChangedSection(section, tr(f"note.section_{section.lower()}"), found))
    return tuple(out)


def item_of(number: int, block: Block, encounter: Encounter) -> Item:
    """A reason against signing as something to tap."""
    words = tr(block.message_key, **_shown(block))
    screen = SCREENS.get(block.kind, "note")
    if block.kind == "visit":
        marks = encounter.visit.marks
        index = int(block.key)
        mark = marks[index] if index < len(marks) else None
        ref = Ref("transcript", "", mark.start, mark.end) if mark else Ref("transcript")
        return Item(number, words, "microphone", screen, ref)
    if block.kind == "line":
        line = next((one for one in encounter.note.lines if one.id == block.key), None) if encounter.note else None
        if line is not None and block.code.startswith("line-"):
            words = f"{tr(f'note.section_{line.section.lower()}')}: {words}"
    return Item(number, words, ICONS.get(block.code, "alert-circle"), screen, Ref(block.kind, block.key))


def _shown(block: Block) -> dict[str, str]:
    """Values of a reason; a vital sign by its name in the language in use."""
    values = dict(block.values)
    if "vital" in values:
        values["vital"] = tr(f"exam.vital_{values['vital']}")
    return values


def summary_rows(encounter: Encounter, flags: Sequence[Flag]) -> tuple[SummaryRow, ...]:
    """What will be signed, in short."""
    who = encounter.patient
    age = display_age(who, encounter_day(encounter))
    sex = tr(f"review.sex_{who.sex or 'unknown'}")
    years = tr("review.age_years", count=age) if age.isdigit() else age
    mrn = f"MRN {masked_mrn(who.mrn)}" if who.mrn else ""
    rows = [SummaryRow(tr("review.patient"), (" · ".join(one for one in (who.name, sex, years, mrn) if one),))]
    rows.append(_allergies(encounter))
    titles = tuple(flag.title for flag in flags)
    rows.append(
        SummaryRow(tr("review.red_flags"), titles, "danger", "alert-octagon")
        if titles
        else SummaryRow(tr("review.red_flags"), (tr("review.red_flags_none"),))
    )
    found = [*encounter.findings, *encounter.history]
    counts = {one: sum(item.presence is one for item in found) for one in Presence}
    words = tr("review.findings_words", present=counts[Presence.PRESENT], absent=counts[Presence.ABSENT])
    rows.append(SummaryRow(tr("review.findings"), (words,)))
    rows.append(SummaryRow(tr("review.vitals"), (_vitals(encounter),)))
    pinned = [row for row in (encounter.differential.rows if encounter.differential else ()) if row.pinned]
    options = tuple(
        " ".join(part for part in (row.name, row.eye or "", row.icd10) if part)
        + (f", {tr('review.score', score=f'{row.score:.2f}')}" if row.score else "")
        for row in pinned
    )
    rows.append(SummaryRow(tr("review.differential"), options or (tr("review.differential_none"),)))
    kept = [line for line in (encounter.note.lines if encounter.note else ()) if line.status is not LineStatus.REMOVED]
    rows.append(
        SummaryRow(tr("review.note"), (tr_n("review.note_words", len(kept)) if kept else tr("review.note_none"),))
    )
    rows.append(_models(encounter))
    return tuple(rows)


def _allergies(encounter: Encounter) -> SummaryRow:
    who = encounter.patient
    if who.allergies:
        return SummaryRow(tr("review.allergies"), (", ".join(who.allergies),), "danger", "alert")
    if who.allergies_asked:
        return SummaryRow(tr("review.allergies"), (tr("review.allergies_none"),))
    return SummaryRow(tr("review.allergies"), (tr("review.allergies_not_asked"),), "warning", "help-circle")


def _vitals(encounter: Encounter) -> str:
    """Measured values with their units."""
    shown = []
    for vital in encounter.vitals:
        spec = VITALS.get(vital.name)
        if spec is not None:
            shown.append(f"{tr(f'exam.vital_{vital.name}')} {vital.value:.{spec.decimals}f} {spec.unit}".strip())
    return " · ".join(shown) or tr("review.vital_missing")


def _models(encounter: Encounter) -> SummaryRow:
    """Which builds wrote something that is in the encounter."""
    parts = (encounter.note, encounter.differential)
    stamps = {part.run.behaviour_digest: part.run for part in parts if part is not None and part.run is not None}
    words = tuple(
        f"{stamp.bundle} {digest[:DIGEST_SHOWN]}, " + tr("review.verified" if stamp.verified else "review.not_verified")
        for digest, stamp in stamps.items()
    )
    if not words:
        return SummaryRow(tr("review.models"), (tr("review.models_none"),))
    doubt = any(not stamp.verified for stamp in stamps.values())
    return SummaryRow(tr("review.models"), words, "warning" if doubt else "", "shield-alert" if doubt else "")
