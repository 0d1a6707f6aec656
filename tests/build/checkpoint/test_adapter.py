"""LoRA adapters: the merged rows are right and the same however they are cut; what does not fit is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from edge.build.checkpoint import Checkpoint, MergedCheckpoint, adapter_digest, factor_shapes, with_adapter
from edge.build.checkpoint.gguf_file import GgufCheckpoint
from edge.build.checkpoint.huggingface import FolderCheckpoint
from edge.errors import SourceError

RANK = 4
TARGETS = {"self_attn.q_proj": (64, 64), "self_attn.v_proj": (32, 64), "mlp.down_proj": (64, 96)}
SETTINGS: dict[str, Any] = {
    "peft_type": "LORA",
    "r": RANK,
    "lora_alpha": 16,
    "target_modules": ["q_proj", "v_proj", "down_proj"],
    "bias": "none",
    "base_model_name_or_path": None,
    # what peft writes besides
    "lora_dropout": 0.05,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "use_dora": False,
    "init_lora_weights": True,
    "task_type": "CAUSAL_LM",
    "loftq_config": {},
    "some_new_key_of_peft": None,
}


def factor_names(module: str) -> tuple[str, str]:
    return f"base_model.model.{module}.lora_A.weight", f"base_model.model.{module}.lora_B.weight"


def write_adapter(folder: Path, ranks: dict[str, int] | None = None, **changes: Any) -> dict[str, np.ndarray]:
    """A PEFT folder with random factors for both layers; returns them."""
    rng = np.random.default_rng(3)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(2):
        for target, (rows, columns) in TARGETS.items():
            module = f"model.layers.{layer}.{target}"
            rank = (ranks or {}).get(module, RANK)
            name_a, name_b = factor_names(module)
            tensors[name_a] = rng.standard_normal((rank, columns)).astype(np.float32)
            tensors[name_b] = rng.standard_normal((rows, rank)).astype(np.float32)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS | changes))
    return tensors


@pytest.fixture
def base(tiny, tmp_path: Path) -> FolderCheckpoint:
    tiny.folder(tmp_path / "base")
    return FolderCheckpoint(tmp_path / "base", digest="1" * 64, license_id="Apache-2.0")


def merge(base: Checkpoint, folder: Path) -> MergedCheckpoint:
    return with_adapter(base, folder, adapter_digest(folder))


def expected(base: Checkpoint, tensors: dict[str, np.ndarray], module: str, scale: float) -> np.ndarray:
    name_a, name_b = factor_names(module)
    update = tensors[name_b].astype(np.float64) @ tensors[name_a].astype(np.float64)
    return base.read(module + ".weight") + scale * update


@pytest.mark.parametrize(
    ("changes", "scale"),
    [({}, 16 / 4), ({"use_rslora": True}, 16 / math.sqrt(4)), ({"lora_alpha": 1.5}, 1.5 / 4)],
)
def test_the_merge_is_base_plus_scaled_product(tmp_path: Path, base, changes: dict[str, Any], scale: float) -> None:
    """A wrong scale is a fine-tune that is too weak or too strong, and still talks."""
    tensors = write_adapter(tmp_path / "a", **changes)
    merged = merge(base, tmp_path / "a")
    for layer in range(2):
        for target in TARGETS:
            module = f"model.layers.{layer}.{target}"
            read = merged.read(module + ".weight")
            assert read.dtype == np.float32
            np.testing.assert_allclose(read, expected(base, tensors, module, scale), rtol=1e-5, atol=1e-4)
    untouched = "model.layers.0.self_attn.k_proj.weight"
    np.testing.assert_array_equal(merged.read(untouched), base.read(untouched))
    assert merged.names() == base.names()
    assert merged.config == base.config
    assert merged.tokenizer_files() == base.tokenizer_files()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds=st.tuples(st.integers(0, 64), st.integers(0, 64)).map(sorted), slab=st.sampled_from([96, 1000, 1 << 20]))
def test_a_slice_has_the_bits_of_the_whole(tmp_path: Path, base, bounds: list[int], slab: int) -> None:
    """Else the bundle digest would depend on how the build cuts tensors."""
    write_adapter(tmp_path / "a")
    merged = merge(base, tmp_path / "a")
    name = "model.layers.1.mlp.down_proj.weight"
    whole = merged.read(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.build.checkpoint.adapter.SLAB_VALUES", slab)
        np.testing.assert_array_equal(merged.read(name, *bounds), whole[slice(*bounds)])


def test_an_adapter_goes_onto_a_gguf(tiny, tmp_path: Path) -> None:
    """Its rows are added in Hugging Face's order, after q and k were put back."""
    tensors = write_adapter(tmp_path / "a")
    tiny.gguf(tmp_path / "m.gguf")
    base = GgufCheckpoint(tmp_path / "m.gguf", digest="2" * 64, license_id="x")
    module = "model.layers.1.self_attn.q_proj"
    read = merge(base, tmp_path / "a").read(module + ".weight", 10, 30)
    np.testing.assert_allclose(read, expected(base, tensors, module, 4.0)[10:30], rtol=1e-5, atol=1e-4)


