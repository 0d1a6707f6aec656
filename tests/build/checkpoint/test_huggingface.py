"""Hugging Face folders: weights, shards, tokenizer, special tokens, digest, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.checkpoint import folder_digest, open_checkpoint
from edge.build.checkpoint.huggingface import FolderCheckpoint
from edge.errors import SourceError


def open_tiny(folder: Path) -> FolderCheckpoint:
    return FolderCheckpoint(folder, digest="0" * 64, license_id="Apache-2.0")


def edit(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_tensor_is_read_exactly(tiny, tmp_path: Path, cache, family: str, shards: int) -> None:
    """The build quantises what this returns."""
    tied = family != "mistral"
    tensors = tiny.folder(tmp_path / "m", shards=shards, model_type=family, tie_word_embeddings=tied)
    spec = tiny.spec("hf:m", folder_digest(tmp_path / "m"))
    checkpoint = open_checkpoint(spec, cache, base_folder=tmp_path)
    assert set(checkpoint.names()) == set(tensors)
    assert checkpoint.names()[0] == "model.embed_tokens.weight"
    assert checkpoint.config.family == family
    assert checkpoint.license == "Apache-2.0"
    for name, value in tensors.items():
        assert checkpoint.shape(name) == value.shape
        np.testing.assert_array_equal(checkpoint.read(name), value)
    checkpoint.close()
    checkpoint.close()


def test_only_the_wanted_rows_are_read(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory depends on the slice that is asked for, not on the model."""
    tensors = tiny.folder(tmp_path)
    checkpoint = open_tiny(tmp_path)
    real, counts = os.preadv, []

    def counting(descriptor: int, buffers: list[Any], offset: int) -> int:
        counts.append(real(descriptor, buffers, offset))
        return counts[-1]

    monkeypatch.setattr(os, "preadv", counting)
    part = checkpoint.read("model.embed_tokens.weight", 40, 50)
    np.testing.assert_array_equal(part, tensors["model.embed_tokens.weight"][40:50])
    assert sum(counts) == part.nbytes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds=st.tuples(st.integers(0, 263), st.integers(0, 263)).map(sorted), slab=st.sampled_from([64, 640, 1 << 19]))
def test_any_slice_is_the_slice_of_the_whole(tiny, tmp_path: Path, bounds: list[int], slab: int) -> None:
    """How the build cuts a tensor must not change it."""
    folder = tmp_path / "m"
    tensors = tiny.folder(folder) if not folder.exists() else None
    checkpoint = open_tiny(folder)
    whole = checkpoint.read("model.embed_tokens.weight")
    if tensors is not None:
        np.testing.assert_array_equal(whole, tensors["model.embed_tokens.weight"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.build.checkpoint.rows.SLAB_VALUES", slab)
        np.testing.assert_array_equal(checkpoint.read("model.embed_tokens.weight", *bounds), whole[slice(*bounds)])
    checkpoint.close()


def test_tokenizer_and_template_come_along_exactly(tiny, tmp_path: Path) -> None:
    """A changed byte of either changes what the model is asked."""
    tiny.folder(tmp_path)
    files = open_tiny(tmp_path).tokenizer_files()
    assert files["tokenizer.json"] == (tmp_path / "tokenizer.json").read_bytes()
    assert files["chat_template.jinja"].decode() == tiny.template
    assert json.loads(files["special_tokens.json"]) == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "bos_token_id": 1,
        "eos_token_ids": [2],
        "add_bos": False,
    }
    assert files["special_tokens.json"].endswith(b"}\n")
    (tmp_path / "chat_template.jinja").write_bytes(b"own\r\n file ")
    assert open_tiny(tmp_path).tokenizer_files()["chat_template.jinja"] == b"own\r\n file "


def test_all_end_tokens_are_kept(tiny, tmp_path: Path) -> None:
    """An end token that is lost makes an answer run on to the context's end."""
    tiny.folder(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 5]}')
    checkpoint = open_tiny(tmp_path)
    assert checkpoint.config.eos_token_ids == (0, 5)
    assert json.loads(checkpoint.tokenizer_files()["special_tokens.json"])["eos_token_ids"] == [2, 0, 5]


def test_bos_is_added_where_the_tokenizer_adds_it(tiny, tmp_path: Path) -> None:
    """Llama 3 says it in the post-processor only; without its start token it answers badly."""
    from tokenizers import Tokenizer, processors

    tiny.folder(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    assert json.loads(open_tiny(tmp_path).tokenizer_files()["special_tokens.json"])["add_bos"] is True
    edit(tmp_path / "tokenizer_config.json", add_bos_token=False)
    assert json.loads(open_tiny(tmp_path).tokenizer_files()["special_tokens.json"])["add_bos"] is False


def test_a_model_without_start_token_has_none(tiny, tmp_path: Path) -> None:
    """Qwen's config has a bos id that its tokenizer does not use."""
    tiny.folder(tmp_path)
    edit(tmp_path / "tokenizer_config.json", bos_token=None)
    special = json.loads(open_tiny(tmp_path).tokenizer_files()["special_tokens.json"])
    assert special["bos_token"] is None
    assert special["bos_token_id"] is None


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", "{}", "not a tokenizer"),
        ("tokenizer.json", '{"version"', "not a tokenizer"),
        ("tokenizer_config.json", None, "no chat template"),
        ("tokenizer_config.json", '{"chat_template": [{"name": "tool_use", "template": "x"}]}', "no chat template"),
        ("tokenizer_config.json", '{"chat_template": "x", "eos_token": "<none>"}', "does not know the eos_token"),
        ("tokenizer_config.json", "[1]", "not a JSON object"),
    ],
)
def test_a_bad_tokenizer_is_one_line(tiny, tmp_path: Path, file: str, content: str | None, says: str) -> None:
    """Found before the export starts, by the call that the build makes first."""
    tiny.folder(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path).tokenizer_files()
    tiny.line(caught.value, says)


