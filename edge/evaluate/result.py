"""The result of one suite on one data file: a versioned JSON document with figures, groups and scores by case.

It holds ids, scores and counts and no text that a model read or wrote. A reader refuses a version it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge.errors import InputError
from edge.evaluate.summary import Figure

SCHEMA_VERSION = 1
KIND = "edge-evaluation"


@dataclass(frozen=True)
class Group:
    """One headline figure within a group of cases. grouping: by what; group: which."""

    grouping: str
    group: str
    figure: Figure


@dataclass(frozen=True)
class CaseResult:
    """One case. seconds: of the model; error: why it was not answered, '' when it was."""

    id: str
    scores: Mapping[str, float | None]
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class EvaluationResult:
    """One run. bundle: name, profile, digests; data: form, sha256, cases in the file and evaluated; settings: what
    else changes the figures; measured_at: RFC 3339, UTC; seconds_per_case: median of the model's time.
    """

    suite: str
    bundle: Mapping[str, str]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    figures: tuple[Figure, ...]
    groups: tuple[Group, ...]
    cases: tuple[CaseResult, ...]
    measured_at: str
    seconds_per_case: float | None
    device: str
    versions: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def figure(self, name: str) -> Figure:
        """A figure by its metric's name. Errors: KeyError."""
        return {figure.name: figure for figure in self.figures}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": KIND, **json.loads(json.dumps(asdict(self), allow_nan=False))}

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        return (json.dumps(self.to_json(), sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def load_result(path: Path) -> EvaluationResult:
    """Read a result file. Errors: InputError."""
    mend = "give a file that edge evaluate --json wrote"
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("not readable JSON", where=str(path), mend=mend) from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise InputError("not a result of edge evaluate", where=str(path), mend=mend)
    if value.get("schema_version") != SCHEMA_VERSION:
        what = f"result schema version {value.get('schema_version')!r} is not known"
        raise InputError(what, where=str(path), mend="read it with the edge that wrote it")
    try:
        return _from_json(value)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError("a result with missing or wrong keys", where=str(path), mend=mend) from error


def _from_json(value: dict[str, Any]) -> EvaluationResult:
    plain = {field.name: value[field.name] for field in fields(EvaluationResult)}
    plain["figures"] = tuple(Figure(**figure) for figure in value["figures"])
    plain["groups"] = tuple(
        Group(group["grouping"], group["group"], Figure(**group["figure"])) for group in value["groups"]
    )
    plain["cases"] = tuple(CaseResult(**case) for case in value["cases"])
    plain["remarks"] = tuple(value["remarks"])
    return EvaluationResult(**plain)
