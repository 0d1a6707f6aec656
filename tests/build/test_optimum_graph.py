"""Optimum's graph on its way into a bundle: cleaned, written apart, rounded by edge's own rounding."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edge.build.optimum_graph import load_graph, quantise_matrices, save_model
from edge.build.quantise import QuantFormat, quantise_rtn
from edge.errors import SourceError
from edge.runtime.optimum_engine import OptimumEngine
from tests.optimum_toy import HIDDEN, VOCAB, toy_logits, toy_weights, write_toy

IDS = [int(index) for index in np.random.default_rng(3).integers(0, VOCAB, 20)]
INT8 = QuantFormat(8, 32, True)


def saved(folder: Path, format: QuantFormat | None = None) -> ir.Model:
    """Write the toy into `folder`; returns the model as it was written."""
    model = load_graph(write_toy(folder.with_name(f"{folder.name}-raw")))
    folder.mkdir()
    if format is not None:
        assert quantise_matrices(model, format, 0, VOCAB) == 2
    save_model(model, folder, {"max_positions": "40", "family": "toy"})
    return model


def answers(folder: Path) -> np.ndarray:
    engine = OptimumEngine(folder, threads=1)
    logits = engine.forward(IDS, range(len(IDS)))
    engine.close()
    return logits


def test_same_model_and_same_bytes_everywhere(tmp_path: Path) -> None:
    """Cleaning changes no answer and leaves nothing of the host: two builds in two folders are one model."""
    saved(tmp_path / "a")
    np.testing.assert_allclose(answers(tmp_path / "a"), toy_logits(IDS), rtol=0, atol=1e-4)
    (tmp_path / "elsewhere").mkdir()
    saved(tmp_path / "elsewhere" / "b")
    for name in ("model.onnx", "model.weights"):
        data = (tmp_path / "a" / name).read_bytes()
        assert data == (tmp_path / "elsewhere" / "b" / name).read_bytes()
        for trace in (b"somebody", b"12:30", b"pytorch", os.fsencode(tmp_path)):
            assert trace not in data
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["model.onnx", "model.weights"]


def test_a_bundle_moves(tmp_path: Path) -> None:
    """The graph names its weights file relative to itself, so an installed bundle loads anywhere."""
    saved(tmp_path / "a")
    expected = answers(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    np.testing.assert_array_equal(answers(tmp_path / "b"), expected)


def test_int8_is_edges_rounding(tmp_path: Path) -> None:
    """The rounded model answers as the toy does with every matrix dequantised from quantise.py's codes."""
    saved(tmp_path / "q", INT8)
    weights = toy_weights()
    table = quantise_rtn(weights["table"], INT8).dequantised()
    inner = quantise_rtn(np.ascontiguousarray(weights["inner"].T), INT8).dequantised().T
    rows = table[IDS] + weights["positions"][: len(IDS)]
    expected = (np.cumsum(rows, axis=0) @ inner + weights["bias"]) @ table.T
    np.testing.assert_allclose(answers(tmp_path / "q"), expected, rtol=0, atol=1e-4)
    assert np.abs(expected - toy_logits(IDS)).max() > 1e-3, "rounding changed nothing, so nothing was tested"


def test_tied_tables_share_their_bytes(tmp_path: Path) -> None:
    """Token table and head are one matrix in the file; stored twice, a small model grows by a third."""
    model = saved(tmp_path / "q", INT8)
    kept = {name: value.const_value for name, value in model.graph.initializers.items()}
    tables = [tensor for tensor in kept.values() if tensor is not None and tuple(tensor.shape) == (VOCAB, 2, 32)]
    assert len(tables) == 1
    assert not any(tensor is not None and tensor.shape == (VOCAB, HIDDEN) for tensor in kept.values())


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08\x12\xff"])
def test_unreadable_graph(tmp_path: Path, data: bytes) -> None:
    """What optimum left half-written is one line, not a traceback of protobuf's."""
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(SourceError) as caught:
        load_graph(tmp_path / "model.onnx")
    assert len(str(caught.value).splitlines()) == 1
