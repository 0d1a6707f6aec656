"""The ophthalmology task: an eye examination in words to structure, and options with their eye. Text only.

As the differential (edge.clinical.differential), with a table of eye conditions, and by eye: findings of one eye never
support or deny a condition of the other. A code gets the character of its eye where the evidence has one; else it
stays without. A question about an eye of which only the other one's findings are told is answered with a notice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.clinical.case import Case, CaseNotice, case_from_text
from edge.clinical.conditions import EYE, Condition, Fit, KnowledgeTable, is_normal, knowledge_table
from edge.clinical.differential import (
    EYE_CHECKS,
    Comparison,
    Differential,
    DifferentialTask,
    case_json,
    inspected,
    rank,
    read_differential_task,
)
from edge.clinical.differential import (
    task_files as differential_files,
)
from edge.clinical.eye_exam import OD, OS, OU, EyeExam, EyeFinding, read_exam
from edge.clinical.icd10 import icd_table
from edge.clinical.mcq import McqAnswer, answer_mcq
from edge.clinical.mcq import task_files as mcq_files
from edge.clinical.scoring import Reader
from edge.errors import InputError

__all__ = ["EyeDifferential", "McqAnswer", "answer_mcq", "asked_eye", "ophthalmology", "task_files"]

NAME = "ophthalmology"
OPHTHALMOLOGY_TASK = DifferentialTask(name=NAME, table=EYE)
EYES = (OD, OS, OU)
SAME_SCORE = 0.5  # both eyes meet a condition about equally: it is of both
_QUESTION = re.compile(r"[^.?!\n]*\?")
_ASKED = re.compile(r"\b(?:(?P<right>right eye|OD|RE)|(?P<left>left eye|OS|LE))\b", re.IGNORECASE)


@dataclass(frozen=True)
class EyeDifferential:
    """eyes: of each option by name, None where the evidence has none. asked_eye: OD, OS or None."""

    base: Differential
    exam: EyeExam
    eyes: dict[str, str | None]
    asked_eye: str | None

    @property
    def ranking(self) -> tuple[str, ...]:
        """Names, best first."""
        return self.base.ranking

    @property
    def notices(self) -> tuple[CaseNotice, ...]:
        """What the reader must be told."""
        return self.base.notices

    def to_json(self) -> dict[str, Any]:
        """As in schemas/ophthalmology.schema.json."""
        value = self.base.to_json()
        value["input"] = case_json(self.base.case)
        value["exam"] = self.exam.to_json()
        value["asked_eye"] = self.asked_eye
        for option in value["options"]:
            option["eye"] = self.eyes.get(option["name"])
        return value


class EyeComparison(Comparison):
    """Each eye by itself; the condition is of the eye that meets it better, or of both when they meet it alike."""

    def __init__(self, table: KnowledgeTable, exam: EyeExam, asked: str | None) -> None:
        super().__init__(table)
        told = {one.eye for one in exam.findings}
        wanted = (asked,) if asked else (OD, OS) if told & {OD, OS, OU} else (None,)
        self._sides = {eye: tuple(_of_eye(exam.findings, eye)) for eye in wanted}
        self.eyes: dict[str, str | None] = {}

    def fit(self, case: Case, condition: Condition) -> Fit:
        """The better eye's fit."""
        fits = {
            eye: self.table.fit(
                replace(case, findings=tuple(one.finding for one in found), history=(), vitals=()), condition
            )
            for eye, found in self._sides.items()
        }
        best = max(fits, key=lambda eye: fits[eye].score)  # the first of equals: OD
        self.eyes[condition.name] = self._eye(fits, best)
        return fits[best]

    def _eye(self, fits: dict[str | None, Fit], best: str | None) -> str | None:
        named = {eye: self._names_eye(eye, fit) for eye, fit in fits.items()}
        if not named[best]:
            return None
        both = [eye for eye, fit in fits.items() if abs(fit.score - fits[best].score) < SAME_SCORE and named[eye]]
        return OU if len(both) == 2 else best

    def _names_eye(self, eye: str | None, fit: Fit) -> bool:
        """Some support of the fit is said of this eye, and not of an eye that was not told."""
        told = {one.finding: one.eye for one in self._sides[eye]}
        return any(told.get(match.finding) for match in fit.supports)

    def code(self, condition: Condition) -> str:
        """With the character of its eye where that is known and the code system has one."""
        eye = self.eyes.get(condition.name)
        index = EYES.index(eye) if eye else len(condition.sides)
        return condition.icd10 + condition.sides[index : index + 1]


