"""The last step of `edge adapt`: from a finished run's folder to the adapter folder that is shipped.

Also a command of its own, for a run that was made elsewhere:

    python -m edge.adapt.finish --run RUN --recipe RECIPE --data FOLDER --out FOLDER

The run's log must agree, step by step, with the batches that the recipe makes of the data; so a card cannot speak of
other data than was seen.
"""

from __future__ import annotations

import edge.privacy  # isort: skip  # noqa: F401  telemetry off before anything else is imported

import argparse
import importlib.metadata
import pickle
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.adapt.card import data_card
from edge.adapt.examples import Course, make_course, open_tokens
from edge.adapt.folder import check_size, write_adapter
from edge.adapt.journal import check_batches, loss_svg, read_journal, thinned
from edge.adapt.train import LOG_FILE, STATE_FILE
from edge.build.cache import default_cache
from edge.build.checkpoint import adapter_digest, open_checkpoint, with_adapter
from edge.build.checkpoint.base import Checkpoint
from edge.errors import EdgeError, ResourceError, SourceError
from edge.files import fsync_directory, resource_error, write_atomic
from edge.specs.recipe import Recipe, load_recipe, output_of

CARD_FILE, PLOT_FILE = "DATA_CARD.md", "loss.svg"
LIBRARIES = ("numpy", "peft", "torch", "transformers")


@dataclass(frozen=True)
class Finished:
    """A written adapter. sha256: what a profile pins."""

    folder: str
    sha256: str
    weights_bytes: int
    trainable_parameters: int
    steps: int
    held_out_loss: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def read_factors(path: Path, steps: int) -> dict[str, npt.NDArray[np.float32]]:
    """The factors of a state file whose run has seen `steps` steps. Errors: SourceError."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        done = int(state["step"])
        factors = {str(name): value.float().numpy() for name, value in state["adapter"].items()}
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise SourceError(
            f"is not the state of a run ({type(error).__name__})", where=str(path), mend="train again with --fresh"
        ) from error
    if done != steps:
        raise SourceError(
            f"the run stands at step {done} of {steps}", where=str(path), mend="run the same command again to go on"
        )
    return factors


def finish(recipe: Recipe, course: Course, checkpoint: Checkpoint, run: Path, out: Path) -> Finished:
    """Adapter, card, plot and log into `out`, whole or not at all; then read back and merged as a build does it.

    `checkpoint` stays open. Errors: SourceError (the run is not finished, or of other data), ResourceError.
    """
    journal = read_journal(run / LOG_FILE)
    check_batches(journal, course.batches, str(run / LOG_FILE))
    factors = read_factors(run / STATE_FILE, len(course.batches))
    beside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        digest, size = write_adapter(recipe, factors, beside)
        check_size(size, out)
        trainable = sum(value.size for value in factors.values())
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
        adapter = {"sha256": digest, "bytes": size, "trainable": trainable}
        write_atomic(beside / CARD_FILE, data_card(recipe, course, journal, adapter, versions))
        write_atomic(beside / PLOT_FILE, loss_svg(journal, f"Training loss of {recipe.name}"))
        write_atomic(beside / LOG_FILE, thinned(journal))
        # The build's own reader must take it: names, shapes, the base's name.
        with_adapter(checkpoint, beside, digest)
        _exchange(beside, out)
    except OSError as error:
        raise resource_error(error, str(out)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if adapter_digest(out) != digest:
        raise ResourceError("was not written as it should be", where=str(out), mend="check the disk and run again")
    held_out = journal.held_out[-1][1] if journal.held_out else None
    return Finished(str(out), digest, size, trainable, len(journal.entries), held_out)


def _exchange(beside: Path, out: Path) -> None:
    """`beside` becomes `out`; only an earlier adapter is replaced, never a folder of something else."""
    old = None
    if out.exists():
        if not out.is_dir() or (any(out.iterdir()) and not (out / CARD_FILE).is_file()):
            raise ResourceError("holds something that is no adapter of edge", where=str(out), mend="name a new folder")
        old = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
        out.rename(old)
    beside.rename(out)
    fsync_directory(out.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def finish_run(run: Path, recipe_path: Path, data: Path, out: Path | None, say: Callable[[str], None]) -> Finished:
    """`finish` for a run folder on the disk: opens the model for its tokenizer and reads the data again."""
    recipe = load_recipe(recipe_path)
    checkpoint = open_checkpoint(recipe.model, default_cache(), base_folder=recipe_path.parent)
    try:
        with tempfile.TemporaryDirectory(prefix="edge-adapt-") as folder:
            course = make_course(recipe, data, open_tokens(checkpoint.tokenizer_files(), Path(folder)), say)
        return finish(recipe, course, checkpoint, run, out or output_of(recipe_path, recipe))
    finally:
        checkpoint.close()


def main(arguments: list[str] | None = None) -> int:
    """`python -m edge.adapt.finish`; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edge.adapt.finish", description=finish_run.__doc__)
    for name in ("run", "recipe", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    try:
        done = finish_run(given.run, given.recipe, given.data, given.out, lambda text: print(text, file=sys.stderr))
    except EdgeError as error:
        print(f"edge: {error}", file=sys.stderr)
        return int(error.status)
    print(f"{done.folder}  {done.weights_bytes / 1e6:.1f} MB  {done.steps} steps")
    print(f"sha256: {done.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
