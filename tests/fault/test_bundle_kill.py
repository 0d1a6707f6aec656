"""Kill -9 at every step: when these fail, a power cut at the wrong moment costs a device its model or its key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "bundle_kill_child.py"


def run(scenario: str, folder: Path) -> tuple[int, dict[str, int]]:
    """Steps at which the work was killed, and how often each outcome was found. Fails on a broken rule."""
    done = subprocess.run([sys.executable, CHILD, scenario, folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    return value["steps"], value["seen"]


def test_first_build(tmp_path: Path) -> None:
    """If not: a killed build leaves a bundle that opens but is not whole, or litter that blocks the next."""
    steps, seen = run("FirstBuild", tmp_path)
    assert steps > 30
    assert seen["nothing"] > 30
    assert seen["new"] >= 1


def test_second_build(tmp_path: Path) -> None:
    """If not: rebuilding in place can lose the bundle that worked."""
    steps, seen = run("SecondBuild", tmp_path)
    assert steps > 50
    assert seen["old"] > 30
    assert seen["new"] > 5
    assert set(seen) == {"old", "new"}


@pytest.mark.parametrize(
    ("scenario", "outcomes"),
    [
        ("Unpack", {"copy", "nothing"}),
        ("Attest", {"0", "1"}),
        ("Pack", {"old", "new"}),
        ("CreateKey", {"none", "not trusted", "trusted"}),
    ],
)
def test_other_writers(tmp_path: Path, scenario: str, outcomes: set[str]) -> None:
    """If not: an interrupted unpack, attestation, export or key leaves something half that is then used."""
    steps, seen = run(scenario, tmp_path)
    assert steps >= 5
    assert set(seen) == outcomes
