"""The random checkpoint must be one that edge's own reader takes, whatever its shape."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.gguf_model import gguf_name, interleaved, rope_factors, tensor_summary, write_bf16
from benchmarks.hf_folder import row_slices, to_bf16, write_checkpoint
from benchmarks.llama_shape import shape_config, tokenizer_metadata, write_profile, write_shape
from edge.build.cache import Cache
from edge.build.checkpoint import open_checkpoint
from edge.build.checkpoint.base import Checkpoint
from edge.build.checkpoint.gguf_file import GgufCheckpoint
from edge.build.reference import rotary_tables
from edge.files import sha256_file
from edge.runtime.text import ChatTokenizer, Message
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import load_profile

VOCABULARY = 600


@pytest.fixture
def config() -> DecoderConfig:
    """The 1B shape, made tiny."""
    small = {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 4}
    ends = {"bos_token_id": VOCABULARY - 5, "eos_token_ids": [VOCABULARY - 1, VOCABULARY - 4]}
    return DecoderConfig.from_json(shape_config().to_json() | small | {"kv_heads": 2, "head_dim": 16} | ends)


@pytest.fixture
def folder(tmp_path: Path, config: DecoderConfig) -> Path:
    """A written shape with its profile."""
    place = tmp_path / "shape"
    place.mkdir()
    write_shape(place, config)
    write_profile(place)
    return place


def opened(folder: Path, tmp_path: Path) -> Checkpoint:
    """The folder through its own profile."""
    profile = load_profile(folder / "llama-shape.yaml")
    return open_checkpoint(profile.model, Cache(tmp_path / "cache"), base_folder=folder)


def test_shape_is_that_of_the_profile() -> None:
    """Fails when the measured shape is no longer Llama 3.2 1B, so its numbers mean another model."""
    config = shape_config()
    assert (config.hidden_size, config.layers, config.vocab_size, config.tie_embeddings) == (2048, 16, 128256, True)
    assert config.rope_scaling is not None


def test_edge_reads_what_was_written(folder: Path, tmp_path: Path, config: DecoderConfig) -> None:
    """Fails when edge cannot open the folder, or reads another config or other weights than were meant."""
    checkpoint = opened(folder, tmp_path)
    assert replace(checkpoint.config, eos_token_ids=config.eos_token_ids) == config
    weights = checkpoint.read("model.layers.1.mlp.down_proj.weight")
    assert weights.shape == (64, 96)
    assert 0.018 < float(weights.std()) < 0.022
    assert (checkpoint.read("model.norm.weight") == 1).all()


def test_same_seed_same_bytes(folder: Path, tmp_path: Path, config: DecoderConfig) -> None:
    """Fails when the shape depends on anything but its seed: then two machines measure two models."""
    again = tmp_path / "again"
    again.mkdir()
    write_shape(again, config)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        assert sha256_file(again / name) == sha256_file(folder / name), name
    other = tmp_path / "other"
    other.mkdir()
    write_shape(other, config, seed=1)
    assert sha256_file(other / "model.safetensors") != sha256_file(folder / "model.safetensors")


def test_tokenizer_encodes_and_decodes(folder: Path, tmp_path: Path) -> None:
    """Fails when the synthetic vocabulary is no working tokenizer, so that edge run cannot use the shape."""
    place = tmp_path / "tokenizer"
    place.mkdir()
    for name, data in opened(folder, tmp_path).tokenizer_files().items():
        (place / name).write_bytes(data)
    tokenizer = ChatTokenizer(place)
    assert tokenizer.vocab_size == VOCABULARY
    ids = tokenizer.encode_chat([Message("user", "a sore throat")])
    assert VOCABULARY - 3 in ids  # <|start_header_id|>
    assert max(ids) < VOCABULARY


def test_a_vocabulary_too_small_is_refused(config: DecoderConfig) -> None:
    """Fails when a shape without room for all bytes loops for ever."""
    with pytest.raises(ValueError, match="no room"):
        tokenizer_metadata(replace(config, vocab_size=100), 0)


@given(arrays(np.float32, 16, elements=st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99)))
def test_bf16_is_the_nearest(values: np.ndarray) -> None:
    """Fails when bf16 values are not within half a step of what they stand for."""
    back = (to_bf16(values).astype(np.uint32) << 16).view(np.float32)
    assert (np.abs(back - values) <= np.maximum(np.abs(values) * 2.0**-8, 2.0**-133)).all()


@given(st.integers(1, 40_000), st.integers(1, 3_000))
def test_slices_cover_each_row_once(rows: int, columns: int) -> None:
    """Fails when rows are left out or written twice."""
    parts = list(row_slices((rows, columns)))
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == rows


def test_folder_of_an_open_checkpoint_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    """Fails when the folder that peers read holds other weights or another config than the checkpoint."""
    checkpoint = opened(folder, tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    write_checkpoint(checkpoint, copy, "F32")
    write_profile(copy)
    again = opened(copy, tmp_path)
    assert again.names() == checkpoint.names()
    assert replace(again.config, eos_token_ids=()) == replace(checkpoint.config, eos_token_ids=())
    for name in again.names():
        assert (again.read(name) == checkpoint.read(name)).all(), name
    # transformers 4.57 knows the type by this name, 5 still reads it
    assert json.loads((copy / "config.json").read_text())["torch_dtype"] == "float32"


def test_gguf_is_the_same_model(folder: Path, tmp_path: Path, config: DecoderConfig) -> None:
    """Fails when the file that llama.cpp gets has rows, names or a tokenizer of another model."""
    checkpoint = opened(folder, tmp_path)
    path = tmp_path / "model.gguf"
    write_bf16(checkpoint, tokenizer_metadata(config, 0), path)
    again = GgufCheckpoint(path, digest="", license_id="CC0-1.0")
    assert again.names() == checkpoint.names()
    for name in again.names():
        assert (again.read(name) == checkpoint.read(name)).all(), name
    assert again.tokenizer_files()["tokenizer.json"] == checkpoint.tokenizer_files()["tokenizer.json"]
    read, by_type = tensor_summary(path)
    assert read == sum(by_type.values())
    assert set(by_type) == {"BF16", "F32"}


def test_rows_come_back_from_llama_order() -> None:
    """Fails when q and k rows are permuted otherwise than the reader undoes it."""
    rows = np.arange(8)
    assert interleaved(rows, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_rope_factors_are_edge_s_own(config: DecoderConfig) -> None:
    """Fails when llama.cpp is given other rotary frequencies than edge computes, so it runs another model."""
    if config.rope_scaling is None:
        raise ValueError("the shape scales")
    plain, _ = rotary_tables(replace(config, rope_scaling=None), 2)
    scaled, _ = rotary_tables(config, 2)
    factors = rope_factors(config.rope_scaling, config.rope_theta, config.head_dim)
    np.testing.assert_allclose(np.cos(np.arccos(plain[1]) / factors), scaled[1], atol=1e-6)


def test_gguf_names() -> None:
    """Fails when a tensor is written under a name that llama.cpp does not look for."""
    assert gguf_name("model.layers.12.mlp.up_proj.weight") == "blk.12.ffn_up.weight"
    with pytest.raises(KeyError):
        gguf_name("model.layers.0.mlp.experts.weight")
