"""The arithmetic of --dry-run against published counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.adapt.console import run_dry
from edge.adapt.plan import base_parameters, memory_bytes, plan_recipe, trainable_parameters
from edge.errors import SpecError
from edge.specs.recipe import load_recipe
from tests.adapt.recipes import write_recipe

RECIPES = Path(__file__).parents[2] / "profiles" / "recipes"

# Base counts as their makers publish them; LoRA counts are peft's own for these settings.
GOLDEN = {
    "reference-notes": (134_515_008, 4_884_480, 0),
    "reference-differential": (134_515_008, 4_884_480, 0),
    "llama-3.2-1b-notes": (1_235_814_400, 22_544_384, 0),
    "gpt-oss-20b-differential": (20_914_757_184, 369_819_648, 353_894_400),
}


def test_every_recipe_is_here() -> None:
    """A recipe without a golden count was never checked."""
    assert sorted(path.stem for path in RECIPES.glob("*.yaml")) == sorted(GOLDEN)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_counts(name: str) -> None:
    """Parameters from shapes are the published ones; else size, memory and time are wrong with them."""
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    config = recipe.model.decoder()
    assert config is not None
    base, trainable, experts = GOLDEN[name]
    assert base_parameters(config)[0] == base
    assert trainable_parameters(recipe, config) == (trainable, experts)
    plan = plan_recipe(recipe, None, None)
    assert plan.adapter_bytes == 2 * trainable
    assert plan.steps is None and plan.hours is None


def test_memory_says_where_a_gpu_is_needed() -> None:
    """The reference fits a small machine (7.0 GB were measured); gpt-oss-20b with its experts needs a GPU."""
    small = load_recipe(RECIPES / "reference-notes.yaml")
    large = load_recipe(RECIPES / "gpt-oss-20b-differential.yaml")
    for recipe, low, high in ((small, 4.7e9, 9.3e9), (large, 24e9, 80e9)):
        config = recipe.model.decoder()
        assert config is not None and low < memory_bytes(recipe, config) < high
    assert not plan_recipe(small, None, None).needs_gpu
    assert plan_recipe(large, None, None).needs_gpu and not plan_recipe(large, None, None).trains_here


def test_text_and_json_say_the_same() -> None:
    """What a script reads is what a person reads."""
    path = RECIPES / "llama-3.2-1b-notes.yaml"
    assert "22,544,384" in run_dry(path, None, None, as_json=False)
    assert '"trainable_parameters": 22544384' in run_dry(path, None, None, as_json=True)


def test_without_an_architecture(tmp_path: Path) -> None:
    """A dry run opens no weights, so it needs the shapes in the recipe: one line says so."""
    with pytest.raises(SpecError, match="architecture"):
        run_dry(write_recipe(tmp_path), None, None, as_json=False)
