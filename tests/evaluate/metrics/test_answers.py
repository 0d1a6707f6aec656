"""The mapping of answers in its published order, letters and majorities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.evaluate.metrics.answers import (
    consensus,
    exact_set,
    letters,
    majority,
    map_answer,
    normalise,
    recover_cp1252,
)

OPTIONS = ["Sjögren syndrome", "Wernicke–Korsakoff syndrome", "Acute appendicitis", "Pancreatitis, acute"]


@pytest.mark.parametrize(
    ("answer", "index", "how"),
    [
        ("Acute appendicitis", 2, "exact"),
        (" Acute appendicitis\n", 2, "exact"),
        ("acute appendicitis.", 2, "normalised"),
        ("Wernicke-Korsakoff Syndrome", 1, "normalised"),
        ("SjÃ¶gren syndrome", 0, "normalised"),
        ("Acute appendicitiss", 2, "difflib"),
        ("PANCREATITIS ACUTEE!", 3, "normalised difflib"),
        ("Migraine", None, "none"),
        ("", None, "none"),
    ],
)
def test_each_step_maps_and_is_recorded(answer: str, index: int | None, how: str) -> None:
    """A step that is left out or out of order changes published accuracies; the record tells weak matches apart."""
    found = map_answer(answer, OPTIONS)
    assert (found.index, found.how) == (index, how)


def test_an_equal_option_wins_over_a_similar_one() -> None:
    """difflib alone would take "Type 1 diabetes" for "Type 2 diabetes"."""
    assert map_answer("Type 2 diabetes", ["Type 1 diabetes", "Type 2 diabetes"]).index == 1
    assert map_answer("type 2 diabetes", ["Type 1 diabetes", "Type 2 diabetes"]).how == "normalised"


def test_an_option_with_a_comma_is_one_option() -> None:
    """Gold labels of the radiology set hold commas: options are lists and never split."""
    assert map_answer("Pancreatitis, acute", OPTIONS).index == 3


def test_normalise() -> None:
    """Mojibake, ligatures, dashes, punctuation, spaces and case do not make another answer."""
    assert normalise("  Behçet’s — Disease (ﬁrst)  ") == "behçets - disease first"
    assert recover_cp1252("naïve") == "naïve"
    assert recover_cp1252("CrohnÂ´s") == "Crohn´s"


@given(st.text(max_size=40))
def test_normalise_is_settled_but_for_mojibake(text: str) -> None:
    """Normalising never fails, and leaves nothing that it would drop."""
    words = normalise(text)
    assert words == words.strip()
    assert "  " not in words


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5), st.data())
def test_an_option_maps_to_itself(options: list[str], data: st.DataObject) -> None:
    """The model that copies an option verbatim is never marked wrong."""
    chosen = data.draw(st.sampled_from(options))
    index = map_answer(chosen, options).index
    assert index is not None
    assert options[index].strip() == chosen.strip()


@pytest.mark.parametrize(
    ("answer", "found"),
    [("ABE", "ABE"), ("a, b; e", "ABE"), ("B", "B"), (["E", "A"], "AE"), ("AAB", "AB"), ("ABCFG H", "ABCFGH")],
)
def test_letters(answer: str, found: str) -> None:
    """Spaces, commas, case and order do not count."""
    assert letters(answer) == frozenset(found)


@pytest.mark.parametrize("answer", ["", "Answer: D", "1", "Ä", []])
def test_no_letters(answer: str) -> None:
    """What is no run of letters is no answer; nothing is guessed from a sentence."""
    assert letters(answer) == frozenset()


def test_exact_set_needs_all_and_no_other() -> None:
    """A part of the right letters is wrong, and so is one too many; an empty answer is never right."""
    assert exact_set("EBA", "ABE")
    assert not exact_set("AB", "ABE")
    assert not exact_set("ABDE", "ABE")
    assert not exact_set("", "")


def test_majority_and_consensus() -> None:
    """Nominal: two of three; ordinal: the mean of those that gave a score, as the published medians need."""
    assert majority([True, False, True])
    assert not majority([True, False, False])
    assert not majority([True, False])
    assert consensus([4.0, 4.5, 5.0]) == 4.5
    assert consensus([4.0, None, 5.0]) == 4.5
    assert consensus([None, float("nan")]) is None
    with pytest.raises(ValueError, match="at least one"):
        majority([])
