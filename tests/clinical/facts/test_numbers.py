"""Spoken and written numbers, units, dates: a wrong reading here makes every dose and vital wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.facts.numbers import ONES, TENS, read_numbers
from edge.clinical.facts.tokens import phrase_key, read, stem

CASES = [
    ("blood pressure one thirty over eighty", [("130/80", "")]),
    ("one twenty seven over eighty", [("127/80", "")]),
    ("twenty milligrams", [("20", "mg")]),
    ("20mg", [("20", "mg")]),
    ("1,000 mg", [("1000", "mg")]),
    ("a thousand milligrams", [("1000", "mg")]),
    ("ninety eight point six", [("98.6", "")]),
    ("ninety eight . six", [("98.6", "")]),
    ("point four milligrams", [("0.4", "mg")]),
    ("zero point four milligrams", [("0.4", "mg")]),
    ("two and a half weeks", [("2.5", "week")]),
    ("two hundred and fifty", [("250", "")]),
    ("one oh five", [("105", "")]),
    ("3 out of 6", [("3/6", "")]),
    ("two over six", [("2/6", "")]),
    ("5/5", [("5/5", "")]),
    ("six to eight weeks", [("6", "week"), ("8", "week")]),
    ("6-8 weeks", [("6", "week"), ("8", "week")]),
    ("four or five days", [("4", "day"), ("5", "day")]),
    ("2 x 3 cm", [("2", "cm"), ("3", "cm")]),
    ("57-year-old", [("57", "age")]),
    ("fifty seven year old", [("57", "age")]),
    ("75 y.o. female", [("75", "age")]),
    ("45 %", [("45", "percent")]),
    ("two thousand units", [("2000", "unit")]),
    ("2/21/1968", [("1968-2-21", "date")]),
    ("january tenth two thousand nine", [("2009-1-10", "date")]),
    ("january 20th , 2020", [("2020-1-20", "date")]),
    ("july thirty first", [("0-7-31", "date")]),
    ("10/2019", [("2019-10-0", "date")]),
    ("in twenty eighteen", [("2018-0-0", "date")]),
    ("in nineteen eighty two", [("1982-0-0", "date")]),
    ("at 2:30 am", [("2:30", "clock")]),
    ("$ 100", [("100", "dollar")]),
    ("1. Hypertension.\n2. Gout.", []),
    ("degeneration at C5-6", []),
    ("hemoglobin A1c and vitamin B12", []),
    ("he may march on", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_reading(text: str, expected: list[tuple[str, str]]) -> None:
    """Each wording gives exactly these values and units; a miss lets a wrong dose through or blames a right one."""
    found = [(number.value, number.unit) for number in read_numbers(read(text, dialogue=False))]
    assert found == expected


def in_words(value: int) -> str:
    """0..9999 in plain English."""
    ones = {number: word for word, number in ONES.items()}
    tens = {number: word for word, number in TENS.items() if word != "fourty"}
    if value >= 1000:
        rest = f" {in_words(value % 1000)}" if value % 1000 else ""
        return f"{ones[value // 1000]} thousand{rest}"
    if value >= 100:
        rest = f" and {in_words(value % 100)}" if value % 100 else ""
        return f"{ones[value // 100]} hundred{rest}"
    if value < 20:
        return ones[value]
    return tens[value // 10 * 10] + (f" {ones[value % 10]}" if value % 10 else "")


@given(st.integers(min_value=0, max_value=9999))
@settings(max_examples=150, deadline=None)
def test_words_round_trip(value: int) -> None:
    """Every whole number survives being written in words, with its unit."""
    found = read_numbers(read(f"take {in_words(value)} milligrams", dialogue=False))
    assert [(number.value, number.unit) for number in found] == [(str(value), "mg")]


@given(st.text(alphabet="abc 0123456789.,/-:%'$\n", max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read(text: str) -> None:
    """No text breaks the reader, and what it finds lies inside the text in order."""
    reading = read(text, dialogue=False)
    last = 0
    for number in read_numbers(reading):
        assert last <= number.first < number.last <= len(reading.tokens)
        last = number.last


@pytest.mark.parametrize(
    ("word", "expected"),
    [("fevers", "fever"), ("biopsies", "biopsy"), ("diabetes", "diabetes"), ("feet", "foot"), ("patient's", "patient")],
)
def test_stem(word: str, expected: str) -> None:
    """Plural and singular meet; else "fevers" in a note misses "fever" in its source."""
    assert stem(word) == expected


def test_spelled_letters_are_one_word() -> None:
    """ "C B C" of a transcript is the note's "CBC"."""
    assert "cbc" in read("Doctor: get a C B C today", dialogue=True).keys
    assert phrase_key("X-ray") == "x ray"