def test_patterns_of_rank_and_alpha(tmp_path: Path, base) -> None:
    """peft's rule: the first pattern that matches the end of the path decides."""
    special = "model.layers.1.self_attn.q_proj"
    tensors = write_adapter(
        tmp_path / "a",
        ranks={special: 2},
        rank_pattern={r"layers\.1\.self_attn\.q_proj": 2},
        alpha_pattern={"v_proj": 8, special: 3},
    )
    merged = merge(base, tmp_path / "a")
    for module, scale in (
        (special, 3 / 2),
        ("model.layers.0.self_attn.v_proj", 8 / 4),
        ("model.layers.0.self_attn.q_proj", 4.0),
    ):
        np.testing.assert_allclose(
            merged.read(module + ".weight"), expected(base, tensors, module, scale), rtol=1e-5, atol=1e-4
        )


def test_the_digest_is_of_base_and_adapter(tmp_path: Path, base) -> None:
    """Two fine-tunes of one base must never share a cache entry or a bundle digest."""
    write_adapter(tmp_path / "a")
    first = merge(base, tmp_path / "a").digest
    assert first == merge(base, tmp_path / "a").digest != base.digest
    write_adapter(tmp_path / "a", lora_alpha=17)
    assert merge(base, tmp_path / "a").digest != first


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peft_type": "LOHA"}, "known: LORA"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias 'lora_only'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"init_lora_weights": "pissa_niter_16"}, "changed the base model"),
        ({"trainable_token_indices": [1]}, "key 'trainable_token_indices'"),
        ({"layer_replication": [[0, 1]]}, "key 'layer_replication'"),
        ({"target_modules": ["q_proj", "c_attn"]}, "'c_attn' is not known (known: q_proj"),
        ({"target_modules": ["q_proj", "o_proj"]}, "no factors for target module 'o_proj'"),
        ({"r": 8}, "rank 8 and the base ask for [8, 96]"),
        ({"r": 0}, "r is 0"),
        ({"r": None}, "r is None"),
        ({"r": "4"}, "r is '4'"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"rank_pattern": ["q"]}, "rank_pattern"),
        ({"rank_pattern": {"(": 4}}, "not a pattern"),
    ],
)
def test_what_cannot_be_merged_exactly_is_refused(
    tiny, tmp_path: Path, base, changes: dict[str, Any], says: str
) -> None:
    """Each would give a model that differs from the one that was trained and tested."""
    write_adapter(tmp_path / "a", **changes)
    with pytest.raises(SourceError) as caught:
        merge(base, tmp_path / "a")
    tiny.line(caught.value, says)
    base.read("model.norm.weight")  # the base is still open


def test_every_tensor_must_be_used(tiny, tmp_path: Path, base) -> None:
    """Half an adapter is not the adapter."""
    tensors = write_adapter(tmp_path / "a")
    name_a, name_b = factor_names("model.layers.0.self_attn.q_proj")
    deep_a, deep_b = factor_names("model.layers.7.self_attn.q_proj")
    head_a, head_b = factor_names("lm_head")
    some = np.ones((RANK, 64), np.float32)
    for changed, says in (
        ({name: value for name, value in tensors.items() if name != name_b}, f"{name_b} is missing"),
        ({name: value for name, value in tensors.items() if name != name_a}, f"{name_a} is missing"),
        (tensors | {"base_model.model.lm_head.weight": some}, "not a LoRA factor"),
        (tensors | {"base_model.model.model.embed_tokens.lora_embedding_A": some}, "not a LoRA factor"),
        (tensors | {deep_a: some, deep_b: some.T.copy()}, "has no model.layers.7.self_attn.q_proj"),
        (tensors | {head_a: some, head_b: some.T.copy()}, "has no lm_head"),
        (tensors | {name_a: np.ones((RANK, 65), np.float32)}, "shape [4, 65]"),
        (tensors | {name_b: np.ones((63, RANK), np.float32)}, "shape [63, 4]"),
    ):
        save_file(changed, tmp_path / "a" / "adapter_model.safetensors")
        with pytest.raises(SourceError) as caught:
            merge(base, tmp_path / "a")
        tiny.line(caught.value, says)
    save_file({"x": some}, tmp_path / "a" / "adapter_model.safetensors")
    with pytest.raises(SourceError) as caught:
        merge(base, tmp_path / "a")
    tiny.line(caught.value, "not a LoRA factor")


