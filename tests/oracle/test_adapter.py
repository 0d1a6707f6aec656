"""edge's LoRA merge against peft's."""

from __future__ import annotations

import numpy as np
import pytest

from edge.build.checkpoint.adapter import adapter_digest, with_adapter
from edge.build.checkpoint.huggingface import FolderCheckpoint
from tests.oracle.conftest import ADAPTERS, Oracle

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_merged_weights(oracle: Oracle, name: str) -> None:
    """Every tensor is the one that peft's merge_and_unload gives; else the bundle is not the fine-tuned model."""
    out = oracle.out(f"lora-{name}")
    base = FolderCheckpoint(oracle.model("llama-untied"), digest="0" * 64, license_id="Apache-2.0")
    merged = with_adapter(base, out / "adapter", adapter_digest(out / "adapter"))
    changed = 0
    with np.load(out / "merged.npz") as expected:
        assert set(merged.names()) == set(expected.files)
        for tensor in merged.names():
            found, wanted = merged.read(tensor), expected[tensor]
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max(), err_msg=tensor)
            changed += not np.array_equal(found, base.read(tensor))
    assert changed >= 5, "the adapter changed hardly anything, so nothing was tested"
    merged.close()
