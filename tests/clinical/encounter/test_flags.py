"""Red flags of an encounter."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from edge.clinical.encounter import edits
from edge.clinical.encounter import flags as flags_module
from edge.clinical.encounter.flags import flags, own_table
from edge.clinical.encounter.model import Encounter, Eye, Origin, Presence, Ref, VisitText, Vital
from edge.clinical.redflag_rules import rule_table
from edge.clinical.redflags import red_flags
from tests.clinical.encounter.made import NOW, angle_closure, found, new

OWN = own_table().rules
FIRES = [(rule.id, text) for rule in OWN for text in rule.fires]
SILENT = [(rule.id, text) for rule in OWN for text in rule.silent]


def ids(enc: Encounter) -> list[str]:
    """Ids of what fired."""
    return [flag.rule_id for flag in flags(enc)]


@pytest.mark.parametrize(("rule", "text"), FIRES)
def test_fires(rule: str, text: str) -> None:
    """A dangerous examination passes without its flag."""
    assert [flag.rule_id for flag in red_flags(text, own_table()) if flag.spans] == [rule]


@pytest.mark.parametrize(("rule", "text"), SILENT)
def test_keeps_silent(rule: str, text: str) -> None:
    """A harmless examination raises the alarm."""
    assert rule not in [flag.rule_id for flag in red_flags(text, own_table())]


def test_own_rules_have_own_names() -> None:
    """Two rules share an id, and one of them is never shown."""
    assert not {rule.id for rule in OWN} & {rule.id for rule in rule_table().rules}


def test_the_picture() -> None:
    """Angle closure goes unflagged, or its flag does not say on what it rests and which eye it is."""
    told = {flag.rule_id: flag for flag in flags(angle_closure())}
    assert list(told) == ["very-high-iop-pain", "acute-angle-closure"]
    high, angle = told.values()
    assert Ref("eye", "OD.iop_mmhg") in high.refs
    assert Ref("finding", "pain") in high.refs
    assert {Ref("finding", key) for key in ("pain", "halos", "nausea", "pupil")} <= set(angle.refs)
    assert (high.eye, angle.eye) == (Eye.OD, Eye.OD)
    assert (high.area, high.severity) == ("eye", "high")
    assert high.source
    assert Ref("finding", "flashes") not in {ref for flag in told.values() for ref in flag.refs}


def test_pressure_by_itself() -> None:
    """A raised pressure is lost because the other eye's is worse, or one pressure is told three times."""
    enc = edits.set_eye_field(new(), Eye.OS, "iop_mmhg", 44, NOW)
    assert ids(enc) == ["very-high-iop"]
    both = edits.set_eye_field(enc, Eye.OD, "iop_mmhg", 27, NOW)
    assert ids(both) == ["very-high-iop", "raised-iop"]
    assert flags(both)[1].severity == "moderate"
    assert flags(both)[1].eye is Eye.OU
    assert ids(edits.set_eye_field(new(), Eye.OD, "iop_mmhg", 18, NOW)) == []


def test_only_what_is_there() -> None:
    """What is absent, unknown, unconfirmed or past raises an alarm."""
    for item in (
        found("a", "Suicidal thoughts", Presence.ABSENT),
        found("a", "Suicidal thoughts", Presence.UNKNOWN),
        replace(found("a", "Suicidal thoughts"), origin=Origin.SPEECH),
    ):
        assert ids(edits.set_finding(new(), item, NOW)) == []
    enc = edits.set_finding(new(), found("a", "Suicidal thoughts"), NOW)
    assert ids(enc) != []
    heard = edits.set_vital(new(), Vital("spo2", 80, Origin.SPEECH), NOW)
    assert ids(heard) == []
    assert ids(edits.confirm_item(heard, "vital", "spo2", NOW)) != []


@pytest.mark.parametrize(
    ("vitals", "rule"),
    [
        ({"spo2": 84}, "hypoxia"),
        ({"bp_systolic": 80, "bp_diastolic": 50}, "shock"),
        ({"bp_systolic": 80}, "shock"),
        ({"glucose": 40}, "hypoglycaemia"),
    ],
)
def test_vital_signs(vitals: dict[str, float], rule: str) -> None:
    """A vital sign that was entered by steppers is not seen by the rules."""
    enc = new()
    for name, value in vitals.items():
        enc = edits.set_vital(enc, Vital(name, value), NOW)
    told = flags(enc)
    assert told, rule
    assert all(ref.kind == "vital" for flag in told for ref in flag.refs)


def test_the_transcript() -> None:
    """What the patient said raises no flag, its place is wrong, or it does not join what was measured."""
    said = "[doctor] hello .\n[patient] my right eye hurts and i see halos around lights ."
    enc = edits.set_visit(new(), VisitText(said), NOW)
    (flag,) = flags(enc)
    assert flag.rule_id == "acute-angle-closure"
    assert [said[ref.start : ref.end] for ref in flag.refs] == ["eye hurts", "halos"]
    measured = flags(edits.set_eye_field(enc, Eye.OD, "iop_mmhg", 45, NOW))
    assert [one.rule_id for one in measured] == ["very-high-iop-pain", "acute-angle-closure"]
    assert measured[0].refs[0] == Ref("eye", "OD.iop_mmhg")
    assert [said[ref.start : ref.end] for ref in measured[0].refs[1:]] == ["eye hurts", "halos"]


def test_eyes_do_not_reach_into_other_findings() -> None:
    """ "Right eye: halos. Knee pain." is read as pain of the eye."""
    enc = edits.set_finding(new(), found("h", "Red eye", eye=Eye.OD), NOW)
    enc = edits.set_finding(enc, found("k", "Knee pain"), NOW)
    assert ids(edits.set_eye_field(enc, Eye.OD, "iop_mmhg", 45, NOW)) == ["very-high-iop"]


def test_nothing_in_nothing() -> None:
    """An empty encounter breaks it."""
    assert flags(Encounter("e")) == ()


def test_fast_enough_for_each_edit() -> None:
    """The check at each edit is felt under the finger. Allows for a busy machine: 4 ms were measured."""
    enc = edits.set_eye_field(angle_closure(), Eye.OD, "iop_mmhg", 30, NOW)
    flags(enc)
    best = 1.0
    for _ in range(5):
        flags_module.forget()
        begun = time.perf_counter()
        flags(enc)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.025
