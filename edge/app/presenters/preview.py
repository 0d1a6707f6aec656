"""What the worklist says of the visit that is looked at, without opening it: counts, red flags, last change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from edge.app.i18n import tr, tr_n
from edge.app.presenters.when import when_words
from edge.app.presenters.worklist_rows import name_words, person_words
from edge.clinical.encounter.model import Encounter, EncounterState, EyeSide, LineStatus, Presence

if TYPE_CHECKING:
    from edge.clinical.encounter.flags import Flag
    from edge.clinical.encounter.summary import Summary


@dataclass(frozen=True)
class Fact:
    """One line of the preview: icon, label, words. tone: '' or a colour pair that means the same as the words."""

    icon: str
    label: str
    words: str = field(repr=False)
    tone: str = ""


@dataclass(frozen=True)
class PreviewWords:
    """The preview. loading: the visit is being read, facts come in a moment. editable: the patient data may be."""

    id: str
    name: str = field(repr=False)
    detail: str = field(repr=False)
    state: str
    state_words: str
    changed: str
    loading: bool = True
    editable: bool = True
    opened: bool = False
    facts: tuple[Fact, ...] = ()
    flags: tuple[str, ...] = field(default=(), repr=False)
    complaint: str = field(default="", repr=False)


def preview_words(
    summary: Summary,
    encounter: Encounter | None,
    flags: tuple[Flag, ...],
    opened: str,
    now: datetime,
    zone: tzinfo | None,
) -> PreviewWords:
    """Words for a visit; `encounter` None while it is being read, or when it cannot be."""
    state = str(summary.state)
    bed = tr("worklist.bed", bed=summary.bed) if summary.bed else ""
    mrn = tr("worklist.mrn", mrn=summary.masked_mrn) if summary.masked_mrn else ""
    return PreviewWords(
        id=summary.id,
        name=name_words(summary.name),
        detail="   ".join(part for part in (person_words(summary.age, summary.sex), mrn, bed) if part),
        state=state,
        state_words=tr(f"worklist.state_{state}"),
        changed=tr("worklist.changed_at", when=when_words(summary.updated_at, now, zone)),
        loading=encounter is None,
        editable=state != EncounterState.SIGNED.value,
        opened=summary.id == opened,
        facts=_facts(encounter, now, zone) if encounter is not None else (),
        flags=tuple(flag.title for flag in flags),
    )


def _facts(encounter: Encounter, now: datetime, zone: tzinfo | None) -> tuple[Fact, ...]:
    patient = encounter.patient
    if patient.allergies:
        allergy = Fact("warning", tr("worklist.allergies"), ", ".join(patient.allergies), "danger")
    elif patient.allergies_asked:
        allergy = Fact("check", tr("worklist.allergies"), tr("patient.allergy_none"))
    else:
        allergy = Fact("help", tr("worklist.allergies"), tr("patient.allergy_not_asked"), "missing")
    present = sum(item.presence is Presence.PRESENT for item in encounter.findings)
    absent = sum(item.presence is Presence.ABSENT for item in encounter.findings)
    facts = [
        allergy,
        Fact("exam", tr("worklist.findings"), tr("worklist.findings_count", present=present, absent=absent)),
        Fact("vitals", tr("worklist.vitals"), tr_n("worklist.values", len(encounter.vitals))),
    ]
    eyes = [side for side, seen in (("OD", encounter.eye.od), ("OS", encounter.eye.os)) if seen != EyeSide()]
    facts.append(Fact("eye", tr("worklist.eye"), ", ".join(eyes) or _none()))
    words = len(encounter.visit.text.split())
    facts.append(Fact("note", tr("worklist.transcript"), tr_n("worklist.words", words) if words else _none()))
    facts.append(Fact("note", tr("worklist.note"), _note_words(encounter)))
    if encounter.signature is not None:
        signed = tr("worklist.signed_by", by=encounter.signature.by, when=when_words(encounter.signature.at, now, zone))
        facts.append(Fact("review", tr("worklist.signature"), signed, "support"))
    return tuple(facts)


def _none() -> str:
    return tr("worklist.none_yet")


def _note_words(encounter: Encounter) -> str:
    if encounter.note is None:
        return _none()
    kept = sum(line.status is not LineStatus.REMOVED for line in encounter.note.lines)
    still = sum(line.status is LineStatus.OPEN for line in encounter.note.lines)
    lines = tr_n("worklist.lines", kept)
    return f"{lines}, {tr('worklist.to_check', count=still)}" if still else lines
