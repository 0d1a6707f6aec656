"""Nothing lost, nothing double, over kill -9 of everything. When this fails, results are lost or counted twice."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import run_fleet_crash
from edge.errors import MissingToolError
from edge.fleet.broker.child import find_mosquitto


@pytest.mark.slow
def test_a_small_fleet_under_fire(tmp_path: Path) -> None:
    """The benchmark itself with 40 devices for 15 s: every result that an outbox took is in the database, once."""
    try:
        find_mosquitto()
    except MissingToolError as error:
        pytest.skip(str(error))
    options = argparse.Namespace(devices=40, messages=6, seconds=15.0, collectors=2, database=None, seed=3)
    said: list[str] = []
    outcome = run_fleet_crash.run(options, tmp_path, said.append)
    assert (outcome.lost, outcome.double, outcome.waiting, outcome.quarantined) == (0, 0, 0, 0), said
    assert outcome.made == 240 and outcome.stored >= 240
    assert sum(outcome.kills.values()) >= 2
