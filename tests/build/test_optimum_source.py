"""Folders of families that edge does not compute itself: sizes, tokenizer, digest, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge.build.checkpoint import folder_digest
from edge.build.optimum_source import OptimumSource, foreign_decoder, open_optimum_source
from edge.errors import SourceError
from edge.runtime.text import ChatTokenizer, Message
from tests.tiny import VOCAB_SIZE, write_tokenizer

GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": VOCAB_SIZE,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "n_inner": None,
    "bos_token_id": 3,
    "eos_token_id": 2,
}


def folder_of(place: Path, **changes: Any) -> Path:
    """A GPT-2 folder with two tensors, a tokenizer and a chat template."""
    write_tokenizer(place)
    (place / "special_tokens.json").unlink()
    (place / "config.json").write_text(json.dumps({k: v for k, v in (GPT2 | changes).items() if v != "absent"}))
    (place / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "<|im_end|>"}))
    tensors = {"transformer.wte.weight": np.ones((VOCAB_SIZE, 64), np.float16), "b": np.zeros(7, np.float32)}
    save_file(tensors, place / "model.safetensors")
    return place


def test_sizes_under_every_familys_names() -> None:
    """A plan needs the sizes before anything is exported, whatever a family calls them."""
    config = foreign_decoder(GPT2, "c")
    assert (config.family, config.layers, config.heads, config.kv_heads, config.head_dim) == ("gpt2", 2, 4, 4, 16)
    assert (config.hidden_size, config.intermediate_size, config.max_positions) == (64, 256, 128)
    assert (config.bos_token_id, config.eos_token_ids) == (3, (2,))
    falcon = {"model_type": "falcon", "vocab_size": 9, "hidden_size": 64, "num_hidden_layers": 3}
    falcon |= {"num_attention_heads": 8, "multi_query": True, "eos_token_id": [1, 2]}
    config = foreign_decoder(falcon, "c")
    assert (config.kv_heads, config.head_dim, config.max_positions, config.eos_token_ids) == (1, 8, 2048, (1, 2))
    assert foreign_decoder(falcon | {"new_decoder_architecture": True, "num_kv_heads": 4}, "c").kv_heads == 4


def test_tokenizer_and_tensors(tmp_path: Path) -> None:
    """The folder's tokenizer and template come along as with every other source."""
    folder = folder_of(tmp_path / "m")
    source = open_optimum_source(folder, folder_digest(folder), "MIT")
    assert source.names() == ("b", "transformer.wte.weight")
    assert source.weight_values == VOCAB_SIZE * 64 + 7
    assert source.read("transformer.wte.weight", 3, 5).shape == (2, 64)
    (tmp_path / "t").mkdir()
    for name, data in source.tokenizer_files().items():
        (tmp_path / "t" / name).write_bytes(data)
    tokenizer = ChatTokenizer(tmp_path / "t")
    assert tokenizer.stop_ids == {2}
    assert tokenizer.encode_chat([Message("user", "pain")])
    source.close()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "code.Model"}}, "its own Python code, which edge does not run"),
        ({"model_type": "absent"}, "names no model_type"),
        ({"n_layer": "absent"}, "none of the keys num_hidden_layers, n_layer"),
        ({"n_head": -1}, "n_head is -1"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"quantization_config": {"bits": 4}}, "already quantised"),
    ],
)
def test_refused_configs(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    """A config that cannot be built, or must not be, is one line before torch is started."""
    folder = folder_of(tmp_path / "m", **changes)
    with pytest.raises(SourceError, match=part) as caught:
        OptimumSource(folder, digest="0" * 64, license_id="MIT")
    assert len(str(caught.value).splitlines()) == 1


def test_pinned_and_whole(tmp_path: Path) -> None:
    """Another model than the pinned one, or half of it, is refused."""
    folder = folder_of(tmp_path / "m")
    with pytest.raises(SourceError, match="is not what the profile pins"):
        open_optimum_source(folder, "1" * 64, "MIT")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(SourceError):
        open_optimum_source(folder, folder_digest(folder), "MIT")
