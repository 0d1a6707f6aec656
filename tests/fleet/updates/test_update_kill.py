"""Kill -9 at every step of a publication, a copy and a fetch. When these fail, a power cut leaves a repository that
devices refuse, or a fetch that begins anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "least_steps", "outcomes"),
    [
        ("Publish", 60, {"old", "new"}),
        ("Copy", 40, {"old", "new"}),
        ("Fetch", 50, {"none", "some", "all"}),
    ],
)
def test_kill_at_every_step(tmp_path: Path, scenario: str, least_steps: int, outcomes: set[str]) -> None:
    """The rules are in the scenarios; here only that the kills met all of the work."""
    command = [sys.executable, "-m", "tests.fleet.updates.kill_child", scenario, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["steps"] >= least_steps
    assert set(value["seen"]) == outcomes
