"""The catalogue of findings: what it writes is understood, and what people type is found."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.ui.icons import ICONS
from edge.clinical.case import case_from_text
from edge.clinical.conditions import EYE, GENERAL, knowledge_table
from edge.clinical.encounter.findings import Concept, catalogue, search, systems

CONCEPTS = list(catalogue().values())
SYSTEMS = ["general", "eye", "neuro", "chest", "heart", "abdomen", "urogenital", "limbs", "skin", "mind"]


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda one: one.id)
def test_the_words_are_understood(concept: Concept) -> None:
    """A finding that was tapped is no finding for the differential, or one that its table knows nothing of."""
    for label, present in (("Present", True), ("Absent", False), ("Not sure", None)):
        read = case_from_text(f"{label}: {concept.en}")
        assert [(one.name, one.present) for one in read.findings] == [(concept.en, present)]
    table = knowledge_table(EYE if concept.system == "eye" else GENERAL)
    assert table.unknown(case_from_text(f"Present: {concept.en}")) == ()


def test_the_catalogue_is_whole() -> None:
    """A system is empty or has no icon, two findings have one name, or a translation is missing."""
    assert list(systems()) == SYSTEMS
    assert set(systems().values()) <= set(ICONS)
    assert list(dict.fromkeys(one.system for one in CONCEPTS)) == SYSTEMS
    assert len({one.en.casefold() for one in CONCEPTS}) == len(CONCEPTS) >= 150
    for one in CONCEPTS:
        assert one.id == f"{one.system}.{one.id.partition('.')[2]}"
        assert one.en[0].isupper()
        assert one.de[0].isupper()
        assert one.name("en") == one.en
        assert one.name("de") == one.de
        assert not one.asks_eye or one.system == "eye"
        # A listed case parts its findings there.
        assert not {",", ";"} & set(one.en)


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda one: one.id)
def test_each_is_found_by_its_names(concept: Concept) -> None:
    """A finding cannot be reached by typing its name or a synonym."""
    assert search(concept.en, "en")[0] == concept
    assert concept in search(concept.de, "de")
    for word in concept.synonyms:
        assert concept in search(word, "en", limit=99)


@pytest.mark.parametrize(
    ("typed", "language", "id"),
    [
        ("headahce", "en", "neuro.headache"),
        ("dypnea", "en", "chest.dyspnoea"),
        ("photofobia", "en", "eye.photophobia"),
        ("halo", "en", "eye.halos"),
        ("pain eye", "en", "eye.eye-pain"),
        ("diarhoea", "en", "abdomen.diarrhoea"),
        ("kopfshcmerz", "de", "neuro.headache"),
        ("uebelk", "de", "abdomen.nausea"),
        ("Übel", "de", "abdomen.nausea"),
        ("übelkiet", "de", "abdomen.nausea"),
        ("Atemn", "de", "chest.dyspnoea"),
        ("lichtscheu", "de", "eye.photophobia"),
        ("fever", "de", "general.fever"),
        ("FIEBER", "en", "general.fever"),
    ],
)
def test_what_people_type(typed: str, language: str, id: str) -> None:
    """A slip of the finger, half a word or the other language finds nothing."""
    assert search(typed, language)[0].id == id


def test_another_word_finds_nothing() -> None:
    """A finding is offered that was not meant."""
    for typed in ("", "  ", "zzz", "xylophone", "?!"):
        assert search(typed) == ()
    assert [one.id for one in search("fever")] == ["general.fever"]


@given(st.text(max_size=40), st.sampled_from(["en", "de"]), st.integers(1, 30))
def test_any_text(typed: str, language: str, limit: int) -> None:
    """Some text breaks the search, or a finding is listed twice."""
    told = search(typed, language, limit)
    assert len(told) == len(set(told)) <= limit


def test_fast_enough_for_each_letter() -> None:
    """The list comes late while one types. Allows for a busy machine: 13 ms at most were measured."""
    search("kopfshcmerz", "de")
    begun = time.perf_counter()
    search("kopfshcmerz", "de")
    assert time.perf_counter() - begun < 0.1
