"""What mlc_llm is given to read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from edge.build.checkpoint import adapter_digest, folder_digest, with_adapter
from edge.build.checkpoint.huggingface import FolderCheckpoint
from edge.build.mlc_llm import source_folder
from edge.build.mlc_llm.source_folder import config_json, write_source
from tests.build.mlc_llm.conftest import BASE, write_adapter, write_model
from tests.tiny import CONFIGS


def opened(folder: Path) -> FolderCheckpoint:
    return FolderCheckpoint(folder, digest=folder_digest(folder), license_id="MIT")


def test_rope_theta_is_at_the_top_level(tmp_path: Path) -> None:
    """If it fails, mlc_llm takes 10,000 for the rotary base of a model saved by a newer transformers."""
    model = write_model(tmp_path / "m")
    raw = json.loads((model / "config.json").read_text())
    raw["rope_parameters"] = {"rope_theta": raw.pop("rope_theta"), "rope_type": "default"}
    (model / "config.json").write_text(json.dumps(raw))
    write_source(opened(model), tmp_path / "given", b"{}")
    assert json.loads((tmp_path / "given" / "config.json").read_text())["rope_theta"] == 500000


def test_scaling_of_llama_3_is_handed_on() -> None:
    """If it fails, long contexts of Llama 3 models turn to noise."""
    scaling = config_json(CONFIGS["llama3-rope"])["rope_scaling"]
    assert scaling["rope_type"] == "llama3"
    assert scaling["original_max_position_embeddings"] == 32
    assert "rope_scaling" not in config_json(BASE)


def test_a_folder_of_weights_is_linked_and_not_written_to(tmp_path: Path) -> None:
    """If it fails, the disk fills with a copy, or the command writes its index into the user's folder."""
    model = write_model(tmp_path / "m")
    before = sorted(path.name for path in model.iterdir())
    assert write_source(opened(model), tmp_path / "given", b"{}")
    assert (tmp_path / "given" / "model.safetensors").is_symlink()
    index = json.loads((tmp_path / "given" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(opened(model).names())
    assert sorted(path.name for path in model.iterdir()) == before


def test_merged_weights_are_written_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, what mlc_llm reads is not what edge merged (several files, several slabs, read by safetensors)."""
    monkeypatch.setattr(source_folder, "FILE_BYTES", 40_000)
    monkeypatch.setattr(source_folder, "SLAB_BYTES", 1000)
    base = opened(write_model(tmp_path / "m"))
    folder = write_adapter(tmp_path / "a")
    merged = with_adapter(base, folder, adapter_digest(folder))
    seen: list[tuple[int, int]] = []
    assert not write_source(merged, tmp_path / "given", b"{}", lambda done, total: seen.append((done, total)))
    index = json.loads((tmp_path / "given" / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1
    for name in merged.names():
        with safe_open(tmp_path / "given" / index[name], "numpy") as file:
            assert (file.get_tensor(name) == merged.read(name)).all()
    assert seen[-1] == (len(merged.names()), len(merged.names()))
    assert not np.array_equal(
        merged.read("model.layers.0.mlp.down_proj.weight"), base.read("model.layers.0.mlp.down_proj.weight")
    )
