"""Red flags of a transcript that grows."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings

from edge.clinical.encounter.flags import own_table
from edge.clinical.encounter.heard import Heard
from edge.clinical.patient import patient_context
from edge.clinical.redflag_rules import Rule, RuleTable, rule_table
from edge.clinical.redflag_vitals import measurements
from edge.clinical.redflags import Visit, red_flags
from tests.clinical.encounter.grown import grown

TABLES = {"edge's": rule_table(), "own": own_table()}
KEPT = {name: Heard(table) for name, table in TABLES.items()}


@pytest.mark.parametrize("table", TABLES)
@given(grown())
@settings(max_examples=120, deadline=None)
def test_a_changed_text_is_read_as_a_new_one(table: str, states: list[str]) -> None:
    """A flag is lost, or stays, because only a part of a transcript was read again."""
    for text in states:
        assert KEPT[table].flags(text) == red_flags(text, TABLES[table])


@given(grown())
@settings(max_examples=60, deadline=None)
def test_all_that_was_said_is_the_same(states: list[str]) -> None:
    """Words are found at another place, or with another meaning, that no rule happens to show today."""
    for text in states:
        read = KEPT["edge's"].visit(text)
        if read is None:
            continue
        whole = patient_context(text)
        assert (read.patient.age_years, read.patient.sex) == (whole.age_years, whole.sex)
        assert read.measured == measurements(read.transcript)
        fresh = Visit(read.transcript, read.table, read.patient, read.measured)
        for name in read.table.phrases:
            fresh.places(name)
            assert tuple(read.said[name]) == tuple(fresh.said[name])


@pytest.mark.parametrize("rule", rule_table().rules, ids=lambda rule: rule.id)
def test_every_rule_fires_line_by_line(rule: Rule) -> None:
    """A rule of the table works on a whole text only."""
    heard = KEPT["edge's"]
    for text in (*rule.fires, *rule.silent):
        assert heard.flags(text) == red_flags(text)


def test_many_blanks_are_read_as_a_whole() -> None:
    """A number behind a page of blanks is lost, since it lies outside of what is read around a line."""
    text = "[doctor] vision is 20 /" + " " * 300 + "\n" * 300 + "400\n[patient] suddenly my vision is gone ."
    assert Heard(rule_table()).flags(text) == red_flags(text)


def test_nothing_is_kept_after_forget() -> None:
    """Words of a patient stay in memory while the app is locked."""
    heard = Heard(rule_table())
    heard.flags("[patient] i have chest pain and i am sweating .\n[doctor] okay .")
    heard.forget()
    assert heard._last is None
    assert all(vars(heard)[name].cache_info().currsize == 0 for name in ("flags", "_facts", "_pronouns"))


def long_text(table: RuleTable, lines: int) -> str:
    """A visit of many lines; each says something that a rule looks for."""
    said = [text.replace("\n", " ").split("] ")[-1] for rule in table.rules for text in rule.silent]
    return "\n".join(f"[{'doctor' if i % 2 else 'patient'}] {said[i % len(said)]} {i}" for i in range(lines))


def test_an_utterance_more_is_quick() -> None:
    """Each utterance of a long visit stops the screen. Allows for a busy machine: 8 ms at 2,000 lines were measured."""
    heard = Heard(rule_table())
    text = long_text(rule_table(), 600)
    heard.flags(text)
    best = 1.0
    for number in range(4):
        text += f"\n[patient] i have chest pain for {number} hours ."
        begun = time.perf_counter()
        heard.flags(text)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.03


@pytest.mark.parametrize(
    "text",
    [
        "[doctor] suddenly gone , 20/400\n[patient] no\n[doctor] eye . vision is blurry suddenly .",
        "any chest pain ?\n" + "well so\n" * 200 + "Good. Doctor: no. Patient: i have chest pain , sweating .",
    ],
)
def test_words_over_several_turns(text: str) -> None:
    """A short turn, or one of many lines, hides what stands behind it."""
    read = KEPT["edge's"].visit(text)
    assert read is not None
    assert read.measured == measurements(read.transcript)
    assert KEPT["edge's"].flags(text) == red_flags(text)
