"""The adapter folder as peft writes it and edge.build.checkpoint.adapter reads it: float16, the same bytes each time.

A run's factors are float32; float16 halves the file and changes the merged weights by less than their later rounding
to 8 or 4 bits does. Nothing of this module needs torch: factors come as numpy arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build.checkpoint.adapter import CONFIG_FILE, NAME_PREFIX, WEIGHTS_FILE, adapter_digest
from edge.errors import ResourceError, SourceError
from edge.files import write_atomic
from edge.specs.recipe import Recipe

MAX_BYTES = 15_000_000
FLOAT16_MAX = 65504.0
RUN_NAME = ".default"  # peft keeps several adapters apart by name in memory, not in the file


def stored_name(name: str) -> str:
    """The name of a factor in the file for its name in memory."""
    return name.replace(f"{RUN_NAME}.weight", ".weight")


def adapter_config(recipe: Recipe, factors: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Any]:
    """adapter_config.json. target_modules: those that have factors, by name."""
    modules = sorted({stored_name(name).rsplit(".", 3)[1] for name in factors})
    return {
        "base_model_name_or_path": recipe.base_model_name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": recipe.adapter.alpha,
        "lora_dropout": recipe.adapter.dropout,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": recipe.adapter.rank,
        "target_modules": modules,
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }


def safetensors_bytes(tensors: Mapping[str, npt.NDArray[np.float16]]) -> bytes:
    """A safetensors file: tensors by name, header padded to 8 bytes. Written here so that its bytes never change."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in sorted(tensors):
        size = tensors[name].nbytes
        header[name] = {
            "dtype": "F16",
            "shape": list(tensors[name].shape),
            "data_offsets": [place, place + size],
        }
        place += size
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    parts = [len(text).to_bytes(8, "little"), text]
    parts += [np.ascontiguousarray(tensors[name]).astype("<f2").tobytes() for name in sorted(tensors)]
    return b"".join(parts)


def write_adapter(recipe: Recipe, factors: Mapping[str, npt.NDArray[np.float32]], folder: Path) -> tuple[str, int]:
    """Config and weights into `folder`; (digest that a profile pins, bytes of the weights), read back.

    factors: name in memory -> [rank, in] or [out, rank] float32. Errors: SourceError for a factor that is not finite
    or does not fit into float16; ResourceError when the file is larger than what is shipped, or the disk refuses.
    """
    halves: dict[str, npt.NDArray[np.float16]] = {}
    for name, value in factors.items():
        if not np.isfinite(value).all() or np.abs(value).max(initial=0) > FLOAT16_MAX:
            raise SourceError("a factor is not finite", where=stored_name(name), mend="lower the learning rate")
        if not stored_name(name).startswith(NAME_PREFIX):
            raise SourceError("is not a LoRA factor", where=name, mend="run the recipe again")
        halves[stored_name(name)] = value.astype(np.float16)
    if not halves:
        raise SourceError("holds no LoRA factors", where=str(folder), mend="run the recipe again")
    folder.mkdir(parents=True, exist_ok=True)
    weights = safetensors_bytes(halves)
    config = json.dumps(adapter_config(recipe, factors), indent=2, sort_keys=True) + "\n"
    # Weights first: a folder whose config is there has its weights.
    write_atomic(folder / WEIGHTS_FILE, weights)
    write_atomic(folder / CONFIG_FILE, config.encode("utf-8"))
    return adapter_digest(folder), len(weights)


def check_size(weights_bytes: int, folder: Path, limit_bytes: int = MAX_BYTES) -> None:
    """Errors: ResourceError for an adapter that is too large to be shipped in the repository."""
    if weights_bytes > limit_bytes:
        raise ResourceError(
            f"the adapter has {weights_bytes / 1e6:.1f} MB, at most {limit_bytes / 1e6:.0f} MB are shipped",
            where=str(folder),
            mend="lower adapter.rank",
        )
