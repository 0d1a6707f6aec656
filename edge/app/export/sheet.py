"""What stands on the print, without how it is drawn: headings, lines with their marks, tables, in the reader's words.

A draft shows the lines that nobody has checked yet, each marked so; a signed print has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.app.i18n import DEFAULT, Translator
from edge.clinical.encounter.eye_fields import eye_fields
from edge.clinical.encounter.model import (
    Encounter,
    EncounterState,
    EyeSide,
    FoundItem,
    LineStatus,
    NoteLine,
    Origin,
    Presence,
)
from edge.clinical.encounter.vitals import VITALS
from edge.clinical.sections import SECTIONS

Words = Callable[..., str]  # as edge.app.i18n.tr
HEADER_NAME = 50
SOAP = (
    ("subjective", ("CC", "HPI", "HISTORY", "SOCIAL", "MEDICATIONS", "ALLERGIES", "ROS")),
    ("objective", ("VITALS", "EXAM", "RESULTS")),
    ("assessment", ("ASSESSMENT",)),
    ("plan", ("PLAN",)),
)


@dataclass(frozen=True)
class FlagRow:
    """A red flag of the rules. title: what it may mean; source: the guideline."""

    title: str
    source: str


@dataclass(frozen=True)
class Line:
    """One line. mark: who wrote it, '' for a person; places: of the transcript, '' when not asked for."""

    text: str = field(repr=False)
    mark: str = ""
    places: str = ""
    heading: bool = False


@dataclass(frozen=True)
class Table:
    """head: the first row. widths: shares of the page."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(repr=False)
    widths: tuple[float, ...]
    caption: str = ""


@dataclass(frozen=True)
class Block:
    """A heading with what is under it."""

    title: str
    body: tuple[Line | Table, ...] = field(repr=False)


@dataclass(frozen=True)
class Sheet:
    """A whole print. header: on every page; banner: 'not signed' or ''; footer: the digests."""

    header: str = field(repr=False)
    banner: str
    blocks: tuple[Block, ...] = field(repr=False)
    footer: str
    machine: bool


def sheet(
    enc: Encounter,
    flags: Sequence[FlagRow],
    *,
    language: str = DEFAULT,
    evidence: bool = False,
    audit_head: str = "",
) -> Sheet:
    """The print of an encounter. evidence: each line says where in the transcript it comes from. audit_head: hash of
    the audit log's last entry, which vouches on paper for all entries up to it; '' leaves it out.
    """
    tr = words_in(language)
    final = enc.state is EncounterState.SIGNED and enc.signature is not None
    blocks = [
        # Once more in full: the header has two lines, and a long name or list of allergies has more.
        Block("", (Line(_patient(enc, tr) if len(enc.patient.name) > HEADER_NAME else _allergies(enc, tr)),)),
        _flags(flags, tr),
        *_note(enc, tr, final, evidence),
        _found(enc, tr),
        _vitals(enc, tr),
        _eye(enc, tr, language),
        _differential(enc, tr),
        _signature(enc, tr, final, audit_head),
    ]
    lines = _lines(enc, final)
    machine = any(line.origin in (Origin.MODEL, Origin.QUOTE) for line in lines)
    if machine:
        who = enc.signature.by if final and enc.signature else ""
        told = tr("print.machine_checked", by=who) if who else tr("print.machine_unchecked")
        blocks.insert(0, Block("", (Line(told),)))
    return Sheet(
        header=_patient(enc, tr, HEADER_NAME),
        banner="" if final else tr("print.not_signed"),
        blocks=tuple(block for block in blocks if block.body),
        footer=_footer(enc, tr),
        machine=machine,
    )


def words_in(language: str) -> Words:
    """The catalogue of a language, whichever the app shows at the moment."""
    translator = Translator(language)
    return lambda key, **values: translator.text(key, values)


def _known(tr: Words, key: str, otherwise: str) -> str:
    """A word of the catalogue; what it does not know is printed as it is."""
    found = tr(key)
    return otherwise if found == key else found


