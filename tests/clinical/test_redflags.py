"""The red-flag table holds what it says: each rule fires on its own examples and keeps silent on the others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.redflag_rules import Rule, rule_table
from edge.clinical.redflags import red_flags
from edge.clinical.transcript import parse_transcript

RULES = rule_table().rules
FIRES = [(rule, text) for rule in RULES for text in rule.fires]
SILENT = [(rule, text) for rule in RULES for text in rule.silent]


def fired(text: str) -> list[str]:
    """Ids of the rules that fire."""
    return [flag.rule_id for flag in red_flags(text)]


@pytest.mark.parametrize(("rule", "text"), FIRES, ids=[f"{rule.id}-{i}" for i, (rule, _) in enumerate(FIRES)])
def test_fires(rule: Rule, text: str) -> None:
    """A dangerous visit passes without its flag; and the flag shows the words it rests on."""
    flags = [flag for flag in red_flags(text) if flag.rule_id == rule.id]
    assert flags
    assert flags[0].spans
    assert all(span.of(text).strip() for span in flags[0].spans)
    assert flags[0].source == rule.source


@pytest.mark.parametrize(("rule", "text"), SILENT, ids=[f"{rule.id}-{i}" for i, (rule, _) in enumerate(SILENT)])
def test_keeps_silent(rule: Rule, text: str) -> None:
    """A denial, a relative or a harmless look-alike raises an alarm, and alarms are then no longer read."""
    assert rule.id not in fired(text)


def test_both_fields_are_covered() -> None:
    """The general or the eye rules went missing."""
    assert sum(rule.area == "general" for rule in RULES) >= 40
    assert sum(rule.area == "eye" for rule in RULES) >= 20
    assert all(rule.source and rule.note and rule.title for rule in RULES)


def test_titles_are_options() -> None:
    """A flag gives an order: no title or note may tell the clinician what to do to the patient now."""
    orders = ("you must", "admit ", "prescribe", "start ", "immediately give")
    assert not [rule.id for rule in RULES for order in orders if order in f"{rule.title} {rule.note}".lower()]


@pytest.mark.parametrize(
    "frame",
    [
        "[doctor] any {} ?\n[patient] no .",
        "[doctor] call us if you get {} .",
        "[patient] my father had {} .",
        "[patient] i do n't have any {} .",
        "Patient denies {}.",
        "[doctor] do you have {}\n[patient] no i do n't",
        "[doctor] have you had any fever , {} or rash ?\n[patient] nope .",
    ],
)
@pytest.mark.parametrize("finding", ["vomiting blood", "black stools", "suicidal thoughts", "a facial droop"])
def test_frames_that_never_fire(frame: str, finding: str) -> None:
    """Negation, answers, relatives and hypotheticals are not read any more."""
    assert fired(frame.format(finding)) == []


def test_age_and_sex_bounds() -> None:
    """A rule for one age or sex fires on another, or keeps silent where age and sex are not said."""
    said = "[patient] my testicle hurts suddenly ."
    assert "testicular-torsion" in fired(said)
    assert "testicular-torsion" not in fired("[doctor] so she is a 30 year old female .\n" + said)
    assert "breast-cancer" not in fired("[doctor] anna is a 12 year old girl .\n[patient] a lump in my breast .")


def test_nothing_in_nothing() -> None:
    """An empty visit breaks it."""
    assert red_flags("") == ()
    assert red_flags("   \n ") == ()


@settings(deadline=None, max_examples=25)
@given(st.text(alphabet=st.sampled_from(" \n[].,?'chestpainobldvmgfyukw0189/%"), max_size=160))
def test_any_text(text: str) -> None:
    """No input breaks it; the same text gives the same flags, with places inside the text."""
    flags = red_flags("[doctor] chest pain ? BP " + text)
    assert flags == red_flags("[doctor] chest pain ? BP " + text)
    assert all(0 <= span.start < span.end for flag in flags for span in flag.spans)
    assert parse_transcript(text).text == text
