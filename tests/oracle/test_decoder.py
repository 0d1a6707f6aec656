"""edge's native export, its numpy reference and its second route against transformers, for every native family.

If a limit fails, edge computes another model than the one that was trained. The figures themselves are properties of
the tests (`pytest --junitxml=FILE -o junit_family=xunit1`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.build.checkpoint.huggingface import FolderCheckpoint
from edge.build.export import export_native, uniform_formats
from edge.build.graph import ExportPlan
from edge.build.optimum_graph import load_graph, save_model
from edge.build.reference import Reference
from edge.runtime.engine import Engine
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.optimum_engine import OptimumEngine
from edge.specs.decoder import RopeScaling
from tests.oracle.conftest import TOKENS, Oracle
from tests.tiny import CONFIGS, tiny_ids, tiny_source

pytestmark = pytest.mark.slow

FLOAT32_LIMIT = 1e-5  # of the largest logit: float32 sums in another order; seen: 1.8e-6
REFERENCE_LIMIT = 2e-5  # of the largest logit: factors of 21 bits in exact.matmul; seen: 3.6e-6


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, as a share of the largest logit."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def in_chunks(engine: Engine, ids: list[int]) -> np.ndarray:
    """Logits of all positions, read in uneven chunks down to single tokens, with a detour that is rewound."""
    pieces = [engine.forward(ids[:17], range(17))]
    engine.forward(ids[20:30], (9,))
    engine.rewind(17)
    pieces.append(engine.forward(ids[17:40], range(23)))
    pieces += [engine.forward([token], (0,)) for token in ids[40:]]
    return np.concatenate(pieces)


Record = Callable[[str, object], None]


@pytest.fixture(params=sorted(CONFIGS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(oracle: Oracle, family: str) -> FolderCheckpoint:
    checkpoint = FolderCheckpoint(oracle.model(family), digest="0" * 64, license_id="Apache-2.0")
    assert checkpoint.config == CONFIGS[family], "the folder's reader understood another decoder"
    return checkpoint


def test_native_export(oracle: Oracle, family: str, tmp_path: Path, record_property: Record) -> None:
    """The graph that ships, at fp32, from the folder's reader to the engine."""
    config = CONFIGS[family]
    checkpoint = opened(oracle, family)
    export_native(checkpoint, ExportPlan(uniform_formats(config, None), None, TOKENS), tmp_path)
    engine = OnnxEngine(tmp_path, threads=1)
    error = worst(in_chunks(engine, tiny_ids(TOKENS, config)), oracle.logits(family))
    record_property("worst", error)
    assert error < FLOAT32_LIMIT
    engine.close()
    checkpoint.close()


def test_reference(oracle: Oracle, family: str, record_property: Record) -> None:
    """The host-independent forward pass that rounding, mixing and golden cases rest on."""
    config = CONFIGS[family]
    checkpoint = opened(oracle, family)
    reference = Reference(checkpoint, [tiny_ids(7, config, seed=9), tiny_ids(TOKENS, config)])
    error = worst(reference.logits(reference.run())[7:], oracle.logits(family))
    record_property("worst", error)
    assert error < REFERENCE_LIMIT
    checkpoint.close()


def test_optimum_export(oracle: Oracle, family: str, tmp_path: Path, record_property: Record) -> None:
    """Optimum's export of the same model, through edge's engine for it: the third opinion."""
    save_model(load_graph(oracle.out(family) / "export" / "model.onnx"), tmp_path, {"max_positions": str(TOKENS)})
    engine = OptimumEngine(tmp_path, threads=1)
    error = worst(in_chunks(engine, tiny_ids(TOKENS, CONFIGS[family])), oracle.logits(family))
    record_property("worst", error)
    assert error < FLOAT32_LIMIT
    engine.close()


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama3-rope", {"rope_scaling": None}),
        ("llama3-rope", {"rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, original_max_positions=64)}),
        ("linear-rope", {"rope_scaling": RopeScaling("linear", 4.1)}),
        ("mistral-sliding", {"sliding_window": 6}),
        ("mistral-sliding", {"sliding_window": None}),
        ("llama-tied", {"rms_norm_eps": 1e-3}),
        ("llama-tied", {"rope_theta": 10100.0}),
    ],
)
def test_the_oracle_has_teeth(oracle: Oracle, family: str, changes: dict[str, object]) -> None:
    """A slightly wrong decoder is far outside the limits, so passing them means something."""
    config = CONFIGS[family]
    wrong = replace(tiny_source(config), config=replace(config, **changes))  # type: ignore[arg-type]
    reference = Reference(wrong, [tiny_ids(TOKENS, config)])
    assert worst(reference.logits(reference.run()), oracle.logits(family)) > 10 * REFERENCE_LIMIT
