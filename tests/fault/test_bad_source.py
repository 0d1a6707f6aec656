"""A broken or wrong model, adapter, tokenizer or text: one line, its exit code, and the old bundle is unharmed.

When these fail, a person gets a traceback, a bundle of the wrong weights, or loses the bundle that worked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.build.checkpoint import adapter_digest
from edge.errors import ExitStatus
from edge.files import sha256_file
from tests.build.checkpoint.conftest import write_gguf
from tests.build.checkpoint.test_adapter import write_adapter
from tests.e2e.world import World, tree, write_model

SOURCE = ExitStatus.SOURCE
Changes = dict[str, Any]
Case = tuple[Callable[[World], Changes | None], ExitStatus, tuple[str, ...]]


def model_file(world: World) -> Path:
    return world.profiles / "model" / "model.safetensors"


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None takes one away."""
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


# ---- ways to spoil a source: change the files, return what the profile then says ---------------------------------


def truncated(world: World) -> None:
    data = model_file(world).read_bytes()
    model_file(world).write_bytes(data[: len(data) * 2 // 3])


def absurd_header(world: World) -> None:
    model_file(world).write_bytes((1 << 62).to_bytes(8, "little") + model_file(world).read_bytes()[8:])


def not_a_number(world: World) -> None:
    tensors = load_file(model_file(world))
    tensors["model.layers.1.mlp.up_proj.weight"][5, 7] = np.nan
    save_file(tensors, model_file(world))


def missing_tensor(world: World) -> None:
    tensors = load_file(model_file(world))
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model_file(world))


def other_weights(world: World) -> Changes:
    pinned = world.profile()
    digest = next(line.split()[1] for line in pinned.read_text().splitlines() if "sha256" in line)
    data = bytearray(model_file(world).read_bytes())
    data[-1] ^= 1
    model_file(world).write_bytes(data)
    return {"model": {"sha256": digest}}


def no_folder(world: World) -> Changes:
    return {"model": {"source": "hf:nowhere", "sha256": "0" * 64}}


def unknown_architecture(world: World) -> None:
    edit_json(world.profiles / "model" / "config.json", model_type="mamba2")


def without_tokenizer(world: World) -> None:
    (world.profiles / "model" / "tokenizer.json").unlink()


def broken_tokenizer(world: World) -> None:
    path = world.profiles / "model" / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:500])


def tokenizer_of_a_larger_model(world: World) -> None:
    other = world.root / "other"
    write_model(other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    size = len(tokenizer["model"]["vocab"]) + len(tokenizer["added_tokens"])
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][0] | {"id": size + 5, "content": "<|new|>"})
    (world.profiles / "model" / "tokenizer.json").write_text(json.dumps(tokenizer))


def without_template(world: World) -> None:
    edit_json(world.profiles / "model" / "tokenizer_config.json", chat_template=None)


def gguf(world: World, spoil: Callable[[bytes], bytes]) -> Changes:
    path = world.profiles / "model.gguf"
    write_gguf(path, max_position_embeddings=8192)
    path.write_bytes(spoil(path.read_bytes()))
    return {"model": {"source": "gguf:model.gguf", "sha256": sha256_file(path)}}


