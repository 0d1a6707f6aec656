"""Checkpoints: where a model's weights, tokenizer and chat template come from, pinned by digest.

`open_checkpoint` looks the kind of source up in SOURCES; a new kind is one module and one line there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.build.cache import Cache
from edge.build.checkpoint.adapter import MergedCheckpoint, adapter_digest, factor_shapes, with_adapter
from edge.build.checkpoint.base import Checkpoint, ModelSpec, SpecialTokens
from edge.build.checkpoint.gguf_file import open_gguf
from edge.build.checkpoint.hub import open_hub
from edge.build.checkpoint.huggingface import folder_digest, open_folder
from edge.build.checkpoint.wheel import open_wheel
from edge.errors import SourceError

__all__ = [
    "SOURCES",
    "Checkpoint",
    "MergedCheckpoint",
    "ModelSpec",
    "SpecialTokens",
    "adapter_digest",
    "factor_shapes",
    "folder_digest",
    "open_checkpoint",
    "with_adapter",
]

# kind of source -> (spec, what follows the colon, cache, folder that paths are relative to) -> checkpoint
SOURCES: dict[str, Callable[[ModelSpec, str, Cache, Path], Checkpoint]] = {
    "gguf": open_gguf,
    "hf": open_folder,
    "hub": open_hub,
    "pip": open_wheel,
}


def open_checkpoint(model_spec: ModelSpec, cache: Cache, *, base_folder: Path) -> Checkpoint:
    """Open the model that a profile names; its digest is checked before any of it is parsed.

    base_folder: the profile's folder, for relative paths. Errors: SourceError (broken, unknown or not the
    pinned model), OfflineError (not in the cache and no network), ResourceError, MissingToolError.
    """
    kind, colon, location = model_spec.source.partition(":")
    if not colon or not location or kind not in SOURCES:
        raise SourceError(
            f"'{model_spec.source}' is not a source (known: {', '.join(f'{name}:' for name in SOURCES)})",
            where="model.source",
            mend="write for example gguf:models/model.gguf or hf:models/folder",
        )
    return SOURCES[kind](model_spec, location, cache, base_folder)
