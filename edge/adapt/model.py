"""A trainable torch model from the checkpoint that a recipe names: edge reads the weights, transformers computes.

Llama, Mistral and Qwen come through edge's own reader (a GGUF's rows dequantised, a folder's as they are), so that the
adapter is trained on the very weights that the build will merge it into. Other families (gpt-oss) come through
transformers from a local folder. Nothing is fetched here and nothing is sent: the hub is switched off first.

`prepare_environment` must run before torch is imported anywhere in the process.
"""

from __future__ import annotations

import edge.privacy  # isort: skip  (telemetry off before torch and transformers are imported)

import os
from collections.abc import Callable
from typing import Any

from edge.adapt.plan import LONG_TOKENS_KEPT
from edge.adapt.train import LoraSettings, with_lora
from edge.build.checkpoint.base import Checkpoint
from edge.errors import MissingToolError, ResourceError, SourceError
from edge.specs.decoder import DecoderConfig
from edge.specs.recipe import Recipe

# Batches have few shapes (batches.PAD_TO_TOKENS), yet each shape keeps compiled primitives of about its own size.
ONEDNN_PRIMITIVES = "256"
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
MALLOC_ADVICE = "MALLOC_ARENA_MAX=2 keeps long CPU runs smaller; set it before `edge adapt`"
_CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def prepare_environment() -> None:
    """Settings of libraries that only count before their import. Idempotent."""
    edge.privacy.silence_telemetry()
    os.environ.update(SETTINGS)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", ONEDNN_PRIMITIVES)


def check_libraries() -> None:
    """Errors: MissingToolError where torch, transformers or peft is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]
    if missing:
        raise MissingToolError(
            f"{', '.join(missing)} is not installed here",
            mend="make adapt sets up an environment for it, or pip install 'edge-kit[adapt]' into one of your own",
        )


def choose_device(wanted: str | None) -> str:
    """'cpu', 'cuda' or 'cuda:N'; None: a GPU where there is one. Errors: ResourceError when it is not there."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted is None:
        return "cuda" if count else "cpu"
    kind, _, number = wanted.partition(":")
    if kind == "cpu" and not number:
        return "cpu"
    if kind != "cuda" or (number and not number.isdecimal()):
        raise ResourceError(f"device '{wanted[:20]}' is not known (known: cpu, cuda, cuda:N)")
    if int(number or 0) >= count:
        raise ResourceError(f"there is no device {wanted} ({count} GPUs are found)", mend="use --device cpu")
    return wanted


def load_base(checkpoint: Checkpoint, device: str) -> Any:
    """The frozen base in bfloat16 on `device`; the rotary frequencies stay float32, as the runtime computes them.

    Errors: SourceError for a family that edge does not read.
    """
    import torch
    import transformers

    config = checkpoint.config
    if config.family not in _CLASSES:
        raise SourceError(
            f"architecture '{config.family}' cannot be trained from this source (known: {', '.join(_CLASSES)})",
            mend="use a local folder, hf:FOLDER, which transformers reads",
        )
    make = getattr(transformers, f"{_CLASSES[config.family]}ForCausalLM")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        # Only what is built as a parameter takes the default type; the rotary buffers are float32 by their own code.
        model = make(framework_config(config))
    finally:
        torch.set_default_dtype(before)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in checkpoint.names():
            parameters[name].copy_(torch.from_numpy(checkpoint.read(name)))
    model.tie_weights()
    model.requires_grad_(False)
    model.config.use_cache = False
    return model.to(device)


def framework_config(config: DecoderConfig) -> Any:
    """The transformers configuration of a decoder."""
    import transformers

    fields: dict[str, Any] = {
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
        "eos_token_id": list(config.eos_token_ids) or None,
        "attn_implementation": "sdpa",
    }
    if config.family in ("llama", "qwen3"):
        fields["attention_bias"] = config.attention_bias
    if config.family == "mistral":
        fields["sliding_window"] = config.sliding_window
    scaling = config.rope_scaling
    if scaling is not None:
        fields["rope_scaling"] = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            fields["rope_scaling"] |= {
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_positions,
            }
    return getattr(transformers, f"{_CLASSES[config.family]}Config")(**fields)


def lora_settings(recipe: Recipe, config: DecoderConfig) -> LoraSettings:
    """The recipe's adapter in the terms of the training loop."""
    shape = recipe.adapter
    return LoraSettings(shape.rank, shape.alpha, shape.dropout, shape.module_names(config))


def trainable_model(recipe: Recipe, checkpoint: Checkpoint, device: str, say: Callable[[str], None]) -> Any:
    """Base and fresh adapter, ready for the loop. Errors: SourceError, ResourceError, MissingToolError."""
    if recipe.training.base_precision != "bfloat16":
        raise ResourceError(
            f"base_precision {recipe.training.base_precision} is planned only: this edge trains on a bfloat16 base",
            where="training.base_precision",
            mend="write bfloat16, or see the memory that --dry-run says",
        )
    if recipe.adapter.experts:
        raise ResourceError(
            "factors in expert layers are planned only: this edge trains linear layers",
            where="adapter.experts",
            mend="write experts: false, or see what --dry-run says",
        )
    model = load_base(checkpoint, device)
    if recipe.training.max_length_tokens > LONG_TOKENS_KEPT:
        say(f"sequences of up to {recipe.training.max_length_tokens} tokens: activations are computed twice")
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return with_lora(model, lora_settings(recipe, checkpoint.config), recipe.training.seed)
