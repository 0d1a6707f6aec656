"""An encounter as the listed case that the differential and the eye task read, with the way back to every entry.

The text is English whatever the language of the screen. What nobody was sure of stays UNKNOWN or out: items that speech
made and nobody confirmed are left out, as is whatever was not asked. The transcript is no part of it.

Order: what has no side first, then what names a side of the body, then eye by eye, since whoever reads an eye's
examination takes the eye that was named last (edge.clinical.eye_exam).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.clinical.encounter.acuity import from_logmar
from edge.clinical.encounter.eye_fields import eye_fields, pieces
from edge.clinical.encounter.model import (
    Basis,
    Differential,
    DifferentialRow,
    Encounter,
    Eye,
    EyeSide,
    FoundItem,
    Presence,
    Ref,
    RunStamp,
)
from edge.clinical.encounter.summary import age_years, encounter_day
from edge.clinical.eye_exam import EyeValue, meanings
from edge.clinical.transcript import Span
from edge.errors import InputError

LABELS = {Presence.PRESENT: "Present", Presence.ABSENT: "Absent", Presence.UNKNOWN: "Not sure"}
VITAL_WORDS = {
    "temperature_c": ("temperature", " C"),
    "heart_rate": ("heart rate", ""),
    "respiratory_rate": ("respiratory rate", ""),
    "spo2": ("oxygen saturation", " %"),
    "glucose": ("glucose", " mg/dL"),
    "pain": ("pain score", "/10"),
}
_SIDED = re.compile(r"\b(?:right|left|both|bilateral(?:ly)?|either|OD|OS|OU|RE|LE)\b", re.IGNORECASE)
_OF_EYE = re.compile(
    r"\b(?:OD|OS|OU|RE|LE)\b|eye|\blids?\b|pupil|cornea|conjunctiv|vision|visual|sight|retin|macul|optic|disc\b|iris|lens",
    re.IGNORECASE,
)
_READ_VA = re.compile(r"20/\d{2,4}(?:[+-]\d)?|6/\d{1,3}(?:\.\d)?(?:[+-]\d)?")

Anchor = tuple[int, int, Ref]


@dataclass(frozen=True)
class CaseText:
    """anchors: (start, end, where it comes from), in order, never overlapping. sha256: of the text, hex."""

    text: str = field(repr=False)
    anchors: tuple[Anchor, ...]
    sha256: str


class _Writer:
    """Text with anchors, piece by piece."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.at = 0
        self.anchors: list[Anchor] = []

    def add(self, words: str, ref: Ref | None = None) -> None:
        if ref is not None:
            self.anchors.append((self.at, self.at + len(words), ref))
        self.parts.append(words)
        self.at += len(words)

    def listed(self, label: str, items: Iterable[tuple[str, Ref]]) -> None:
        """One line `Label: a; b`; nothing without items."""
        told = list(items)
        for index, (words, ref) in enumerate(told):
            self.add("; " if index else f"{label}: ")
            self.add(words, ref)
        if told:
            # A single item with a comma would be read as two without a semicolon.
            self.add(";\n" if len(told) == 1 and "," in told[0][0] else "\n")


def case_text(enc: Encounter, eye_only: bool = False) -> CaseText:
    """The case. eye_only: for the eye task, without what names a side of the body that is no eye's."""
    out = _Writer()
    years = age_years(enc.patient, encounter_day(enc))
    if years is not None:
        out.listed("Age", [(str(years), Ref("patient", "age_years"))])
    if enc.patient.sex in ("female", "male"):
        out.listed("Sex", [(enc.patient.sex, Ref("patient", "sex"))])
    out.listed("Vitals", _vitals(enc))
    plain = [(kind, item) for kind, item in _items(enc) if item.eye is None and not _SIDED.search(item.name)]
    sided = [(kind, item) for kind, item in _items(enc) if item.eye is None and _SIDED.search(item.name)]
    _lists(out, plain)
    _lists(out, [(kind, item) for kind, item in sided if not eye_only or _OF_EYE.search(item.name)])
    # Both eyes first: a line of one eye may then follow it without being carried over.
    for eye in (Eye.OU, Eye.OD, Eye.OS):
        _lists(out, [(kind, item) for kind, item in _items(enc) if item.eye is eye])
        if eye is not Eye.OU:
            side = enc.eye.od if eye is Eye.OD else enc.eye.os
            if not eye_only:
                out.listed("Present", [(words, Ref("eye", f"{eye}.{key}")) for words, key in meant(side, str(eye))])
            for words, key in eye_sentences(side, str(eye)):
                out.add(words, Ref("eye", f"{eye}.{key}"))
                out.add("\n")
    text = "".join(out.parts)
    return CaseText(text, tuple(out.anchors), hashlib.sha256(text.encode()).hexdigest())


def _items(enc: Encounter) -> list[tuple[str, FoundItem]]:
    told = [*(("history", one) for one in enc.history), *(("finding", one) for one in enc.findings)]
    return [(kind, item) for kind, item in told if item.confirmed]


def _lists(out: _Writer, items: list[tuple[str, FoundItem]]) -> None:
    # The case has no form for a history that is not there; it is listed with what is absent.
    groups: dict[str, list[tuple[str, Ref]]] = {label: [] for label in ("History", *LABELS.values())}
    for kind, item in items:
        told = kind == "history" and item.presence is Presence.PRESENT
        label = "History" if told else LABELS[item.presence]
        groups[label].append((f"{item.name} {item.eye}" if item.eye else item.name, Ref(kind, item.id)))
    for label, told_items in groups.items():
        out.listed(label, told_items)


