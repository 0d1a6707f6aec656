"""A PEFT LoRA adapter merged into a checkpoint row by row: W + scale * B A, nothing kept in memory.

The product is edge.build.exact's, so that a merged model has the same bits on every host, and a slice of
rows has the same bits as the whole. What cannot be merged exactly (DoRA, trained biases, replaced modules,
a start that changed the base) is refused, and so is a setting that this reader does not know.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.build import exact
from edge.build.checkpoint.base import FETCH_AGAIN, Checkpoint, Float32, check_digest, read_json_object
from edge.build.checkpoint.huggingface import content_digest
from edge.build.checkpoint.rows import RowFile, StoredTensor
from edge.build.checkpoint.safetensors_file import read_header
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
NAME_PREFIX = "base_model.model."
PART_A, PART_B = ".lora_A.weight", ".lora_B.weight"
BASE_PART = ".base_layer.weight"
SLAB_VALUES = 1 << 17  # merged values at a time; float64 temporaries are a few times this

# Settings that say nothing about the weights, or that are read below.
KNOWN_KEYS = {
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "base_model_name_or_path",
    "fan_in_fan_out",
    "bias",
    "init_lora_weights",
    "use_dora",
    "modules_to_save",
    "auto_mapping",
    "revision",
    "task_type",
    "inference_mode",
    "exclude_modules",
    "lora_dropout",
    "layers_to_transform",
    "layers_pattern",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "qalora_group_size",
    "runtime_config",
    "peft_version",
}
# Starts that leave the base as it was; PiSSA, OLoRA, LoftQ and CorDA train against a changed one.
HARMLESS_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
# Words in a model's name that say how it is stored, not which model it is.
STORAGE_WORDS = {"gguf", "hf", "bnb", "4bit", "8bit", "unsloth", "dynamic", "awq", "gptq", "fp16", "bf16", "fp32"}


@dataclass(frozen=True)
class Update:
    """One changed tensor: a [rank, columns], b [rows, rank], and by how much it counts."""

    name_a: str
    name_b: str
    a: StoredTensor
    b: StoredTensor
    scale: float


FactorShape = tuple[int, int, int]  # rank, rows, columns


class MergedCheckpoint:
    """A checkpoint with an adapter on top; see base.Checkpoint. Closing it closes the base too."""

    def __init__(self, base: Checkpoint, folder: Path, adapter_digest: str) -> None:
        self._base = base
        self.digest = hashlib.sha256((base.digest + adapter_digest).encode("ascii")).hexdigest()
        self.adapter_digest = adapter_digest
        config_path = folder / CONFIG_FILE
        settings = read_json_object(config_path)
        _check_settings(settings, str(config_path))
        _check_base_name(settings, base.base_name, str(config_path))
        self._file = RowFile(folder / WEIGHTS_FILE)
        try:
            self._updates = _updates(base, settings, read_header(self._file), self._file, str(config_path))
        except BaseException:
            self._file.close()
            raise

    @property
    def config(self) -> DecoderConfig:
        return self._base.config

    @property
    def license(self) -> str:
        return self._base.license

    @property
    def base_name(self) -> str:
        return self._base.base_name

    def names(self) -> tuple[str, ...]:
        return self._base.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._base.shape(name)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Float32:
        result = self._base.read(name, start, stop)
        update = self._updates.get(name)
        if update is None:
            return result
        a = self._file.read(update.name_a, update.a, 0, None)
        bits = exact.bits_for(update.a.shape[0])
        right, right_scale = exact.to_integers(np.ascontiguousarray(a.T), bits)
        slab = max(SLAB_VALUES // result.shape[1], 1)
        for first in range(0, result.shape[0], slab):
            rows = result[first : first + slab]
            b = self._file.read(update.name_b, update.b, start + first, start + first + rows.shape[0])
            left, left_scale = exact.to_integers(b, bits)
            # The product is an exact integer and right_scale a power of two, so this rounds once.
            merged = exact.scaled_product(left, left_scale * update.scale, right, right_scale)
            merged += rows
            rows[...] = merged
        return result

    @property
    def base(self) -> Checkpoint:
        """The checkpoint without the adapter; closed with this one."""
        return self._base

    @property
    def shapes(self) -> dict[str, FactorShape]:
        """Of each changed tensor's factors."""
        return {
            name: (update.a.shape[0], update.b.shape[0], update.a.shape[1]) for name, update in self._updates.items()
        }

    def factors(self, name: str) -> tuple[Float32, Float32] | None:
        """(A [rank, columns], B [rows, rank] with the scale in it) of a changed tensor, None of another.

        Errors: SourceError if the file ends early or a value is not finite.
        """
        update = self._updates.get(name)
        if update is None:
            return None
        a = self._file.read(update.name_a, update.a, 0, None)
        b = self._file.read(update.name_b, update.b, 0, None)
        return a, (b * np.float64(update.scale)).astype(np.float32)

    def tokenizer_files(self) -> dict[str, bytes]:
        return self._base.tokenizer_files()

    def close(self) -> None:
        self._file.close()
        self._base.close()


