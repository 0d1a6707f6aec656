"""The power-on self-test of a bundle: golden/clinical.json, small clinical cases through the whole of each task.

What a model writes differs between processors in its last bits, so no case asks for the same words. It asks for what
must hold of any words: the answer has its form, its evidence stands in the input, nothing that the input does not
support is shown, and what rules and tables decide is what it was where the bundle was built. The scored tasks hold
their own cases (selftest.py), the note's are given by the build. The digest of a note is kept as information: on one
device it does not change.

The cases are written by the authors of edge; no patient's words are in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clinical.selftest import GoldenCase, check_golden, golden_cases
from edge.errors import BundleError
from edge.runtime.engine import Engine
from edge.runtime.session import Session
from edge.runtime.text import ChatTokenizer

NOTE = "note"
NO_FORM = "the answer has not its form"
NO_EVIDENCE = "evidence does not stand in the input"
NOT_SUPPORTED = "a line is shown that the input does not support"
NOT_AS_BUILT = "rules decide otherwise than where it was built"


class FolderSession(Session):
    """A session over a bundle's folder with an engine that is loaded already: while it is built, and while it is
    measured. The folder was checked by whoever gives it; there is no open bundle."""

    def __init__(self, folder: Path, engine: Engine, tokenizer: ChatTokenizer, chunk_tokens: int = 256) -> None:
        self.folder, self.engine, self.tokenizer = folder, engine, tokenizer
        self._chunk_tokens = chunk_tokens
        self.prefix_cache = None


@dataclass(frozen=True)
class CaseResult:
    """One case. reason: what does not hold, without words of the case; '' when all does. decided: what rules made of
    it, the same on every device. output_sha256: of all that a clinician would be shown, '' where it is not taken."""

    id: str
    task: str
    reason: str
    decided: Mapping[str, Any]
    output_sha256: str = ""


def scored_cases(task: str) -> list[dict[str, Any]]:
    """The cases that a scored task brings itself, as golden/clinical.json holds them."""
    return [
        {
            "id": f"{case.task}-{case.name.replace(' ', '-')}",
            "task": case.task,
            "input": case.text,
            "candidates": None if case.candidates is None else list(case.candidates),
            "answer": case.answer,
            "notices": list(case.notices),
            "empty": case.empty,
            "codes": list(case.codes),
        }
        for case in golden_cases(task)
    ]


def run_case(session: Session, case: Mapping[str, Any]) -> CaseResult:
    """Run a case of golden/clinical.json. Errors: BundleError for one that this edge does not know; the task's own."""
    try:
        if case["task"] == NOTE:
            return _note(session, case)
        candidates = case["candidates"]
        scored = GoldenCase(
            str(case["id"]),
            str(case["task"]),
            str(case["input"]),
            None if candidates is None else tuple(map(str, candidates)),
            str(case["answer"]),
            tuple(case["notices"]),
            bool(case["empty"]),
            tuple(case["codes"]),
        )
        return CaseResult(scored.name, scored.task, check_golden(session, scored).reason, {})
    except (KeyError, TypeError) as error:
        raise BundleError("not a valid golden clinical case", where="golden", mend="build the bundle again") from error


def _note(session: Session, case: Mapping[str, Any]) -> CaseResult:
    from edge.clinical.drafting import draft_note
    from edge.clinical.facts import FactSource, check_line
    from edge.clinical.note_draft import MODEL
    from edge.clinical.note_prompt import patient_phrase
    from edge.clinical.patient import patient_context

    text = str(case["input"])
    # Without guessed words: when guessing pays is a matter of times, and the digest is to be the same every time.
    draft = draft_note(session, text, drafts=False, options={"max_new_tokens": int(case["max_new_tokens"])})
    source = FactSource.of(text, patient_phrase(patient_context(text)))
    value = draft.to_json()
    written = [line for line in draft.lines if line.origin == MODEL]
    decided = {
        "red_flags": sorted(str(flag["rule"]) for flag in value["red_flags"]),
        "notices": sorted(str(notice["code"]) for notice in value["notices"]),
    }
    reason = ""
    if not draft.parsed:
        reason = NO_FORM
    elif not all(line.evidence for line in draft.lines) or not spans_hold(value, text):
        reason = NO_EVIDENCE
    elif any(found.major for line in written for found in check_line(line.text, line.section, source)):
        reason = NOT_SUPPORTED
    elif case.get("expected", decided) != decided:
        reason = NOT_AS_BUILT
    shown = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return CaseResult(str(case["id"]), NOTE, reason, decided, hashlib.sha256(shown.encode()).hexdigest())


def spans_hold(value: Any, text: str) -> bool:
    """Whether every {"start", "end", "quote"} anywhere in `value` lies in the text and stands there."""
    return all(
        isinstance(span["start"], int)
        and 0 <= span["start"] < span["end"] <= len(text)
        and text[span["start"] : span["end"]] == span["quote"]
        for span in _spans(value)
    )


def _spans(value: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if {"start", "end", "quote"} <= value.keys():
            yield value
        for inner in value.values():
            yield from _spans(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _spans(inner)
