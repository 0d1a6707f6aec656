"""Boards for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.reach.sshd import Board


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board over ssh, of the test's own."""
    made = Board(tmp_path / "board")
    yield made
    made.stop()
