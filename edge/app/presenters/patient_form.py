"""The patient's own data: a new patient, or a correction. Every rule is in plain words, beside its field.

Rules
- Name, record number or bed: one of the three at least, so that two patients can be told apart. A note cannot be
  signed without a name; that is said here already, but an unknown patient in the resuscitation room can be entered.
- A date of birth is written 1957-03-14 or 14.03.1957. With slashes nobody knows which number is the month, so slashes
  are refused. What was understood is said back in words with the age.
- Allergies have three answers: a list, none known, not asked. Not asked is never read as none.
- The same record number twice is asked about, never refused: a second visit is normal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from edge.app.i18n import tr
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import words
from edge.clinical.encounter.model import Encounter, Patient
from edge.errors import EdgeError, InputError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

OLDEST_YEARS = 120
LONGEST_NAME, LONGEST_MRN, LONGEST_BED, LONGEST_ALLERGY = 80, 32, 16, 60
SEXES = ("female", "male", "other", "")
ALLERGY_MODES = ("not_asked", "none", "list")
BIRTH_MODES = ("date", "age")
FIELDS = ("name", "birth", "age", "mrn", "bed", "allergies")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_DOTS = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})")
_EIGHT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_MRN = re.compile(r"[A-Za-z0-9][A-Za-z0-9./ -]*")


@dataclass(frozen=True)
class PatientDraft:
    """What is typed, as typed. birth_mode: date or age; allergy_mode: not_asked, none or list."""

    name: str = field(default="", repr=False)
    birth_mode: str = "date"
    birth: str = field(default="", repr=False)
    age: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)
    mrn: str = field(default="", repr=False)
    bed: str = field(default="", repr=False)
    allergy_mode: str = "not_asked"
    allergies: str = field(default="", repr=False)


@dataclass(frozen=True)
class PatientFormView:
    """errors: field -> words, only for fields that were left or after Save. birth_words: the date as understood.

    question: words of "this record number is on the worklist already", '' when nothing is asked.
    """

    is_new: bool
    title: str
    draft: PatientDraft
    errors: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    birth_words: str = field(default="", repr=False)
    note: str = ""
    question: str = field(default="", repr=False)
    message: str = ""

    def error(self, name: str) -> str:
        """Words of what is wrong with a field, '' if nothing."""
        return dict(self.errors).get(name, "")


def clean(text: str) -> str:
    """One line without control characters or double spaces."""
    kept = "".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in text)
    return " ".join(kept.split())


def parse_birth(text: str, today: date) -> date:
    """A date of birth. ValueError carries the key of the words for what is wrong."""
    written = clean(text)
    if found := _ISO.fullmatch(written) or _EIGHT.fullmatch(written):
        year, month, day = (int(part) for part in found.groups())
    elif found := _DOTS.fullmatch(written):
        day, month, year = (int(part) for part in found.groups())
    else:
        raise ValueError("birth_form")
    try:
        born = date(year, month, day)
    except ValueError:
        raise ValueError("birth_impossible") from None
    if born > today:
        raise ValueError("birth_future")
    if age_on(born, today) > OLDEST_YEARS:
        raise ValueError("birth_too_old")
    return born


def age_on(born: date, today: date) -> int:
    """Whole years. Somebody born on 29 February is a year older on 1 March."""
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def date_words(day: date) -> str:
    """The date with the month as a word, in the language in use."""
    month = tr(f"patient.month_{day.month}")
    return tr("patient.date", day=day.day, month=month, year=day.year)


def age_words(born: date, today: date) -> str:
    """Years; below two years months; below two months days."""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    if months < 2:
        return tr("patient.age_days", count=(today - born).days)
    if months < 24:
        return tr("patient.age_months", count=months)
    return tr("patient.age_years", count=age_on(born, today))


def allergy_list(text: str) -> tuple[str, ...]:
    """Names between commas, semicolons or line breaks, in order, each once."""
    names: dict[str, str] = {}
    for part in re.split(r"[,;\n]", text):
        if name := clean(part):
            names.setdefault(name.casefold(), name)
    return tuple(names.values())


def draft_of(patient: Patient) -> PatientDraft:
    """The form filled with a patient's data."""
    mode = "list" if patient.allergies else "none" if patient.allergies_asked else "not_asked"
    aged = not patient.birth_date and patient.age_years is not None
    return PatientDraft(
        name=patient.name,
        birth_mode="age" if aged else "date",
        birth=patient.birth_date,
        age=str(patient.age_years) if aged else "",
        sex=patient.sex,
        mrn=patient.mrn,
        bed=patient.bed,
        allergy_mode=mode,
        allergies=", ".join(patient.allergies),
    )


def problems(draft: PatientDraft, today: date) -> dict[str, str]:
    """Field -> catalogue key of what is wrong with it; empty means it can be saved."""
    found: dict[str, str] = {}
    name, mrn, bed = clean(draft.name), clean(draft.mrn), clean(draft.bed)
    if not (name or mrn or bed):
        found["name"] = "nobody"
    elif len(name) > LONGEST_NAME:
        found["name"] = "too_long"
    if mrn and not _MRN.fullmatch(mrn):
        found["mrn"] = "mrn_form"
    if len(mrn) > LONGEST_MRN:
        found["mrn"] = "too_long"
    if len(bed) > LONGEST_BED:
        found["bed"] = "too_long"
    if draft.birth_mode == "date" and clean(draft.birth):
        try:
            parse_birth(draft.birth, today)
        except ValueError as error:
            found["birth"] = str(error)
    if draft.birth_mode == "age" and (age := clean(draft.age)):
        if not (age.isascii() and age.isdigit()):
            found["age"] = "age_form"
        elif int(age[:6]) > OLDEST_YEARS:
            found["age"] = "age_too_old"
    if draft.allergy_mode == "list":
        names = allergy_list(draft.allergies)
        if not names:
            found["allergies"] = "allergies_empty"
        elif any(len(one) > LONGEST_ALLERGY for one in names):
            found["allergies"] = "allergies_long"
    return found


