"""The eye examination: right and left side by side, each value of one eye and never of the other.

Rules
- OD comes first, always: it is the left column, as the clinician faces the patient.
- What is stored is English and of the field's own list, or the clinician's words; what is shown is in the language
  and the notation in use.
- Copying the right eye's slit lamp and fundus to the left asks first and says what it would overwrite.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.app.i18n import tr, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.measures import Measures, MeasureView
from edge.app.presenters.places import Jump
from edge.app.settings import VA_NOTATIONS
from edge.clinical.encounter import edits
from edge.clinical.encounter.acuity import BELOW_CHART, STEPS, from_logmar, parse_va, show_va
from edge.clinical.encounter.eye_fields import (
    IOP_METHODS,
    PUPIL_REACTIONS,
    VA_CORRECTIONS,
    Structure,
    eye_fields,
    pieces,
)
from edge.clinical.encounter.model import EncounterState, Eye, EyeSide, Presence
from edge.errors import InputError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

EYES = (Eye.OD, Eye.OS)
# The notation of a setting, as edge.clinical.encounter.acuity names it.
NOTATIONS = {"20ft": "snellen20", "6m": "snellen6", "decimal": "decimal", "logmar": "logmar"}
CHOICES = {"va_correction": VA_CORRECTIONS, "iop_method": IOP_METHODS, "pupil_reaction": PUPIL_REACTIONS}
LONGEST_TEXT = 120
_AREAS = {"va_correction": "correction", "iop_method": "method", "pupil_reaction": "reaction"}
_NEXT = {Presence.UNKNOWN: Presence.PRESENT, Presence.PRESENT: Presence.ABSENT, Presence.ABSENT: Presence.UNKNOWN}


@dataclass(frozen=True)
class OptionView:
    """One of a few. key: what is stored."""

    key: str
    text: str
    selected: bool


@dataclass(frozen=True)
class PartView:
    """A structure of one eye. key: slit_lamp.cornea; text: in the language in use, '' when not examined."""

    key: str
    title: str
    text: str = field(repr=False)
    picks: tuple[OptionView, ...] = field(default=(), repr=False)
    own: str = field(default="", repr=False)
    normal: bool = False


@dataclass(frozen=True)
class SideView:
    """One eye. va: in the notation in use; va_same: the same in the others; va_key: the chart line that is chosen."""

    eye: Eye
    title: str
    va: str = field(default="", repr=False)
    va_same: str = field(default="", repr=False)
    va_key: str = field(default="", repr=False)
    correction: tuple[OptionView, ...] = ()
    iop: MeasureView = field(default=MeasureView("", "", "", ""), repr=False)
    method: tuple[OptionView, ...] = ()
    pupil: MeasureView = field(default=MeasureView("", "", "", ""), repr=False)
    reaction: tuple[OptionView, ...] = ()
    rapd: Presence = field(default=Presence.UNKNOWN, repr=False)
    slit_lamp: tuple[PartView, ...] = ()
    fundus: tuple[PartView, ...] = ()


@dataclass(frozen=True)
class CopyView:
    """What copying would do. possible: OD was examined; lost: entries of OS that would be overwritten, in words."""

    possible: bool = False
    lost: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class EyeView:
    """Everything that the eye's own pane shows. lines: of the chart, (stored, shown), best first, then below it."""

    open: bool = False
    signed: bool = False
    sides: tuple[SideView, ...] = ()
    notation: str = "20ft"
    notations: tuple[OptionView, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    below: tuple[tuple[str, str], ...] = ()
    warning: str = ""
    copy: CopyView = CopyView()
    can_undo: bool = False
    can_redo: bool = False
    lit: str = ""
    lit_number: int = 0


class EyePresenter(Presenter[EyeView]):
    """See the module's docstring. An eye's field is `field` of EyeSide or 'slit_lamp.cornea'."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(EyeView())
        self.workspace = workspace
        self.measures = Measures(workspace)
        self._lit, self._lit_number = "", 0
        self._encounter_id = ""
        self.refresh()

    def refresh(self) -> bool:
        """Take over what the desk holds now; see Presenter."""
        encounter = self.workspace.encounter
        if (encounter.id if encounter else "") != self._encounter_id:
            self._encounter_id = encounter.id if encounter else ""
            self._lit = ""
        return super().refresh()

    def side(self, eye: Eye) -> EyeSide:
        """The entries of an eye; empty ones when no patient is open."""
        encounter = self.workspace.encounter
        if encounter is None:
            return EyeSide()
        return encounter.eye.od if eye is Eye.OD else encounter.eye.os

    # ---- what a finger does ---------------------------------------------------------------------------------

    def choose_va(self, eye: Eye, text: str) -> None:
        """A line of the chart, CF and below, or '' for not measured."""
        self._write(eye, "va", text)

    def choose_notation(self, notation: str) -> None:
        """Show acuities so from now on."""
        self.workspace.set_setting("va_notation", notation)

    def choose(self, eye: Eye, name: str, key: str) -> None:
        """Correction, method, reaction: a second tap takes the choice back."""
        self._write(eye, name, "" if getattr(self.side(eye), name) == key else key)

    def cycle_rapd(self, eye: Eye) -> None:
        """Unknown, present, absent, unknown."""
        self._write(eye, "rapd", _NEXT[self.side(eye).rapd])

    def forget_rapd(self, eye: Eye) -> None:
        """Back to unknown."""
        self._write(eye, "rapd", Presence.UNKNOWN)

    def clear(self, eye: Eye, name: str) -> None:
        """Not examined."""
        self._write(eye, name, "")

    def pick(self, eye: Eye, name: str, key: str) -> None:
        """A finding of a structure: in, or out again. Normal and findings exclude each other."""
        structure = eye_fields()[name]
        choice = next(one for one in structure.choices if one.id == key)
        self._write(eye, name, structure.toggled(self._stored(eye, structure), choice))

    def write_own(self, eye: Eye, name: str, text: str) -> None:
        """The clinician's own words beside the picked ones; '' takes them out."""
        structure = eye_fields()[name]
        named = {one.en for one in structure.choices}
        kept = [one for one in pieces(self._stored(eye, structure)) if one in named]
        own = " ".join(text.replace(";", ",").split())[:LONGEST_TEXT]
        if own:
            kept = [one for one in kept if one != structure.normal.en]
        self._write(eye, name, "; ".join([*kept, own] if own else kept))

    def copy(self) -> None:
        """Copy OD to OS, after it was asked."""
        self.workspace.edit(edits.copy_eye, Eye.OD, Eye.OS)

    def undo(self) -> None:
        """Back by one edit."""
        self.workspace.undo()

    def redo(self) -> None:
        """Forward by one edit."""
        self.workspace.redo()

    def reveal(self, jump: Jump) -> None:
        """Light up a field: 'OD.iop_mmhg'."""
        self._lit, self._lit_number = jump.ref.key, self._lit_number + 1
        self.refresh()

    def _write(self, eye: Eye, name: str, value: object) -> None:
        self.workspace.edit(edits.set_eye_field, eye, name, value)

    def _stored(self, eye: Eye, structure: Structure) -> str:
        return str(getattr(self.side(eye), structure.part).get(structure.key, ""))

    # ---- the snapshot ---------------------------------------------------------------------------------------

    def make_view(self) -> EyeView:
        """See Presenter."""
        workspace, encounter = self.workspace, self.workspace.encounter
        if encounter is None:
            return EyeView()
        notation = workspace.settings.va_notation
        lines = [one for one in reversed(STEPS) if one not in BELOW_CHART]
        both = all(self.side(eye).rapd is Presence.PRESENT for eye in EYES)
        return EyeView(
            open=True,
            signed=encounter.state is EncounterState.SIGNED,
            sides=tuple(self._side(eye, NOTATIONS[notation]) for eye in EYES),
            notation=notation,
            notations=tuple(OptionView(one, tr(f"eye.va_{one}"), one == notation) for one in VA_NOTATIONS),
            lines=tuple((one, show_va(one, parse_va(one).logmar, NOTATIONS[notation])) for one in lines),
            below=tuple((one, tr(f"eye.va_{one.lower()}")) for one in BELOW_CHART),
            warning=tr("eye.rapd_both") if both else "",
            copy=self._copy(),
            can_undo=workspace.can_undo,
            can_redo=workspace.can_redo,
            lit=self._lit,
            lit_number=self._lit_number,
        )

    def _side(self, eye: Eye, notation: str) -> SideView:
        side = self.side(eye)
        parts = [self._part(eye, one) for one in eye_fields().values()]
        return SideView(
            eye=eye,
            title=tr(f"eye.{eye.value.lower()}_name"),
            va=show_va(side.va, side.va_logmar, notation),
            va_same=_same(side),
            va_key=_line(side),
            correction=self._options(side, "va_correction"),
            iop=self.measures.view(f"iop_{eye.value.lower()}"),
            method=self._options(side, "iop_method"),
            pupil=self.measures.view(f"pupil_{eye.value.lower()}"),
            reaction=self._options(side, "pupil_reaction"),
            rapd=side.rapd,
            slit_lamp=tuple(one for one in parts if one.key.startswith("slit_lamp.")),
            fundus=tuple(one for one in parts if one.key.startswith("fundus.")),
        )

    def _options(self, side: EyeSide, name: str) -> tuple[OptionView, ...]:
        now, area = getattr(side, name), _AREAS[name]
        return tuple(OptionView(one, tr(f"eye.{area}_{one.replace('-', '_')}"), one == now) for one in CHOICES[name])

    def _part(self, eye: Eye, structure: Structure) -> PartView:
        stored, language = self._stored(eye, structure), translator.language
        now, named = pieces(stored), {one.en for one in structure.choices}
        return PartView(
            key=structure.field,
            title=structure.label(language),
            text=structure.show(stored, language),
            picks=tuple(OptionView(one.id, one.label(language), one.en in now) for one in structure.choices),
            own=", ".join(one for one in now if one not in named),
            normal=now == [structure.normal.en],
        )

    def _copy(self) -> CopyView:
        """Only what was seen is copied; numbers and pupils are never: nobody measured them there."""
        source, target = self.side(Eye.OD), self.side(Eye.OS)
        lost, any_words = [], False
        for structure in eye_fields().values():
            given = getattr(source, structure.part).get(structure.key, "")
            there = getattr(target, structure.part).get(structure.key, "")
            any_words = any_words or bool(given)
            if given and there and given != there:
                lost.append(f"{structure.label(translator.language)}: {structure.show(there, translator.language)}")
        return CopyView(any_words, tuple(lost))


def _same(side: EyeSide) -> str:
    """The acuity in all notations, so that nobody has to convert."""
    if not side.va:
        return ""
    if side.va_logmar is None:
        return tr("eye.va_low")
    told = {name: from_logmar(side.va_logmar, name) for name in ("snellen20", "snellen6", "decimal", "logmar")}
    return tr(
        "eye.va_same",
        snellen=told["snellen20"],
        metric=told["snellen6"],
        decimal=told["decimal"],
        logmar=told["logmar"],
    )


def _line(side: EyeSide) -> str:
    """The step of the chart that an acuity is, '' when it is between two."""
    if not side.va:
        return ""
    try:
        read = parse_va(side.va)
    except InputError:
        return ""
    if read.below_chart:
        return read.below_chart
    return next((one for one in STEPS if one not in BELOW_CHART and parse_va(one).logmar == read.logmar), "")
