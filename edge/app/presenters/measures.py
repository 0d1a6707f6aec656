"""Measured values that are stepped or typed: vital signs, pressure and pupil of each eye. Used by Exam and Eye.

A measure's name is that of a vital sign, or an eye's field with its side: 'iop_od', 'pupil_os'. Nothing is measured
until it is touched; the first step puts in where measuring usually starts. One long press is one step of undo.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.app.i18n import tr
from edge.clinical.encounter import edits
from edge.clinical.encounter import eye_fields as eye
from edge.clinical.encounter.model import Encounter, Eye, Vital
from edge.clinical.encounter.summary import age_years, encounter_day
from edge.clinical.encounter.vitals import VITALS, VitalSpec, grade

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

HOLD_S = 0.8  # steps of one value that follow each other faster are one step of undo
_IOP = VitalSpec(
    "iop_mmhg",
    "mmHg",
    eye.IOP_LEAST_MMHG,
    eye.IOP_MOST_MMHG,
    eye.IOP_STEP_MMHG,
    eye.IOP_BIG_STEP_MMHG,
    0,
    eye.IOP_START_MMHG,
    eye.IOP_LOW_MMHG,
    eye.IOP_HIGH_MMHG,
    None,
    eye.IOP_CRITICAL_MMHG,
    "European Glaucoma Society, Terminology and Guidelines, 5th edition",
)
_PUPIL = VitalSpec(
    "pupil_mm",
    "mm",
    eye.PUPIL_LEAST_MM,
    eye.PUPIL_MOST_MM,
    eye.PUPIL_STEP_MM,
    eye.PUPIL_BIG_STEP_MM,
    1,
    eye.PUPIL_START_MM,
    eye.PUPIL_LEAST_MM,
    eye.PUPIL_MOST_MM,
    None,
    None,
    "",
)
EYE_MEASURES: dict[str, tuple[Eye, VitalSpec]] = {
    "iop_od": (Eye.OD, _IOP),
    "iop_os": (Eye.OS, _IOP),
    "pupil_od": (Eye.OD, _PUPIL),
    "pupil_os": (Eye.OS, _PUPIL),
}


@dataclass(frozen=True)
class MeasureView:
    """A stepper. value: as shown, '' when not measured; word: low, high, critical or ''."""

    name: str
    label: str
    value: str = field(repr=False)
    unit: str
    grade: str = "normal"
    word: str = ""
    unconfirmed: bool = False


class Measures:
    """What the fingers do with a desk's measured values."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._held: tuple[str, float, Encounter | None] | None = None

    def value(self, name: str) -> float | None:
        """In the unit of its specification; None when not measured."""
        encounter = self.workspace.encounter
        if encounter is None:
            return None
        if name in EYE_MEASURES:
            side, spec = EYE_MEASURES[name]
            found: float | None = getattr(encounter.eye.od if side is Eye.OD else encounter.eye.os, spec.name)
            return found
        return next((one.value for one in encounter.vitals if one.name == name), None)

    def step(self, name: str, direction: int, big: bool = False) -> None:
        """One step up (1) or down (-1)."""
        held, now_s = self._held, self.workspace.services.monotonic()
        value = _spec(name).stepped(self.value(name), direction, big)
        if value == self.value(name):
            return
        if held and held[0] == name and held[2] is self.workspace.encounter and now_s - held[1] < HOLD_S:
            self.workspace.undo()
        self._write(name, value)
        self._held = (name, now_s, self.workspace.encounter)

    def enter(self, name: str, typed: str) -> bool:
        """Put in a typed number, in the unit that is shown. False: it is none, or outside what can be measured."""
        spec = _spec(name)
        try:
            value = float(typed.replace(",", "."))
        except ValueError:
            return False
        if not math.isfinite(value):
            return False
        value = round((value - 32.0) / 1.8 if self._fahrenheit(name) else value, spec.kept_decimals)
        if not spec.least <= value <= spec.most:
            return False
        self._write(name, value)
        return True

    def clear(self, name: str) -> None:
        """Not measured."""
        if self.value(name) is not None:
            self._write(name, None)

    def confirm(self, name: str) -> None:
        """A vital sign that speech made is right."""
        self.workspace.edit(edits.confirm_item, "vital", name)

    def limits(self, name: str) -> tuple[str, str]:
        """Least and most that can be entered, in the unit that is shown."""
        spec = _spec(name)
        return self._shown(name, spec.least), self._shown(name, spec.most)

    def view(self, name: str, label: str = "") -> MeasureView:
        """How it is drawn."""
        value, spec, encounter = self.value(name), _spec(name), self.workspace.encounter
        unit = "°F" if self._fahrenheit(name) else spec.unit
        label = label or tr(f"exam.vital_{name}")
        if value is None or encounter is None:
            return MeasureView(name, label, "", unit)
        judged = _grade(name, value, age_years(encounter.patient, encounter_day(encounter)))
        unconfirmed = any(one.name == name and not one.confirmed for one in encounter.vitals)
        word = "" if judged == "normal" else tr(f"exam.grade_{judged}")
        return MeasureView(name, label, self._shown(name, value), unit, judged, word, unconfirmed)

    def forget_hold(self) -> None:
        """The next step is a step of undo of its own."""
        self._held = None

    def _write(self, name: str, value: float | None) -> None:
        self._held = None
        if name in EYE_MEASURES:
            side, spec = EYE_MEASURES[name]
            self.workspace.edit(edits.set_eye_field, side, spec.name, value)
        elif value is None:
            self.workspace.edit(edits.clear_vital, name)
        else:
            self.workspace.edit(edits.set_vital, Vital(name, value, at=self.workspace.now()))

    def _fahrenheit(self, name: str) -> bool:
        return name == "temperature_c" and self.workspace.settings.temperature_unit == "F"

    def _shown(self, name: str, value: float) -> str:
        return f"{value * 1.8 + 32.0:.1f}" if self._fahrenheit(name) else _spec(name).text(value)


def _spec(name: str) -> VitalSpec:
    return EYE_MEASURES[name][1] if name in EYE_MEASURES else VITALS[name]


def _grade(name: str, value: float, years: int | None) -> str:
    if name in EYE_MEASURES:
        return eye.grade_iop(value) if EYE_MEASURES[name][1] is _IOP else "normal"
    return grade(name, value, years)
