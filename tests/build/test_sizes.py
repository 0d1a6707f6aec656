"""Parameter counts and byte sizes against published and measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.build import sizes
from edge.build.quantise import QuantFormat
from edge.build.sizes import Storage
from edge.specs.decoder import DecoderConfig, decoder_from_hf_config
from edge.specs.profile import load_profile

PROFILES = Path(__file__).parents[2] / "profiles"


def shipped(name: str) -> DecoderConfig:
    """The model shape that a shipped profile carries."""
    config = load_profile(PROFILES / f"{name}.yaml").model.decoder()
    assert config is not None
    return config


SMOLLM2 = shipped("reference-notes")
LLAMA_1B = shipped("llama-3.2-1b-pi5")
LLAMA_3B = shipped("llama-3.2-3b-orin-nano")
GPT_OSS_20B = shipped("gpt-oss-20b-agx-orin")
GPT_OSS_120B = shipped("gpt-oss-120b-agx-orin")


def hf(**keys: Any) -> DecoderConfig:
    return decoder_from_hf_config(keys, "test")


QWEN2_05B = hf(
    model_type="qwen2",
    hidden_size=896,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    intermediate_size=4864,
    vocab_size=151936,
    tie_word_embeddings=True,
)
QWEN3_06B = hf(
    model_type="qwen3",
    hidden_size=1024,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=3072,
    vocab_size=151936,
    tie_word_embeddings=True,
)
MISTRAL_7B = hf(
    model_type="mistral",
    hidden_size=4096,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    intermediate_size=14336,
    vocab_size=32768,
    tie_word_embeddings=False,
)


def uniform(config: DecoderConfig, bits: int, block: int = 32, symmetric: bool = True) -> Storage:
    """All matrices, the head too, at `bits`."""
    return Storage(sizes.layer_bits(config, bits), bits, block, symmetric)


@pytest.mark.parametrize(
    ("config", "total"),
    [
        (SMOLLM2, 134_515_008),
        (LLAMA_1B, 1_235_814_400),
        (LLAMA_3B, 3_212_749_824),
        (GPT_OSS_20B, 20_914_757_184),
        (GPT_OSS_120B, 116_829_156_672),
        (QWEN2_05B, 494_032_768),
        (QWEN3_06B, 596_049_920),
        (MISTRAL_7B, 7_248_023_552),
    ],
    ids=["smollm2-135m", "llama-1b", "llama-3b", "gpt-oss-20b", "gpt-oss-120b", "qwen2-0.5b", "qwen3-0.6b", "mistral"],
)
def test_parameter_counts_are_exact(config: DecoderConfig, total: int) -> None:
    """Published counts to the last parameter: a forgotten bias or norm would shift every size after it."""
    counts = sizes.count_parameters(config)
    assert counts.total == total
    parts = (counts.embedding, counts.head, counts.attention, counts.mlp, counts.experts, counts.router)
    assert sum(parts) + counts.norms + counts.biases == total


def test_moe_reads_only_its_active_experts() -> None:
    """The model cards give 3.6 B and 5.1 B active parameters; counting all experts would forbid every device."""
    assert round(sizes.count_parameters(GPT_OSS_20B).active / 1e9, 2) == 3.61
    assert round(sizes.count_parameters(GPT_OSS_120B).active / 1e9, 2) == 5.13
    dense = sizes.count_parameters(LLAMA_1B)
    assert dense.active == dense.total


def test_int4_files_match_the_measured_ones() -> None:
    """facts/onnx.md measured 86 MB (SmolLM2) and 806 MB (1B: 618 int4, 154 scales, 33 rotary at full length)."""
    small = sizes.model_bytes(SMOLLM2, uniform(SMOLLM2, 4), SMOLLM2.max_positions)
    assert small.total == pytest.approx(86e6, rel=0.03)
    large = sizes.model_bytes(LLAMA_1B, uniform(LLAMA_1B, 4), LLAMA_1B.max_positions)
    assert large.total == pytest.approx(806e6, rel=0.03)
    assert large.codes == pytest.approx(618e6, rel=0.01)
    assert large.scales == pytest.approx(154e6, rel=0.01)
    assert sizes.rotary_bytes(LLAMA_1B, LLAMA_1B.max_positions) == pytest.approx(33e6, rel=0.03)


def test_gpt_oss_20b_matches_the_arithmetic_of_the_facts() -> None:
    """facts/onnx.md: int4 in blocks of 32 is 15.0 GB, the MXFP4 checkpoint 13.7, fp16 KV 48 KB a token."""
    stored = sizes.model_bytes(GPT_OSS_20B, uniform(GPT_OSS_20B, 4), 4096)
    assert stored.total == pytest.approx(15.0e9, rel=0.01)
    assert sizes.checkpoint_bytes(GPT_OSS_20B) == 13_761_264_768
    assert sizes.kv_cache_bytes(GPT_OSS_20B, 1, 2, windowed=False) == 48 * 1024


def test_sliding_layers_hold_their_window_only() -> None:
    """Every other layer of gpt-oss sees 128 tokens: a long context costs half."""
    full = sizes.kv_cache_bytes(GPT_OSS_20B, 8192, 4, windowed=False)
    cut = sizes.kv_cache_bytes(GPT_OSS_20B, 8192, 4, windowed=True)
    assert full == 24 * 8192 * 2 * 512 * 4
    assert cut == 12 * (8192 + 128) * 2 * 512 * 4
    assert sizes.kv_cache_bytes(GPT_OSS_20B, 100, 4, windowed=True) == 24 * 100 * 2 * 512 * 4


def test_kv_of_the_facts() -> None:
    """505 tokens of SmolLM2 are 23 MB in fp32, 512 tokens of the 1B shape 33 MB (facts/onnx.md, prefix cache)."""
    assert sizes.kv_cache_bytes(SMOLLM2, 505, 4, windowed=False) == pytest.approx(23e6, rel=0.02)
    assert sizes.kv_cache_bytes(LLAMA_1B, 512, 4, windowed=False) == 32 << 20


def test_a_short_last_block_is_paid_in_full() -> None:
    """576 columns in blocks of 128 make 5 blocks: the padding is in the file."""
    storage = Storage((), 4, 128, True)
    assert sizes.matrix_bytes(10, 576, 4, storage).codes == 10 * 5 * 64
    assert sizes.matrix_bytes(10, 576, 4, storage).scales == 10 * 5 * 4


@given(
    rows=st.integers(1, 64),
    cols=st.integers(1, 5000),
    bits=st.sampled_from([4, 8]),
    block=st.sampled_from([32, 64, 128]),
    symmetric=st.booleans(),
)
def test_bytes_are_those_that_the_quantiser_writes(
    rows: int, cols: int, bits: int, block: int, symmetric: bool
) -> None:
    """Law: the plan's size of a matrix is what quantise.py says it packs; else plan and bundle part."""
    planned = sizes.matrix_bytes(rows, cols, bits, Storage((), bits, block, symmetric))
    assert planned.total == rows * QuantFormat(bits, block, symmetric).bytes_per_row(cols)
    assert planned.scales == rows * -(-cols // block) * np.dtype(np.float32).itemsize
    assert (planned.zero_points == 0) == symmetric


@given(kept=st.sets(st.integers(0, 29)), block=st.sampled_from([32, 64, 128]))
def test_keeping_layers_at_int8_lies_between(kept: set[int], block: int) -> None:
    """Law: mixed is at least int4 and at most int8, and each layer kept costs the same."""
    sized = [
        sizes.model_bytes(SMOLLM2, Storage(bits, 8, block, True), 1024).total
        for bits in (
            sizes.layer_bits(SMOLLM2, 4),
            sizes.layer_bits(SMOLLM2, 4, sorted(kept)),
            sizes.layer_bits(SMOLLM2, 8),
        )
    ]
    assert sized[0] <= sized[1] <= sized[2]
    assert (sized[1] - sized[0]) * 30 == (sized[2] - sized[0]) * len(kept)
