"""The suites by name: which cases, which task, which scores.

notes          a visit's transcript to a note          ACI-Bench or MTS-Dialog columns
diagnosis      findings to a ranked list               DxBench, iMedQA or AgentClinic form
ophthalmology  multiple choice, exact set of letters   exam JSON form or MedMCQA
judge          another model's answer, 1 to 5          NMED scores of people
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.evaluate import notes
from edge.evaluate.data.cases import Case, ChoiceCase, DiagnosisCase, JudgeCase, NoteCase
from edge.evaluate.evidence import evidence_problems
from edge.evaluate.metrics.answers import consensus, exact_set, letters, majority, map_answer
from edge.evaluate.metrics.diagnosis import rank_of, top_k
from edge.evaluate.metrics.learned import LearnedMetrics
from edge.evaluate.predictors import (
    ChoicePredictor,
    DiagnosisPredictor,
    JudgePredictor,
    NotePredictor,
    Prediction,
    Predictor,
)
from edge.evaluate.summary import Metric

if TYPE_CHECKING:
    from edge.runtime.session import Session

Scorer = Callable[[Any, Sequence[Prediction]], dict[str, float | None]]

UNPARSABLE = Metric("unparsable", "Unparsable outputs", "total", "lower")
EVIDENCE = (
    Metric("evidence_spans", "Evidence spans", "total", "none"),
    Metric("evidence_outside", "Evidence spans that are not in the input", "total", "lower"),
)
DIAGNOSIS = (
    Metric("top1", "Top-1", "share", "higher"),
    Metric("top3", "Top-3", "share", "higher", note="always met where the list has no more than three"),
    Metric("top5", "Top-5", "share", "higher", note="always met where the list has no more than five"),
    Metric("reciprocal_rank", "Mean reciprocal rank", "mean", "higher"),
    Metric("chance_top1", "Top-1 by chance", "mean", "none", note="one over the length of the list"),
    Metric("not_in_list", "First answers that are not in the list", "total", "lower"),
    Metric("fuzzy", "First answers matched by difflib only", "total", "none"),
    UNPARSABLE,
    *EVIDENCE,
)
CHOICE = (
    Metric("correct", "Correct", "share", "higher", note="exact set of letters; majority of the samples"),
    Metric("one_sample", "Correct, mean of single samples", "mean", "higher"),
    Metric("chance", "By chance", "mean", "none", note="one letter at random"),
    UNPARSABLE,
)
JUDGE = (
    Metric("signed_error", "Signed error", "median", "zero", "points", "judge minus people; quartiles beside it"),
    Metric("absolute_error", "Absolute error", "mean", "lower", "points"),
    Metric("within_half", "Within half a point", "share", "higher"),
    UNPARSABLE,
    *EVIDENCE,
)


@dataclass(frozen=True)
class Suite:
    """One suite. headline: the metrics shown first, the very first also by group; samples: how often a model whose
    answers differ is asked by default.
    """

    name: str
    title: str
    case: type
    metrics: tuple[Metric, ...]
    headline: tuple[str, ...]
    scorer: Callable[[LearnedMetrics], Scorer]
    predictor: Callable[[Session, Mapping[str, bool]], Predictor]
    samples: int = 1


def _notes_scorer(learned: LearnedMetrics) -> Scorer:
    def score(case: NoteCase, outputs: Sequence[Prediction]) -> dict[str, float | None]:
        return notes.score_note(case, str(outputs[0].get("text") or ""), outputs[0], learned)

    return score


def case_input(case: DiagnosisCase) -> str:
    """What the model reads of a patient; evidence points into it."""
    from edge.clinical.differential_prompt import render_findings

    return case.text or render_findings(case.present, case.absent, case.unsure)


def _diagnosis_scorer(_: LearnedMetrics) -> Scorer:
    def score(case: DiagnosisCase, outputs: Sequence[Prediction]) -> dict[str, float | None]:
        output = outputs[0]
        ranked = [str(name) for name in output.get("ranked") or ()]
        parsed = bool(output.get("parsed", True)) and bool(ranked or not case.candidates)
        spans, outside = evidence_problems(output, case_input(case))
        first = map_answer(ranked[0], case.candidates).how if ranked and case.candidates else "exact"
        return {
            **top_k(rank_of(ranked, case.answer, case.candidates)),
            "chance_top1": 1 / len(case.candidates) if case.candidates else None,
            "not_in_list": float(first == "none"),
            "fuzzy": float(first in ("difflib", "normalised difflib")),
            "unparsable": float(not parsed),
            "evidence_spans": float(spans),
            "evidence_outside": float(outside),
        }

    return score


def _choice_scorer(_: LearnedMetrics) -> Scorer:
    def score(case: ChoiceCase, outputs: Sequence[Prediction]) -> dict[str, float | None]:
        answers = [letters(output.get("letters") or "") for output in outputs]
        right = [exact_set(sorted(answer), case.answer) for answer in answers]
        readable = [
            bool(output.get("parsed", True)) and bool(answer) and answer <= set(case.options)
            for output, answer in zip(outputs, answers, strict=True)
        ]
        return {
            "correct": float(majority(right)),
            "one_sample": sum(right) / len(right),
            "chance": 1 / len(case.options) if len(case.answer) == 1 else 0.0,
            "unparsable": float(readable.count(False)),
        }

    return score


def _judge_scorer(_: LearnedMetrics) -> Scorer:
    def score(case: JudgeCase, outputs: Sequence[Prediction]) -> dict[str, float | None]:
        given = [_points(output) for output in outputs]
        mean = consensus(given)
        problems = [evidence_problems(output, case.answer_text) for output in outputs]
        error = None if mean is None else mean - case.human_score
        return {
            "signed_error": error,
            "absolute_error": None if error is None else abs(error),
            "within_half": None if error is None else float(abs(error) <= 0.5),
            "unparsable": float(given.count(None)),
            "evidence_spans": float(sum(spans for spans, _ in problems)),
            "evidence_outside": float(sum(outside for _, outside in problems)),
        }

    return score


def _points(output: Prediction) -> float | None:
    value = output.get("score")
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 5
    return float(value) if usable and value is not None and output.get("parsed", True) else None


def group_of(case: Case) -> dict[str, str]:
    """What a case is grouped by in the tables: name of the grouping to the case's group."""
    if isinstance(case, NoteCase):
        groups = {"subset": case.subset}
    elif isinstance(case, DiagnosisCase):
        groups = {"split": case.split, "department": case.group}
    elif isinstance(case, JudgeCase):
        groups = {"specialty": case.group, "answer by": case.model}
    else:
        groups = {"type": case.group}
    return {name: group for name, group in groups.items() if group}


SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "notes",
            "Notes from visits",
            NoteCase,
            notes.METRICS,
            ("rouge1", "visit_unsupported_major", "visit_missing_major"),
            _notes_scorer,
            NotePredictor,
        ),
        Suite(
            "diagnosis",
            "Diagnosis",
            DiagnosisCase,
            DIAGNOSIS,
            ("top1", "reciprocal_rank"),
            _diagnosis_scorer,
            DiagnosisPredictor,
        ),
        Suite("ophthalmology", "Ophthalmology", ChoiceCase, CHOICE, ("correct",), _choice_scorer, ChoicePredictor, 3),
        Suite("judge", "Judge against people", JudgeCase, JUDGE, ("signed_error",), _judge_scorer, JudgePredictor, 3),
    )
}