def _of_eye(findings: Sequence[EyeFinding], eye: str | None) -> list[EyeFinding]:
    return [one for one in findings if eye is None or one.eye in (eye, OU, None)]


def asked_eye(text: str) -> str | None:
    """The eye that the text's last question names, None when it has no question or names none or both."""
    questions = _QUESTION.findall(text)
    named = {OD if match["right"] else OS for match in _ASKED.finditer(questions[-1])} if questions else set()
    return next(iter(named)) if len(named) == 1 else None


def ophthalmology(
    reader: Reader,
    text: str,
    candidates: Sequence[str] | None = None,
    eye: str | None = None,
    task: DifferentialTask = OPHTHALMOLOGY_TASK,
) -> EyeDifferential:
    """Options for an eye examination. eye: the one that is asked about, OD or OS; else as a question in the text says.

    Errors: InputError for another word for an eye.
    """
    if eye not in (None, OD, OS):
        raise InputError("the eye is neither OD nor OS", mend="give OD (right), OS (left), or none")
    case = case_from_text(text)
    exam = read_exam(case)
    asked = eye or asked_eye(text)
    table = knowledge_table(task.table)
    comparison = EyeComparison(table, exam, asked)
    relevant = _of_eye(exam.findings, asked)
    # The model reads the text; the table reads findings, among them what the numbers mean.
    compared = replace(case, findings=tuple(one.finding for one in relevant), history=(), vitals=())
    told = rank(reader, compared, candidates, task, comparison=comparison)
    notices = (*told.notices, *exam.notices, *_wrong_eye(exam, asked), *inspected(text, EYE_CHECKS))
    conditions = {name: table.named(name, icd_table()) for name in told.ranking}
    eyes = {name: comparison.eyes.get(one.name) if one else None for name, one in conditions.items()}
    missing = _missing(exam, asked) if told.options else ()
    base = replace(told, case=case, missing=missing, notices=notices)
    return EyeDifferential(base, exam, eyes, asked)


def _wrong_eye(exam: EyeExam, asked: str | None) -> list[CaseNotice]:
    """The question is of an eye of which nothing wrong is told, while something is told of the other one."""
    wrong = [one for one in exam.findings if one.finding.present and not is_normal(one.finding.name)]
    own = [one for one in wrong if one.eye in (asked, OU)]
    other = [one for one in wrong if one.eye in (OD, OS) and one.eye != asked]
    if asked is None or own or not other:
        return []
    spans = tuple(dict.fromkeys(one.finding.span for one in other))
    return [CaseNotice("wrong-eye", f"The question is about {asked}, but the findings are of the other eye.", spans)]


def _missing(exam: EyeExam, asked: str | None) -> tuple[str, ...]:
    """Parts of an eye examination that are not told, by eye where that matters."""
    wanted = []
    for kind in ("visual acuity", "IOP"):
        told = {one.eye for one in exam.values if one.kind == kind}
        eyes = (asked,) if asked else (OD, OS)
        wanted += [f"{kind} {eye}" for eye in eyes if not told & {eye, OU}] if None not in told else []
    parts = {one.part for one in exam.findings}
    return (*wanted, *(part for part in ("pupils", "slit lamp", "fundus") if part not in parts))


def task_files(task: DifferentialTask = OPHTHALMOLOGY_TASK) -> dict[str, bytes]:
    """What the bundle's tasks/ folder gets, the multiple-choice form included."""
    return differential_files(task) | mcq_files()


def read_ophthalmology_task(folder: Path) -> DifferentialTask:
    """The task of an open bundle. Errors: InputError when it has none, BundleError."""
    return read_differential_task(folder, NAME)
