"""Visual acuity between its notations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.encounter.acuity import NOTATIONS, STEPS, from_logmar, parse_va, show_va, step_va
from edge.errors import InputError


@given(st.integers(6, 2000))
def test_snellen_comes_back(below: int) -> None:
    """20/40 is shown as another line after it went through logMAR."""
    acuity = parse_va(f"20/{below}")
    assert acuity.logmar is not None
    assert from_logmar(acuity.logmar) == f"20/{below}"


@given(st.integers(-60, 300))
def test_logmar_comes_back(hundredths: int) -> None:
    """A logMAR value changes by being shown."""
    written = from_logmar(hundredths / 100, "logmar")
    assert parse_va(f"logMAR {written}").logmar == pytest.approx(hundredths / 100)
    assert parse_va(f"{written} logMAR").logmar == pytest.approx(hundredths / 100)


@given(st.integers(2, 120), st.sampled_from(["snellen6", "decimal"]))
def test_other_notations_come_near(below: int, notation: str) -> None:
    """A conversion is off by more than its own rounding."""
    logmar = parse_va(f"6/{below}").logmar
    assert logmar is not None
    again = parse_va(from_logmar(logmar, notation)).logmar
    assert again == pytest.approx(logmar, abs=0.03)


@pytest.mark.parametrize(
    ("written", "text", "logmar"),
    [
        ("20/20", "20/20", 0.0),
        ("20/200", "20/200", 1.0),
        ("6/12", "6/12", 0.301),
        ("20/40-2", "20/40-2", 0.341),
        ("20/40 +1", "20/40+1", 0.281),
        ("0,5", "0.5", 0.301),
        ("1.0", "1.0", 0.0),
        ("logMAR 0.3", "logMAR 0.30", 0.3),
        ("6/7.5", "6/7.5", 0.0969),
        ("cf", "CF", None),
        ("counting fingers", "CF", None),
        ("CF 1 m", "CF 1 m", None),
        ("hand motion", "HM", None),
        ("HBW", "HM", None),
        ("light perception", "LP", None),
        ("no light perception", "NLP", None),
    ],
)
def test_forms(written: str, text: str, logmar: float | None) -> None:
    """A usual way to write an acuity is refused or read as another one."""
    acuity = parse_va(written)
    assert acuity.text == text
    assert acuity.logmar == (None if logmar is None else pytest.approx(logmar, abs=0.001))


@pytest.mark.parametrize("written", ["", "20", "20/0", "0/20", "good", "20/20/20", "-1", "99/1", "5/9999", "0.0"])
def test_refuses_what_is_none(written: str) -> None:
    """Nonsense is stored as an acuity."""
    with pytest.raises(InputError):
        parse_va(written)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Some text ends in a traceback."""
    try:
        acuity = parse_va(text)
    except InputError:
        return
    assert parse_va(acuity.text) == acuity


def test_steps_go_through_every_line() -> None:
    """A stepper skips a line, turns back, or leaves the chart."""
    at = STEPS[0]
    for expected in STEPS[1:]:
        at = step_va(at, 1)
        assert at == expected
    assert step_va(at, 1) == at
    for expected in reversed(STEPS[:-1]):
        at = step_va(at, -1)
        assert at == expected
    assert step_va(at, -1) == at
    assert step_va("", 1) == "20/20"
    assert step_va("6/12", 1) == "20/30"
    assert step_va("0.45", 1) == "20/40"
    assert step_va("0.45", -1) == "20/50"


def test_shown_in_a_notation() -> None:
    """What is below any chart gets a number, or an empty field a line."""
    assert show_va("20/40", 0.301, "logmar") == "0.30"
    assert show_va("CF 1 m", None, "logmar") == "CF 1 m"
    assert show_va("", None, "decimal") == ""
    assert [from_logmar(0.0, one) for one in NOTATIONS] == ["20/20", "6/6", "1.00", "0.00"]
    with pytest.raises(InputError):
        from_logmar(0.0, "roman")
