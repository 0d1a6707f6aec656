"""The fields of the eye: structures, choices, pressure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.case import case_from_text
from edge.clinical.conditions import EYE, knowledge_table
from edge.clinical.encounter import eye_fields as module
from edge.clinical.encounter.case_text import case_text
from edge.clinical.encounter.edits import set_eye_field
from edge.clinical.encounter.eye_fields import Structure, eye_fields, grade_iop, pieces
from edge.clinical.encounter.flags import flags
from edge.clinical.encounter.model import Eye
from tests.clinical.encounter.made import NOW, new

STRUCTURES = list(eye_fields().values())


def test_the_structures() -> None:
    """A part of the examination is missing, or two choices cannot be told apart."""
    assert module.EYE_FIELDS is eye_fields()
    assert [one.field for one in STRUCTURES] == [
        *(f"slit_lamp.{one}" for one in ("lids", "conjunctiva", "cornea", "anterior_chamber", "iris", "lens")),
        *(f"fundus.{one}" for one in ("vitreous", "disc", "macula", "vessels", "periphery")),
    ]
    ids = [choice.id for one in STRUCTURES for choice in one.choices]
    words = [choice.en for one in STRUCTURES for choice in one.choices]
    assert len(set(ids)) == len(ids)
    assert len(set(words)) == len(words)
    for one in STRUCTURES:
        assert sum(choice.normal for choice in one.choices) == 1
        assert one.choices[0] == one.normal
        assert all(choice.de for choice in one.choices)
        assert one.label("de") == one.de
        assert one.label("en") == one.en
    with pytest.raises(AttributeError):
        module.NOTHING  # noqa: B018


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: one.field)
def test_normal_raises_no_flag(structure: Structure) -> None:
    """A normal eye is an alarm."""
    assert flags(set_eye_field(new(), Eye.OD, structure.field, structure.normal.en, NOW)) == ()


# What no condition of the table has; for the note and the reader only.
NOT_IN_THE_TABLE = {
    *("lids-entropion", "lids-ectropion", "lids-vesicles", "cornea-foreign_body", "cornea-scar"),
    *("anterior_chamber-fibrin", "iris-atrophy", "iris-iridodonesis", "lens-posterior", "lens-pseudophakic"),
    *("lens-capsule", "lens-aphakic", "lens-subluxed", "disc-notch", "macula-atrophy", "vessels-sheathing"),
    *("periphery-lattice", "periphery-scars"),
}


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: one.field)
def test_the_table_knows_the_findings(structure: Structure) -> None:
    """A finding that was picked means nothing to the differential."""
    table = knowledge_table(EYE)
    for choice in structure.choices:
        unknown = table.unknown(case_from_text(f"OD {choice.en}."))
        assert choice.normal or bool(unknown) is (choice.id in NOT_IN_THE_TABLE), choice.id


@given(st.sampled_from(STRUCTURES), st.data())
def test_taps(structure: Structure, data: st.DataObject) -> None:
    """Normal and a finding stand together, a second tap does not take a choice out, or own words are lost."""
    words = "own words"
    for choice in data.draw(st.lists(st.sampled_from(structure.choices), max_size=6)):
        before = pieces(words)
        words = structure.toggled(words, choice)
        assert (choice.en in pieces(words)) is (choice.en not in before)
        now = pieces(words)
        assert structure.normal.en not in now or now == [structure.normal.en] or "own words" in before
        assert len(set(now)) == len(now)
        assert structure.normal.en not in now or len(now) == 1


def test_shown_in_german() -> None:
    """The German screen shows English words, or stores German ones, which no table reads."""
    cornea = eye_fields()["slit_lamp.cornea"]
    assert cornea.show("hazy cornea; own words", "de") == "Hornhauttrübung; own words"
    assert cornea.show("hazy cornea", "en") == "hazy cornea"
    enc = set_eye_field(new(), Eye.OD, cornea.field, "hazy cornea", NOW)
    assert "OD hazy cornea." in case_text(enc).text


def test_pressure() -> None:
    """A pressure of 40 has no other colour than one of 24."""
    assert [grade_iop(value) for value in (5, 10, 21, 22, 39.9, 40)] == [
        *("low", "normal", "normal", "high", "high", "critical")
    ]
