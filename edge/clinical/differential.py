"""The differential task: findings to ranked options, each with its basis, and with what is missing.

Who does what, and says so: the model only compares candidates (each one's likelihood, read from its probabilities);
tables give the candidates of an open question, the codes, the typical findings and what is missing; rules read the
case. No text of an option is generated, so nothing in it can be made up: names come from the caller or the table,
codes from the code system, evidence from the input. Scores compare the options with each other and are no
probabilities. Options, never orders; an empty list is an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.clinical.attribution import THRESHOLD_NATS, Leaning, leanings
from edge.clinical.candidates import candidate_scores
from edge.clinical.case import VITAL_NAMES, Case, CaseNotice, Finding, case_from_text
from edge.clinical.conditions import (
    GENERAL,
    Condition,
    Fit,
    KnowledgeTable,
    Match,
    best_fits,
    knowledge_table,
    table_digests,
)
from edge.clinical.differential_prompt import differential_messages, findings_messages, ordered
from edge.clinical.icd10 import CODES_FILE, NAMES_FILE, IcdCode, icd_table
from edge.clinical.notices import inspect_input
from edge.clinical.scoring import Reader, ScoringVariant, softmax
from edge.errors import BundleError, InputError
from edge.runtime.sampling import SamplerSettings

NAME = "differential"
LABEL = "Options for the clinician to weigh, compared by a language model and a table. The clinician decides."
BASIS_TABLE, BASIS_MODEL = "table", "model"
SCHEMAS = Path(__file__).parent / "schemas"
MOST_MISSING = 4
# Of the general inspection: what matters for a case as for a visit. The rest (length, speakers) is of transcripts only.
EYE_CHECKS = frozenset({"not-english", "mixed-language", "two-patients", "unknown-drug", "unread-number"})
GENERAL_CHECKS = EYE_CHECKS | {"side-conflict", "eye-side"}
# Chosen on the valid part of edge's split of DxBench (63 cases) with the reference adapter, among open weights 0 to 1
# and table weights 0 to 4: .651 against .524 for the listed question alone and .603 with the table added.
PLAIN = ScoringVariant(table_weight=0.75, open_weight=0.5)
# An open question's candidates all come from one table, so what they meet of it can be compared as well.
OPEN = ScoringVariant(prior_weight=1.0, table_weight=1.0, temperature=4.0)


@dataclass(frozen=True)
class DifferentialTask:
    """How the task is done, as it lies in a bundle.

    scoring: of given candidates; open_scoring: of the table's own, at most open_limit of them.
    """

    name: str = NAME
    table: str = GENERAL
    scoring: ScoringVariant = PLAIN
    open_scoring: ScoringVariant = OPEN
    open_limit: int = 5
    most_evidence: int = 4

    def to_bytes(self) -> bytes:
        """Canonical JSON: the prompt with place-holders, the scoring, and the digests of the tables."""
        value = {
            "schema_version": 1,
            "task": self.name,
            "kind": "score",
            "messages": differential_messages("{case}", ["{candidate}"]),
            "open_messages": differential_messages("{case}", []),
            "channel_messages": findings_messages("{candidate}"),
            "sampler": SamplerSettings().to_json(),
            "scoring": self.scoring.to_json(),
            "open_scoring": self.open_scoring.to_json(),
            "open_limit": self.open_limit,
            "most_evidence": self.most_evidence,
            "table": self.table,
            "tables": table_digests([self.table, CODES_FILE, NAMES_FILE]),
        }
        return (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str) -> DifferentialTask:
        """Errors: BundleError when this edge would not do what the bundle was built and tested with."""
        try:
            task = DifferentialTask(
                str(value["task"]),
                str(value["table"]),
                ScoringVariant.from_json(value["scoring"]),
                ScoringVariant.from_json(value["open_scoring"]),
                int(value["open_limit"]),
                int(value["most_evidence"]),
            )
            same = json.loads(task.to_bytes()) == value
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise BundleError("not a valid task file", where=where, mend="install the bundle again") from error
        if not same:
            raise BundleError(
                "the task was made by another edge: its prompt or its tables differ from those here",
                where=where,
                mend="use the edge that built the bundle, or build it again",
            )
        return task


DIFFERENTIAL_TASK = DifferentialTask()


@dataclass(frozen=True)
class Evidence:
    """A span of the input. typical: the table's finding that it meets or denies; '' when the model leans on it."""

    finding: Finding
    basis: str
    typical: str = ""
    nats: float | None = None

    def to_json(self, text: str) -> dict[str, Any]:
        """With the characters themselves."""
        span = self.finding.span
        value = {"text": span.of(text), "start": span.start, "end": span.end, "basis": self.basis}
        return value | ({"typical": self.typical} if self.typical else {"nats": round(self.nats or 0.0, 2)})


