"""Red flags of an encounter: the rules over what was found and over the transcript, with the way back to each entry.

Rules, never a model. Only what is there and confirmed counts; no flag is no all-clear. What was found is read at each
edit (a few milliseconds), of the transcript only the lines that changed. The rules of flags.yaml, all of a very high
pressure, may rest on both at once (the pressure was measured, the pain was told); the others rest on one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

from edge.clinical.encounter.case_text import VITAL_WORDS, eye_sentences
from edge.clinical.encounter.eye_fields import IOP_CRITICAL_MMHG
from edge.clinical.encounter.heard import Heard
from edge.clinical.encounter.model import Encounter, Eye, Presence, Ref
from edge.clinical.encounter.summary import age_years, encounter_day
from edge.clinical.encounter.visit_marks import forget as forget_marks
from edge.clinical.redflag_rules import RuleTable, parse_table, rule_table
from edge.clinical.redflags import RedFlag, red_flags

TABLE = "flags.yaml"
HIGH, MODERATE = "high", "moderate"
# A finding to look at again, not one to act on at once.
_MODERATE_RULES = frozenset({"raised-iop"})
# rule -> rules that say the same and more; it is left out where its entries are all among theirs.
_SAID_BY = {"very-high-iop": ("very-high-iop-pain",), "raised-iop": ("very-high-iop-pain", "very-high-iop")}
_PROBE = f"Right eye IOP {IOP_CRITICAL_MMHG:g} mmHg.\n"
_EYE_WORDS = {Eye.OD: "Right eye", Eye.OS: "Left eye", Eye.OU: "Both eyes"}


@dataclass(frozen=True)
class Flag:
    """One rule that fired. refs: entries and places of the transcript that it rests on. severity: HIGH or MODERATE.

    eye: of the entries, OU for both, None where none tells. note: the rule's own explanation.
    """

    rule_id: str
    title: str
    source: str
    refs: tuple[Ref, ...]
    area: str = "general"
    severity: str = HIGH
    eye: Eye | None = None
    note: str = field(default="", repr=False)


def flags(enc: Encounter) -> tuple[Flag, ...]:
    """The red flags, those to act on at once first, else in the order of the tables."""
    found, anchors = _found_text(enc)
    said = enc.visit.text
    very_high = [
        Ref("eye", f"{eye}.iop_mmhg")
        for eye, side in ((Eye.OD, enc.eye.od), (Eye.OS, enc.eye.os))
        if (side.iop_mmhg or 0.0) >= IOP_CRITICAL_MMHG
    ]
    flagged: dict[str, tuple[RedFlag, list[Ref]]] = {}
    for flag in (*(_own_rules(found) if very_high else ()), *_rules(found)):
        refs = [ref for span in flag.spans for start, end, ref in anchors if span.start < end and start < span.end]
        flagged[flag.rule_id] = (flag, refs)
    told = [(flag, 0) for flag in _said(said)]
    if very_high:
        told = [*((flag, len(_PROBE)) for flag in _said_with_pressure(said)), *told]
    for flag, at in told:
        _, refs = flagged.setdefault(flag.rule_id, (flag, []))
        refs += very_high if at else []
        refs += [Ref("transcript", "", span.start - at, span.end - at) for span in flag.spans if span.start >= at]
    sides = {item.id: item.eye for item in (*enc.findings, *enc.history)}
    made = [_flag(flag, refs, sides) for flag, refs in flagged.values()]
    order = {rule.id: index for index, rule in enumerate((*own_table().rules, *rule_table().rules))}
    kept = [flag for flag in made if not _said_by_another(flag, made)]
    return tuple(sorted(kept, key=lambda flag: (flag.severity != HIGH, order[flag.rule_id])))


@lru_cache(maxsize=1)
def own_table() -> RuleTable:
    """The rules of flags.yaml. Errors: SpecError."""
    return parse_table(files(__package__).joinpath(TABLE).read_text(encoding="utf-8"), TABLE)


@lru_cache(maxsize=4)
def _own_rules(text: str) -> tuple[RedFlag, ...]:
    return red_flags(text, own_table()) if text.strip() else ()


@lru_cache(maxsize=8)
def _rules(text: str) -> tuple[RedFlag, ...]:
    return red_flags(text) if text.strip() else ()


@lru_cache(maxsize=1)
def _heard() -> Heard:
    return Heard(rule_table())


@lru_cache(maxsize=1)
def _heard_with_pressure() -> Heard:
    return Heard(own_table())


def _said(said: str) -> tuple[RedFlag, ...]:
    return _heard().flags(said) if said.strip() else ()


def _said_with_pressure(said: str) -> tuple[RedFlag, ...]:
    """What the rules of flags.yaml make of the transcript given that a very high pressure was measured.

    The pressure is written in front of it, so that the long text is read once and not at each edit.
    """
    return _heard_with_pressure().flags(f"{_PROBE}{said}") if said.strip() else ()


def forget() -> None:
    """Drop every word of a patient that is kept for speed, here and in what marks a transcript: for the app's lock."""
    _own_rules.cache_clear()
    _rules.cache_clear()
    for heard in (_heard, _heard_with_pressure):
        if heard.cache_info().currsize:
            heard().forget()
    forget_marks()


