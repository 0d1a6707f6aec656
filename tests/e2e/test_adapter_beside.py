"""`merged: false` from the profile to the device: one base file for every adapter, and a small one that differs.

When this fails, an update of the fine-tune moves the whole model again, or a device runs the base without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.build.checkpoint import adapter_digest
from tests.build.checkpoint.test_adapter import write_adapter
from tests.e2e.world import World, tree

MIXED = {
    "quantisation": {
        "scheme": "mixed",
        "rounding": "gptq",
        "symmetric": False,
        "calibration": {"text": "text", "tokens": 64},
    },
    "budgets": {"fidelity": {"mean_kl_max": 0.1, "top1_min": 0.1}},
}


def asked(world: World, name: str, **changes: Any) -> dict[str, Any]:
    """The part of a profile that names an adapter of its own, beside the base."""
    folder = world.profiles / name
    write_adapter(folder, **changes)
    return MIXED | {"adapter": {"path": name, "sha256": adapter_digest(folder), "merged": False}}


@pytest.mark.slow
def test_another_adapter_is_a_small_update(built: World, tmp_path: Path) -> None:
    """Rounded once for all; every file but the adapter's, the golden cases and the papers is the same."""
    world = built.copy(tmp_path)
    world.profile("one", **asked(world, "first", lora_alpha=1))
    world.profile("two", **asked(world, "second", lora_alpha=0.5))
    world.profile("base", **MIXED)
    world.build("one").ok()
    assert "unmerged, rank 4, 0.0 MB" in world.build("two").ok().out
    world.build("base").ok()
    one, two, base = (tree(world.root / "out" / name / "model") for name in ("one", "two", "base"))
    assert one["model.weights"] == two["model.weights"] == base["model.weights"]
    assert one["model.onnx"] == two["model.onnx"] != base["model.onnx"]
    assert one["adapter.weights"] != two["adapter.weights"]
    assert "adapter.weights" not in base
    for kind in ("rounded", "choice"):
        assert len(list((world.root / "cache" / kind).iterdir())) == 1, kind
    golden = [
        json.loads((world.root / "out" / name / "golden" / "source.json").read_bytes()) for name in ("one", "base")
    ]
    assert golden[0] != golden[1], "the source's opinion is that of base and adapter"
    shown = world.edge("inspect", "out/one").ok().out
    assert "unmerged, rank 4, model/adapter.weights" in shown
    world.verify("out/one").ok()
    assert "identical" in world.edge("rebuild", "--check", "out/one").ok().out