@dataclass(frozen=True)
class Option:
    """One option. score: share among the options (uncalibrated); log_score: before the softmax.

    missing: typical findings of which the input says nothing (only from a table).
    """

    name: str
    icd10: IcdCode | None
    score: float
    log_score: float
    supports: tuple[Evidence, ...]
    against: tuple[Evidence, ...]
    missing: tuple[str, ...]
    basis: str


@dataclass(frozen=True)
class Differential:
    """options: best first, possibly none. missing: inputs that the case lacks whatever the option."""

    case: Case
    options: tuple[Option, ...]
    missing: tuple[str, ...]
    notices: tuple[CaseNotice, ...]
    task: DifferentialTask
    candidates_given: bool

    @property
    def ranking(self) -> tuple[str, ...]:
        """Names, best first."""
        return tuple(option.name for option in self.options)

    def to_json(self) -> dict[str, Any]:
        """As in schemas/differential.schema.json."""
        text = self.case.text
        return {
            "schema_version": 1,
            "task": self.task.name,
            "label": LABEL,
            "candidates": "given" if self.candidates_given else "table",
            "input": case_json(self.case),
            "options": [
                {
                    "rank": rank,
                    "name": option.name,
                    "icd10": option.icd10.to_json() if option.icd10 else None,
                    "score": round(option.score, 4),
                    "supports": [one.to_json(text) for one in option.supports],
                    "against": [one.to_json(text) for one in option.against],
                    "missing": [{"what": what, "basis": BASIS_TABLE} for what in option.missing],
                    "basis": option.basis,
                }
                for rank, option in enumerate(self.options, 1)
            ],
            "missing": list(self.missing),
            "scoring": {"calibrated": False, "by": "model likelihood among these options"},
            "notices": [notice.to_json() for notice in self.notices],
        }


def case_json(case: Case) -> dict[str, Any]:
    """What was read of the input."""
    return {
        "findings": [
            {"name": one.name, "present": one.present, "start": one.span.start, "end": one.span.end}
            for one in case.findings
        ],
        "history": [{"name": one.name, "start": one.span.start, "end": one.span.end} for one in case.history],
        "vitals": [
            {"name": one.name, "value": one.value, "second": one.second, "unit": one.unit}
            | {"start": one.span.start, "end": one.span.end}
            for one in case.vitals
        ],
        "age_years": None if case.age_years is None else round(case.age_years, 2),
        "sex": case.sex,
    }


class Comparison:
    """How a case is held against the table; the eye examination has its own way (edge.clinical.ophthalmology)."""

    def __init__(self, table: KnowledgeTable) -> None:
        self.table = table

    def fit(self, case: Case, condition: Condition) -> Fit:
        """What the case meets and denies of a condition."""
        return self.table.fit(case, condition)

    def code(self, condition: Condition) -> str:
        """The condition's code in this case."""
        return condition.icd10


def differential(
    reader: Reader, text: str, candidates: Sequence[str] | None = None, task: DifferentialTask = DIFFERENTIAL_TASK
) -> Differential:
    """Rank `candidates`, or the table's conditions when None, by the findings in `text`."""
    case = case_from_text(text)
    told = rank(reader, case, candidates, task)
    return replace(told, notices=(*told.notices, *inspected(text, GENERAL_CHECKS)))


def inspected(text: str, codes: frozenset[str]) -> tuple[CaseNotice, ...]:
    """Those notices of the general inspection of an input that hold for a case as well."""
    found = inspect_input(text) if text.strip() else ()
    return tuple(CaseNotice(one.code, one.message, one.spans) for one in found if one.code in codes)