def _patient(enc: Encounter, tr: Words, most: int = 10_000) -> str:
    """Who it is, in one line. most: characters of the name, so that the number after it keeps its place."""
    known = enc.patient
    name = known.name if len(known.name) <= most else f"{known.name[: most - 3]}..."
    parts = [name or tr("print.no_name")]
    if known.birth_date:
        parts.append(tr("print.born", date=known.birth_date))
    elif known.age_years is not None:
        parts.append(tr("print.age", years=known.age_years))
    if known.sex:
        parts.append(tr(f"print.sex_{known.sex}") if known.sex in ("female", "male", "other") else known.sex)
    if known.mrn:
        parts.append(tr("print.mrn", mrn=known.mrn))
    if known.bed:
        parts.append(tr("print.bed", bed=known.bed))
    return "  |  ".join([*parts, _allergies(enc, tr)])


def _allergies(enc: Encounter, tr: Words) -> str:
    known = enc.patient
    if known.allergies:
        return tr("print.allergies", names=", ".join(known.allergies))
    return tr("print.allergies_none") if known.allergies_asked else tr("print.allergies_not_asked")


def _footer(enc: Encounter, tr: Words) -> str:
    runs = [part.run for part in (enc.note, enc.differential) if part and part.run]
    digests = tuple(dict.fromkeys(run.behaviour_digest[:16] for run in runs if run.behaviour_digest))
    parts = [tr("print.encounter", id=enc.id[:8])]
    if digests:
        parts.append(tr("print.builds", digests=", ".join(digests)))
    if not all(run.verified for run in runs):
        parts.append(tr("print.unverified"))
    return "  |  ".join(parts)


def _flags(flags: Sequence[FlagRow], tr: Words) -> Block:
    rows = tuple(Line(tr("print.flag", title=one.title, source=one.source)) for one in flags)
    return Block(tr("print.flags"), (Line(tr("print.flags_by_rules")), *rows) if rows else ())


def _lines(enc: Encounter, final: bool) -> list[NoteLine]:
    """Lines that are printed: decided ones, and in a draft those that are still open."""
    wanted = {LineStatus.KEPT, LineStatus.EDITED} | (set() if final else {LineStatus.OPEN})
    return [line for line in enc.note.lines if line.status in wanted] if enc.note else []


def _note(enc: Encounter, tr: Words, final: bool, evidence: bool) -> list[Block]:
    lines = _lines(enc, final)
    blocks = []
    for name, keys in SOAP:
        body: list[Line | Table] = []
        for key in keys:
            own = [_line(enc, line, tr, evidence) for line in lines if line.section == key]
            if own and len(keys) > 1:
                body.append(Line(tr(f"print.section_{key.lower()}"), heading=True))
            body += own
        blocks.append(Block(tr(f"print.{name}"), tuple(body)))
    others = tuple(_line(enc, line, tr, evidence) for line in lines if line.section not in SECTIONS)
    return [*blocks, Block(tr("print.other"), others)]


def _line(enc: Encounter, line: NoteLine, tr: Words, evidence: bool) -> Line:
    marks = []
    if line.origin is Origin.MODEL:
        marks.append(tr("print.mark_edited") if line.status is LineStatus.EDITED else tr("print.mark_model"))
    elif line.origin is Origin.QUOTE:
        marks.append(tr("print.mark_quote"))
    elif line.origin is Origin.SPEECH:
        marks.append(tr("print.mark_speech"))
    if line.status is LineStatus.OPEN:
        marks.append(tr("print.mark_open"))
    places = ""
    if evidence and line.origin is not Origin.CLINICIAN:
        numbers = sorted({enc.visit.text.count("\n", 0, place.start) + 1 for place in line.evidence})
        places = tr("print.lines", numbers=", ".join(map(str, numbers))) if numbers else tr("print.no_evidence")
    return Line(line.text, ", ".join(marks), places)


def _item(item: FoundItem, tr: Words) -> str:
    eye = f" {item.eye.value}" if item.eye else ""
    return f"{item.name}{eye}: {tr('print.' + item.presence.value)}"


def _found(enc: Encounter, tr: Words) -> Block:
    body: list[Line | Table] = []
    for name, items in (("findings", enc.findings), ("history", enc.history)):
        told = [_item(one, tr) for one in items if one.confirmed and one.presence is not Presence.UNKNOWN]
        if told:
            body += [Line(tr(f"print.{name}"), heading=True), *map(Line, told)]
    return Block(tr("print.found"), tuple(body))


