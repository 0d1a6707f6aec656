"""When two names are one diagnosis, and top-k."""

from __future__ import annotations

import pytest

from edge.evaluate.metrics.diagnosis import rank_of, same_diagnosis, top_k


@pytest.mark.parametrize(
    ("name", "truth", "how"),
    [
        ("Lacunar stroke.", "lacunar Stroke", "name"),
        ("Media otitis", "Otitis media", "words"),
        ("Heart attack", "Myocardial infarction", "mesh"),
        ("GERD", "Gastroesophageal reflux disease", "mesh"),
        ("Type 2 diabetes", "Type 1 diabetes", "none"),
        ("Hypotension", "Hypertension", "none"),
        ("Hyperthyroidism", "Hypothyroidism", "none"),
        ("", "", "none"),
    ],
)
def test_synonyms_are_one_and_near_names_are_two(name: str, truth: str, how: str) -> None:
    """A synonym marked wrong, or a look-alike marked right, would falsify every open diagnosis figure."""
    assert same_diagnosis(name, truth) == how


def test_rank_in_an_open_list() -> None:
    """The first of the synonyms counts."""
    assert rank_of(["Angina", "Heart attack"], "Myocardial infarction") == 2
    assert rank_of([], "Myocardial infarction") is None


def test_rank_in_a_given_list_knows_only_its_names() -> None:
    """A synonym from outside the list is no answer from the list, and takes its place."""
    candidates = ["Angina pectoris", "Myocardial infarction"]
    assert rank_of(["myocardial infarction"], "Myocardial infarction", candidates) == 1
    assert rank_of(["Heart attack", "Myocardial infarction"], "Myocardial infarction", candidates) == 2


def test_top_k() -> None:
    """A third place is in the top 3 and 5, not the top 1."""
    assert top_k(3) == {"top1": 0.0, "top3": 1.0, "top5": 1.0, "reciprocal_rank": 1 / 3}
    assert top_k(None) == {"top1": 0.0, "top3": 0.0, "top5": 0.0, "reciprocal_rank": 0.0}
