"""Which part of a visit a sentence comes from, and which numbers are said there."""

from __future__ import annotations

from edge.adapt.alignment import Aligner, numbers_said, numbers_supported
from edge.clinical.overlap import words_of


def test_spoken_numbers() -> None:
    """Pressures, ages and years as people say them; a number that is not recognised drops a true sentence."""
    assert {"130", "80"} <= numbers_said("one thirty over eighty")
    assert {"62"} <= numbers_said("she is sixty two years old")
    assert {"500"} <= numbers_said("five hundred milligrams")
    assert {"2"} <= numbers_said("twice a day")
    assert "31" not in numbers_said("one thirty over eighty")


def test_a_number_nobody_said_is_not_supported() -> None:
    """A model that is trained on invented numbers learns to invent them."""
    assert numbers_supported("Blood pressure is 130/80.", "it was one thirty over eighty")
    assert not numbers_supported("Blood pressure is 140/80.", "it was one thirty over eighty")
    assert numbers_supported("No numbers here.", "")


def test_the_part_with_the_rare_words_wins() -> None:
    """Weights come from rarity: 'the patient has' decides nothing, 'amoxicillin' does."""
    parts = [frozenset(words_of(text)) for text in ("the patient has a cough", "take amoxicillin for the ear")]
    aligner = Aligner(["the patient has a headache", "the patient has a cold", "the patient has a fever"])
    index, share = aligner.best("The patient takes amoxicillin for otitis.", parts)
    assert index == 1 and 0 < share < 1
    assert aligner.best("unrelated words entirely", parts) == (0, 0.0)
