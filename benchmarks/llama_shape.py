"""Random weights in the shape of a real model, for the cost of a build and the speed of an engine.

Neither depends on what the weights say, so no licence and no download is needed. The folder is a Hugging Face
checkpoint (bf16 safetensors, a byte-level BPE of the full vocabulary, a chat template) with a profile beside
it; the same seed gives the same bytes.

    python -m benchmarks.llama_shape FOLDER [--profile profiles/llama-3.2-1b-pi5.yaml] [--seed 0]
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import argparse
import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.hf_folder import Float32, hf_config, row_slices, write_safetensors, write_tokenizer
from edge.build.cache import canonical_json
from edge.build.checkpoint import folder_digest
from edge.build.checkpoint.base import expected_tensors
from edge.build.gguf_tokenizer import CONTROL, tokenizer_files
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import load_profile

ROOT = Path(__file__).resolve().parent.parent
SHAPE_PROFILE = ROOT / "profiles" / "llama-3.2-1b-pi5.yaml"
PROFILE_FILE = "llama-shape.yaml"
CONTEXT_TOKENS = 2048
# The engines write rotary tables for all positions; these are enough for the measured contexts.
MAX_POSITIONS = 8192
LONGEST_TOKEN = 12
DEVIATION = 0.02  # of the weights, as models are initialised
TEMPLATE = (
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def shape_config(profile: Path = SHAPE_PROFILE) -> DecoderConfig:
    """The shape that a profile gives inline, for the positions measured here. Errors: ValueError without one."""
    config = load_profile(profile).model.decoder()
    if config is None:
        raise ValueError(f"{profile.name} has no inline architecture")
    positions = min(config.max_positions, MAX_POSITIONS)
    vocabulary = config.vocab_size
    ends = (vocabulary - len(SPECIALS) + 4, vocabulary - len(SPECIALS) + 1)
    changed = {"max_positions": positions, "bos_token_id": vocabulary - len(SPECIALS), "eos_token_ids": list(ends)}
    return DecoderConfig.from_json(config.to_json() | changed)


def byte_letters() -> list[str]:
    """GPT-2's letter of each of the 256 bytes."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def tokenizer_metadata(config: DecoderConfig, seed: int) -> dict[str, Any]:
    """A byte-level BPE with random merges that fills the vocabulary, as GGUF metadata.

    The special tokens come last. Errors: ValueError for a vocabulary below 256 and the special tokens.
    """
    wanted = config.vocab_size - len(SPECIALS)
    tokens = byte_letters()
    if wanted < len(tokens):
        raise ValueError(f"a vocabulary of {config.vocab_size} has no room for all bytes")
    chosen, known, merges = random.Random(seed), set(tokens), []
    while len(tokens) < wanted:
        left, right = chosen.choice(tokens), chosen.choice(tokens)
        joined = left + right
        if len(joined) <= LONGEST_TOKEN and joined not in known:
            known.add(joined)
            tokens.append(joined)
            merges.append(f"{left} {right}")
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": [*tokens, *SPECIALS],
        "tokenizer.ggml.token_type": [*[1] * len(tokens), *[CONTROL] * len(SPECIALS)],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": wanted,
        "tokenizer.ggml.eos_token_id": wanted + SPECIALS.index("<|eot_id|>"),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": TEMPLATE,
    }


def write_shape(folder: Path, config: DecoderConfig, *, seed: int = 0) -> None:
    """Write the checkpoint into an existing folder; memory depends on one slice of a tensor."""
    generator = np.random.default_rng(seed)

    def slices(name: str, shape: tuple[int, ...]) -> Iterable[Float32]:
        for start, stop in row_slices(shape):
            rows = (stop - start, *shape[1:])
            if name.endswith("norm.weight"):
                yield np.ones(rows, np.float32)
            else:
                yield generator.standard_normal(rows, dtype=np.float32) * np.float32(DEVIATION)

    write_safetensors(folder / "model.safetensors", list(expected_tensors(config)), slices, "BF16")
    metadata = tokenizer_metadata(config, seed)
    write_tokenizer(folder, tokenizer_files(metadata, str(folder), vocab_size=config.vocab_size))
    (folder / "config.json").write_bytes(canonical_json(hf_config(config, "BF16")))


def write_profile(folder: Path, name: str = "llama-3.2-1b-shape") -> Path:
    """The profile of a written folder: int4 round to nearest, block 32, head at 4 bits. Returns its path."""
    sample = ROOT / "profiles" / "data" / "clinical-sample" / "fidelity"
    profile = {
        "version": 1,
        "name": name,
        "description": "Random weights in the shape of a real model; for measurements, not for use",
        "model": {"source": "hf:.", "sha256": folder_digest(folder), "license": "CC0-1.0"},
        "target": "x86_64-linux",
        "quantisation": {"scheme": "int4", "rounding": "rtn", "block_size": 32, "symmetric": True, "head_bits": 4},
        "fidelity_text": {"text": os.path.relpath(sample, folder.resolve()), "tokens": 2048},
        "context_tokens": CONTEXT_TOKENS,
        "tasks": ["note"],
    }
    path = folder / PROFILE_FILE
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    return path


def main() -> int:
    """Write a folder and its profile; prints the profile's path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", type=Path, default=SHAPE_PROFILE, help="takes the shape from this profile")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_shape(arguments.folder, shape_config(arguments.profile), seed=arguments.seed)
    print(write_profile(arguments.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
