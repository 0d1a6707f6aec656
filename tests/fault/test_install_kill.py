"""Kill -9, or a full disk, at every step of an install, a resume and a rollback: when these fail, a power cut leaves a
device without a model, with a mix of two, or with one that never passed its self-test there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "install_kill_child.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "least", "ends"),
    [
        ("FirstInstall", 70, {"nothing", "new"}),
        ("SecondInstall", 70, {"old", "new"}),
        ("ThirdInstall", 70, {"new", "third"}),
        ("FullDisk", 50, {"old", "new"}),
        ("FullDiskThird", 50, {"new", "third"}),
        ("FullDiskRollback", 15, {"old", "new"}),
        ("FailedTest", 70, {"old"}),
        ("Rollback", 20, {"old", "new"}),
        ("Resume", 20, {"new"}),
        ("ResumeBoots", 8, {"old"}),
        ("ResumeVerified", 20, {"new"}),
        ("VisitInTest", 70, {"old", "new"}),
        ("LostMemory", 20, {"new"}),
    ],
)
def test_kill_at_every_step(tmp_path: Path, scenario: str, least: int, ends: set[str]) -> None:
    """least: so many steps there are at least, else the fuse sees nothing. ends: the builds that may come out of it."""
    done = subprocess.run([sys.executable, CHILD, scenario, tmp_path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["steps"] >= least
    assert set(value["seen"]) == ends
