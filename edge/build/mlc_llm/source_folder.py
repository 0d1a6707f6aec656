"""The folder that mlc_llm reads: config.json in its words, safetensors with an index, the tokenizer.

A Hugging Face folder's own weight files are linked, not copied; weights from elsewhere (a GGUF, an adapter that edge
merged) are written as float32, row by row. The config is made from the decoder that edge checked: mlc_llm reads
`rope_theta` at its top level only, where newer files have it one level down and it would fall back to 10,000.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge.build.checkpoint import Checkpoint
from edge.build.checkpoint.base import TOKENIZER_FILE
from edge.build.checkpoint.huggingface import FolderCheckpoint, weight_files
from edge.specs.decoder import DecoderConfig

INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_SETTINGS = "tokenizer_config.json"
FILE_BYTES = 1 << 30  # the converter holds one file in memory
SLAB_BYTES = 16 << 20
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}

Progress = Callable[[int, int], None]


def config_json(config: DecoderConfig) -> dict[str, Any]:
    """config.json of the decoder; a sliding window that no position reaches is left out."""
    value: dict[str, Any] = {
        "architectures": [CLASSES[config.family]],
        "model_type": config.family,
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        # A whole number as one: the command's dataclass for some families says int.
        "rope_theta": int(config.rope_theta) if config.rope_theta == int(config.rope_theta) else config.rope_theta,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": config.attention_bias,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(config.eos_token_ids),
    }
    if config.rope_scaling is not None:
        value["rope_scaling"] = {
            "rope_type": config.rope_scaling.kind,
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_freq_factor,
            "high_freq_factor": config.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": config.rope_scaling.original_max_positions,
        }
    return value


def write_source(checkpoint: Checkpoint, folder: Path, tokenizer: bytes, progress: Progress | None = None) -> bool:
    """Fill the new folder `folder`; True when the weights were linked, not written.

    tokenizer: content of tokenizer.json. Errors: SourceError while reading, OSError while writing.
    """
    folder.mkdir()
    _write_json(folder / "config.json", config_json(checkpoint.config))
    (folder / TOKENIZER_FILE).write_bytes(tokenizer)
    _write_json(folder / TOKENIZER_SETTINGS, {"tokenizer_class": "PreTrainedTokenizerFast"})
    if isinstance(checkpoint, FolderCheckpoint):
        _link_weights(checkpoint, folder)
        return True
    _write_weights(checkpoint, folder, progress)
    return False


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def _link_weights(checkpoint: FolderCheckpoint, folder: Path) -> None:
    """Links beside an index of our own: the command writes one where it finds none, which may be read-only."""
    files, index = weight_files(checkpoint.folder)
    for name in files:
        (folder / name).symlink_to((checkpoint.folder / name).resolve())
    where = {name: index[name] if index is not None else files[0] for name in checkpoint.names()}
    total = sum((folder / name).stat().st_size for name in files)
    _write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": where})


def _write_weights(checkpoint: Checkpoint, folder: Path, progress: Progress | None) -> None:
    groups = list(_grouped((name, prod(checkpoint.shape(name)) * 4) for name in checkpoint.names()))
    where, total, done = {}, 0, 0
    for number, names in enumerate(groups, start=1):
        file_name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        header, offset = dict[str, Any](), 0
        for name in names:
            end = offset + prod(checkpoint.shape(name)) * 4
            header[name] = {"dtype": "F32", "shape": list(checkpoint.shape(name)), "data_offsets": [offset, end]}
            where[name], offset = file_name, end
        total += offset
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with (folder / file_name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                shape = checkpoint.shape(name)
                step = max(SLAB_BYTES // (4 * prod(shape[1:])), 1)
                for start in range(0, shape[0], step):
                    rows = checkpoint.read(name, start, min(start + step, shape[0]))
                    file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
                done += 1
                if progress:
                    progress(done, len(checkpoint.names()))
    _write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": where})


def _grouped(sizes: Iterable[tuple[str, int]]) -> Iterable[list[str]]:
    """Names in files of up to FILE_BYTES, in order."""
    group, used = list[str](), 0
    for name, size in sizes:
        if group and used + size > FILE_BYTES:
            yield group
            group, used = [], 0
        group.append(name)
        used += size
    if group:
        yield group
