"""A recipe: how one adapter is made. Which base, which data, which settings; `edge adapt` needs nothing else.

The same recipe on the same data gives the same examples in the same order everywhere; the same bits come out on one
machine with one number of threads. Paths of data are below the folder that `--data` names, the output is beside the
recipe.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.specs.decoder import DecoderConfig
from edge.specs.profile import ModelSpec, Text
from edge.specs.target import checked_name
from edge.specs.yaml_source import Spec, fault, listed, validate

DataKind = Literal["aci-notes", "mts-notes", "dxbench", "ddxplus-patients", "imedqa", "chat-jsonl"]
Part = Literal["all", "train", "valid"]
ALL_LINEAR = "all-linear"
ATTENTION_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")
MODULES = (*ATTENTION_MODULES, "gate_proj", "up_proj", "down_proj")
TASK_KINDS: dict[str, tuple[DataKind, ...]] = {
    "note": ("aci-notes", "mts-notes", "chat-jsonl"),
    "differential": ("dxbench", "ddxplus-patients", "imedqa", "chat-jsonl"),
}


class DataSpec(Spec):
    """One source of examples.

    path: below the data folder; null for ddxplus-patients, whose table of conditions is edge's own. epochs: how often
    each example is seen (1.5: all once, half of them twice). part: of edge's own split, for dxbench. whole_files:
    more files of the same form, used without a split. copies: variations of a case. count: patients to draw.
    """

    kind: DataKind
    path: Text | None = None
    epochs: float = Field(default=1.0, gt=0, le=100)
    part: Part = "all"
    whole_files: tuple[Text, ...] = ()
    copies: int | None = Field(default=None, ge=1, le=100)
    count: int | None = Field(default=None, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        own = self.kind == "ddxplus-patients"
        if (self.path is None) != own:
            raise fault("path", "is edge's own table for ddxplus-patients; write null" if own else "is missing")
        for path in (*self.whole_files, *((self.path,) if self.path else ())):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise fault("path", f"'{path[:60]}' must be a path below the data folder")
        for key, kinds in (
            ("count", ("ddxplus-patients",)),
            ("copies", ("dxbench",)),
            ("whole_files", ("dxbench",)),
            ("part", ("dxbench",)),
        ):
            unset = getattr(self, key) in (None, (), "all")
            if self.kind not in kinds and not unset:
                raise fault(key, f"is only for {', '.join(kinds)}, not {self.kind}; leave it out")
        if own and self.count is None:
            raise fault("count", "is needed for ddxplus-patients: how many patients are drawn")
        if self.kind == "dxbench" and self.copies is None:
            raise fault("copies", "is needed for dxbench: how many variations of a case are seen (1: as it is)")
        return self


class AdapterShape(Spec):
    """The LoRA factors: as in peft. experts: the expert layers too; expert_layers: of these layers only."""

    rank: int = Field(ge=1, le=1024)
    alpha: int = Field(ge=1, le=4096)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[Text, ...] = (ALL_LINEAR,)
    experts: bool = False
    expert_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None

    @field_validator("target_modules", mode="before")
    @classmethod
    def _word_or_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("target_modules")
    @classmethod
    def _known_modules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value == (ALL_LINEAR,):
            return value
        if not value:
            raise fault("", f"must name a module (known: {ALL_LINEAR}, {', '.join(MODULES)})")
        for name in value:
            if name not in MODULES:
                raise fault("", f"'{name[:40]}' is not a module {listed(name, [ALL_LINEAR, *MODULES], 'known')}")
        if len(set(value)) != len(value):
            raise fault("", "a module is listed twice")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.expert_layers is not None and not self.experts:
            raise fault("expert_layers", "is only for experts: true; write null")
        if self.expert_layers is not None and list(self.expert_layers) != sorted(set(self.expert_layers)):
            raise fault("expert_layers", "must be in ascending order, each layer once")
        return self

    def module_names(self, config: DecoderConfig) -> tuple[str, ...]:
        """The linear modules that get factors; those inside experts are not linear modules but parameters."""
        allowed = ATTENTION_MODULES if config.experts else MODULES
        return allowed if self.target_modules == (ALL_LINEAR,) else self.target_modules


class TrainingSpec(Spec):
    """The loop. tokens_per_step: padded tokens of a batch at most. schedule: cosine down to a tenth of the peak.

    base_precision: how the frozen base lies in memory; nf4 needs a GPU and bitsandbytes. threads: CPU threads, null
    for all; their number changes the last bits of the result.
    """

    tokens_per_step: int = Field(ge=64, le=1 << 22)
    learning_rate: float = Field(gt=0, lt=1)
    schedule: Literal["cosine"] = "cosine"
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(ge=0, lt=1 << 32)
    max_length_tokens: int = Field(ge=64, le=1 << 20)
    base_precision: Literal["bfloat16", "nf4"] = "bfloat16"
    threads: int | None = Field(default=None, ge=1, le=1024)


class Recipe(Spec):
    """How one adapter is made. base_model_name: 'org/name' of the base, written into adapter_config.json."""

    version: Literal[1]
    name: str
    description: Text
    model: ModelSpec
    base_model_name: Text
    adapter: AdapterShape
    task: Literal["note", "differential"]
    part_words: int = Field(default=130, ge=20, le=2000)
    data: tuple[DataSpec, ...]
    held_out: tuple[DataSpec, ...] = ()
    training: TrainingSpec
    papers_settings: Text | None = None
    output: Text

    _name = field_validator("name")(checked_name)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.data:
            raise fault("data", "must not be empty")
        for key in ("data", "held_out"):
            for number, item in enumerate(getattr(self, key)):
                if item.kind not in TASK_KINDS[self.task]:
                    kinds = TASK_KINDS[self.task]
                    raise fault(
                        f"{key}.{number}.kind", f"'{item.kind}' is not for task {self.task} (known: {', '.join(kinds)})"
                    )
                if item.part == "valid" and key == "data":
                    raise fault(f"{key}.{number}.part", "'valid' is for held_out only: it chooses, it does not train")
        config = self.model.decoder()
        if config is not None:
            if self.adapter.experts and not config.experts:
                raise fault("adapter.experts", "is true, the model has no experts; write false")
            for layer in self.adapter.expert_layers or ():
                if layer >= config.layers:
                    raise fault("adapter.expert_layers", f"layer {layer} is not one of 0 to {config.layers - 1}")
            inside = set(self.adapter.target_modules) - {ALL_LINEAR, *ATTENTION_MODULES}
            if config.experts and inside:
                raise fault("adapter.target_modules", f"{min(inside)} lies in the experts; write experts: true for it")
        if self.training.tokens_per_step < self.training.max_length_tokens // 4:
            raise fault("training.tokens_per_step", "must be at least a quarter of max_length_tokens")
        return self

    def digest(self) -> str:
        """sha256 over all that decides what is trained; words, names of folders and threads do not count."""
        value = self.model_dump(mode="json")
        for key in ("name", "description", "papers_settings", "output", "base_model_name"):
            del value[key]
        del value["training"]["threads"]
        value["model"] = {"sha256": self.model.sha256, "file": self.model.file, "source": self.model.source}
        if self.model.sha256:
            del value["model"]["source"]  # the place may move, the content may not
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Errors: SpecError naming file, line, key, what is allowed and the nearest spelling."""
    return validate(Recipe, path)


def output_of(recipe_path: Path, recipe: Recipe) -> Path:
    """Where the adapter goes: the recipe's output, relative to its file, without detours."""
    return Path(os.path.normpath(recipe_path.parent / recipe.output))