def _vitals(enc: Encounter, tr: Words) -> Block:
    rows = []
    for one in enc.vitals:
        if one.confirmed:
            unit = VITALS[one.name].unit if one.name in VITALS else ""
            name = _known(tr, f"print.vital_{one.name}", one.name)
            rows.append((name, f"{one.value:g}{'' if unit.startswith('/') else ' '}{unit}".strip()))
    head = (tr("print.vital"), tr("print.value"))
    return Block(tr("print.vitals"), (Table(head, tuple(rows), (0.5, 0.5)),) if rows else ())


def _eye(enc: Encounter, tr: Words, language: str) -> Block:
    right, left = _side(enc.eye.od, tr, language), _side(enc.eye.os, tr, language)
    if not any((*right.values(), *left.values())):
        return Block("", ())
    rows = tuple(
        (name, right.get(name) or tr("print.not_examined"), left.get(name) or tr("print.not_examined"))
        for name in dict.fromkeys((*right, *left))
        if right.get(name) or left.get(name)
    )
    head = (tr("print.eye_field"), tr("print.od"), tr("print.os"))
    return Block(tr("print.eye"), (Table(head, rows, (0.24, 0.38, 0.38)),))


def _side(side: EyeSide, tr: Words, language: str) -> dict[str, str]:
    """Field in words -> value in words, '' where it was not examined."""
    correction = _known(tr, f"print.va_{side.va_correction}", side.va_correction) if side.va_correction else ""
    va = side.va and side.va + (f" ({correction})" if correction else "")
    method = _known(tr, f"print.iop_{side.iop_method.replace('-', '_')}", side.iop_method) if side.iop_method else ""
    method = f" ({method})" if method else ""
    iop = "" if side.iop_mmhg is None else f"{side.iop_mmhg:g} mmHg{method}"
    size = "" if side.pupil_mm is None else f"{side.pupil_mm:g} mm"
    reaction = _known(tr, f"print.pupil_{side.pupil_reaction}", side.pupil_reaction) if side.pupil_reaction else ""
    rapd = "" if side.rapd is Presence.UNKNOWN else tr("print." + side.rapd.value)
    told = {
        tr("print.va"): va,
        tr("print.iop"): iop,
        tr("print.pupil"): ", ".join(one for one in (size, reaction) if one),
        tr("print.rapd"): rapd,
    }
    for part, found in (("slit_lamp", side.slit_lamp), ("fundus", side.fundus)):
        for key, words in found.items():
            known = eye_fields().get(f"{part}.{key}")
            name = known.label(language) if known else key.replace("_", " ")
            told[f"{tr('print.' + part)}: {name}"] = known.show(words, language) if known else words
    return told


def _differential(enc: Encounter, tr: Words) -> Block:
    if enc.differential is None:
        return Block("", ())
    rows = []
    for row in enc.differential.rows:
        # What was signed is what the review showed: the options that the clinician pinned, not all that were ranked.
        if row.dismissed or (enc.signature is not None and not row.pinned):
            continue
        name = row.name + (f" {row.eye.value}" if row.eye else "")
        if row.pinned:
            name += f" ({tr('print.pinned')})"
        told = [
            tr(f"print.{kind}", words="; ".join(words))
            for kind, words in (
                ("supports", [one.text for one in row.supports]),
                ("against", [one.text for one in row.against]),
                ("missing", list(row.missing)),
            )
            if words
        ]
        rows.append((name, row.icd10, f"{row.score:.2f}", " ".join(told)))
    if not rows:
        return Block("", ())
    head = (tr("print.option"), "ICD-10-CM", tr("print.score"), tr("print.why"))
    table = Table(head, tuple(rows), (0.28, 0.13, 0.13, 0.46), tr("print.not_probability"))
    return Block(tr("print.differential"), (table,))


def _signature(enc: Encounter, tr: Words, final: bool, audit_head: str) -> Block:
    log = (Line(tr("print.audit_head", digest=audit_head)),) if audit_head else ()
    if not final or enc.signature is None:
        return Block(tr("print.signature"), (Line(tr("print.not_signed")), *log))
    found = enc.signature
    body = [
        Line(tr("print.signed_by", by=found.by)),
        Line(tr("print.signed_at", at=found.at)),
        Line(tr("print.content_sha256", digest=found.content_sha256)),
        *(Line(tr("print.behaviour_digest", digest=one)) for one in found.behaviour_digests),
        *log,
    ]
    return Block(tr("print.signature"), tuple(body))
