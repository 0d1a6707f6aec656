"""A tiny decoder as the Hugging Face folder that transformers and edge's own reader both open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from edge.specs.decoder import DecoderConfig
from tests.tiny import MemorySource

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def hf_config(config: DecoderConfig) -> dict[str, Any]:
    """config.json of a decoder."""
    raw: dict[str, Any] = {
        "model_type": config.family,
        "architectures": [ARCHITECTURES[config.family]],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(config.eos_token_ids),
        "hidden_act": "silu",
    }
    scaling = config.rope_scaling
    if scaling is not None:
        raw["rope_scaling"] = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            raw["rope_scaling"] |= {
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_positions,
            }
    if config.sliding_window is not None:
        raw["sliding_window"] = config.sliding_window
    elif config.family == "mistral":
        raw["sliding_window"] = None
    return raw


def write_folder(folder: Path, source: MemorySource) -> Path:
    """config.json and model.safetensors; no tokenizer."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(hf_config(source.config)), encoding="utf-8")
    save_file(source.tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
