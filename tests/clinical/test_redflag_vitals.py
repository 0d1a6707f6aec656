"""Vital signs as they are said and written: a wrong number raises or hides a flag."""

from __future__ import annotations

import pytest

from edge.clinical.redflag_vitals import measurements, spoken
from edge.clinical.transcript import parse_transcript

SPOKEN = [
    ("one thirty", 130), ("ninety eight point six", 98.6), ("one hundred and two", 102), ("one oh two", 102),
    ("a hundred", 100), ("two hundred fifty", 250), ("three fifty", 350), ("98.6", 98.6), ("twenty-two", 22),
    ("one hundred three point four", 103.4), ("banana", None), ("ninety eighty", None),
]  # fmt: skip


@pytest.mark.parametrize(("words", "value"), SPOKEN)
def test_spoken(words: str, value: float | None) -> None:
    """A number in words is read wrongly."""
    assert spoken(words) == value


CASES = [
    ("[doctor] blood pressure is one thirty over eighty .", [("dbp", 80), ("sbp", 130)]),
    ("BP 85/50 HR 130 RR 28 SpO2 90%", [("dbp", 50), ("sbp", 85), ("hr", 130), ("rr", 28), ("spo2", 90)]),
    ("Temp 102.2 F", [("temperature", 39)]),
    ("[patient] i had a fever of a hundred and four last night", [("temperature", 40)]),
    ("glucose 3.0 mmol/L", [("glucose", 54)]),
    ("[doctor] blood sugar is 45 .", [("glucose", 45)]),
    ("IOP OD 18, OS 44. VA OD 20/20, OS 20/400", [("iop", 18), ("iop", 44), ("va", 1), ("va", 0.05)]),
    ("iop 16/42", [("iop", 16), ("iop", 42)]),
    ("[doctor] vision is twenty two hundred in the left eye", [("va", 0.1)]),
    ("[doctor] vision in the right eye is 6/60", [("va", 0.1)]),
    ("[doctor] vision is counting fingers in the right eye .", [("va", 0.01)]),
    ("potassium of 6.9", [("potassium", 6.9)]),
    # No value of this patient now.
    ("[doctor] keep your sats above 92 .", []),
    ("[doctor] if your blood pressure is 180/120 call me", []),
    ("[patient] my mother's blood pressure was 200/100", []),
    ("heart rate 2 cm", []),
    ("pulse 500", []),
    ("a 3/6 murmur and strength 5/5", []),
    ("[doctor] blood pressure is good . see you in 120 days", []),
]


@pytest.mark.parametrize(("text", "values"), CASES)
def test_measurements(text: str, values: list[tuple[str, float]]) -> None:
    """A value is bound to the wrong sign, or a goal is taken for a measurement."""
    found = [(item.vital, round(item.value, 3)) for item in measurements(parse_transcript(text))]
    assert found == values