def with_adapter(checkpoint: Checkpoint, folder: Path, sha256: str | None) -> MergedCheckpoint:
    """`checkpoint` with the PEFT LoRA adapter of `folder` merged in; see adapter_digest for `sha256`.

    Errors: SourceError, one line, if the adapter is not the pinned one, is broken, was trained on another
    model, or cannot be merged exactly. The checkpoint stays open then.
    """
    digest = adapter_digest(folder)
    check_digest(digest, sha256, str(folder))
    return MergedCheckpoint(checkpoint, folder, digest)


def adapter_digest(folder: Path) -> str:
    """The digest that a profile pins for an adapter: over its config and weights. Errors: SourceError."""
    if not (folder / WEIGHTS_FILE).is_file() and (folder / "adapter_model.bin").is_file():
        raise SourceError(
            "has its weights only as pickle (adapter_model.bin)",
            where=str(folder),
            mend="save it with safe_serialization=True",
        )
    return content_digest(folder, [CONFIG_FILE, WEIGHTS_FILE])


def factor_shapes(folder: Path) -> dict[str, FactorShape]:
    """Of every changed tensor, as the adapter's file states them; no base is needed, and nothing is compared with one.

    Errors: SourceError if the file is missing or broken, or holds no factors.
    """
    file = RowFile(folder / WEIGHTS_FILE)
    try:
        stored = read_header(file)
    finally:
        file.close()
    found: dict[str, FactorShape] = {}
    for name, a in stored.items():
        b = stored.get(name.removesuffix(PART_A) + PART_B)
        if name.startswith(NAME_PREFIX) and name.endswith(PART_A) and b is not None:
            found[name.removeprefix(NAME_PREFIX).removesuffix(PART_A) + ".weight"] = a.shape[0], b.shape[0], a.shape[1]
    if not found:
        raise SourceError("holds no LoRA factors", where=str(file.path), mend=FETCH_AGAIN)
    return found


def _check_settings(settings: Mapping[str, Any], where: str) -> None:
    def refuse(what: str, mend: str) -> SourceError:
        return SourceError(what, where=where, mend=mend)

    retrain = "train or save the adapter without it, or merge it with peft and give the merged folder"
    if settings.get("peft_type") != "LORA":
        raise refuse(f"peft_type '{settings.get('peft_type')}' is not known (known: LORA)", retrain)
    for key in ("use_dora", "modules_to_save", "fan_in_fan_out"):
        if settings.get(key):
            raise refuse(f"{key} is set, which cannot be merged here", retrain)
    if settings.get("bias", "none") != "none":
        raise refuse(f"bias '{settings['bias']}' is not known (known: none)", retrain)
    if settings.get("init_lora_weights") not in HARMLESS_STARTS:
        raise refuse(
            f"init_lora_weights '{settings['init_lora_weights']}' changed the base model in training",
            "save the adapter with path_initial_model_for_weight_conversion",
        )
    unknown = sorted(key for key, value in settings.items() if value and key not in KNOWN_KEYS)
    if unknown:
        raise refuse(f"key '{unknown[0]}' is set and not known here", retrain)
    targets = settings.get("target_modules")
    for target in targets if isinstance(targets, list) else []:
        if str(target).rpartition(".")[2] not in MODULES:
            raise refuse(f"target module '{target}' is not known (known: {', '.join(MODULES)})", retrain)
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(settings.get(key) or {}, dict):
            raise refuse(f"{key} is not an object", FETCH_AGAIN)


def _check_base_name(settings: Mapping[str, Any], base_name: str, where: str) -> None:
    """Refuse an adapter of another model by name, as far as both names are known.

    A path on the training machine, or a source that does not tell its name, cannot be compared: then the
    shapes decide. 'org/name' must be the same model; a GGUF tells only its family and size, which must be
    part of the adapter's name. Words such as 4bit do not count.
    """
    trained_on = settings.get("base_model_name_or_path")
    if not isinstance(trained_on, str) or not _is_hub_name(trained_on) or not base_name:
        return
    if "/" in base_name and not _is_hub_name(base_name):
        return
    theirs, ours = _words(trained_on), _words(base_name)
    if (ours != theirs) if "/" in base_name else (not ours <= theirs):
        raise SourceError(
            f"the adapter was trained on '{trained_on}', the base is '{base_name}'",
            where=where,
            mend="use the adapter's own base model, or correct base_model_name_or_path if it is the same",
        )


