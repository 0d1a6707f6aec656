"""The clinical gate: is the build as good at its task as its fp32 source, and does the self-test hold on this device?

Non-inferiority, paired by case: the source's score of each case came with the bundle (golden/suite.json), this device
computes the build's. The build passes when the lower confidence bound of the mean difference (build minus source) lies
above -margin; not being shown to be worse is not enough, so too few or too scattered cases fail. The bound is a
percentile bootstrap over cases (Efron 1979), seeded, so the same scores give the same verdict everywhere.

The self-test (golden/clinical.json, edge.clinical.power_on) asks what must hold of what the tasks put out here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import BundleError, EdgeError
from edge.runtime.engine import Engine, ExactEngine
from edge.runtime.exactness import largest_difference
from edge.runtime.text import ChatTokenizer

CLINICAL_FILE, SUITE_FILE = "clinical.json", "suite.json"
CLINICAL_VERSION = 1
EXACT_SAMPLE = (
    "The patient has had a cough for two weeks and takes lisinopril 20 mg every day. The lungs are clear." * 2
)
SEED = 20260103
RESAMPLES = 10_000
RESAMPLE_ROWS = 500  # drawn at once, so that a thousand cases stay within some megabytes
BUDGET_KEYS = frozenset({"suite", "margin", "cases_min", "confidence"})

Each = Callable[[str], None]


@dataclass(frozen=True)
class SelfTestCase:
    """reason: what does not hold here, '' when all does. output_sha256: of what a clinician would be shown, '' where it
    is not taken; information, it stays the same on one device and differs between processors."""

    id: str
    task: str
    reason: str
    output_sha256: str


@dataclass(frozen=True)
class SelfTest:
    """All cases of golden/clinical.json on this device."""

    cases: tuple[SelfTestCase, ...]

    @property
    def passed(self) -> bool:
        """There is a case and every one holds."""
        return bool(self.cases) and not any(case.reason for case in self.cases)

    @property
    def reason(self) -> str:
        """In words."""
        broken = [case for case in self.cases if case.reason]
        if broken:
            return f"{len(broken)} of {len(self.cases)} cases fail, first {broken[0].id}: {broken[0].reason}"
        tasks = ", ".join(sorted({case.task for case in self.cases}))
        return f"{len(self.cases)} cases of {tasks}" if self.cases else "no case"


@dataclass(frozen=True)
class SuiteScores:
    """The suite on this device, case by case: scores that are gated, and a second figure beside them (metric,
    second_metric say what they are). source: from the bundle; build: measured here."""

    suite: str
    metric: str
    second_metric: str
    ids: tuple[str, ...]
    source: tuple[float, ...]
    build: tuple[float, ...]
    source_second: tuple[float, ...]
    build_second: tuple[float, ...]


@dataclass(frozen=True)
class NonInferiority:
    """build minus source, in shares of 1. low, high: one-sided bounds at `confidence` each."""

    cases: int
    source_mean: float
    build_mean: float
    difference: float
    low: float
    high: float
    margin: float
    confidence: float

    @property
    def holds(self) -> bool:
        """The bound lies above -margin."""
        return self.low > -self.margin


def non_inferiority(
    source: Sequence[float], build: Sequence[float], margin: float, confidence: float = 0.95
) -> NonInferiority:
    """Compare paired scores, [n] each, n >= 1. Errors: ValueError when they are not pairs of numbers."""
    before, after = np.asarray(source, dtype=np.float64), np.asarray(build, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise ValueError("paired scores are two lists of the same length")
    differences = after - before
    if not np.isfinite(differences).all():
        raise ValueError("a score is not a number")
    random = np.random.Generator(np.random.PCG64(SEED))
    means = np.concatenate(
        [
            differences[random.integers(0, len(differences), (RESAMPLE_ROWS, len(differences)))].mean(axis=1)
            for _ in range(RESAMPLES // RESAMPLE_ROWS)
        ]
    )
    low, high = np.quantile(means, [1 - confidence, confidence])
    return NonInferiority(
        len(differences),
        float(before.mean()),
        float(after.mean()),
        float(differences.mean()),
        float(low),
        float(high),
        margin,
        confidence,
    )


@dataclass(frozen=True)
class ClinicalFiles:
    """What golden/ of a bundle asks of this device; () and None where it asks for nothing. suite: its file, which is
    read when it runs, because its reader loads the tasks and the memory of the runtime is measured before."""

    cases: tuple[Mapping[str, Any], ...]
    suite: Path | None

    @property
    def steps(self) -> int:
        """Units of work, for the progress bar."""
        return len(self.cases) + (1 if self.suite is not None else 0)


def load_clinical(golden: Path) -> ClinicalFiles:
    """Read golden/clinical.json where it is. Errors: BundleError."""
    cases: tuple[Mapping[str, Any], ...] = ()
    path, suite = golden / CLINICAL_FILE, golden / SUITE_FILE
    if path.exists():
        try:
            value = json.loads(path.read_bytes())
            if value["schema_version"] != CLINICAL_VERSION:
                raise BundleError("clinical cases of an unknown version", where=path.name, mend="update edge")
            cases = tuple(dict(case) for case in value["cases"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError("not valid clinical cases", where=path.name, mend="build the bundle again") from error
    return ClinicalFiles(cases, suite if suite.exists() else None)


def run_self_test(
    files: ClinicalFiles, folder: Path, engine: Engine, tokenizer: ChatTokenizer, chunk_tokens: int, each: Each
) -> SelfTest:
    """Run the cases; one that ends in an error fails and the others still run. each: called before a case runs.

    The last case asks the engine itself whether its steps are exact here: drafts and jump-forward rest on that, and
    another processor has other kernels.
    """
    from edge.clinical.power_on import FolderSession, run_case

    session = FolderSession(folder, engine, tokenizer, chunk_tokens)
    outcomes = []
    for case in files.cases:
        name, task = str(case.get("id")), str(case.get("task"))
        each(f"clinical case {name}")
        try:
            result = run_case(session, case)
            outcomes.append(SelfTestCase(name, task, result.reason, result.output_sha256))
        except EdgeError as error:
            outcomes.append(SelfTestCase(name, task, error.what[:120], ""))
    engine.rewind(0)
    if files.cases and isinstance(engine, ExactEngine):
        each("exact steps")
        ids = tokenizer.encode_text(EXACT_SAMPLE)[: min(32, engine.context_tokens - 1)]
        changed = "" if largest_difference(engine, ids) == 0.0 else "drafts could change an answer on this device"
        outcomes.append(SelfTestCase("exact-steps", "runtime", changed, ""))
    return SelfTest(tuple(outcomes))


def run_suite(path: Path, engine: Engine) -> SuiteScores:
    """Score golden/suite.json on this device. Errors: BundleError; InputError when a case does not fit the context."""
    from edge.clinical.gate_suite import METRICS, figures, force, read_suite

    suite = read_suite(path)
    here = []
    for case in suite.cases:
        found = figures(suite.name, case, force(engine, case), suite.scoring)
        # What is no number is the worst score, so that the verdict is signed as failed and not lost in an error.
        here.append(found if all(map(math.isfinite, found)) else (0.0, 0.0))
    metric, second_metric = METRICS[suite.name]
    return SuiteScores(
        suite.name,
        metric,
        second_metric,
        tuple(case.id for case in suite.cases),
        tuple(score for score, _ in suite.source),
        tuple(score for score, _ in here),
        tuple(second for _, second in suite.source),
        tuple(second for _, second in here),
    )