def _flag(flag: RedFlag, refs: list[Ref], sides: dict[str, Eye | None]) -> Flag:
    unique = tuple(dict.fromkeys(refs))
    eyes = {_eye_of(ref, sides) for ref in unique} - {None}
    eye = next(iter(eyes)) if len(eyes) == 1 else Eye.OU if eyes else None
    severity = MODERATE if flag.rule_id in _MODERATE_RULES else HIGH
    return Flag(flag.rule_id, flag.title, flag.source, unique, flag.area, severity, eye, flag.note)


def _eye_of(ref: Ref, sides: dict[str, Eye | None]) -> Eye | None:
    if ref.kind == "eye":
        return Eye(ref.key[:2])
    return sides.get(ref.key) if ref.kind in ("finding", "history") else None


def _said_by_another(flag: Flag, all_flags: list[Flag]) -> bool:
    others = [one for one in all_flags if one.rule_id in _SAID_BY.get(flag.rule_id, ())]
    return any(set(flag.refs) <= set(one.refs) for one in others)


def _found_text(enc: Encounter) -> tuple[str, list[tuple[int, int, Ref]]]:
    """What was found as short sentences, each with its entry. Its form is for the rules' reader of polarity."""
    told: list[tuple[str, Ref]] = []
    years = age_years(enc.patient, encounter_day(enc))
    if years is not None:
        told.append((f"Age: {years}", Ref("patient", "age_years")))
    if enc.patient.sex in ("female", "male"):
        told.append((f"Sex: {enc.patient.sex}", Ref("patient", "sex")))
    given = {vital.name: vital.value for vital in enc.vitals if vital.confirmed}
    systolic, diastolic = given.get("bp_systolic"), given.get("bp_diastolic")
    if systolic is not None:
        second = "" if diastolic is None else f"/{diastolic:g}"
        name = "Systolic blood pressure" if diastolic is None else "Blood pressure"
        told.append((f"{name} {systolic:g}{second} mmHg.", Ref("vital", "bp_systolic")))
    for name, (words, unit) in VITAL_WORDS.items():
        if name in given and name != "pain":
            told.append((f"{words.capitalize()} {given[name]:g}{unit}.", Ref("vital", name)))
    present = [one for one in enc.findings if one.confirmed and one.presence is Presence.PRESENT]
    past = [one for one in enc.history if one.confirmed and one.presence is Presence.PRESENT]
    # By entry without an eye first: a side must not reach over to the next sentence.
    told += [(f"{one.name}.", Ref("finding", one.id)) for one in present if one.eye is None]
    told += [(f"{_EYE_WORDS[one.eye]}: {one.name}.", Ref("finding", one.id)) for one in present if one.eye is not None]
    for eye, side in ((Eye.OD, enc.eye.od), (Eye.OS, enc.eye.os)):
        for words, key in eye_sentences(side, _EYE_WORDS[eye]):
            told.append((words, Ref("eye", f"{eye}.{key}")))
    for one in past:
        of_eye = f", {_EYE_WORDS[one.eye].lower()}" if one.eye else ""
        told.append((f"History of {one.name}{of_eye}.", Ref("history", one.id)))
    parts, anchors, at = [], [], 0
    for words, ref in told:
        anchors.append((at, at + len(words), ref))
        parts.append(words)
        at += len(words) + 1
    return "\n".join(parts), anchors