def _is_hub_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None


def _words(name: str) -> frozenset[str]:
    words = re.split(r"[^a-z0-9.]+", name.rpartition("/")[2].lower())
    return frozenset(word for word in words if word) - STORAGE_WORDS


def _is_base_copy(base: Checkpoint, name: str, file: RowFile, stored_name: str, stored: StoredTensor) -> bool:
    """Whether a tensor of the adapter file equals one of the base, compared in slabs of rows."""
    if base.shape(name) != stored.shape:
        return False
    rows = stored.shape[0]
    step = max(SLAB_VALUES // stored.shape[-1], 1)
    return all(
        np.array_equal(
            base.read(name, start, min(start + step, rows)),
            file.read(stored_name, stored, start, min(start + step, rows)),
        )
        for start in range(0, rows, step)
    )


def _updates(
    base: Checkpoint,
    settings: Mapping[str, Any],
    stored: Mapping[str, StoredTensor],
    file: RowFile,
    where: str,
) -> dict[str, Update]:
    """Every tensor of the adapter paired, placed and checked. Errors: SourceError."""
    weights = str(file.path)
    names = set(base.names())
    updates: dict[str, Update] = {}
    for name_a, a in stored.items():
        module = name_a.removeprefix(NAME_PREFIX).removesuffix(PART_A)
        if name_a.startswith(NAME_PREFIX) and name_a.endswith(BASE_PART):
            # peft saves an untied head or embedding along with its factors; it must be the base's own.
            copied = module.removesuffix(BASE_PART) + ".weight"
            if copied not in names or not _is_base_copy(base, copied, file, name_a, a):
                raise SourceError(
                    f"tensor {name_a} is not the base's own", where=weights, mend="use the adapter's own base model"
                )
            continue
        if not (name_a.startswith(NAME_PREFIX) and name_a.endswith((PART_A, PART_B))):
            raise SourceError(
                f"tensor {name_a} is not a LoRA factor of a linear layer",
                where=weights,
                mend="train the adapter on linear layers only, without replaced modules",
            )
        if name_a.endswith(PART_B):
            other = name_a.removesuffix(PART_B) + PART_A
            if other not in stored:
                raise SourceError(f"tensor {other} is missing", where=weights, mend=FETCH_AGAIN)
            continue
        name_b = name_a.removesuffix(PART_A) + PART_B
        if name_b not in stored:
            raise SourceError(f"tensor {name_b} is missing", where=weights, mend=FETCH_AGAIN)
        target = module + ".weight"
        if target not in names or module.rpartition(".")[2] not in MODULES:
            raise SourceError(
                f"the base has no {module} that the adapter could change",
                where=weights,
                mend="use the adapter's own base model",
            )
        rank = int(_positive(_by_pattern(settings, "rank_pattern", module, settings.get("r"), where), "r", where))
        b = stored[name_b]
        rows, columns = base.shape(target)
        for name, tensor, wanted in ((name_a, a, (rank, columns)), (name_b, b, (rows, rank))):
            if tensor.shape != wanted:
                raise SourceError(
                    f"tensor {name} has shape {list(tensor.shape)}, rank {rank} and the base ask for {list(wanted)}",
                    where=weights,
                    mend="use the adapter's own base model and its own adapter_config.json",
                )
        alpha = _by_pattern(settings, "alpha_pattern", module, settings.get("lora_alpha"), where)
        divisor = math.sqrt(rank) if settings.get("use_rslora") else rank
        updates[target] = Update(name_a, name_b, a, b, _positive(alpha, "lora_alpha", where) / divisor)
    _check_targets_used(settings.get("target_modules"), updates, weights)
    return {name: updates[name] for name in sorted(updates)}


def _check_targets_used(targets: Any, updates: Mapping[str, Update], where: str) -> None:
    if not updates:
        raise SourceError("holds no LoRA factors", where=where, mend=FETCH_AGAIN)
    for target in targets if isinstance(targets, list) else []:
        if not any(f".{name}".endswith(f".{target}.weight") for name in updates):
            raise SourceError(f"has no factors for target module '{target}'", where=where, mend=FETCH_AGAIN)


def _by_pattern(settings: Mapping[str, Any], key: str, module: str, default: Any, where: str) -> Any:
    """peft's rule: the first pattern that matches the end of the module's path decides."""
    for pattern, value in (settings.get(key) or {}).items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise SourceError(f"{key} '{pattern}' is not a pattern", where=where, mend=FETCH_AGAIN) from error
    return default


def _positive(value: Any, key: str, where: str) -> float:
    if type(value) not in (int, float) or not 0 < value < 2**31 or (key == "r" and value != int(value)):
        raise SourceError(f"{key} is {value!r}", where=where, mend=FETCH_AGAIN)
    return float(value)
