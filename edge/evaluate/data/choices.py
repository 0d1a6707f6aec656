"""Multiple-choice questions: the ophthalmology exam's JSON form (arXiv 2601.03266) and MedMCQA's JSONL form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edge.evaluate.data.cases import ChoiceCase
from edge.evaluate.data.tables import Row, read_json_list, read_jsonl, unique_id

MCQ_KEYS = ("id", "stem", "options", "answer")
MEDMCQA_KEYS = ("id", "question", "label")
# The exam marks its questions; one without a mark may have several right answers.
_SINGLE = re.compile(r"\bsingle[- ]choice\b", re.IGNORECASE)
_LIST = re.compile(r"\n\s*Answer Choices:\s*", re.IGNORECASE)
_OPTION = re.compile(r"\(([A-Z])\)\s*")


def read_mcq(path: Path, *, text: str | None = None) -> list[ChoiceCase]:
    """Questions with `stem`, `options` (letter to text) and `answer` (list of letters). Errors: InputError."""
    seen: set[str] = set()
    cases = []
    for row in read_json_list(path, text=text):
        name = unique_id(row, "id", seen)
        options = row.values.get("options")
        if not isinstance(options, dict) or len(options) < 2 or not all(_is_option(*item) for item in options.items()):
            raise row.wrong("options", "is not two or more letters with texts")
        group, stem = str(row.values.get("type") or ""), row.text("stem")
        answer = _answer(row, "answer", options)
        cases.append(ChoiceCase(name, stem, dict(options), answer, group, multiple=not _SINGLE.search(stem)))
    return cases


def _is_option(letter: Any, words: Any) -> bool:
    return isinstance(letter, str) and re.fullmatch(r"[A-Z]", letter) is not None and isinstance(words, str)


def _answer(row: Row, column: str, options: dict[str, str]) -> tuple[str, ...]:
    value = row.values.get(column)
    letters = list(value) if isinstance(value, str) else value
    if not isinstance(letters, list) or not letters or not all(letter in options for letter in letters):
        raise row.wrong(column, "is not one or more of the options' letters")
    return tuple(sorted(set(letters)))


def read_medmcqa(path: Path, *, text: str | None = None) -> list[ChoiceCase]:
    """Questions whose options stand in the text as "Answer Choices: (A) ... (B) ...". Errors: InputError."""
    seen: set[str] = set()
    cases = []
    for row in read_jsonl(path, text=text):
        name = unique_id(row, "id", seen)
        parts = _LIST.split(row.text("question"))
        found = _OPTION.split(parts[-1]) if len(parts) == 2 else []
        options = {letter: words.strip() for letter, words in zip(found[1::2], found[2::2], strict=False)}
        expected = [chr(ord("A") + index) for index in range(len(options))]
        if len(options) < 2 or list(options) != expected or len(found) != 2 * len(options) + 1:
            raise row.wrong("question", "has no list of choices (A), (B), ...")
        group = str(row.values.get("subject_name") or "")
        cases.append(ChoiceCase(name, parts[0].strip(), options, _answer(row, "label", options), group))
    return cases
