"""A multiple-choice question as in the ophthalmology test of Xu et al. 2026 (on-device LLMs): letters, exact set.

Nothing is generated freely. Two likelihoods are read for every option: of its letter after the question with all
options listed, among the given letters only (what a grammar of letters allows), and of its text after the question
alone, minus that of its text without the question (pointwise mutual information), per token. One option is the best;
where several may be right, all within a margin of the best are. The answer is always letters of the given options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edge.clinical.scoring import Reader, chat_ids, score_continuations
from edge.errors import BundleError, InputError
from edge.runtime.sampling import SamplerSettings

NAME = "mcq"
SYSTEM = "You answer a medical examination question with the letters of the right options."
TEXT_SYSTEM = "You answer a medical examination question."
SCHEMAS = Path(__file__).parent / "schemas"


@dataclass(frozen=True)
class McqTask:
    """letter_weight, text_weight: of the two likelihoods. margin: how far below the best (in nats) is still right
    where several options may be."""

    letter_weight: float = 1.0
    text_weight: float = 1.0
    margin: float = 0.5

    def to_bytes(self) -> bytes:
        """Canonical JSON for the bundle's tasks/ folder."""
        value = {
            "schema_version": 1,
            "task": NAME,
            "kind": "score",
            "messages": mcq_messages("{stem}", {"A": "{option}"}, multiple=True),
            "text_messages": text_messages("{stem}"),
            "sampler": SamplerSettings().to_json(),
            "scoring": {field.name: getattr(self, field.name) for field in fields(self)},
        }
        return (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> McqTask:
        """Errors: BundleError when this edge would ask in other words than the bundle was built with."""
        try:
            task = McqTask(**json.loads(data)["scoring"])
            same = task.to_bytes() == data
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("not a valid task file", where=where, mend="install the bundle again") from error
        if not same:
            raise BundleError("the task was made by another edge", where=where, mend="build the bundle again")
        return task


MCQ_TASK = McqTask()


@dataclass(frozen=True)
class McqAnswer:
    """letters: sorted, e.g. "ABE". mapping: how the answer became options, "exact" by construction.

    scores: natural logarithms by letter; only their differences mean something.
    """

    letters: str
    mapping: str
    scores: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As in schemas/mcq.schema.json."""
        scores = {letter: round(value, 4) for letter, value in self.scores.items()}
        return {"schema_version": 1, "task": NAME, "letters": self.letters, "mapping": self.mapping, "scores": scores}


def mcq_messages(stem: str, options: Mapping[str, str], *, multiple: bool) -> list[dict[str, str]]:
    """The question with all its options; the answer is letters."""
    listed = "\n".join(f"{letter}. {' '.join(options[letter].split())}" for letter in sorted(options))
    how = "Choose all that are right." if multiple else "Choose one."
    user = f"Question: {' '.join(stem.split())}\n{listed}\n{how}\nAnswer:"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def text_messages(stem: str) -> list[dict[str, str]]:
    """The question without options; the answer is an option's text."""
    user = f"Question: {' '.join(stem.split())}\nAnswer:"
    return [{"role": "system", "content": TEXT_SYSTEM}, {"role": "user", "content": user}]


def answer_mcq(
    reader: Reader, stem: str, options: Mapping[str, str], multiple: bool, task: McqTask = MCQ_TASK
) -> McqAnswer:
    """Choose among options by letter. multiple: more than one may be right; at least one is always given.

    Errors: InputError without options, for a key that is no capital letter, or when the question does not fit.
    """
    letters = sorted(options)
    if not letters or any(len(letter) != 1 or not "A" <= letter <= "Z" for letter in letters):
        raise InputError("the options need keys of one capital letter", mend="give them as A, B, C")
    if not all(options[letter].strip() for letter in letters):
        raise InputError("an option has no text", mend="give every option's text")
    by_letter = _letters(reader, stem, options, letters, multiple) if task.letter_weight else [0.0] * len(letters)
    by_text = (
        _texts(reader, stem, [options[letter] for letter in letters]) if task.text_weight else [0.0] * len(letters)
    )
    scores = {
        letter: task.letter_weight * one + task.text_weight * other
        for letter, one, other in zip(letters, by_letter, by_text, strict=True)
    }
    best = max(scores.values())
    if multiple:
        chosen = "".join(letter for letter in letters if scores[letter] >= best - task.margin)
    else:
        chosen = next(letter for letter in letters if scores[letter] == best)
    return McqAnswer(chosen, "exact", scores)


def _letters(
    reader: Reader, stem: str, options: Mapping[str, str], letters: Sequence[str], multiple: bool
) -> list[float]:
    """log P of each letter after the listed question, among the letters."""
    ids = chat_ids(reader.tokenizer, mcq_messages(stem, options, multiple=multiple))
    spoken = [reader.tokenizer.encode_text(letter) for letter in letters]
    rows = np.array([row.sum() for row in score_continuations(reader.engine, ids, spoken)])
    return [float(value) for value in rows - rows.max() - np.log(np.exp(rows - rows.max()).sum())]


def _texts(reader: Reader, stem: str, texts: Sequence[str]) -> list[float]:
    """log P(text | question) - log P(text | no question), per token."""
    spoken = [reader.tokenizer.encode_text(" ".join(text.split())) for text in texts]
    asked, bare = (
        score_continuations(reader.engine, chat_ids(reader.tokenizer, text_messages(one)), spoken) for one in (stem, "")
    )
    return [float(with_stem.mean() - without.mean()) for with_stem, without in zip(asked, bare, strict=True)]


def task_files(task: McqTask = MCQ_TASK) -> dict[str, bytes]:
    """What the bundle's tasks/ folder gets."""
    return {f"{NAME}.json": task.to_bytes(), f"{NAME}.schema.json": (SCHEMAS / f"{NAME}.schema.json").read_bytes()}
