"""ROUGE, concepts, the fact check's counts, learned metrics and evidence of a note."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.errors import InputError, MissingToolError
from edge.evaluate.evidence import evidence_problems, span_holds
from edge.evaluate.metrics.concepts import concept_f1, concepts, set_f1
from edge.evaluate.metrics.facts import fact_scores
from edge.evaluate.metrics.judge import signed_error, signed_errors, to_half
from edge.evaluate.metrics.learned import NO_FOLDER, LearnedMetrics
from edge.evaluate.metrics.rouge import mean_rouge, rouge


def test_rouge_by_hand() -> None:
    """Four of five and four of four words in common; LCS is taken over lines, so their order does not matter."""
    found = rouge("cough for two days\nno fever", "no fever\ncough for two days")
    assert found["rouge1"] == found["rougeLsum"] == 1.0
    assert found["rouge2"] == pytest.approx(4 / 5)
    assert rouge("cough and fever today", "cough and fever")["rouge1"] == pytest.approx(6 / 7)


def test_rouge_has_no_stemmer() -> None:
    """With a stemmer "coughs" would match "cough" and no published row would come out."""
    assert rouge("cough", "coughs")["rouge1"] == 0.0


def test_an_empty_note_has_rouge_0() -> None:
    """An empty answer must count as wrong, not fail or vanish."""
    assert set(rouge("cough", "").values()) == {0.0}
    with pytest.raises(ValueError, match="nothing to average"):
        mean_rouge([])


def test_concepts_are_mesh_ids_and_synonyms_are_one() -> None:
    """Two names of a disease are one concept."""
    assert concepts("history of type 2 diabetes") == concepts("NIDDM noted") != frozenset()
    assert concept_f1("type 2 diabetes and hypertension", "hypertension") == pytest.approx(2 / 3)
    assert concept_f1("nothing here", "nor here") is None
    assert set_f1([], ["a"]) == 0.0


@dataclass(frozen=True)
class _Finding:
    major: bool


@dataclass(frozen=True)
class _Report:
    unsupported: tuple[_Finding, ...]
    missing: tuple[_Finding, ...]


def test_fact_scores_count_minor_and_major() -> None:
    """A visit with only minor findings is no visit with a major one."""
    scores = fact_scores(_Report((_Finding(False), _Finding(True)), (_Finding(False),)))
    assert scores == {
        "unsupported": 2.0,
        "unsupported_major": 1.0,
        "missing": 1.0,
        "missing_major": 0.0,
        "visit_unsupported_major": 1.0,
        "visit_missing_major": 0.0,
    }


def test_learned_metrics_are_not_measured_without_a_folder() -> None:
    """A score without a model would be faked."""
    learned = LearnedMetrics()
    assert learned.reasons == {"bertscore_f1": NO_FOLDER, "bleurt": NO_FOLDER}
    assert learned.scores("a", "b") == {"bertscore_f1": None, "bleurt": None}


def test_learned_metrics_refuse_a_folder_without_a_model(tmp_path: Path) -> None:
    """A wrong folder is said before hours of running."""
    with pytest.raises(InputError, match=r"no config\.json"):
        LearnedMetrics(bertscore_folder=tmp_path)


@pytest.mark.parametrize(("name", "package"), [("bertscore_folder", "bert-score"), ("bleurt_folder", "bleurt-pytorch")])
def test_learned_metrics_name_the_missing_package(tmp_path: Path, name: str, package: str) -> None:
    """With a folder but without its package the reader is told what to install."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    try:
        __import__(package.replace("-", "_"))
    except ImportError:
        with pytest.raises(MissingToolError, match=f"pip install {package}"):
            LearnedMetrics(**{name: tmp_path})
    else:
        pytest.skip(f"{package} is installed here")


SOURCE = "i take lisinopril 20 mg"


@pytest.mark.parametrize(
    ("span", "holds"),
    [
        ({"start": 7, "end": 17, "quote": "lisinopril"}, True),
        ({"start": 7, "end": 17}, True),
        ({"start": 7, "end": 17, "quote": "Lisinopril"}, False),
        ({"start": 6, "end": 17, "quote": "lisinopril"}, False),
        ({"start": 7, "end": 7, "quote": ""}, False),
        ({"start": 7, "end": 99}, False),
        ({"start": -3, "end": 2}, False),
        ({"start": "7", "end": 17}, False),
        ({"start": True, "end": 17}, False),
    ],
)
def test_a_span_must_be_the_input(span: dict[str, object], holds: bool) -> None:
    """Evidence that is not in the input is the one thing that must never be shown."""
    assert span_holds(span, SOURCE) is holds


def test_every_nested_span_is_checked() -> None:
    """Spans lie deep in a note's JSON; one that hides must be found."""
    output = {"evidence": [{"lines": [{"spans": [{"start": 7, "end": 17}, {"start": 7, "end": 300}]}]}]}
    assert evidence_problems(output, SOURCE) == (2, 1)
    assert evidence_problems({"text": {"start": 1, "end": 2}}, SOURCE) == (0, 0)


def test_signed_error_uses_the_scores_there_are() -> None:
    """A case with one of three scores missing still counts; one without any does not, and is no 0."""
    runs = [[4.0, None, None], [4.5, 3.0, None], [5.0, 3.5, None]]
    errors = signed_errors(runs, [4.25, 3.0, 2.0])
    assert errors == [0.25, 0.25]
    found = signed_error([-1.0, 0.0, 0.5, 1.0])
    assert (found.median, found.quartile_1, found.quartile_3, found.count) == (0.25, -0.25, 0.625, 4)


def test_to_half_stays_on_the_scale() -> None:
    """1 to 5 in halves."""
    assert [to_half(value) for value in (0.2, 3.3, 3.74, 9.0)] == [1.0, 3.5, 3.5, 5.0]