def rank(
    reader: Reader,
    case: Case,
    candidates: Sequence[str] | None = None,
    task: DifferentialTask = DIFFERENTIAL_TASK,
    *,
    comparison: Comparison | None = None,
    explain: bool = True,
) -> Differential:
    """Rank candidates for a case. explain: without, the model's own evidence is left out, which saves reading the case
    once a candidate that no table knows; the ranking is the same.

    Without findings there is nothing to compare and the list is empty. Errors: InputError when a candidate's name is
    longer than the model can read.
    """
    table, codes = knowledge_table(task.table), icd_table()
    compare = comparison or Comparison(table)
    notices = list(case.notices)
    if candidates is None:
        best = best_fits((compare.fit(case, one) for one in table.conditions), task.open_limit)
        fits: dict[str, Fit | None] = {fit.condition.name: fit for fit in best}
        if case.evidence and not fits:
            notices.append(CaseNotice("no-known-finding", "No condition of the table fits the findings. No option."))
    else:
        known = {name: table.named(name, codes) for name in ordered(candidates)}
        fits = {name: compare.fit(case, one) if one else None for name, one in known.items()}
    names = sorted(fits, key=lambda name: (name.casefold(), name)) if case.evidence else []
    if unknown := table.unknown(case):
        notices.append(
            CaseNotice(
                "unknown-finding",
                "The table knows nothing of some findings: it neither used nor judged them.",
                tuple(finding.span for finding in unknown),
            )
        )
    scoring = task.open_scoring if candidates is None else task.scoring
    scored, cut = candidate_scores(reader, case.prompt_text, names, fits, scoring)
    if cut:
        notices.append(CaseNotice("input-cut", f"The model read only the first {cut} % of the input."))
    unknown_names = explain and any(fits[name] is None for name in names)
    model = leanings(reader, case, names) if unknown_names else {}
    shares = dict(zip(names, softmax([scored[name] for name in names], scoring.temperature), strict=True))
    options = []
    for name in sorted(names, key=lambda name: (-scored[name], name.casefold(), name)):
        fit = fits[name]
        condition = fit.condition if fit else None
        code = codes.lookup(compare.code(condition)) if condition else codes.code_for(name)
        supports, against = _evidence(fit, model.get(name, ()), task.most_evidence)
        missing = fit.missing[:MOST_MISSING] if fit else ()
        basis = BASIS_TABLE if fit else BASIS_MODEL
        options.append(Option(name, code, shares[name], scored[name], supports, against, missing, basis))
    if without := [option for option in options if option.icd10 is None]:
        notices.append(
            CaseNotice("no-code", f"{len(without)} of the options have no code: none fits their name surely.")
        )
    missing_inputs = _missing_inputs(case) if case.evidence else ()
    return Differential(case, tuple(options), missing_inputs, tuple(notices), task, candidates is not None)


def _evidence(
    fit: Fit | None, leaning: Sequence[Leaning], most: int
) -> tuple[tuple[Evidence, ...], tuple[Evidence, ...]]:
    if fit:

        def told(matches: Sequence[Match]) -> tuple[Evidence, ...]:
            best: dict[tuple[int, int], Match] = {}
            for match in sorted(matches, key=lambda one: -one.weight):
                best.setdefault((match.finding.span.start, match.finding.span.end), match)
            return tuple(Evidence(one.finding, BASIS_TABLE, one.typical) for one in list(best.values())[:most])

        return told(fit.supports), told(fit.against)
    ranked = sorted(leaning, key=lambda one: -abs(one.nats))
    supports = [Evidence(one.finding, BASIS_MODEL, "", one.nats) for one in ranked if one.nats >= THRESHOLD_NATS]
    against = [Evidence(one.finding, BASIS_MODEL, "", one.nats) for one in ranked if one.nats <= -THRESHOLD_NATS]
    return tuple(supports[:most]), tuple(against[:most])


def _missing_inputs(case: Case) -> tuple[str, ...]:
    """Inputs that every differential wants and this case lacks."""
    given = {vital.name for vital in case.vitals}
    vitals = tuple(name for name in VITAL_NAMES if name not in given)
    who = (("age", case.age_years), ("sex", case.sex), ("history", case.history or None))
    return (*(name for name, value in who if value is None), *vitals)


def task_files(task: DifferentialTask = DIFFERENTIAL_TASK) -> dict[str, bytes]:
    """What the bundle's tasks/ folder gets."""
    return {
        f"{task.name}.json": task.to_bytes(),
        f"{task.name}.schema.json": (SCHEMAS / f"{task.name}.schema.json").read_bytes(),
    }


def read_differential_task(folder: Path, name: str = NAME) -> DifferentialTask:
    """The task of an open bundle. Errors: InputError when it has none, BundleError."""
    path = folder / "tasks" / f"{name}.json"
    if not path.is_file():
        raise InputError(f"this bundle has no task '{name}'", where=str(folder), mend=f"build one with tasks: [{name}]")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError("not a valid task file", where=str(path), mend="install the bundle again") from error
    return DifferentialTask.from_json(value, str(path))


def with_scoring(task: DifferentialTask, scoring: ScoringVariant) -> DifferentialTask:
    """The task with another way to score."""
    return replace(task, scoring=scoring)
