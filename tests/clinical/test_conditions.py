"""The tables: every code exists, findings are met by their words and synonyms, and by nothing else."""

from __future__ import annotations

import pytest

from edge.clinical.case import case_from_text
from edge.clinical.conditions import EYE, GENERAL, best_fits, is_normal, knowledge_table, table_digests
from edge.clinical.icd10 import icd_table

TABLE = knowledge_table()


@pytest.mark.parametrize("name", [GENERAL, EYE])
def test_every_code_is_in_the_code_system(name: str) -> None:
    """A table must not bring in a code that the release does not have, with or without its eye."""
    for condition in knowledge_table(name).conditions:
        assert condition.findings
        for side in ("", *condition.sides):
            assert icd_table().lookup(condition.icd10 + side), condition.name


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Present: right lower quadrant pain; nausea; anorexia\nAbsent: diarrhea", "Acute appendicitis"),
        ("Throbbing unilateral headache with photophobia and nausea.", "Migraine"),
        ("Sudden calf swelling, chest pain and dyspnoea. HR 120.", "Pulmonary embolism"),
        ("Burning on urination, hematuria, urinary frequency. No fever.", "Urinary tract infection"),
        ("Cough, fever, productive cough, chest pain. SpO2 88%. RR 28.", "Pneumonia"),
    ],
)
def test_findings_lead_to_their_condition(text: str, first: str) -> None:
    """Textbook cases: without them the open question has no candidates worth scoring."""
    case = case_from_text(text)
    fits = best_fits((TABLE.fit(case, one) for one in TABLE.conditions), 5)
    assert fits[0].condition.name == first
    for fit in fits:
        for match in (*fit.supports, *fit.against):
            assert match.finding.span.of(text)


def test_a_denied_finding_speaks_against() -> None:
    """And what was not told is missing, neither for nor against."""
    case = case_from_text("Present: sore throat; No cough\nAbsent: fever")
    influenza = TABLE.named("Influenza", icd_table())
    assert influenza is not None
    fit = TABLE.fit(case, influenza)
    assert {match.typical for match in fit.supports} == {"sore throat"}
    assert {match.typical for match in fit.against} == {"fever", "cough"}
    assert "headache" in fit.missing
    assert not {"fever", "cough", "sore throat"} & set(fit.missing)


def test_a_condition_is_found_by_another_name_of_its_code() -> None:
    """A caller's spelling must not hide what the table knows; a name without a code finds nothing."""
    for name in ("SLE", "lupus", "Systemic Lupus Erythematosus (SLE)"):
        found = TABLE.named(name, icd_table())
        assert found is not None
        assert found.name == "Systemic lupus erythematosus"
    assert TABLE.named("Neural Damage", icd_table()) is None


def test_nothing_known_fits_nothing() -> None:
    """No finding, no candidate."""
    for text in ("", "glimmering of the left zorb", "Husten seit drei Tagen"):
        case = case_from_text(text)
        assert best_fits((TABLE.fit(case, one) for one in TABLE.conditions), 5) == []
    case = case_from_text("Takes Zorblaxin. Cough.")
    assert [finding.name for finding in TABLE.unknown(case)] == ["Takes Zorblaxin"]


def test_what_is_normal_points_to_nothing() -> None:
    """A normal pressure is no sign of normal-tension glaucoma."""
    assert is_normal("normal eye pressure")
    assert not is_normal("abnormal bleeding")
    table = knowledge_table(EYE)
    case = case_from_text("Present: normal eye pressure; normal vision")
    assert best_fits((table.fit(case, one) for one in table.conditions), 5) == []


def test_digests_name_the_tables() -> None:
    """What the clinician reads depends on the tables, so the task file holds their digests."""
    assert {len(value) for value in table_digests([GENERAL, EYE]).values()} == {64}