def truncated_gguf(world: World) -> Changes:
    return gguf(world, lambda data: data[: len(data) * 2 // 3])


def gguf_cut_in_its_header(world: World) -> Changes:
    return gguf(world, lambda data: data[:700])


def corrupt_gguf(world: World) -> Changes:
    return gguf(world, lambda data: data[:16] + b"\xff" * 8 + data[24:])


def adapter(world: World, **changes: Any) -> Changes:
    folder = world.profiles / "adapter"
    if not folder.exists():
        write_adapter(folder, **changes)
    return {"adapter": {"path": "adapter", "sha256": adapter_digest(folder)}}


def adapter_of_another_base(world: World) -> Changes:
    edit_json(world.profiles / "model" / "config.json", _name_or_path="clinic/small-llama")
    return adapter(world, base_model_name_or_path="clinic/large-mistral")


def adapter_of_other_shapes(world: World) -> Changes:
    write_adapter(world.profiles / "adapter")
    path = world.profiles / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("1.mlp.down_proj.lora_B.weight"))
    tensors[name] = np.zeros((96, tensors[name].shape[1]), np.float32)
    save_file(tensors, path)
    return adapter(world)


def truncated_adapter(world: World) -> Changes:
    write_adapter(world.profiles / "adapter")
    path = world.profiles / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    return adapter(world)


def text_in_latin_1(world: World) -> None:
    (world.profiles / "text" / "visit1.txt").write_bytes("Patientin fühlt Druck".encode("latin-1"))


def no_texts(world: World) -> Changes:
    (world.profiles / "empty").mkdir()
    return {"fidelity_text": {"text": "empty", "tokens": 96}}


CASES: tuple[Case, ...] = (
    (truncated, SOURCE, ("model.safetensors",)),
    (absurd_header, SOURCE, ("model.safetensors",)),
    (not_a_number, SOURCE, ("model.layers.1.mlp.up_proj.weight",)),
    (missing_tensor, SOURCE, ("model.layers.1.mlp.up_proj.weight", "missing")),
    (other_weights, SOURCE, ("is not what the profile pins",)),
    (no_folder, SOURCE, ("nowhere",)),
    (unknown_architecture, SOURCE, ("'mamba2'", "known: llama, ", "qwen3")),
    (without_tokenizer, SOURCE, ("tokenizer.json",)),
    (broken_tokenizer, SOURCE, ("tokenizer.json",)),
    (tokenizer_of_a_larger_model, SOURCE, ("token",)),
    (without_template, SOURCE, ("chat template",)),
    (truncated_gguf, SOURCE, ("model.gguf",)),
    (gguf_cut_in_its_header, SOURCE, ("model.gguf",)),
    (corrupt_gguf, SOURCE, ("model.gguf",)),
    (adapter_of_another_base, SOURCE, ("clinic/large-mistral", "clinic/small-llama")),
    (adapter_of_other_shapes, SOURCE, ("layers.1.mlp.down_proj",)),
    (truncated_adapter, SOURCE, ("adapter_model.safetensors",)),
    (text_in_latin_1, SOURCE, ("visit1.txt", "UTF-8")),
    (no_texts, SOURCE, ("empty", ".txt")),
)


@pytest.mark.parametrize(("spoil", "status", "parts"), CASES, ids=[case[0].__name__ for case in CASES])
def test_one_line_and_nothing_lost(
    world: World, spoil: Callable[[World], Changes | None], status: ExitStatus, parts: tuple[str, ...]
) -> None:
    """If not: this kind of broken source ends in a traceback, a wrong exit code, or costs the old bundle."""
    world.profile(**(spoil(world) or {}))
    before = tree(world.bundle)
    line = world.build().fails(status, *parts)
    assert len(line) < 600
    assert tree(world.bundle) == before
    assert sorted(path.name for path in (world.root / "out").iterdir()) == ["tiny", "tiny.build.json"]
    assert world.litter() == []


def test_a_first_build_that_fails_leaves_no_bundle(world: World) -> None:
    """If not: half a bundle stands where one is looked for."""
    not_a_number(world)
    world.profile("new")
    world.build("new").fails(SOURCE)
    assert not (world.root / "out" / "new").exists()
    assert world.litter() == []


def test_a_budget_that_does_not_hold(world: World) -> None:
    """If not: a build that is worse than its profile allows becomes a bundle, or does not say what hurts most."""
    world.profile(budgets={"fidelity": {"mean_kl_max": 1e-7}})
    before = tree(world.bundle)
    world.build().fails(ExitStatus.GATE, "mean KL", "the budget is 1e-07", "layers.")
    assert tree(world.bundle) == before
    assert "worst_matrices" in (world.root / "out" / "tiny.build.json").read_text()


PROFILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "misspelt": ("scheme: int4", "scheme: int3", ("profiles/tiny.yaml:", "quantisation.scheme", "int4")),
    "unknown key": ("context_tokens:", "contxt_tokens:", ("profiles/tiny.yaml:", "context_tokens")),
    "unknown target": ("x86_64-linux", "x86-64-linux", ("x86_64-linux", "raspberry-pi-5")),
    "not yaml": ("version: 1", "version: [1", ("profiles/tiny.yaml",)),
}


@pytest.mark.parametrize("name", PROFILES)
def test_wrong_profile(world: World, name: str) -> None:
    """If not: a slip in a profile is not told with its line and the right spelling."""
    path = world.profiles / "tiny.yaml"
    old, new, parts = PROFILES[name]
    path.write_text(path.read_text().replace(old, new))
    world.build().fails(ExitStatus.SPEC, *parts)


def test_no_profile(built: World) -> None:
    """If not: a wrong path ends in a traceback."""
    built.edge("build", "profiles/none.yaml").fails(ExitStatus.SPEC, "profiles/none.yaml")
