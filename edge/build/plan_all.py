"""`edge plan --all`: every model of the kit on every target and backend, beside what others published.

Arithmetic only (plan.py), nothing here is a measurement. A model that has a profile for a target is planned as that
profile says; elsewhere with one default: int4 in blocks of 32, symmetric, head int8, rounded to nearest, a context of
4,096 tokens or the model's own, no budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge.build.anchors import Anchor, load_anchors
from edge.build.plan import Plan, plan, plan_file, storage_range
from edge.build.sizes import active_weight_bytes
from edge.errors import SpecError
from edge.specs.budget import Budgets
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import Profile, Quantisation, load_profile, targets_folder
from edge.specs.target import Target, load_target, target_names

Backend = Literal["onnx", "mlc"]
BACKENDS: tuple[Backend, ...] = ("onnx", "mlc")
DEFAULT_CONTEXT_TOKENS = 4096
DEFAULT_QUANTISATION = Quantisation(scheme="int4", rounding="rtn", block_size=32, symmetric=True, head_bits=8)
STATEMENT = (
    "Computed from the models' configs and the targets' data sheets, before anything is built. "
    "Nothing in these tables was measured by this kit."
)
ARITHMETIC_ONLY = "arithmetic only"


@dataclass(frozen=True)
class Model:
    """A model of the table. profile: the one whose architecture it has, and whose settings come first."""

    key: str
    title: str
    profile: str


MODELS = (
    Model("llama-3.2-1b", "Llama 3.2 1B", "llama-3.2-1b-pi5"),
    Model("llama-3.2-3b", "Llama 3.2 3B", "llama-3.2-3b-orin-nano"),
    Model("gpt-oss-20b", "gpt-oss-20b", "gpt-oss-20b-agx-orin"),
    Model("smollm2-135m", "SmolLM2-135M", "reference-notes"),
)


@dataclass(frozen=True)
class Cell:
    """One model on one target with one backend. profile: whose settings it was planned with, "" for the default.

    The ceilings are the bandwidth over the weights that a token reads, before a context is there; the plan's own are
    at half of its context. `low_...` is that of the largest build that mixed may give.
    """

    model: str
    target: str
    backend: Backend
    profile: str
    plan: Plan
    empty_ceiling_tokens_per_s: float
    low_empty_ceiling_tokens_per_s: float

    @property
    def arithmetic_only(self) -> bool:
        """Whether no engine here could build it, so that even a yes is only about memory."""
        return any(note.startswith(ARITHMETIC_ONLY) for note in self.plan.notes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "model": self.model,
            "target": self.target,
            "backend": self.backend,
            "profile": self.profile or None,
            "arithmetic_only": self.arithmetic_only,
            "empty_ceiling_tokens_per_s": self.empty_ceiling_tokens_per_s,
            "low_empty_ceiling_tokens_per_s": self.low_empty_ceiling_tokens_per_s,
            "plan": self.plan.to_json(),
        }


@dataclass(frozen=True)
class Overview:
    """All that `edge plan --all` shows. profiles: every profile as it is; targets: by name."""

    profiles: tuple[Plan, ...]
    models: tuple[Model, ...]
    cells: tuple[Cell, ...]
    anchors: tuple[Anchor, ...]
    targets: Mapping[str, Target]

    def of(self, model: str) -> list[Cell]:
        """The rows of a model, by target and backend."""
        return [cell for cell in self.cells if cell.model == model]

    def published(self, model: str, target: str) -> list[tuple[int, Anchor]]:
        """What others published for a model and target, with its number in the list (from 1)."""
        return [
            (number, anchor)
            for number, anchor in enumerate(self.anchors, 1)
            if anchor.model == model and anchor.target == target
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "computed": True,
            "statement": STATEMENT,
            "default": {
                "quantisation": DEFAULT_QUANTISATION.model_dump(mode="json"),
                "context_tokens": DEFAULT_CONTEXT_TOKENS,
            },
            "profiles": [item.to_json() for item in self.profiles],
            "cells": [cell.to_json() for cell in self.cells],
            "published": [anchor.to_json(self.targets[anchor.target]) for anchor in self.anchors],
        }


def plan_everything(folder: Path = Path("profiles"), extra: Sequence[Path] = ()) -> Overview:
    """Plan every profile of `folder` (and `extra`), and every model of MODELS that it holds on every target.

    Errors: SpecError for a folder without profiles or targets, and for a file in them that is wrong.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise SpecError("there are no profiles here", where=str(folder), mend="run it where profiles/ is")
    profiles = {path.stem: load_profile(path) for path in paths}
    place = targets_folder(paths[0])
    targets = {name: load_target(name, folder=place) for name in target_names(place)}
    models = tuple(model for model in MODELS if model.profile in profiles)
    return Overview(
        profiles=tuple(plan_file(path) for path in (*extra, *paths)),
        models=models,
        cells=tuple(
            plan_cell(model, target, backend, profiles)
            for model in models
            for target in targets.values()
            for backend in BACKENDS
        ),
        anchors=tuple(
            anchor
            for anchor in load_anchors()
            if anchor.target in targets and anchor.model in {model.key for model in models}
        ),
        targets=targets,
    )


def plan_cell(model: Model, target: Target, backend: Backend, profiles: Mapping[str, Profile]) -> Cell:
    """One cell. Errors: SpecError when the model's own profile gives no architecture."""
    profile, named = settings(model, target, backend, profiles)
    config = _decoder(profile)
    smallest, largest = (active_weight_bytes(config, storage) for storage in storage_range(profile, config))
    return Cell(
        model=model.key,
        target=target.name,
        backend=backend,
        profile=named,
        plan=plan(profile, target, config),
        empty_ceiling_tokens_per_s=target.memory_bandwidth_bytes_per_s / smallest,
        low_empty_ceiling_tokens_per_s=target.memory_bandwidth_bytes_per_s / largest,
    )


def settings(model: Model, target: Target, backend: Backend, profiles: Mapping[str, Profile]) -> tuple[Profile, str]:
    """What a cell is planned with, and the name of the profile that says so ("" for the default)."""
    base = profiles[model.profile]
    config = _decoder(base)
    found = _profile_for(base, config, target, backend, profiles)
    if found is None:
        default = base.model_copy(
            update={
                "name": f"{model.key}, default",
                "target": target.name,
                "backend": backend,
                "adapter": None,
                "quantisation": DEFAULT_QUANTISATION,
                "context_tokens": min(DEFAULT_CONTEXT_TOKENS, config.max_positions),
                "prefill_chunk_tokens": min(base.prefill_chunk_tokens, config.max_positions),
                "budgets": Budgets(),
            }
        )
        return default, ""
    if found.backend == backend:
        return found, found.name
    # The budgets were set for the other engine: they are no verdict on this one.
    return found.model_copy(update={"backend": backend, "budgets": Budgets()}), found.name


def _profile_for(
    base: Profile, config: DecoderConfig, target: Target, backend: Backend, profiles: Mapping[str, Profile]
) -> Profile | None:
    """The profile of this model for a target: one of this backend first, then the model's own, then by name."""
    fitting = [
        profile for profile in profiles.values() if profile.target == target.name and profile.model.decoder() == config
    ]
    if not fitting:
        return None
    return min(fitting, key=lambda profile: (profile.backend != backend, profile.name != base.name, profile.name))


def _decoder(profile: Profile) -> DecoderConfig:
    config = profile.model.decoder()
    if config is None:
        raise SpecError(
            "key 'model.architecture' is null, so there is nothing to plan from",
            where=profile.name,
            mend="copy the keys of the model's config.json there",
        )
    return config
