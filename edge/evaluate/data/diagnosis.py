"""Patients with a diagnosis to find: DxBench and Dxy, iMedQA, AgentClinic.

DxBench names the true disease first in 312 of its 573 lists, so a model could learn the place instead of the
medicine. Candidates are therefore always given in alphabetical order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge.evaluate.data.cases import DiagnosisCase
from edge.evaluate.data.split import dxbench_split
from edge.evaluate.data.tables import Row, read_json_list, read_jsonl, unique_id

DXBENCH_KEYS = ("id", "explicit_symptoms", "implicit_symptoms", "candidate_diseases", "disease")
IMEDQA_KEYS = ("id", "question", "context", "options", "answer_idx")
STATES = {"true": "present", "false": "absent", "not sure": "unsure", "unsure": "unsure", "unknown": "unsure"}


def alphabetical(names: Iterable[str]) -> tuple[str, ...]:
    """An order that tells nothing of the answer."""
    return tuple(sorted(names, key=lambda name: (name.casefold(), name)))


def read_dxbench(path: Path, *, text: str | None = None) -> list[DiagnosisCase]:
    """Cases of DxBench's or Dxy's JSON form; `split` is edge's own. Errors: InputError with row and key."""
    seen: set[str] = set()
    return [_dxbench_case(row, seen) for row in read_json_list(path, text=text)]


def _dxbench_case(row: Row, seen: set[str]) -> DiagnosisCase:
    name = unique_id(row, "id", seen)
    findings: dict[str, list[str]] = {"present": [], "absent": [], "unsure": []}
    for column in ("explicit_symptoms", "implicit_symptoms"):
        for symptom, state in _symptoms(row, column):
            findings[state].append(symptom)
    listed = row.values.get("candidate_diseases")
    if not isinstance(listed, list) or not all(isinstance(item, str) and item.strip() for item in listed):
        raise row.wrong("candidate_diseases", "is not a list of names")
    candidates = alphabetical({item.strip() for item in listed})  # a few lists of DxBench name a disease twice
    answer = row.text("disease").strip()
    if candidates and answer not in candidates:
        raise row.wrong("disease", "is not among the candidates")
    return DiagnosisCase(
        id=name,
        answer=answer,
        candidates=candidates,
        present=tuple(findings["present"]),
        absent=tuple(findings["absent"]),
        unsure=tuple(findings["unsure"]),
        group=str(row.values.get("department") or ""),
        split=dxbench_split(name),
    )


def _symptoms(row: Row, column: str) -> list[tuple[str, str]]:
    value = row.values.get(column)
    if not isinstance(value, list):
        raise row.wrong(column, "is not a list")
    found = []
    for item in value:
        if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str) or not item[0].strip():
            raise row.wrong(column, "holds an entry that is not [name, True or False]")
        state = STATES.get(str(item[1]).strip().lower())
        if state is None:
            raise row.wrong(column, "holds a state other than True, False or Not sure")
        found.append((item[0].strip(), state))
    return found


def read_imedqa(path: Path, *, text: str | None = None) -> list[DiagnosisCase]:
    """Questions of iMedQA (mediQ) as a text with candidates. Errors: InputError with row and key."""
    seen: set[str] = set()
    cases = []
    for row in read_jsonl(path, text=text):
        name = unique_id(row, "id", seen)
        context, options = row.values.get("context"), row.values.get("options")
        if not isinstance(context, list) or not all(isinstance(line, str) for line in context):
            raise row.wrong("context", "is not a list of sentences")
        if not isinstance(options, dict) or not all(isinstance(option, str) for option in options.values()):
            raise row.wrong("options", "is not letters with texts")
        letter = row.text("answer_idx").strip()
        if letter not in options:
            raise row.wrong("answer_idx", "is not one of the options")
        words = " ".join([*context, row.text("question")])
        listed = alphabetical(dict.fromkeys(option.strip() for option in options.values()))
        cases.append(DiagnosisCase(id=name, answer=options[letter].strip(), candidates=listed, text=words))
    return cases


def read_agentclinic(path: Path, *, text: str | None = None) -> list[DiagnosisCase]:
    """OSCE cases of AgentClinic as a text without candidates. Errors: InputError with row and key."""
    cases = []
    for row in read_jsonl(path, text=text):
        station = row.values.get("OSCE_Examination")
        if not isinstance(station, dict):
            raise row.wrong("OSCE_Examination", "is missing")
        answer = station.get("Correct_Diagnosis")
        if not isinstance(answer, str) or not answer.strip():
            raise row.wrong("Correct_Diagnosis", "is empty")
        parts = [
            ("History", station.get("Patient_Actor")),
            ("Examination", station.get("Physical_Examination_Findings")),
            ("Tests", station.get("Test_Results")),
        ]
        lines = [f"{name}: {told}" for name, value in parts if (told := _in_words(value))]
        if not lines:
            raise row.wrong("OSCE_Examination", "holds no findings")
        cases.append(DiagnosisCase(id=f"osce-{row.number}", answer=answer.strip(), text="\n".join(lines)))
    return cases


def _in_words(value: Any) -> str:
    """Nested objects as "Name: text; Name: text", the names without underscores."""
    if isinstance(value, Mapping):
        told = [(str(key).replace("_", " "), _in_words(item)) for key, item in value.items()]
        return "; ".join(f"{key}: {words}" for key, words in told if words)
    if isinstance(value, list):
        return ", ".join(words for item in value if (words := _in_words(item)))
    return str(value).strip() if value is not None else ""
