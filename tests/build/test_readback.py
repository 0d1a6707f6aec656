"""Reading back what was built: codes, formats and rows from the files alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.build.quantise import QuantFormat, quantise_rtn
from edge.build.readback import BuiltModel
from edge.build.reference import MATRICES, matrix_parts, read_layer
from edge.errors import SourceError
from tests.tiny import BASE, export, tiny_source

FORMATS = [None, *(QuantFormat(*row) for row in ((4, 32, True), (4, 32, False), (8, 64, True), (4, 128, False)))]


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_reads_what_was_written(tmp_path: Path, format: QuantFormat | None) -> None:
    """Golden expectations are computed from these: another value here and every device fails its test."""
    source = tiny_source(replace(BASE, tie_embeddings=False, hidden_size=80))
    head = format and QuantFormat(format.bits, format.block_size, True)
    with BuiltModel(export(tmp_path / "m", source, format, head=head), source.config) as built:

        def wanted(values: np.ndarray, kind: QuantFormat | None) -> bytes:
            return (values if kind is None else quantise_rtn(values, kind).dequantised()).tobytes()

        for layer in range(source.config.layers):
            for matrix in MATRICES:
                assert built.format(f"layers.{layer}.{matrix}") == format
                values = np.concatenate([source.read(part) for part in matrix_parts(layer, matrix)])
                assert built.matrix_of(layer, matrix).tobytes() == wanted(values, format)
        assert np.concatenate(list(built.head())).tobytes() == wanted(source.read("lm_head.weight"), head)
        ids = np.array([3, 319, 3, 0])
        table = np.frombuffer(wanted(source.read("model.embed_tokens.weight"), head), np.float32).reshape(320, 80)
        assert np.array_equal(built.embedding_rows(ids), table[ids].astype(np.float64))


def test_rows_of_a_matrix(tmp_path: Path) -> None:
    """The head is read in chunks: a chunk must be those rows and no others, also past the end."""
    source = tiny_source()
    format = QuantFormat(4, 32, False)
    with BuiltModel(export(tmp_path / "m", source, format, head=QuantFormat(4, 32, True)), source.config) as built:
        whole = built.matrix_of(0, "down")
        assert built.matrix("layers.0.down", 96, 5, 9).tobytes() == whole[5:9].tobytes()
        assert built.matrix("layers.0.down", 96, 60, 1000).tobytes() == whole[60:].tobytes()


def test_norms_and_biases_stay_the_sources(tmp_path: Path) -> None:
    """Only matrices are rounded; a layer read back keeps the rest."""
    source = tiny_source()
    layer = read_layer(source, 1)
    with BuiltModel(export(tmp_path / "m", source, QuantFormat(4, 32, True)), source.config) as built:
        read = built.layer(1, layer)
    assert np.array_equal(read.input_norm, layer.input_norm)
    assert not np.array_equal(read.matrices["qkv"], layer.matrices["qkv"])


def test_a_short_file_is_said(tmp_path: Path) -> None:
    """A weights file cut off on the disk must not become zeros."""
    source = tiny_source()
    folder = export(tmp_path / "m", source, QuantFormat(4, 32, True))
    weights = folder / "model.weights"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with BuiltModel(folder, source.config) as built, pytest.raises(SourceError, match="is cut short"):
        for layer in range(2):
            for matrix in MATRICES:
                built.matrix_of(layer, matrix)