def _vitals(enc: Encounter) -> list[tuple[str, Ref]]:
    given = {vital.name: vital.value for vital in enc.vitals if vital.confirmed}
    told: list[tuple[str, Ref]] = []
    systolic, diastolic = given.get("bp_systolic"), given.get("bp_diastolic")
    if systolic is not None and diastolic is not None:
        told.append((f"blood pressure {systolic:g}/{diastolic:g}", Ref("vital", "bp_systolic")))
    elif systolic is not None:
        told.append((f"systolic blood pressure {systolic:g} mmHg", Ref("vital", "bp_systolic")))
    elif diastolic is not None:
        told.append((f"diastolic blood pressure {diastolic:g} mmHg", Ref("vital", "bp_diastolic")))
    for name, (words, unit) in VITAL_WORDS.items():
        if name in given:
            told.append((f"{words} {given[name]:g}{unit}", Ref("vital", name)))
    return told


def eye_sentences(side: EyeSide, eye: str) -> list[tuple[str, str]]:
    """(sentence, field) of what is recorded of one eye, each sentence with the eye's name in front."""
    told: list[tuple[str, str]] = []
    if side.va:
        told.append((f"{eye} VA {readable_va(side)}.", "va"))
    if side.iop_mmhg is not None:
        told.append((f"{eye} IOP {side.iop_mmhg:g} mmHg.", "iop_mmhg"))
    if side.pupil_mm is not None:
        told.append((f"{eye} pupil size {side.pupil_mm:g} mm.", "pupil_mm"))
    if side.pupil_reaction:
        told.append((f"{eye} pupil reaction {side.pupil_reaction}.", "pupil_reaction"))
    if side.rapd is not Presence.UNKNOWN:
        no = "no " if side.rapd is Presence.ABSENT else ""
        told.append((f"{eye} {no}RAPD.", "rapd"))
    for one in eye_fields().values():
        for words in pieces(getattr(side, one.part).get(one.key, "")):
            told.append((f"{eye} {words}.", one.field))
    return told


def meant(side: EyeSide, eye: str) -> list[tuple[str, str]]:
    """(finding, field) that the numbers of an eye mean, in words: the general differential reads no eye's numbers.

    Without it a pressure of 52 mmHg would be told as "missing: very high eye pressure".
    """
    told: list[tuple[str, str]] = []
    if side.iop_mmhg is not None:
        value = EyeValue("IOP", eye, f"{side.iop_mmhg:g}", side.iop_mmhg, Span(0, 0))
        told += [(f"{name} {eye}", "iop_mmhg") for name, present in meanings(value) if present and "normal" not in name]
    if side.va_logmar is not None:
        value = EyeValue("visual acuity", eye, side.va, 10**-side.va_logmar, Span(0, 0))
        told += [(f"{name} {eye}", "va") for name, present in meanings(value) if present and "normal" not in name]
    return told


def readable_va(side: EyeSide) -> str:
    """The acuity in a form that every reader of a case knows: 20/x, 6/x, CF, HM, LP, NLP."""
    if side.va_logmar is None:
        return side.va.split()[0]
    if _READ_VA.fullmatch(side.va):
        return side.va
    return from_logmar(max(side.va_logmar, -0.3))


def ref_at(case: CaseText, start: int, end: int) -> Ref | None:
    """Where characters start..end come from: the anchor that shares most with them; None where none does."""
    shared = [(min(end, stop) - max(start, begin), -begin, ref) for begin, stop, ref in case.anchors]
    best = max(shared, key=lambda one: one[:2], default=None)
    return best[2] if best and best[0] > 0 else None


def to_differential(result: Mapping[str, Any], case: CaseText, run: RunStamp | None) -> Differential:
    """The differential's or the eye task's answer (its `to_json()`) for `case`, each basis with its way back.

    Errors: InputError when the answer has not that form.
    """
    try:
        rows = tuple(_row(option, case) for option in result["options"])
        missing = tuple(str(what) for what in result["missing"])
        notices = tuple(str(notice["text"]) for notice in result["notices"])
        return Differential(rows, run, str(result["task"]), missing, notices, case.sha256)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError("the model's answer could not be read", mend="try again") from None


def _row(option: Mapping[str, Any], case: CaseText) -> DifferentialRow:
    def basis(one: Mapping[str, Any]) -> Basis:
        start, end = int(one["start"]), int(one["end"])
        if not 0 <= start <= end <= len(case.text) or case.text[start:end] != one["text"]:
            raise ValueError("evidence of another text")
        return Basis(str(one["text"]), ref_at(case, start, end), str(one["basis"]))

    code = option["icd10"]
    return DifferentialRow(
        name=str(option["name"]),
        icd10=str(code["code"]) if code else "",
        score=float(option["score"]),
        supports=tuple(basis(one) for one in option["supports"]),
        against=tuple(basis(one) for one in option["against"]),
        missing=tuple(str(one["what"]) for one in option["missing"]),
        basis=str(option["basis"]),
        eye=Eye(option["eye"]) if option.get("eye") else None,
    )