def patient_of(draft: PatientDraft, today: date) -> Patient:
    """The patient that the form says. Only for a draft without problems."""
    dated = draft.birth_mode == "date" and bool(clean(draft.birth))
    aged = draft.birth_mode == "age" and bool(clean(draft.age))
    return Patient(
        name=clean(draft.name),
        birth_date=parse_birth(draft.birth, today).isoformat() if dated else "",
        age_years=int(clean(draft.age)) if aged else None,
        sex=draft.sex,
        mrn=clean(draft.mrn),
        bed=clean(draft.bed),
        allergies=allergy_list(draft.allergies) if draft.allergy_mode == "list" else (),
        allergies_asked=draft.allergy_mode != "not_asked",
    )


class PatientFormPresenter(Presenter[PatientFormView]):
    """One form. `encounter_id` '' makes a new patient; else it corrects the patient of the encounter that is open.

    done: called with the encounter's id after saving and with '' after Cancel.
    same_mrn: words of another encounter with this record number ('' if none), given (mrn, own id).
    """

    def __init__(
        self,
        workspace: Workspace,
        done: Callable[[str], None],
        *,
        encounter_id: str = "",
        same_mrn: Callable[[str, str], str] = lambda mrn, own: "",
    ) -> None:
        self._workspace = workspace
        self._done = done
        self._same_mrn = same_mrn
        self._id = encounter_id
        current = workspace.encounter
        self._draft = draft_of(current.patient) if encounter_id and current else PatientDraft()
        self._left: set[str] = set()
        self._question = ""
        self._message = ""
        super().__init__(self.make_view())

    def make_view(self) -> PatientFormView:
        """The form as it is typed now."""
        draft, today = self._draft, self._today()
        wrong = problems(draft, today)
        shown = tuple((name, self._words(wrong[name])) for name in FIELDS if name in wrong and name in self._left)
        born = ""
        if draft.birth_mode == "date" and clean(draft.birth) and "birth" not in wrong:
            day = parse_birth(draft.birth, today)
            born = f"{date_words(day)}, {age_words(day, today)}"
        unnamed = not clean(draft.name) and "name" not in wrong
        return PatientFormView(
            is_new=not self._id,
            title=tr("patient.title_edit" if self._id else "patient.title_new"),
            draft=draft,
            errors=shown,
            birth_words=born,
            note=tr("patient.unnamed") if unnamed else "",
            question=self._question,
            message=self._message,
        )

    def set(self, name: str, text: str, left: bool = True) -> None:
        """Keep a field's text. left: the cursor left it, so from now on it is said what is wrong with it."""
        if name not in FIELDS:
            raise KeyError(name)
        if getattr(self._draft, name) != text:
            self._draft = replace(self._draft, **{name: text})
            self._question = ""
        if left and text:
            self._left.add(name)
        self.refresh()

    def choose(self, name: str, value: str) -> None:
        """A segment was tapped: sex, birth_mode or allergy_mode."""
        allowed = {"sex": SEXES, "birth_mode": BIRTH_MODES, "allergy_mode": ALLERGY_MODES}[name]
        if value not in allowed:
            raise ValueError(value)
        self._draft = replace(self._draft, **{name: value})
        self.refresh()

    def save(self, again: bool = False) -> bool:
        """Save if nothing is wrong. `again`: the second visit was confirmed. False when something is to be mended."""
        today = self._today()
        self._left = set(FIELDS)
        self._message = ""
        self._question = ""
        if problems(self._draft, today):
            self._message = tr("patient.mend")
            self.refresh()
            return False
        patient = patient_of(self._draft, today)
        if patient.mrn and not again and (where := self._same_mrn(patient.mrn, self._id)):
            self._question = tr("patient.same_mrn", where=where)
            self.refresh()
            return False
        try:
            saved = self._id or self._workspace.new_encounter(patient)
            if self._id:
                self._change(patient)
        except EdgeError as error:
            self._message = words(error)
            self.refresh()
            return False
        self._done(saved)
        return True

    def answer_no(self) -> None:
        """The question about the record number was answered with No: back to the form."""
        self._question = ""
        self.refresh()

    def cancel(self) -> None:
        """Close without saving."""
        self._draft = PatientDraft()
        self._done("")

    def _change(self, patient: Patient) -> None:
        from edge.clinical.encounter import edits

        current: Encounter | None = self._workspace.encounter
        if current is None or current.id != self._id:
            raise InputError("no patient is open", mend="open one in the worklist")
        if current.patient != patient:
            self._workspace.edit(edits.set_patient, patient)
            self._workspace.audit("patient-change", self._id)

    def _today(self) -> date:
        return self._workspace.services.clock().astimezone().date()

    def _words(self, key: str) -> str:
        return tr(f"patient.{key}", years=OLDEST_YEARS)
