"""The benchmark of the rules runs on data sets of the published form and counts what it finds."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from benchmarks.run_redflags import SETS, SPLITS, main, survey, who

VISIT = (
    "[doctor] so martha is a 50-year-old female .\n[patient] i have chest pressure and it goes down my left arm .\n"
    "[doctor] any fever ?\n[patient] no .\n[doctor] let me listen to your heart and order an ecg ."
    + 4
    * "\n[patient] okay . it began when i was in the garden and it took about an hour until it was better ."
)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """A CSV of the published form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One visit in each set."""
    for path in SETS.values():
        write(tmp_path / path, [{"encounter_id": "V1", "dialogue": VISIT}])
    for split in SPLITS:
        row = {"encounter_id": "V1", "patient_gender": "female", "patient_age": "50"}
        write(tmp_path / f"aci-bench/{split}_metadata.csv", [row])
    return tmp_path


def test_counts(data: Path) -> None:
    """Age, sex or flags are counted against the wrong row."""
    assert who(data, "train") == {"age right": 1, "sex right": 1}
    found = survey([{"encounter_id": "V1", "dialogue": VISIT}], show=False)
    assert found["flags"] == {"acute-coronary-syndrome": 1}
    assert found["notices %"] == {}


def test_runs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command does not run as its description says, or a missing folder ends in a traceback."""
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["run_redflags.py", "--data", str(data), "--json", str(out)])
    assert main() == 0
    assert set(json.loads(out.read_text(encoding="utf-8"))["planted"].values()) == {"1/1"}
    monkeypatch.setattr(sys, "argv", ["run_redflags.py", "--data", str(tmp_path / "none")])
    assert main() == 9
    assert capsys.readouterr().err.count("\n") == 1
