"""Recipes read and refused: one line with file, line, key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.errors import SpecError
from edge.specs.recipe import MODULES, load_recipe, output_of
from tests.adapt.recipes import TINY, write_recipe

RECIPES = Path(__file__).parents[2] / "profiles" / "recipes"
DX = {"kind": "dxbench", "path": "dx.json", "copies": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "from a later edge"),
        ({"task": "notes"}, "did you mean note"),
        ({"data": []}, "must not be empty"),
        ({"data": [{"kind": "aci-note", "path": "a.csv"}]}, "did you mean aci-notes"),
        ({"data": [{"kind": "aci-notes"}]}, "path"),
        ({"data": [{"kind": "aci-notes", "path": "../a.csv"}]}, "below the data folder"),
        ({"data": [{"kind": "aci-notes", "path": "a.csv", "copies": 2}]}, "only for dxbench"),
        ({"data": [DX]}, "not for task note"),
        ({"task": "differential", "data": [DX | {"part": "valid"}], "held_out": []}, "held_out only"),
        ({"task": "differential", "data": [{"kind": "dxbench", "path": "dx.json"}]}, "copies"),
        ({"task": "differential", "data": [{"kind": "ddxplus-patients"}]}, "count"),
        ({"adapter": {"rank": 0}}, "at least 1"),
        ({"adapter": {"target_modules": ["q_projj"]}}, "did you mean q_proj"),
        ({"adapter": {"target_modules": ["q_proj", "q_proj"]}}, "twice"),
        ({"adapter": {"expert_layers": [1]}}, "experts: true"),
        ({"training": {"learning_rate": 2.0}}, "less than 1"),
        ({"training": {"schedule": "linear"}}, "allowed: cosine"),
        ({"training": {"max_length_tokens": 8192}}, "quarter"),
        ({"training": {"epochs": 3}}, "not known"),
        ({"model": {"sha256": None}}, "pinned by its digest"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Each mistake is said in one line that names the file; a recipe that is half understood trains something else."""
    path = write_recipe(tmp_path, **changes)
    with pytest.raises(SpecError) as caught:
        load_recipe(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_digest_is_of_what_counts(tmp_path: Path) -> None:
    """Words and threads may change while a run goes on; anything else is another run."""
    digest = load_recipe(write_recipe(tmp_path)).digest()
    for same in ({"description": "other"}, {"output": "elsewhere"}, {"training": {"threads": 2}}):
        assert load_recipe(write_recipe(tmp_path, **same)).digest() == digest
    for other in ({"training": {"seed": 6}}, {"adapter": {"rank": 8}}, {"part_words": 100}, {"held_out": []}):
        assert load_recipe(write_recipe(tmp_path, **other)).digest() != digest


def test_all_linear(tmp_path: Path) -> None:
    """'all-linear' is every linear module of a layer; in a model with experts those outside them."""
    dense = load_recipe(RECIPES / "llama-3.2-1b-notes.yaml")
    sparse = load_recipe(RECIPES / "gpt-oss-20b-differential.yaml")
    for recipe, names in ((dense, MODULES), (sparse, MODULES[:4])):
        config = recipe.model.decoder()
        assert config is not None and recipe.adapter.module_names(config) == names
    chosen = load_recipe(write_recipe(tmp_path, adapter={"target_modules": ["q_proj", "v_proj"]}))
    config = dense.model.decoder()
    assert config is not None and chosen.adapter.module_names(config) == ("q_proj", "v_proj")
    assert TINY["adapter"]["target_modules"] == "all-linear"


def test_output_is_beside_the_recipe() -> None:
    """The shipped adapters lie where the profiles look for them."""
    path = RECIPES / "reference-notes.yaml"
    assert output_of(path, load_recipe(path)) == RECIPES.parent / "adapters" / "reference-notes"
