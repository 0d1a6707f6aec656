"""Which reader reads a file: told from its columns or keys, never from its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge.errors import InputError
from edge.evaluate.data.cases import Case
from edge.evaluate.data.choices import MCQ_KEYS, MEDMCQA_KEYS, read_mcq, read_medmcqa
from edge.evaluate.data.diagnosis import DXBENCH_KEYS, IMEDQA_KEYS, read_agentclinic, read_dxbench, read_imedqa
from edge.evaluate.data.notes import ACI_COLUMNS, MTS_COLUMNS, read_aci, read_mts
from edge.evaluate.data.published import JUDGE_COLUMNS, read_judge
from edge.evaluate.data.tables import csv_header, read_text

Shape = Literal["csv", "json", "jsonl"]


@dataclass(frozen=True)
class Form:
    """A form of data. keys: columns or keys that tell it; suite: the suite that is meant for it."""

    name: str
    shape: Shape
    keys: tuple[str, ...]
    suite: str
    read: Callable[..., Sequence[Case]]


FORMS = (
    Form("ACI-Bench", "csv", ACI_COLUMNS, "notes", read_aci),
    Form("MTS-Dialog", "csv", MTS_COLUMNS, "notes", read_mts),
    Form("NMED judge scores", "csv", JUDGE_COLUMNS, "judge", read_judge),
    Form("DxBench", "json", DXBENCH_KEYS, "diagnosis", read_dxbench),
    Form("multiple choice", "json", MCQ_KEYS, "ophthalmology", read_mcq),
    Form("MedMCQA", "jsonl", MEDMCQA_KEYS, "ophthalmology", read_medmcqa),
    Form("iMedQA", "jsonl", IMEDQA_KEYS, "diagnosis", read_imedqa),
    Form("AgentClinic", "jsonl", ("OSCE_Examination",), "diagnosis", read_agentclinic),
)


def form_of(path: Path, text: str) -> Form:
    """The form of a file's text. Errors: InputError when it is none of the known ones."""
    shape, keys = _shape(text)
    for form in FORMS:
        if form.shape == shape and set(form.keys) <= keys:
            return form
    almost = max(
        (form for form in FORMS if form.shape == shape), key=lambda form: len(set(form.keys) & keys), default=None
    )
    if almost is not None and set(almost.keys) & keys:
        missing = next(key for key in almost.keys if key not in keys)
        what = f"looks like {almost.name}, but '{missing}' is missing"
        raise InputError(what, where=str(path), mend=f"it needs {', '.join(almost.keys)}")
    known = ", ".join(form.name for form in FORMS)
    raise InputError("this form of data is not known", where=str(path), mend=f"give one of: {known}")


def read_cases(path: Path) -> tuple[Form, Sequence[Case]]:
    """Form and cases of a data file. Errors: InputError."""
    text = read_text(path)
    form = form_of(path, text)
    return form, form.read(path, text=text)


def _shape(text: str) -> tuple[Shape, set[str]]:
    start = text.lstrip()[:1]
    if start == "[":
        return "json", _first_keys(text)
    if start == "{":
        return "jsonl", _keys(_json(text.lstrip().split("\n", 1)[0]))
    return "csv", set(csv_header(text))


def _first_keys(text: str) -> set[str]:
    value = _json(text)
    return _keys(value[0]) if isinstance(value, list) and value else set()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _keys(value: Any) -> set[str]:
    return {str(key) for key in value} if isinstance(value, dict) else set()
