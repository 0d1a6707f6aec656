"""Write a Hugging Face folder tensor by tensor; no more than one slice of one tensor is in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge.build.cache import canonical_json
from edge.build.checkpoint.base import Checkpoint
from edge.specs.decoder import DecoderConfig

SLICE_BYTES = 16 << 20  # of float32

Float32 = npt.NDArray[np.float32]
StoredType = Literal["F32", "BF16"]
Shapes = Sequence[tuple[str, tuple[int, ...]]]
Slices = Callable[[str, tuple[int, ...]], Iterable[Float32]]

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def to_bf16(values: Float32) -> npt.NDArray[np.uint16]:
    """The upper halves of finite float32 values, rounded to nearest even."""
    bits = values.view(np.uint32)
    rounded: npt.NDArray[np.uint16] = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return rounded


def row_slices(shape: tuple[int, ...]) -> Iterable[tuple[int, int]]:
    """(start, stop) of row ranges of at most SLICE_BYTES of float32 each."""
    columns = int(np.prod(shape[1:], dtype=np.int64))
    step = max(1, SLICE_BYTES // (4 * columns))
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def write_safetensors(path: Path, shapes: Shapes, slices: Slices, stored: StoredType) -> None:
    """One safetensors file. slices: gives the rows of a tensor in order, as float32 arrays."""
    width = 4 if stored == "F32" else 2
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes:
        start, end = end, end + width * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": stored, "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name, shape in shapes:
            for values in slices(name, shape):
                (values if stored == "F32" else to_bf16(values)).tofile(file)
        if file.tell() != 8 + len(raw) + end:
            raise ValueError("the slices do not fill the shapes")


def write_tokenizer(folder: Path, files: Mapping[str, bytes]) -> None:
    """tokenizer.json and tokenizer_config.json, from what Checkpoint.tokenizer_files gives."""
    special = json.loads(files["special_tokens.json"])
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special["bos_token"],
        "eos_token": special["eos_token"],
        "add_bos_token": special["add_bos"],
        "chat_template": files["chat_template.jinja"].decode("utf-8"),
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer.json").write_bytes(files["tokenizer.json"])
    (folder / "tokenizer_config.json").write_bytes(canonical_json(settings))


def hf_config(config: DecoderConfig, stored: StoredType) -> dict[str, Any]:
    """The config.json that transformers 4 and 5, the genai builder and edge all read."""
    raw: dict[str, Any] = {
        "architectures": [ARCHITECTURES[config.family]],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": config.attention_bias,
        "mlp_bias": False,
        "torch_dtype": "float32" if stored == "F32" else "bfloat16",
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(config.eos_token_ids),
    }
    if config.rope_scaling:
        raw["rope_scaling"] = {
            "rope_type": config.rope_scaling.kind,
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_freq_factor,
            "high_freq_factor": config.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": config.rope_scaling.original_max_positions,
        }
    return raw


def write_checkpoint(checkpoint: Checkpoint, folder: Path, stored: StoredType) -> None:
    """An open checkpoint of any source as a Hugging Face folder, for engines that read only that."""
    names = [(name, checkpoint.shape(name)) for name in checkpoint.names()]

    def slices(name: str, shape: tuple[int, ...]) -> Iterable[Float32]:
        return (checkpoint.read(name, start, stop) for start, stop in row_slices(shape))

    write_safetensors(folder / "model.safetensors", names, slices, stored)
    write_tokenizer(folder, checkpoint.tokenizer_files())
    (folder / "config.json").write_bytes(canonical_json(hf_config(checkpoint.config, stored)))
