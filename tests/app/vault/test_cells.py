"""Cells of the row vault by themselves: when these fail, one patient's cell opens in another's place."""

from __future__ import annotations

import os

import pytest

from edge.app.vault.cells import OpenCells, SealedCells
from edge.app.vault.keys import Keys
from edge.app.vault.protocol import DamagedError

CELLS = SealedCells(Keys(os.urandom(32), os.urandom(16)))
PLACE = ("encounters", b"key", 7, "data")


@pytest.mark.parametrize(
    "other",
    [
        ("settings", b"key", 7, "data"),
        ("encounters", b"kez", 7, "data"),
        ("encounters", b"key", 8, "data"),
        ("encounters", b"key", 7, "summary"),
        ("encountersk", b"ey", 7, "data"),
    ],
)
def test_a_cell_opens_in_its_place_only(other: tuple[str, bytes, int, str]) -> None:
    """If not: cells can be swapped, or put back to an older change."""
    stored = CELLS.pack(PLACE, b"value")
    assert CELLS.unpack(PLACE, stored) == b"value"
    with pytest.raises(DamagedError):
        CELLS.unpack(other, stored)


def test_names_and_nonces() -> None:
    """If not: names can be read or compared across tables, or a nonce is used twice."""
    assert CELLS.name("a", "x") == CELLS.name("a", "x") != CELLS.name("b", "x")
    assert b"miller" not in CELLS.name("a", "miller")
    assert len({CELLS.pack(PLACE, b"")[:12] for _ in range(1000)}) == 1000
    assert OpenCells().unpack(PLACE, OpenCells().pack(PLACE, b"v")) == b"v"
