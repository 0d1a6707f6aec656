"""Tiny random decoders and tokenizers of every family, for tests that need a whole model in milliseconds.

They go through the same code as real checkpoints: a `WeightSource` in memory, Hugging Face tensor names, a
byte-level BPE tokenizer written by the library itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from edge.build.checkpoint.base import expected_tensors
from edge.build.export import export_native, uniform_formats
from edge.build.graph import ExportPlan
from edge.build.quantise import QuantFormat
from edge.runtime.onnx_engine import OnnxEngine
from edge.specs.decoder import DecoderConfig, RopeScaling

CONTEXT_TOKENS = 64

BASE = DecoderConfig(
    family="llama",
    vocab_size=320,
    hidden_size=64,
    intermediate_size=96,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    max_positions=256,
    tie_embeddings=True,
    bos_token_id=1,
    eos_token_ids=(2,),
)

# Every option of the native graph once; sizes differ so that a swapped axis cannot hide.
CONFIGS: dict[str, DecoderConfig] = {
    "llama-tied": BASE,
    "llama-untied": replace(BASE, tie_embeddings=False, layers=3, vocab_size=301),
    "llama3-rope": replace(
        BASE,
        rope_scaling=RopeScaling(
            "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_positions=32
        ),
    ),
    "linear-rope": replace(BASE, rope_scaling=RopeScaling("linear", factor=4.0)),
    "mistral-sliding": replace(BASE, family="mistral", sliding_window=5, tie_embeddings=False),
    "qwen2-bias": replace(BASE, family="qwen2", attention_bias=True, rms_norm_eps=1e-6),
    "qwen3-qk-norm": replace(BASE, family="qwen3", qk_norm=True, head_dim=32),
    "no-groups": replace(BASE, kv_heads=4, intermediate_size=160),
    "one-kv-head": replace(BASE, kv_heads=1, vocab_size=512),
}


@dataclass(frozen=True)
class MemorySource:
    """A WeightSource whose tensors are in memory."""

    config: DecoderConfig
    tensors: dict[str, npt.NDArray[np.float32]]

    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        return self.tensors[name][start:stop].copy()


def tiny_source(config: DecoderConfig = BASE, seed: int = 0) -> MemorySource:
    """Random weights of a size that keeps activations around 1 and the next token far from certain."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_tensors(config):
        values = rng.standard_normal(shape)
        if name.endswith("norm.weight"):
            values = 1.0 + 0.2 * values
        elif name.endswith(".bias") or name == "model.embed_tokens.weight":
            values *= 0.3
        else:
            values *= 1.5 / np.sqrt(shape[1])
        tensors[name] = values.astype(np.float32)
    return MemorySource(config, tensors)


def tiny_ids(count: int, config: DecoderConfig = BASE, seed: int = 1) -> list[int]:
    """Random token ids."""
    return [int(index) for index in np.random.default_rng(seed).integers(0, config.vocab_size, count)]


def export(
    folder: Path,
    source: MemorySource,
    format: QuantFormat | None = None,
    *,
    head: QuantFormat | None = None,
    context_tokens: int = CONTEXT_TOKENS,
    accuracy_level: int = 0,
    **options: Any,
) -> Path:
    """Export all matrices in one format into `folder`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = ExportPlan(uniform_formats(source.config, format), head, context_tokens, accuracy_level)
    export_native(source, plan, folder, **options)
    return folder


def engine(folder: Path, **options: Any) -> OnnxEngine:
    """A one-thread engine: the tests run beside others."""
    return OnnxEngine(folder, threads=1, **options)


# ---- tokenizer ------------------------------------------------------------------------------------------

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "[PAD]")
MARKER = "<note>"  # an added token that is no control token: user text may hold it
MERGES = (
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("i", "n"),
    ("e", "r"),
    ("o", "n"),
    ("p", "a"),
    ("pa", "in"),
    ("Ġ", "pain"),
    ("u", "s"),
    ("us", "er"),
    ("Ċ", "Ċ"),
    ("|", ">"),
    ("<", "|"),
    ("i", "m"),
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Llama 3's way: contents are trimmed, the text starts with bos.
TRIMMING = (
    "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n\n' "
    "+ message['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)


def byte_letters() -> list[str]:
    """GPT-2's letter of each of the 256 bytes."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in seen else chr(next(hidden)) for byte in range(256)]


TOKENS = (*SPECIALS, *byte_letters(), *("".join(pair) for pair in MERGES))
VOCAB_SIZE = len(TOKENS) + 1  # MARKER


def write_tokenizer(folder: Path, template: str = CHATML, **special: Any) -> Path:
    """tokenizer.json, chat_template.jinja and special_tokens.json; ids are the places in TOKENS."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(TOKENS)}, list(MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.add_tokens([AddedToken(MARKER, special=False, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    values = {"bos_token": "<s>", "eos_token": "<|im_end|>", "bos_token_id": 3, "eos_token_ids": [2], "add_bos": False}
    (folder / "special_tokens.json").write_text(json.dumps(values | special), encoding="utf-8")
    return folder
