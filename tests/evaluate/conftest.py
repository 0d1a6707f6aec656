"""Synthetic data files of every form, and the folder of the public data sets where there is one."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_sets() -> Path:
    """The public data sets: EDGE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("EDGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the public data sets are not here: set EDGE_DATA to their folder")
    return folder


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    """Rows with a header of the first row's keys."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


VISIT = (
    "[doctor] hi , anna . what brings you in ?\n[patient] i have had a cough and a fever for three days .\n"
    "[doctor] any chest pain ?\n[patient] no .\n"
    "[doctor] i will start you on amoxicillin 500 milligrams three times a day ."
)
NOTE = (
    "CHIEF COMPLAINT\n\nCough and fever.\n\nHISTORY OF PRESENT ILLNESS\n\nCough and fever for 3 days.\n\n"
    "PLAN\n\nAmoxicillin 500 mg three times a day."
)


@pytest.fixture
def aci_file(tmp_path: Path) -> Path:
    """Three visits in ACI-Bench's columns."""
    rows = [
        {"dataset": "ours" if n else "other", "encounter_id": f"V{n}", "dialogue": VISIT, "note": NOTE}
        for n in range(3)
    ]
    return write_csv(tmp_path / "visits.csv", rows)


@pytest.fixture
def dx_file(tmp_path: Path) -> Path:
    """Six cases in DxBench's form; the true disease is listed first, as it often is there."""
    cases = [
        {
            "id": f"Ours_{n}",
            "department": "Ear" if n % 2 else "Eye",
            "explicit_symptoms": [["ear pain", "True"], ["fever", "True"]],
            "implicit_symptoms": [["vomiting", "False"]],
            "candidate_diseases": ["Otitis Media", "Mastoiditis", "Cerumen Impaction"],
            "disease": "Otitis Media",
        }
        for n in range(6)
    ]
    path = tmp_path / "dx.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    return path


@pytest.fixture
def mcq_file(tmp_path: Path) -> Path:
    """Two questions in the exam's JSON form."""
    cases = [
        {
            "id": n,
            "topic": "Glaucoma",
            "type": "Diagnosis" if n == 1 else "Management",
            "stem": "Sudden painful red eye with halos. Which are likely?",
            "options": {"A": "Angle closure", "B": "Conjunctivitis", "C": "Uveitic glaucoma"},
            "answer": ["A", "C"] if n == 1 else ["B"],
        }
        for n in (1, 2)
    ]
    path = tmp_path / "mcq.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    return path


@pytest.fixture
def judge_file(tmp_path: Path) -> Path:
    """Two scored answers and the leftovers of a spreadsheet, in the form of the published file."""
    text = "Diagnosis Task: a sore ear.\n \n  True Disease: Otitis\n \n  Model Output:1. Otitis media"
    row = {"Clinical specialty": "Ear", "Model": "M1", "Disease_description": text, "HumanEvalScore": "4.25"}
    junk = {"Clinical specialty": "", "Model": "", "Disease_description": "", "HumanEvalScore": "MEAN"}
    rows = [
        row | {"m one-m1": "4", "m one-m2": "4.5", "m one-m3": "5"},
        row | {"HumanEvalScore": "3", "m one-m1": "3", "m one-m2": "", "m one-m3": "3.5"},
        junk | {"m one-m1": "Loading...", "m one-m2": "", "m one-m3": "m one"},
    ]
    return write_csv(tmp_path / "judge.csv", rows)
