"""What `edge adapt` prints and returns; the work is in line.py, the dry run in plan.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.adapt.plan import plan_recipe, render
from edge.errors import InputError
from edge.specs.recipe import load_recipe, output_of

STOPPED = "stopped and saved; the same command goes on"


def run_dry(recipe_path: Path, data: Path | None, tokens_per_s: float | None, *, as_json: bool) -> str:
    """The plan of a recipe as text or JSON. Errors: SpecError, InputError."""
    recipe = load_recipe(recipe_path)
    plan = plan_recipe(recipe, data, tokens_per_s)
    return json.dumps(plan.to_json(), indent=1) if as_json else render(plan, recipe)


def run_adapt(
    recipe_path: Path,
    data: Path | None,
    out: Path | None,
    *,
    run_folder: Path,
    say: Callable[[str], None],
    as_json: bool = False,
    **options: Any,
) -> str:
    """Train and write the adapter; the text for stdout. options: the fields of line.Options.

    out: default the recipe's output, beside the recipe. Errors: as line.adapt.
    """
    from edge.adapt.line import Options, adapt
    from edge.build.cache import default_cache

    recipe = load_recipe(recipe_path)
    if data is None:
        raise InputError("needs the folder of the data sets", where=recipe.name, mend="give it with --data FOLDER")
    if not data.is_dir():
        raise InputError("is not a folder", where=str(data), mend="give the folder of the data sets with --data")
    place = out or output_of(recipe_path, recipe)
    run = run_folder / recipe.name
    done = adapt(recipe, recipe_path.parent, data, run, place, default_cache(), Options(**options), say)
    if as_json:
        return json.dumps({"finished": done is not None} | (done.to_json() if done else {}), indent=1)
    if done is None:
        return STOPPED
    held_out = "" if done.held_out_loss is None else f", held-out loss {done.held_out_loss:.3f}"
    return (
        f"{done.folder}  {done.weights_bytes / 1e6:.1f} MB, {done.trainable_parameters:,} parameters, "
        f"{done.steps} steps{held_out}\n"
        f"for the profile: adapter: {{path: {done.folder}, sha256: {done.sha256}}}"
    )
