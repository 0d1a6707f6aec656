"""Kill -9 at every step of the vault: when these fail, a power cut at the wrong moment costs patients' data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NOT_PERMITTED = 77
KINDS = pytest.mark.parametrize("kind", ["sqlcipher", "rows"])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a kill does not empty the page cache, and flushes take minutes."""
    memory = Path("/dev/shm")  # noqa: S108
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


def run(kind: str, scenario: str, folder: Path) -> tuple[int, dict[str, int]]:
    """Steps at which the work was killed, and how often each outcome was found. Fails on a broken rule."""
    command = [sys.executable, "-m", "tests.app.vault.kill_child", kind, scenario, folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode == NOT_PERMITTED:
        pytest.skip("ptrace is not permitted here")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    return value["steps"], value["seen"]


@KINDS
@pytest.mark.parametrize(
    ("scenario", "least_steps", "outcomes"),
    [
        ("Create", 60, {"absent", "locked"}),
        ("CreateAfterWipe", 60, {"wiped", "absent", "locked"}),
        ("ChangePin", 20, {"old", "new"}),
        ("Wipe", 15, {"locked", "wiped"}),
        ("Unlock", 60, {"1", "2", "3", "4"}),
        ("Backup", 50, {"none", "whole"}),
    ],
)
def test_killed_at_every_step(kind: str, scenario: str, least_steps: int, outcomes: set[str], folder: Path) -> None:
    """If not: a half-made vault is taken for one, a PIN is lost, a wipe stops half way, a kill gives a free try."""
    steps, seen = run(kind, scenario, folder)
    assert steps >= least_steps
    assert set(seen) == outcomes


@KINDS
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "least_steps", "outcomes"), [("Save", 150, {"old", "new"}), ("Restore", 100, {"absent", "locked"})]
)
def test_longer_work_killed_at_every_step(
    kind: str, scenario: str, least_steps: int, outcomes: set[str], folder: Path
) -> None:
    """If not: what save() returned for is lost, a word stands in a journal, or half a backup opens."""
    steps, seen = run(kind, scenario, folder)
    assert steps >= least_steps
    assert set(seen) == outcomes


@KINDS
def test_killed_while_saving_in_a_loop(kind: str, folder: Path) -> None:
    """If not: the last thing that a clinician saw saved is gone after a power cut."""
    _, seen = run(kind, "Loop", folder)
    assert seen["saved"] > 30
