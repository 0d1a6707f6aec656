"""Workloads: what is measured is what the YAML says, and a wrong YAML is one line."""

from pathlib import Path
from typing import Any

import pytest

from edge.bench.workload import BUILT_IN, FOLDER, load_workload, parse_workload
from edge.errors import SpecError


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_equals_the_yaml(name: str) -> None:
    """If it fails, an installed device measures something else than a checkout."""
    assert load_workload(FOLDER / f"{name}.yaml") == BUILT_IN[name]
    assert load_workload(name) == BUILT_IN[name]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_json_round_trip(name: str) -> None:
    """If it fails, the measuring process gets another workload than was asked for."""
    assert parse_workload(BUILT_IN[name].to_json(), "x") == BUILT_IN[name]


def test_without_the_repository_the_built_in_ones_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If it fails, `edge verify` needs a checkout on the device."""
    monkeypatch.setattr("edge.bench.workload.FOLDER", tmp_path)
    assert load_workload("quick") == BUILT_IN["quick"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version"),
        ({"name": ""}, "name"),
        ({"repetitions": 0}, "repetitions"),
        ({"repetitions": True}, "repetitions"),
        ({"repetitions": 1.5}, "repetitions"),
        ({"prompt_tokens": []}, "prompt_tokens"),
        ({"prompt_tokens": [0]}, "prompt_tokens"),
        ({"decode_contexts": 5}, "decode_contexts"),
        ({"sustained_s": float("nan")}, "sustained_s"),
        ({"sustained_s": float("inf")}, "sustained_s"),
        ({"window_s": 0}, "window_s"),
        ({"typo": 1}, "typo"),
    ],
)
def test_wrong_values_are_named(change: dict[str, Any], words: str) -> None:
    """If it fails, a typo measures nothing, or for ever, without a word."""
    with pytest.raises(SpecError, match=words) as caught:
        parse_workload(BUILT_IN["quick"].to_json() | change, "w.yaml")
    assert "w.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_key_and_wrong_shape() -> None:
    """If it fails, half a workload is filled with guesses."""
    value = BUILT_IN["quick"].to_json()
    del value["seed"]
    with pytest.raises(SpecError, match="seed"):
        parse_workload(value, "w")
    with pytest.raises(SpecError, match="mapping"):
        parse_workload([1], "w")


def test_unknown_name_and_broken_file(tmp_path: Path) -> None:
    """If it fails, a wrong name or a binary file ends in a traceback."""
    with pytest.raises(SpecError, match="full, quick"):
        load_workload("slow")
    broken = tmp_path / "b.yaml"
    broken.write_bytes(b"a: [\xff")
    with pytest.raises(SpecError, match="readable"):
        load_workload(broken)


def test_budget_prompt_is_added_once() -> None:
    """If it fails, a TTFT budget at its own length stays unmeasured."""
    quick = BUILT_IN["quick"]
    assert quick.with_prompt(300).prompt_tokens == (64, 256, 300, 512)
    assert quick.with_prompt(512) is quick
