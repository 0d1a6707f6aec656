"""Both kinds of database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet.store.real_postgresql import Postgresql, shared_postgresql


@pytest.fixture
def postgresql() -> Postgresql:
    """One server for all tests; each makes a place of its own in it."""
    return shared_postgresql()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/fleet.db"
    make: Callable[[], str] = request.getfixturevalue("postgresql").url
    return make()
