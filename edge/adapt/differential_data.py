"""Training pairs for the differential task: findings and candidate names in, the right name out.

Four sources, all with a free licence
- DxBench (Apache-2.0), the train part of edge's own split, and Dxy: real findings with given candidates. Each case is
  seen in several copies: findings in another order, one of them left out, a candidate exchanged for a name of another
  case. The published order of the candidates (the right one is mostly first) is never used: prompts list names
  alphabetically.
- Patients made from DDXPlus's table of conditions (CC BY): a draw of a condition's typical findings, some of them
  absent, against conditions that share findings with it.
- iMedQA (CC BY 4.0): questions that ask for a diagnosis, a cause or a condition; the vignette's facts are the findings.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clinical.differential_prompt import completion, differential_messages, ordered, render_findings, tidy
from edge.evaluate.data.split import dxbench_split

DXBENCH = "dxbench/DxBench_en.dev.json"
DXY = "dxbench/Dxy_en.json"
IMEDQA = "mediq/imedqa.jsonl"
_ASKS_FOR_A_NAME = re.compile(
    r"diagnos|most likely cause|underlying cause|condition|disorder|disease|etiolog", re.IGNORECASE
)
LONGEST_NAME_WORDS = 8


@dataclass(frozen=True)
class DifferentialExample:
    """One training pair: the conversation and the name that answers it."""

    messages: tuple[tuple[str, str], ...]
    answer: str


@dataclass(frozen=True)
class KnownCase:
    """A case whose diagnosis is known."""

    case_id: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    unsure: tuple[str, ...]
    candidates: tuple[str, ...]
    answer: str


def example(
    present: Sequence[str], absent: Sequence[str], unsure: Sequence[str], names: Iterable[str], answer: str
) -> DifferentialExample:
    """The pair in the task's own form; without names the question is open."""
    text = render_findings(present, absent, unsure)
    messages = differential_messages(text, ordered(names))
    return DifferentialExample(tuple((item["role"], item["content"]) for item in messages), completion(answer))


def dx_cases(path: Path) -> list[KnownCase]:
    """Cases of a DxBench-form file whose answer is among the candidates."""
    cases = []
    for row in json.loads(path.read_text("utf-8")):
        told = [(tidy(name), value) for name, value in [*row["explicit_symptoms"], *row["implicit_symptoms"]]]
        cases.append(
            KnownCase(
                str(row["id"]),
                tuple(name for name, value in told if value == "True"),
                tuple(name for name, value in told if value == "False"),
                tuple(name for name, value in told if value not in {"True", "False"}),
                tuple(ordered(row["candidate_diseases"])),
                tidy(row["disease"]),
            )
        )
    return [case for case in cases if case.answer in case.candidates and len(case.candidates) > 1]


def dx_examples(cases: Sequence[KnownCase], copies: int, seed: int) -> list[DifferentialExample]:
    """Copies of real cases: the first as given, the others varied; one open question a case."""
    order = random.Random(seed)  # noqa: S311 - variation, not a secret
    names = sorted({name for case in cases for name in case.candidates})
    made = []
    for case in cases:
        made.append(example(case.present, case.absent, case.unsure, case.candidates, case.answer))
        made.append(example(case.present, case.absent, case.unsure, (), case.answer))
        for copy in range(1, copies):
            present, absent = list(case.present), list(case.absent)
            order.shuffle(present)
            order.shuffle(absent)
            if len(present) > 2 and copy % 2:
                present.pop()
            candidates = list(case.candidates)
            if copy % 3 == 2:
                wrong = [name for name in candidates if name != case.answer]
                candidates.remove(order.choice(wrong))
                candidates.append(order.choice([name for name in names if name not in case.candidates]))
            made.append(example(present, absent, case.unsure, candidates, case.answer))
    return made


def table_patients(conditions: Sequence[dict[str, Any]], count: int, seed: int) -> list[DifferentialExample]:
    """Patients drawn from typical findings. conditions: {name, findings: [[phrase, synonym, ...], ...]}; a draw keeps 3
    to 7 of them, tells up to 3 findings of a rival as absent, and lists 2 to 4 rivals, those with shared findings
    first."""
    order = random.Random(seed)  # noqa: S311 - variation, not a secret
    usable = [
        {"name": condition["name"], "findings": [order.choice(phrases) for phrases in condition["findings"]]}
        for condition in conditions
        if len(condition["findings"]) >= 3
    ]
    made = []
    for number in range(count):
        chosen = usable[number % len(usable)]
        own = list(dict.fromkeys(chosen["findings"]))
        rivals = sorted(
            (other for other in usable if other["name"] != chosen["name"]),
            key=lambda other: (-len(set(own) & set(other["findings"])), order.random()),
        )
        near = rivals[:6]
        order.shuffle(near)
        wrong = near[: order.randint(2, 4)]
        present = order.sample(own, min(len(own), order.randint(3, 7)))
        foreign = sorted({finding for other in wrong for finding in other["findings"]} - set(own))
        absent = order.sample(foreign, min(len(foreign), order.randint(0, 3)))
        made.append(example(present, absent, (), [chosen["name"], *(other["name"] for other in wrong)], chosen["name"]))
    return made


def imedqa_examples(path: Path) -> list[DifferentialExample]:
    """Questions of iMedQA that ask for a name of a condition, its facts as findings."""
    made = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        options = [str(option) for option in row["options"].values()]
        if not _ASKS_FOR_A_NAME.search(row["question"]) or any(
            len(name.split()) > LONGEST_NAME_WORDS for name in options
        ):
            continue
        facts = [re.sub(r"^\d+\.\s*", "", fact).rstrip(". ") for fact in row["facts"] or []][:14]
        if len(facts) >= 2:
            made.append(example(facts, (), (), options, str(row["answer"])))
    return made


def train_cases(data: Path) -> list[KnownCase]:
    """The train part of DxBench, and Dxy."""
    return [case for case in dx_cases(data / DXBENCH) if dxbench_split(case.case_id) == "train"] + dx_cases(data / DXY)


def valid_cases(data: Path) -> list[KnownCase]:
    """The valid part of DxBench."""
    return [case for case in dx_cases(data / DXBENCH) if dxbench_split(case.case_id) == "valid"]
