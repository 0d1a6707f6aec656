"""`edge adapt`: recipe -> data -> tokens -> batches -> training -> adapter folder. One function a step.

A run lives in a folder of its own (run.json, state.pt, log.jsonl). It may be killed at any moment: the same command
goes on from the last save and ends with the same bits as a run that was never stopped. run.json binds the state to
what decides the result, the recipe and every token of the data; when one of them changed, the run is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.adapt.examples import Course, make_course, open_tokens
from edge.adapt.finish import Finished, finish
from edge.adapt.model import MALLOC_ADVICE, check_libraries, choose_device, prepare_environment, trainable_model
from edge.adapt.train import LOG_FILE, STATE_FILE, LoopSettings, train
from edge.build.cache import Cache
from edge.build.checkpoint import open_checkpoint
from edge.errors import ResourceError, SourceError
from edge.files import resource_error, write_atomic
from edge.specs.recipe import Recipe

RUN_FILE, LOCK_FILE = "run.json", ".lock"
RUN_VERSION = 1
SAVE_EVERY_S = 180.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What the command line decides. minutes: stop and save after; threads, device: None for the recipe's choice."""

    fresh: bool = False
    minutes: float | None = None
    threads: int | None = None
    device: str | None = None
    save_every_s: float = SAVE_EVERY_S


def course_digest(course: Course) -> str:
    """sha256 over every token of every batch, in order, held-out ones included."""
    digest = hashlib.sha256()
    for batches in (course.batches, course.held_out):
        digest.update(b"part")
        for batch in batches:
            digest.update(b"batch")
            for example in batch:
                digest.update(f"{len(example.prompt)},{len(example.answer)}".encode())
                digest.update(np.array(example.prompt + example.answer, dtype="<i4").tobytes())
    return digest.hexdigest()


def adapt(
    recipe: Recipe, recipe_folder: Path, data: Path, run: Path, out: Path, cache: Cache, options: Options, say: Say
) -> Finished | None:
    """Train, or go on, and write the adapter to `out`; None when --minutes ran out first.

    Errors: SourceError, InputError, ResourceError, MissingToolError, OfflineError; one line each.
    """
    if recipe.model.sha256 is None:
        raise SourceError(
            "is not pinned by a digest, so it can be planned (--dry-run), not trained",
            where=recipe.model.source,
            mend="set model.sha256, or fetch the model and name its folder as hf:FOLDER",
        )
    check_libraries()
    with _locked(run), tempfile.TemporaryDirectory(prefix="edge-adapt-") as folder:
        checkpoint = open_checkpoint(recipe.model, cache, base_folder=recipe_folder)
        try:
            prepare_environment()
            course = make_course(recipe, data, open_tokens(checkpoint.tokenizer_files(), Path(folder)), say)
            say(f"{len(course.batches)} steps, {course.tokens_seen:,} tokens")
            _bind(run, recipe, course, fresh=options.fresh)
            device = choose_device(options.device)
            if device == "cpu" and "MALLOC_ARENA_MAX" not in os.environ:
                say(MALLOC_ADVICE)
            model = trainable_model(recipe, checkpoint, device, say)
            if not _train(model, recipe, course, run, device, options, say):
                return None
            del model
            return finish(recipe, course, checkpoint, run, out)
        finally:
            checkpoint.close()


def _train(model: Any, recipe: Recipe, course: Course, run: Path, device: str, options: Options, say: Say) -> bool:
    import torch

    training = recipe.training
    settings = LoopSettings(
        training.learning_rate,
        training.warmup_share,
        training.weight_decay,
        training.clip_norm,
        training.seed,
        save_every_s=options.save_every_s,
        threads=options.threads or training.threads,
    )
    stop = None if options.minutes is None else options.minutes * 60
    try:
        return train(model, course.batches, course.held_out, settings, run, device=device, say=say, stop_after_s=stop)
    except FloatingPointError as error:
        raise SourceError(str(error), where=str(run), mend="lower training.learning_rate") from error
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            "the GPU has not enough memory", where=device, mend="lower training.tokens_per_step"
        ) from error
    except OSError as error:
        raise resource_error(error, str(run)) from error


def _bind(run: Path, recipe: Recipe, course: Course, *, fresh: bool) -> None:
    """Start a run, or check that the one in the folder is of this recipe and this data."""
    path = run / RUN_FILE
    wanted = {
        "version": RUN_VERSION,
        "recipe": recipe.digest(),
        "data": course_digest(course),
        "steps": len(course.batches),
    }
    if fresh:
        for name in (STATE_FILE, LOG_FILE, RUN_FILE):
            (run / name).unlink(missing_ok=True)
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.get("version") != RUN_VERSION:
            raise SourceError("is not a run of this edge", where=str(path), mend="start again with --fresh")
        for key, words in (("recipe", "the recipe"), ("data", "the data")):
            if found.get(key) != wanted[key]:
                raise SourceError(
                    f"was started with another state of {words}",
                    where=str(run),
                    mend="undo the change to go on, or start again with --fresh",
                )
        return
    for name in (STATE_FILE, LOG_FILE):
        if (run / name).exists():
            raise SourceError(f"has a {name} of an unknown recipe", where=str(run), mend="start again with --fresh")
    write_atomic(path, (json.dumps(wanted, indent=1, sort_keys=True) + "\n").encode())


@contextlib.contextmanager
def _locked(run: Path) -> Iterator[None]:
    """One process a run. Errors: ResourceError when another one has it."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise resource_error(error, str(run)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResourceError("is in use by another run", where=str(run), mend="wait for it to end") from error
        yield
    finally:
        os.close(descriptor)
