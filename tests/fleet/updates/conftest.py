"""Worlds, made once and copied for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fleet.updates.update_world import World, bundle_files


@pytest.fixture(scope="session")
def empty_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared: a repository without a release."""
    return World.new(tmp_path_factory.mktemp("empty") / "world")


@pytest.fixture(scope="session")
def two_releases(empty_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared: releases v1 and v2, which differ in the adapter alone, each published by itself."""
    world = empty_world.copy(tmp_path_factory.mktemp("two") / "world")
    for number in (1, 2):
        world.add(f"v{number}", bundle_files(adapter_seed=number))
        world.publish()
    return world


@pytest.fixture
def empty(empty_world: World, tmp_path: Path) -> World:
    """A repository of the test's own, without a release."""
    return empty_world.copy(tmp_path / "world")


@pytest.fixture
def world(two_releases: World, tmp_path: Path) -> World:
    """A repository of the test's own with v1 and v2."""
    return two_releases.copy(tmp_path / "world")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power: a real fsync shows nothing and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
