"""The fact benchmark on data of our own: alterations change the meaning, rates are right, the output is stable."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from benchmarks.run_facts import KINDS, Case, alterations, auroc, detection, floor, main, pearson
from edge.clinical.facts import FactSource

CASE = Case(
    "one",
    "[doctor] any fever ?\n[patient] no . my left knee hurts for three weeks and i take lasix forty milligrams and "
    "aspirin .\n[doctor] your heart rate is 72 .",
    "HPI\n\n1. Left knee pain for 3 weeks. Denies fever. Takes Lasix 40 mg and aspirin.\n\nVITALS\n\nHeart rate: 72",
    "",
)


@pytest.mark.parametrize("kind", KINDS)
def test_alterations_change_one_place(kind: str) -> None:
    """Each altered note differs from the gold note in one place only, and is the same for the same seed."""
    source = FactSource.of(CASE.dialogue)
    made = alterations(CASE, source, kind, random.Random("x"), 5)
    assert made == alterations(CASE, source, kind, random.Random("x"), 5)
    assert made
    for item in made:
        assert item.note != CASE.note
        assert item.note[: item.start] == CASE.note[: item.was[0]]
        assert item.note[item.end :] == CASE.note[item.was[1] :]


def test_detection_and_floor() -> None:
    """A clean note has no floor, and every kind of alteration of it is caught."""
    assert all(row["rate"] == 0 for row in floor([CASE]).values())
    found = detection([CASE], seed=3, most=5)
    assert {kind: found[kind]["rate"] for kind in ("number", "drug", "side", "negation")} == {
        "number": 1.0,
        "drug": 1.0,
        "side": 1.0,
        "negation": 1.0,
    }


def test_statistics() -> None:
    """Correlation and AUROC on values known by hand; ties count half."""
    assert pearson([(0, 0), (1, 2), (2, 4)]) == pytest.approx(1)
    assert pearson([(1, 0), (1, 2)]) == 0
    assert auroc([(0.0, 0.0), (1.0, 1.0)]) == 1
    assert auroc([(0.5, 0.0), (0.5, 1.0)]) == 0.5


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command runs on a folder in the data sets' form and writes its JSON."""
    write(tmp_path / "aci-bench" / "valid.csv", [{"encounter_id": "a", "dialogue": CASE.dialogue, "note": CASE.note}])
    row = {"ID": "0", "section_header": "GENHX", "section_text": "Knee pain.", "dialogue": "Patient: My knee hurts."}
    write(tmp_path / "mts-dialog" / "MTS-Dialog-ValidationSet.csv", [row])
    folder = tmp_path / "mts-dialog" / "correlation-study"
    texts = [{"Dialogue": CASE.dialogue, "Automatic Summary": text} for text in ("Knee pain. Fever.", CASE.note)]
    write(folder / "MTS-Dialog-Automatic-Summaries-ValidationSet.csv", texts)
    scores = [{"OmissionRate": "0.8", "HallucinationRate": "0.5"}, {"OmissionRate": "0", "HallucinationRate": "0"}]
    write(folder / "MTS-Dialog-Manual-Scores4CorrelationStudy.csv", scores)
    assert main(["--data", str(tmp_path), "--splits", "valid", "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["human"]["omission_pearson"]["value"] == pytest.approx(1)
    assert found["human"]["hallucination_auroc"]["value"] == 1
    assert "aci valid" in capsys.readouterr().out


def write(path: Path, table: list[dict[str, str]]) -> None:
    """A small CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
