"""Machines with a bundle, made once and copied for each test. tests/fault takes them from here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.world import World, built_world, verified_world


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared: a test reads it and changes nothing."""
    return built_world(tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def verified(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared: the same with a passing attestation."""
    return verified_world(tmp_path_factory.mktemp)


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """A machine of the test's own, with a bundle at out/tiny."""
    return built.copy(tmp_path)
