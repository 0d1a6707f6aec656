"""What a person reads of a scored task on a terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.clinical import differential, judge, ophthalmology
from edge.clinical.differential_console import NO_OPTION, parse_candidates, run_scored
from edge.errors import InputError
from tests.clinical.tiny_reader import TinyReader, tiny_reader


@dataclass
class Bench:
    """A session as the console uses it."""

    reader: TinyReader
    folder: Path
    bundle: Any = field(default_factory=lambda: SimpleNamespace(behaviour_digest="0123456789abcdef"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("console")
    (folder / "tasks").mkdir()
    for files in (differential.task_files(), ophthalmology.task_files(), judge.task_files()):
        for name, data in files.items():
            (folder / "tasks" / name).write_bytes(data)
    return Bench(tiny_reader(folder), folder)


def test_options_are_printed_with_their_basis(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Options, their code, what speaks for them, what is missing; the label on the other channel."""
    text = "Present: cough; fever\nAbsent: rash"
    assert run_scored(session, "differential", text, {"candidates": "Pneumonia; Zorb disease"}) == 0
    out, err = capsys.readouterr()
    assert "Pneumonia (J18.9)" in out
    assert '"cough" (table)' in out
    assert "Zorb disease (no code)" in out
    assert "Missing inputs: age, sex" in out
    assert "clinician decides" in err
    assert "0123456789ab" in err
    assert run_scored(session, "differential", "glimmering zorb", {}) == 0
    out, err = capsys.readouterr()
    assert out.startswith(NO_OPTION + "\nMissing inputs: age")
    assert "Notice: " in err


def test_json_is_the_whole_output(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a program can read stdout."""
    run_scored(session, "ophthalmology", "IOP 52 OD. Right corneal edema.", {"json": True, "eye": "OD"})
    assert json.loads(capsys.readouterr().out)["task"] == "ophthalmology"


def test_letters_and_scores(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The two short forms."""
    run_scored(session, "mcq", "Which?", {"candidates": "Gout; Acne"})
    assert capsys.readouterr().out in ("A\n", "B\n")
    run_scored(session, "judge", "A red toe.", {"answer": "Gout is likely."})
    out, err = capsys.readouterr()
    assert " of 5, " in out
    assert "opinion" in err


def test_what_is_missing_is_one_line(session: Any) -> None:
    """Before the model is asked."""
    assert parse_candidates(None) is None
    assert parse_candidates(" A;; B ") == ["A", "B"]
    with pytest.raises(InputError):
        parse_candidates(" ; ")
    with pytest.raises(InputError, match="options"):
        run_scored(session, "mcq", "Which?", {})
    with pytest.raises(InputError, match="answer"):
        run_scored(session, "judge", "A red toe.", {})
    elsewhere = Bench(session.reader, session.folder / "elsewhere")
    with pytest.raises(InputError, match="no task 'judge'"):
        run_scored(elsewhere, "judge", "A red toe.", {"answer": "Gout."})  # type: ignore[arg-type]
