"""The per-case predictions published with arXiv 2601.03266: answers of about 17 models, three runs each.

The files end in leftovers of a spreadsheet ("Loading...", names of statistics); only rows with a case count, as in
the authors' own analysis. A run's column is `<model>` with `-m1`, `-v1` or ` v1` behind it; the ground truth is `GT`
(letters) or `HumanEvalScore` (1 to 5). A missing score stays missing: it is never taken for a 0.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError
from edge.evaluate.data.cases import JudgeCase
from edge.evaluate.data.tables import Row, read_csv, read_text

JUDGE_COLUMNS = ("Clinical specialty", "Model", "Disease_description", "HumanEvalScore")
LETTER_COLUMNS = ("Topic", "Type", "Question", "GT")
_RUN = re.compile(r"^(?P<model>.+?)(?:-| )[mv](?P<run>[123])$")
_OUTPUT = re.compile(r"\n\s*Model Output:\s*")


@dataclass(frozen=True)
class PublishedRuns:
    """truth: one a case; runs: model to its runs, each one value a case (letters, or a score; None where missing)."""

    truth: tuple[str, ...]
    runs: dict[str, tuple[tuple[str | None, ...], ...]]


def run_columns(header: list[str]) -> dict[str, list[str]]:
    """Model to the columns of its runs, in the file's order."""
    found: dict[str, list[str]] = {}
    for name in header:
        match = _RUN.match(name)
        if match:
            found.setdefault(match["model"], []).append(name)
    return found


def read_published(path: Path, truth_column: str) -> PublishedRuns:
    """All runs of a published file. truth_column: GT or HumanEvalScore. Errors: InputError."""
    text = read_text(path)
    rows = [row for row in read_csv(path, (truth_column,), text=text) if _is_case(row, truth_column)]
    if not rows:
        raise InputError("no row has a case", where=str(path), mend="give a published predictions file")
    columns = run_columns([str(name) for name in rows[0].values])
    runs = {model: tuple(tuple(_cell(row, name) for row in rows) for name in names) for model, names in columns.items()}
    return PublishedRuns(tuple(row.text(truth_column).strip() for row in rows), runs)


def _is_case(row: Row, truth_column: str) -> bool:
    first = "Clinical specialty" if truth_column == "HumanEvalScore" else "Question"
    return all(str(row.values.get(column) or "").strip() for column in (first, truth_column))


def _cell(row: Row, column: str) -> str | None:
    value = str(row.values[column]).strip()
    return value if value and value != "Loading..." else None


def read_judge(path: Path, *, text: str | None = None) -> list[JudgeCase]:
    """Model answers with human scores of the NMED files. The text of an answer follows "Model Output:".

    Errors: InputError with row and column.
    """
    cases = []
    for row in read_csv(path, JUDGE_COLUMNS, text=text):
        if not str(row.values["Clinical specialty"]).strip():
            continue
        parts = _OUTPUT.split(row.text("Disease_description"), maxsplit=1)
        if len(parts) != 2 or not parts[1].strip():
            raise row.wrong("Disease_description", "has no part 'Model Output:'")
        score = likert(row.text("HumanEvalScore"))
        if score is None:
            raise row.wrong("HumanEvalScore", "is not a number from 1 to 5")
        cases.append(
            JudgeCase(
                id=f"row-{row.number}",
                case_text=parts[0].strip(),
                answer_text=parts[1].strip(),
                human_score=score,
                model=str(row.values["Model"]).strip(),
                group=str(row.values["Clinical specialty"]).strip(),
            )
        )
    if not cases:
        raise InputError("no row has a case", where=str(path), mend="give a file with human scores")
    return cases


def likert(text: str | None) -> float | None:
    """A score from 1 to 5, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and 1.0 <= value <= 5.0 else None