@pytest.mark.parametrize(
    ("base_name", "trained_on", "fits"),
    [
        ("smollm2-135M", "HuggingFaceTB/SmolLM2-135M-Instruct", True),
        ("smollm2-135M", "meta-llama/Llama-3.2-1B", False),
        ("smollm2-135M", "HuggingFaceTB/SmolLM2-360M-Instruct", False),
        ("smollm2-135M", "/home/someone/base", True),
        ("smollm2-135M", None, True),
        ("", "meta-llama/Llama-3.2-1B", True),
        ("/models/base", "meta-llama/Llama-3.2-1B", True),
        ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B-Instruct", True),
        ("meta-llama/Llama-3.2-1B-Instruct", "unsloth/Llama-3.2-1B-Instruct-bnb-4bit", True),
        ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B", False),
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.1-8B", False),
    ],
)
def test_an_adapter_of_another_base_is_refused_by_name(
    tiny, tmp_path: Path, base, base_name: str, trained_on: str | None, fits: bool
) -> None:
    """Base and instruct versions have the same shapes; only the name tells them apart."""
    base.base_name = base_name
    write_adapter(tmp_path / "a", base_model_name_or_path=trained_on)
    if fits:
        merge(base, tmp_path / "a")
        return
    with pytest.raises(SourceError) as caught:
        merge(base, tmp_path / "a")
    tiny.line(caught.value, str(trained_on), base_name)


def test_pin_and_damage(tiny, tmp_path: Path, base) -> None:
    """Swapped, unpinned, truncated, pickled or absent: one line each."""
    write_adapter(tmp_path / "a")
    digest = adapter_digest(tmp_path / "a")
    for pin, says in ((None, digest), ("cd" * 32, "not what the profile pins")):
        with pytest.raises(SourceError) as caught:
            with_adapter(base, tmp_path / "a", pin)
        tiny.line(caught.value, says)
    path = tmp_path / "a" / "adapter_model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError) as caught:
        merge(base, tmp_path / "a")
    tiny.line(caught.value, "truncated")
    path.unlink()
    with pytest.raises(SourceError) as caught:
        merge(base, tmp_path / "a")
    tiny.line(caught.value, "missing")
    (tmp_path / "a" / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(SourceError) as caught:
        merge(base, tmp_path / "a")
    tiny.line(caught.value, "pickle")


@pytest.mark.parametrize(("changes", "scale"), [({}, 4.0), ({"lora_alpha": 1.5}, 1.5 / 4)])
def test_factors_hold_the_scale(tmp_path: Path, base, changes: dict[str, Any], scale: float) -> None:
    """An adapter beside its base must count as much as a merged one."""
    tensors = write_adapter(tmp_path / "a", **changes)
    merged = merge(base, tmp_path / "a")
    module = "model.layers.1.mlp.down_proj"
    factors = merged.factors(module + ".weight")
    assert factors is not None
    a, b = factors
    np.testing.assert_array_equal(a, tensors[factor_names(module)[0]])
    np.testing.assert_allclose(b, tensors[factor_names(module)[1]] * scale, rtol=1e-6)
    assert (a.dtype, b.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(merged.base.read(module + ".weight") + b @ a, merged.read(module + ".weight"), atol=1e-4)
    assert merged.factors("model.layers.0.self_attn.k_proj.weight") is None


def test_shapes_without_a_base(tmp_path: Path, base) -> None:
    """`edge plan` has no weights: the adapter's file alone must tell as much as the whole does."""
    write_adapter(
        tmp_path / "a", ranks={"model.layers.0.self_attn.q_proj": 2}, rank_pattern={"layers.0.self_attn.q_proj": 2}
    )
    shapes = factor_shapes(tmp_path / "a")
    assert shapes == merge(base, tmp_path / "a").shapes
    assert shapes["model.layers.0.self_attn.q_proj.weight"] == (2, 64, 64)
    assert shapes["model.layers.1.mlp.down_proj.weight"] == (RANK, 64, 96)
    save_file({"model.x": np.zeros((2, 2), np.float32)}, tmp_path / "a" / "adapter_model.safetensors")
    with pytest.raises(SourceError, match="holds no LoRA factors"):
        factor_shapes(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    with pytest.raises(SourceError, match="is missing"):
        factor_shapes(tmp_path / "a")
