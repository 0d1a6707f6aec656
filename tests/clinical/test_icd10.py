"""Codes come from the code system or not at all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.icd10 import CODES_FILE, DATA, NAMES_FILE, IcdTable, dotted, icd_table, name_key
from edge.errors import BundleError

TABLE = icd_table()


@pytest.mark.parametrize(
    ("given_code", "code", "title"),
    [
        ("J18.9", "J18.9", "Pneumonia, unspecified organism"),
        ("h401131", "H40.1131", "Primary open-angle glaucoma, bilateral, mild stage"),
        (" m10 ", "M10", "Gout"),
    ],
)
def test_a_code_has_its_title(given_code: str, code: str, title: str) -> None:
    """The clinician reads the title; a wrong one is a wrong diagnosis on a bill."""
    found = TABLE.lookup(given_code)
    assert found is not None
    assert (found.code, found.title) == (code, title)


@pytest.mark.parametrize("code", ["", "X", "J18.99999", "ZZZ", "J18.9; K35", "J18-9", "I47.99", "12.3"])
def test_an_unknown_code_is_none(code: str) -> None:
    """Never a neighbour of what was asked for."""
    assert TABLE.lookup(code) is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Pneumonia", "J18.9"),
        ("Urinary Tract Infection (UTI)", "N39.0"),
        ("kidney stones", "N20.0"),
        ("Systemic lupus erythematosus", "M32.9"),
        ("GERD", "K21.9"),
        ("Acute otitis media", "H66.90"),
        ("iron deficiency anaemia", "D50.9"),
        ("Diarrhoea", "R19.7"),
        ("Crohn's disease", "K50.90"),
        ("type 2 diabetes", "E11"),
        ("Hypothyroidizm", "E03.9"),
    ],
)
def test_a_name_finds_its_code(name: str, code: str) -> None:
    """Spelling, plural, abbreviation and one typing error do not hide a known diagnosis."""
    found = TABLE.code_for(name)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "()",
        "Neural Damage",
        "Plum Pit Qi",
        "Quantum fever",
        "Zorb disease",
        "pneumonia of the zorb",
        "disease",
    ],
)
def test_an_unsure_name_has_no_code(name: str) -> None:
    """No code is better than a wrong one."""
    assert TABLE.code_for(name) is None


def test_close_names_stay_apart() -> None:
    """One letter is the other disease."""
    codes = [
        TABLE.code_for(name) for name in ("hypothyroidism", "hyperthyroidism", "type 1 diabetes", "type 2 diabetes")
    ]
    assert None not in codes
    assert len({code.code for code in codes if code}) == 4


@given(st.text(max_size=40))
def test_what_is_given_is_in_the_system(name: str) -> None:
    """Whatever is asked, a code that comes back can be looked up."""
    code = TABLE.code_for(name)
    assert code is None or TABLE.lookup(code.code) == code


@given(st.text(max_size=12))
def test_dots_are_set_once(code: str) -> None:
    """A dotted code stays as it is."""
    assert dotted(dotted(code)) == dotted(code)


def test_a_key_forgets_spelling_only() -> None:
    """Order, plural and British letters are one name; "hypo" and "hyper" are two."""
    assert name_key("Anaemias of the Infant") == name_key("infant anemia")
    assert name_key("Crohn's disease") == name_key("CROHN DISEASE")
    assert name_key("hypocalcemia") != name_key("hypercalcemia")


def test_the_tables_are_small_and_quick() -> None:
    """A tablet starts with them."""
    assert sum((DATA / name).stat().st_size for name in (CODES_FILE, NAMES_FILE)) < 1_500_000
    assert len(TABLE) > 90_000
    before = time.process_time()
    assert IcdTable().lookup("J18.9") is not None
    assert time.process_time() - before < 0.5


def test_a_broken_table_is_one_line(tmp_path: Path) -> None:
    """A damaged install must say what to do."""
    (tmp_path / CODES_FILE).write_bytes(b"not gzip")
    with pytest.raises(BundleError, match="install edge again"):
        IcdTable(tmp_path).lookup("J18.9")
