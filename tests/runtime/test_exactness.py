"""The device's own check that exact steps are exact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge.build.quantise import QuantFormat
from edge.runtime.engine import ExactEngine, forward_of
from edge.runtime.exactness import largest_difference
from edge.runtime.onnx_engine import OnnxEngine, native_engine
from tests.runtime.scripted import ExactScripted
from tests.tiny import CONFIGS, engine, export, tiny_ids, tiny_source


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_is_exact_here(tmp_path: Path, name: str) -> None:
    """Sliding windows, rope variants and head groups have attention of their own; each must hold the promise."""
    source = tiny_source(CONFIGS[name])
    ids = tiny_ids(24, source.config)
    int8 = QuantFormat(8, 32, True)
    built = engine(export(tmp_path / "m", source, int8, head=int8, accuracy_level=4))
    assert isinstance(built, ExactEngine)
    for held in (0, 9):
        built.rewind(0)
        if held:
            built.forward_exact(ids[:held], ())
        assert largest_difference(built, ids) == 0.0
        assert built.length == held
    built.close()


def test_a_difference_is_found() -> None:
    """An engine that rounds by the number of rows must not pass."""

    class Rounding(ExactScripted):
        def forward_exact(self, token_ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
            return self.forward(token_ids, wanted) + np.float32(len(token_ids) == 3)

    assert largest_difference(Rounding(), list(range(9))) == 1.0
    assert largest_difference(ExactScripted(), list(range(9))) == 0.0


def test_no_promise_on_arm(tmp_path: Path) -> None:
    """onnxruntime's Arm kernels are not exact over cuts: drafts there could change an answer unseen."""
    source = tiny_source(next(iter(CONFIGS.values())))
    int8 = QuantFormat(8, 32, True)
    folder = export(tmp_path / "m", source, int8, head=int8, accuracy_level=4)
    assert native_engine("x86_64") is OnnxEngine
    built = native_engine("aarch64")(folder, threads=1)
    assert not isinstance(built, ExactEngine)
    assert forward_of(built, exact=True) == built.forward
    built.close()
