"""golden/clinical.json: the self-test's cases for the tasks of a profile, with what rules decide of them; and the
stage that writes it, with golden/suite.json where the profile has a clinical budget.

The build runs each case through the engine that ships; what does not hold there fails the build. Recorded is only what
is the same on every host. Digests of what the model wrote depend on the processor, so they go into the build's own
report and not into the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from edge.build.clinical_suite import ForceAll, make_suite
from edge.build.golden import json_bytes
from edge.build.state import Build
from edge.build.texts import read_texts
from edge.clinical.gate_suite import SUITE_FILE
from edge.clinical.power_on import NOTE, CaseResult, FolderSession, run_case, scored_cases
from edge.errors import GateError
from edge.runtime.engine import Engine
from edge.runtime.session import Session
from edge.specs.profile import locate

CLINICAL_FILE = "clinical.json"
NOTE_CASES = "clinical-golden.json"
CLINICAL_VERSION = 1
CONTEXT_TOKENS = 2048  # no case is longer; the cache of a whole context would only cost memory


def clinical_cases(tasks: Iterable[str]) -> list[dict[str, Any]]:
    """The cases of these tasks, task by task."""
    cases: list[dict[str, Any]] = []
    for task in tasks:
        if task == NOTE:
            text = files("edge.build").joinpath(NOTE_CASES).read_text(encoding="utf-8")
            cases += json.loads(text)["cases"]
        else:
            cases += scored_cases(task)
    return cases


def make_clinical_golden(session: Session, tasks: Iterable[str]) -> tuple[bytes, list[CaseResult]]:
    """The file, and what this build made of each case. Errors: GateError when one does not hold."""
    results, recorded = [], []
    for case in clinical_cases(tasks):
        result = run_case(session, case)
        if result.reason:
            raise GateError(
                f"clinical self-test: {result.reason}",
                where=f"case {result.id}",
                mend="mend the task, or leave it out of the profile",
            )
        results.append(result)
        recorded.append(case | {"expected": dict(result.decided)})
    return json_bytes({"schema_version": CLINICAL_VERSION, "cases": recorded}), results


def write_clinical(build: Build, engine: Engine, score: ForceAll) -> dict[str, Any]:
    """Write golden/clinical.json and golden/suite.json. engine: of the build; score: the source's opinion of sequences.

    Returns what the build report says. Errors: GateError, SourceError.
    """
    profile, folder, made = build.profile, build.folder / "golden", dict[str, Any]()
    if profile.tasks:
        session = FolderSession(build.folder, engine, build.tokenizer, profile.prefill_chunk_tokens)
        data, results = make_clinical_golden(session, profile.tasks)
        (folder / CLINICAL_FILE).write_bytes(data)
        made["self_test"] = {result.id: result.output_sha256 for result in results}
    budget = profile.budgets.clinical
    if budget is not None:
        texts = read_texts(locate(build.profile_path, profile.fidelity_text.text))
        suite = make_suite(budget.suite, texts, build.tokenizer, profile.context_tokens, budget.cases_min, score)
        (folder / SUITE_FILE).write_bytes(suite.to_bytes())
        mean = sum(score for score, _ in suite.source) / len(suite.source)
        made["suite"] = {"suite": suite.name, "cases": len(suite.cases), "source_mean": round(mean, 4)}
    return made
