"""Exports. When these fail, a spreadsheet runs what a device wrote, or rows are missing."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from benchmarks.synthetic_fleet import PI_OLD, Tablet, result
from edge.fleet.page import queries
from edge.fleet.page.export import as_csv, as_json
from edge.fleet.store import tables
from edge.fleet.store.store import Store
from tests.fleet.page.conftest import NOW, ask


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), st.floats(-1e9, 1e9))
def test_no_cell_is_a_formula_and_numbers_stay_numbers(text: str, number: float) -> None:
    """Fails when a text cell begins as a formula does, loses a character, or a negative number becomes a text."""
    data = b"".join(as_csv(["a", "b"], [{"a": text, "b": number}])).decode()
    cells = list(csv.reader(io.StringIO(data, newline="")))[1]
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cells[0] in (text, f"'{text}") and float(cells[1]) == number


def test_values_without_a_number_stay_empty() -> None:
    """Fails when "not measured" becomes 0 or the word None."""
    rows = [{"a": None, "b": True, "c": ("x", "y")}]
    assert b"".join(as_csv(["a", "b", "c"], rows)).splitlines()[1] == b",true,x y"
    assert json.loads(b"".join(as_json(["a", "b", "c"], rows))) == [{"a": None, "b": True, "c": ["x", "y"]}]
    assert json.loads(b"".join(as_json(["a"], []))) == []


@pytest.mark.parametrize("name", ["results", "installs", "decisions"])
def test_every_row_in_both_forms(fleet_page: str, fleet_store: Store, name: str) -> None:
    """Fails when a row is lost or told twice between two pieces."""
    table = tables.metadata.tables[name]
    with fleet_store.reading() as connection:
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
    as_text = ask(fleet_page, f"/export/{name}.csv")
    cells = list(csv.DictReader(io.StringIO(as_text.body.decode(), newline="")))
    values = json.loads(ask(fleet_page, f"/export/{name}.json").body)
    assert len(cells) == len(values) == count > 0
    assert 'attachment; filename="edge-fleet-' in as_text.headers["content-disposition"]
    keys = [tuple(row[column.name] for column in table.primary_key.columns) for row in values]
    assert len(set(keys)) == count
    if name == "results":
        assert isinstance(values[0]["checks"], list) and isinstance(values[0]["seq"], int)


def test_devices_without_their_keys(fleet_page: str) -> None:
    """Fails when the list misses a device, or carries key bytes."""
    values = json.loads(ask(fleet_page, "/export/devices.json").body)
    assert len(values) == 50 and "public_key" not in values[0] and values[0]["device"] == "east-01"
    assert ask(fleet_page, "/export/devices.csv", "HEAD").body == b""


def test_only_one_device(fleet_page: str) -> None:
    """Fails when the link on a device's page exports the whole fleet."""
    values = json.loads(ask(fleet_page, "/export/results.json?device=east-04").body)
    assert {row["device"] for row in values} == {"east-04"}


@pytest.mark.parametrize("path", ["/export/messages.csv", "/export/devices.xml", "/export/quarantine.json"])
def test_nothing_else_is_exported(fleet_page: str, path: str) -> None:
    """Fails when raw messages, whose content nobody checked, can be fetched."""
    assert ask(fleet_page, path).status == 404


def test_pieces_join_without_a_gap(empty_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the key of the last row is not where the next piece begins."""
    monkeypatch.setattr(queries, "EXPORT_ROWS", 7)
    import random

    chance, rows = random.Random(1), []
    for name in ("a", "b", "b.2", "c"):
        tablet = Tablet(name, "rest", PI_OLD, 1.0)
        rows += [result(tablet, NOW, chance) for _ in range(9)]
    with empty_store.writing() as connection:
        connection.execute(insert(tables.results), rows)
    found = [(row["device"], row["seq"]) for row in queries.stream(empty_store, tables.results)]
    assert found == [(name, seq) for name in ("a", "b", "b.2", "c") for seq in range(1, 10)]
