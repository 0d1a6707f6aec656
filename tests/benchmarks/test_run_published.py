"""The published figures come out of the published predictions; a figure that does not is said."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from benchmarks import run_published
from benchmarks.run_published import Line, accuracy, all_lines, judges, main, render, system
from edge.errors import ExitStatus, InputError
from edge.evaluate.data.published import read_published


@pytest.fixture(scope="module")
def data_sets() -> Path:
    """The public data sets: EDGE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("EDGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (folder / "published-predictions").is_dir():
        pytest.skip("the published predictions are not here: set EDGE_DATA to their folder")
    return folder


def test_every_published_figure_is_reproduced(data_sets: Path) -> None:
    """Nine ophthalmology accuracies, 54 judge medians and quartiles, three ROUGE figures: else our scorers differ."""
    lines = [line for line in all_lines(data_sets) if line.published is not None]
    assert len(lines) == 66
    assert [(line.part, line.row, line.figure, line.ours) for line in lines if not line.agrees] == []


def write(path: Path, rows: list[list[str]]) -> Path:
    """A CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_accuracy_of_a_synthetic_file(tmp_path: Path) -> None:
    """Two of three runs decide, a missing answer is wrong, leftovers of a spreadsheet are no cases."""
    rows = [
        ["n", "Topic", "Type", "Question", "GT", "m-m1", "m-m2", "m-m3"],
        ["1", "t", "x", "q", "AB", "BA", "A", "AB"],
        ["2", "t", "x", "q", "C", "C", "", "D"],
        ["", "", "", "", "", "50%", "Loading...", ""],
    ]
    assert accuracy(read_published(write(tmp_path / "o.csv", rows), "GT"), "m") == (1, 2)


def test_judge_medians_of_a_synthetic_file(tmp_path: Path) -> None:
    """Mean of the runs that are there, minus the human score."""
    rows = [
        ["Clinical specialty", "HumanEvalScore", "j v1", "j v2", "j v3"],
        ["Ear", "4", "4.5", "4.5", "4.5"],
        ["Ear", "3", "2", "", "2"],
        ["Ear", "5", "5", "5.0", "5"],
    ]
    for name in run_published.JUDGE:
        write(tmp_path / name, rows)
    found = [line.ours for line in judges(tmp_path)][:3]
    assert found == [0.0, -0.5, 0.25]


def test_a_figure_that_differs_is_said() -> None:
    """To the digits that were published, no further."""
    same = Line("p", "r", "%", 73.846, 73.8, 1)
    other = Line("p", "r", "%", 73.1, 73.8, 1)
    unpublished = Line("p", "s", "%", 1.0, None, 1)
    assert same.agrees and unpublished.agrees and not other.agrees
    told = render([same, other, unpublished], systems_given=False)
    assert "1 of 2 published figures reproduced" in told
    assert "DIFFERS" in told
    assert "not compared: ACI-Bench's rows of GPT-4 and BART" in told
    assert " s " not in told and " s " in render([unpublished], systems_given=True, every=True)


def test_system_notes_must_fit_the_test_set(tmp_path: Path) -> None:
    """Notes of another split would be scored against the wrong visits."""
    rows = [["dataset", "encounter_id", "dialogue", "note"], ["a", "1", "doctor: cough", "Cough."]]
    write(tmp_path / run_published.TEST_SET, rows)
    lines = list(system(tmp_path, write(tmp_path / "bart_large_x.csv", [["note"], ["Cough."]])))
    assert [line.ours for line in lines] == pytest.approx([100.0, 0.0, 100.0])
    assert lines[0].published == 41.76
    with pytest.raises(InputError, match="2 notes, the test set has 1"):
        list(system(tmp_path, write(tmp_path / "b.csv", [["note"], ["a"], ["b"]])))


def test_a_missing_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for a wrong path."""
    assert main(["--data", str(tmp_path)]) == ExitStatus.INPUT
    assert capsys.readouterr().err.count("\n") == 1
