"""Scoring of drafted notes: ROUGE as ACI-Bench, concept F1 on MeSH, the fact check, evidence, unparsable outputs.

    figures = score_notes([(case, note_text), ...])
    figures["rouge1"].value, figures["visit_unsupported_major"].value

BERTScore and BLEURT are measured with a model folder that the user gives, else they are "not measured".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge.evaluate.data.cases import NoteCase
from edge.evaluate.evidence import evidence_problems
from edge.evaluate.metrics.concepts import concept_f1
from edge.evaluate.metrics.facts import FactChecker
from edge.evaluate.metrics.learned import LearnedMetrics
from edge.evaluate.metrics.rouge import rouge
from edge.evaluate.summary import Figure, Metric, summarise

FLOOR = "floor of the screen: what people's own notes show"
ALONE = "before the fact check, without the visit's own words"
METRICS = (
    Metric("rouge1", "ROUGE-1", "mean", "higher", note="F1, no stemmer, as ACI-Bench"),
    Metric("rouge2", "ROUGE-2", "mean", "higher"),
    Metric("rougeLsum", "ROUGE-Lsum", "mean", "higher", note="published as ROUGE-L"),
    Metric("concept_f1", "Concept F1 (MeSH)", "mean", "higher", note="diseases and symptoms; not MEDCON"),
    Metric("visit_unsupported_major", "Visits with a major unsupported fact", "share", "lower"),
    Metric("visit_missing_major", "Visits with a major missing fact", "share", "lower"),
    Metric("unsupported_major", "Major unsupported facts", "mean", "lower", "a note"),
    Metric("missing_major", "Major missing facts", "mean", "lower", "a note"),
    Metric("unsupported", "Unsupported facts", "mean", "lower", "a note"),
    Metric("missing", "Missing facts", "mean", "lower", "a note"),
    Metric("bertscore_f1", "BERTScore F1", "mean", "higher"),
    Metric("bleurt", "BLEURT", "mean", "higher"),
    Metric("copied_rouge1", "ROUGE-1 of the transcript copied", "mean", "none", note="floor"),
    Metric("gold_unsupported_major", "Gold notes with a major unsupported fact", "share", "none", note=FLOOR),
    Metric("gold_missing_major", "Gold notes with a major missing fact", "share", "none", note=FLOOR),
    Metric("note_words", "Length of the note", "mean", "none", "words"),
    Metric("withheld", "Lines withheld by the fact check", "mean", "none", "a note"),
    Metric("quoted", "Lines that quote the visit", "mean", "none", "a note", "not written by the model"),
    Metric("model_rouge1", "ROUGE-1 of the model's lines alone", "mean", "higher", note=ALONE),
    Metric("model_rouge2", "ROUGE-2 of the model's lines alone", "mean", "higher", note=ALONE),
    Metric("model_rougeLsum", "ROUGE-Lsum of the model's lines alone", "mean", "higher", note=ALONE),
    Metric("model_visit_unsupported_major", "Visits with a major unsupported fact, model alone", "share", "lower"),
    Metric("model_visit_missing_major", "Visits with a major missing fact, model alone", "share", "lower"),
    Metric("model_words", "Length of the model's lines", "mean", "none", "words"),
    Metric("unparsable", "Unparsable outputs", "total", "lower"),
    Metric("evidence_spans", "Evidence spans", "total", "none"),
    Metric("evidence_outside", "Evidence spans that are not in the input", "total", "lower"),
)

FACT_METRICS = tuple(metric.name for metric in METRICS if "unsupported" in metric.name or "missing" in metric.name)


def score_note(
    case: NoteCase,
    note: str,
    output: Mapping[str, Any] | None = None,
    learned: LearnedMetrics | None = None,
    *,
    facts: bool = True,
) -> dict[str, float | None]:
    """Scores of one note. output: what the predictor gave besides the text (parsed, evidence).

    facts False: ROUGE and concepts only, for a quick look while training.
    """
    given = output or {}
    spans, outside = evidence_problems(given, case.source)
    scores: dict[str, float | None] = {
        **rouge(case.reference, note),
        "concept_f1": concept_f1(case.reference, note),
        "note_words": float(len(note.split())),
        "withheld": _number(given.get("withheld")),
        "quoted": _number(given.get("quoted")),
        "unparsable": float(not given.get("parsed", True)),
        "evidence_spans": float(spans),
        "evidence_outside": float(outside),
    }
    if facts:
        checker = FactChecker(case.source, case.context, case.section)
        gold = checker.scores(case.reference)
        scores |= checker.scores(note)
        scores["gold_unsupported_major"] = gold["visit_unsupported_major"]
        scores["gold_missing_major"] = gold["visit_missing_major"]
        scores["copied_rouge1"] = rouge(case.reference, case.source)["rouge1"]
    alone = given.get("model_text")
    if isinstance(alone, str):
        scores |= {f"model_{name}": value for name, value in rouge(case.reference, alone).items()}
        scores["model_words"] = float(len(alone.split()))
        if facts:
            found = checker.scores(alone)
            scores |= {f"model_{name}": found[name] for name in ("visit_unsupported_major", "visit_missing_major")}
    if learned is not None:
        scores |= learned.scores(case.reference, note)
    return scores


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int) else None


def score_notes(
    pairs: Iterable[tuple[NoteCase, str]], learned: LearnedMetrics | None = None, *, facts: bool = True
) -> dict[str, Figure]:
    """Figures of a whole set of notes, by the name of the metric."""
    models = learned or LearnedMetrics()
    rows = [score_note(case, note, learned=models, facts=facts) for case, note in pairs]
    reasons = dict(models.reasons) if facts else {**models.reasons, **dict.fromkeys(FACT_METRICS, "left out")}
    return {figure.name: figure for figure in summarise(METRICS, rows, reasons)}