def test_a_tokenizer_of_another_model_is_refused(tiny, tmp_path: Path) -> None:
    """Token ids beyond the embedding would read beyond it."""
    tiny.folder(tmp_path, vocab_size=200, eos_token_id=2)
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path).tokenizer_files()
    tiny.line(caught.value, "262", "200 tokens")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "gemma9"}, "known: llama, mistral, qwen2, qwen3"),
        ({"model_type": "gpt_oss", "num_local_experts": 4}, "no native build"),
        ({"quantization_config": {"bits": 4}}, "already quantised"),
        ({"hidden_size": 65}, "shape"),
        ({"num_hidden_layers": 3}, "model.layers.2.input_layernorm.weight is missing"),
        ({"num_hidden_layers": 10**12}, "model.layers.2.input_layernorm.weight is missing"),
        ({"num_hidden_layers": 1}, "model.layers.1"),
        ({"num_attention_heads": 0}, "config"),
        ({"num_key_value_heads": 3}, "do not go with"),
        ({"vocab_size": 300}, "embed_tokens.weight has shape [263, 64], the config asks for [300, 64]"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"vocab_size": None}, "config"),
        ({"rope_scaling": "x"}, "config"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"attention_bias": True}, "bias is missing"),
        ({"eos_token_id": "two"}, "config"),
        ({"bos_token_id": "one"}, "bos_token_id"),
        ({"hidden_size": ...}, "'hidden_size' is missing"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(tiny, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    """Wrong model, wrong config, or one that the native build does not know: said at once, with the known ones."""
    tiny.folder(tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path)
    tiny.line(caught.value, says)


def test_a_tensor_that_would_be_dropped_is_refused(tiny, tmp_path: Path) -> None:
    """A bias left out in silence is another model."""
    from safetensors.numpy import save_file

    tensors = tiny.folder(tmp_path)
    save_file(
        tensors | {"model.layers.0.self_attn.o_proj.bias": np.ones(64, np.float32)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path)
    tiny.line(caught.value, "o_proj.bias", "not part of the llama family")


def test_what_old_exporters_added_is_ignored(tiny, tmp_path: Path) -> None:
    """Rotary tables and the copy of a tied head change nothing."""
    from safetensors.numpy import save_file

    tensors = tiny.folder(tmp_path)
    extra = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32),
        "lm_head.weight": tensors["model.embed_tokens.weight"],
    }
    save_file(tensors | extra, tmp_path / "model.safetensors")
    assert set(open_tiny(tmp_path).names()) == set(tensors)


def test_broken_shards_are_one_line(tiny, tmp_path: Path) -> None:
    """A shard that is missing, swapped or outside the folder."""
    tiny.folder(tmp_path, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    good = json.loads(index.read_text())["weight_map"]
    first = sorted(good)[0]
    other = next(name for name in good.values() if name != good[first])
    for changed, says in (
        (good | {first: other}, "is not where"),
        (good | {"model.extra": other}, "model.extra is not in"),
        (good | {first: "../outside.safetensors"}, "outside the folder"),
        (good | {first: "gone.safetensors"}, "missing"),
        ([], "no weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(SourceError) as caught:
            open_tiny(tmp_path)
        tiny.line(caught.value, says)
    index.write_text("{")
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path)
    tiny.line(caught.value, "not valid JSON")


def test_no_weights_are_one_line(tiny, tmp_path: Path, cache) -> None:
    """Missing folder, no weights, pickle only."""
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec("hf:gone", "0"), cache, base_folder=tmp_path)
    tiny.line(caught.value, "not a folder")
    tiny.folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path)
    tiny.line(caught.value, "has no model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path)
    tiny.line(caught.value, "pickle")


def test_the_digest_is_of_the_content(tiny, tmp_path: Path) -> None:
    """Where a model lies and what lies beside it do not count; any byte that the build reads does."""
    tiny.folder(tmp_path / "a")
    tiny.folder(tmp_path / "b")
    (tmp_path / "b" / "README.md").write_text("x")
    digest = folder_digest(tmp_path / "a")
    assert folder_digest(tmp_path / "b") == digest
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        path = tmp_path / "b" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"\0")
        assert folder_digest(tmp_path / "b") != digest, name
        path.write_bytes(content)
    (tmp_path / "b" / "chat_template.jinja").write_text("x")
    assert folder_digest(tmp_path / "b") != digest
