"""Where something of the differential is found or can be entered: the jumps between the panes of the exam.

A `Ref` names an entry of the encounter. What has no entry yet is a `Ref` without a key and the words that are wanted:
the exam opens its search with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from edge.app.i18n import tr, translator
from edge.clinical.encounter.acuity import show_va
from edge.clinical.encounter.eye_fields import eye_fields
from edge.clinical.encounter.findings import Concept, catalogue
from edge.clinical.encounter.model import Basis, Encounter, Eye, FoundItem, Presence, Ref
from edge.clinical.encounter.vitals import VITALS as SPECS

# Inputs that the tasks name as missing, and the field that takes them.
VITALS = {
    "temperature": "temperature_c",
    "blood pressure": "bp_systolic",
    "heart rate": "heart_rate",
    "respiratory rate": "respiratory_rate",
    "oxygen saturation": "spo2",
}
EYE_VALUES = {"visual acuity": "va", "iop": "iop_mmhg"}
EYE_PARTS = {
    "pupils": "pupil_mm",
    "slit lamp": "slit_lamp.cornea",
    "fundus": "fundus.disc",
    "relative afferent pupillary defect": "rapd",
    "rapd": "rapd",
}
# Findings of the eye's table that a number or a pick means (edge.clinical.eye_exam.meanings).
_EYE_MEANINGS = {
    "raised eye pressure": "iop_mmhg",
    "very high eye pressure": "iop_mmhg",
    "normal eye pressure": "iop_mmhg",
    "low eye pressure": "iop_mmhg",
    "reduced vision": "va",
    "severe vision loss": "va",
    "normal vision": "va",
}
PATIENT = ("age", "sex")
QUOTED = 40  # characters of the transcript that a link shows


@dataclass(frozen=True)
class Jump:
    """Where to look. words: what is wanted there, for a search when no entry exists yet. number: tells two apart."""

    ref: Ref
    words: str = field(default="", repr=False)
    number: int = 0

    @property
    def screen(self) -> str:
        """Name of the screen that shows the place: exam, eye, note or worklist (the patient's own data)."""
        return {"eye": "eye", "transcript": "note", "patient": "worklist"}.get(self.ref.kind, "exam")


@dataclass(frozen=True)
class Link:
    """A reason or a missing input, to tap. basis: who says so, `table` or `model`; '' for a missing input."""

    text: str = field(repr=False)
    ref: Ref
    basis: str = ""
    words: str = field(default="", repr=False)  # as the table has them, to search for

    @property
    def shown(self) -> str:
        """The text, and that it is the model's where it is."""
        return tr("differential.by_model", text=self.text) if self.basis == "model" else self.text


def link_of(basis: Basis, eye: Eye | None = None) -> Link:
    """A reason as something to tap."""
    return Link(basis.text, basis.ref or place_of(basis.text, eye), basis.basis)


def place_of(what: str, eye: Eye | None = None) -> Ref:
    """Where an input that the case lacks can be entered. eye: of the option that wants it; OD when it names none."""
    words = " ".join(what.split()).casefold()
    if words in VITALS:
        return Ref("vital", VITALS[words])
    if words in PATIENT:
        return Ref("patient", words)
    if words == "history":
        return Ref("history")
    side = Eye.OS if eye is Eye.OS else Eye.OD
    named = words.rsplit(" ", 1)
    if len(named) == 2 and named[1].upper() in ("OD", "OS"):
        words, side = named[0], Eye(named[1].upper())
    if words in EYE_VALUES:
        return Ref("eye", f"{side.value}.{EYE_VALUES[words]}")
    if part := EYE_PARTS.get(words) or _eye_choices().get(words):
        return Ref("eye", f"{side.value}.{part}")
    return Ref("finding")


@lru_cache(maxsize=1)
def _eye_choices() -> dict[str, str]:
    """What the fields of the eye offer, and what their numbers mean: words of the table -> field."""
    found = {choice.en.casefold(): one.field for one in eye_fields().values() for choice in one.choices}
    return found | _EYE_MEANINGS


@lru_cache(maxsize=1)
def _by_words() -> dict[str, Concept]:
    """The catalogue by its English words."""
    return {one.en.casefold(): one for one in catalogue().values()}


def term(words: str) -> str:
    """Words of the table as the screen has them: in the language in use where the catalogue knows them."""
    found = _by_words().get(words.casefold())
    return found.name(translator.language) if found else words[:1].upper() + words[1:]


def item_name(item: FoundItem) -> str:
    """A finding in the language in use, with its eye."""
    concept = catalogue().get(item.concept)
    name = concept.name(translator.language) if concept else item.name
    return f"{name} {item.eye.value}" if item.eye else name


def words_of(ref: Ref, encounter: Encounter) -> str:
    """What stands at a place, short and in the language in use; '' when it is gone."""
    if ref.kind in ("finding", "history"):
        items = encounter.findings if ref.kind == "finding" else encounter.history
        return next((item_name(one) for one in items if one.id == ref.key), "")
    if ref.kind == "vital":
        vital = next((one for one in encounter.vitals if one.name == ref.key), None)
        spec = SPECS.get(ref.key)
        return f"{tr(f'exam.vital_{ref.key}')} {spec.text(vital.value)} {spec.unit}" if vital and spec else ""
    if ref.kind == "transcript":
        text = " ".join(encounter.visit.text[ref.start : ref.end].split())
        return f"“{text[:QUOTED]}…”" if len(text) > QUOTED else f"“{text}”" if text else ""
    return _eye_words(ref.key, encounter) if ref.kind == "eye" else ""


def _eye_words(key: str, encounter: Encounter) -> str:
    eye, _, name = key.partition(".")
    side = encounter.eye.os if eye == "OS" else encounter.eye.od
    if structure := eye_fields().get(name):
        stored = getattr(side, structure.part).get(structure.key, "")
        return f"{structure.show(stored, translator.language)} {eye}" if stored else ""
    if name == "iop_mmhg" and side.iop_mmhg is not None:
        return f"{tr('eye.iop')} {side.iop_mmhg:g} mmHg {eye}"
    if name == "va" and side.va:
        return f"{tr('eye.va')} {show_va(side.va, side.va_logmar, 'snellen20')} {eye}"
    if name == "pupil_mm" and side.pupil_mm is not None:
        return f"{tr('eye.pupil')} {side.pupil_mm:g} mm {eye}"
    if name == "pupil_reaction" and side.pupil_reaction:
        return f"{tr('eye.pupil')}: {tr(f'eye.reaction_{side.pupil_reaction}')} {eye}"
    return f"{tr('eye.rapd')} {eye}" if name == "rapd" and side.rapd is Presence.PRESENT else ""
