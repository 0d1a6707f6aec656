"""Checkpoint to ONNX: the graph computes the model, in every family, format and width, from the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.build import export as export_module
from edge.build.export import check_native, export_native, uniform_formats
from edge.build.graph import ExportPlan, matrix_name
from edge.build.quantise import QuantFormat, QuantisedRows, quantise_rtn
from edge.build.readback import BuiltModel
from edge.build.reference import MATRICES, Reference, matrix_parts, read_layer
from edge.errors import SourceError
from edge.files import sha256_file
from tests.tiny import BASE, CONFIGS, CONTEXT_TOKENS, MemorySource, engine, export, tiny_ids, tiny_source

FORMATS = [
    QuantFormat(bits, block, symmetric) for bits in (4, 8) for block in (32, 64, 128) for symmetric in (True, False)
]


def engine_logits(folder: Path, ids: list[int]) -> np.ndarray:
    built = engine(folder)
    try:
        return built.forward(ids, range(len(ids)))
    finally:
        built.close()


def readback_logits(folder: Path, source: MemorySource, ids: list[int]) -> np.ndarray:
    """What the reference computes with the weights that lie in the file."""
    reference = Reference(source, [ids])
    with BuiltModel(folder, source.config) as built:
        hidden = built.embedding_rows(reference.token_ids)
        for layer in range(source.config.layers):
            hidden = reference.layer(hidden, built.layer(layer, read_layer(source, layer)))
        return reference.logits(hidden, built.head())


@pytest.mark.parametrize("name", CONFIGS)
def test_float_graph_computes_the_model(tmp_path: Path, name: str) -> None:
    """The graph is our own: one wrong attribute of a fused operator and every family member answers nonsense."""
    source = tiny_source(CONFIGS[name])
    ids = tiny_ids(40, source.config)
    reference = Reference(source, [ids])
    wanted = reference.logits(reference.run())
    assert np.abs(engine_logits(export(tmp_path / "m", source), ids) - wanted).max() < 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_quantised_graph_computes_what_lies_in_the_file(tmp_path: Path, name: str) -> None:
    """Kernels and read-back must agree on the same bytes, or golden cases blame the device for our mistake."""
    source = tiny_source(CONFIGS[name])
    ids = tiny_ids(20, source.config)
    folder = export(tmp_path / "m", source, QuantFormat(4, 32, True), head=QuantFormat(8, 32, True))
    assert np.abs(engine_logits(folder, ids) - readback_logits(folder, source, ids)).max() < 1e-3


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_format_in_every_place(tmp_path: Path, format: QuantFormat) -> None:
    """Blocks of 64 and 128 do not divide these widths, as 128 does not divide SmolLM2's 576."""
    for tied in (True, False):
        source = tiny_source(replace(BASE, hidden_size=80, tie_embeddings=tied, layers=1))
        head = QuantFormat(format.bits, format.block_size, True)
        folder = export(tmp_path / str(tied), source, format, head=head)
        ids = tiny_ids(12)
        assert np.abs(engine_logits(folder, ids) - readback_logits(folder, source, ids)).max() < 1e-3


def test_a_mix_of_formats(tmp_path: Path) -> None:
    """`mixed` puts 4-bit, 8-bit and float matrices side by side; each node must know its own."""
    source = tiny_source()
    low, high = QuantFormat(4, 32, False), QuantFormat(8, 32, True)
    formats = uniform_formats(source.config, low)
    formats |= {matrix_name(1, matrix): high for matrix in MATRICES} | {matrix_name(0, "down"): None}
    (tmp_path / "m").mkdir()
    export_native(source, ExportPlan(formats, None, CONTEXT_TOKENS, 0), tmp_path / "m")
    with BuiltModel(tmp_path / "m", source.config) as built:
        assert {name: built.format(name) for name in formats} == formats
    ids = tiny_ids(12)
    assert np.abs(engine_logits(tmp_path / "m", ids) - readback_logits(tmp_path / "m", source, ids)).max() < 1e-3


def test_eight_bit_activations_stay_near(tmp_path: Path) -> None:
    """accuracy_level 4 is what ships: it may add noise, not another answer."""
    source = tiny_source()
    ids = tiny_ids(40)
    format = QuantFormat(8, 32, True)
    exact = engine_logits(export(tmp_path / "0", source, format, head=format), ids)
    fast = engine_logits(export(tmp_path / "4", source, format, head=format, accuracy_level=4), ids)
    assert 0 < np.abs(exact - fast).max() < 1.0
    assert (exact.argmax(axis=1) == fast.argmax(axis=1)).mean() > 0.85


@pytest.mark.parametrize("name", ["qwen3-qk-norm", "llama-untied", "qwen2-bias"])
def test_the_graph_is_well_formed(tmp_path: Path, name: str) -> None:
    """A name given twice or a weight that nobody reads is a bug that this onnxruntime may forgive and the next not.

    (onnx.checker cannot say it: SimplifiedLayerNormalization is onnxruntime's own, under ONNX's domain.)
    """
    source = tiny_source(CONFIGS[name])
    folder = export(tmp_path / name, source, QuantFormat(4, 32, False), head=QuantFormat(8, 128, True))
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    assert {entry.key: entry.value for entry in model.metadata_props}["context_tokens"] == str(CONTEXT_TOKENS)
    nodes = list(model.graph.node)
    assert len({node.name for node in nodes}) == len(nodes)
    weights = {tensor.name for tensor in model.graph.initializer}
    known = weights | {value.name for value in model.graph.input}
    used: set[str] = set()
    for node in nodes:
        inputs = {value for value in node.input if value}
        assert inputs <= known, node.name
        used |= inputs
        outputs = [value for value in node.output if value]
        assert not set(outputs) & known, node.name
        known |= set(outputs)
    assert weights <= used
    assert {value.name for value in model.graph.output} <= known
    # The weights file holds the tensors one behind the other, aligned, none over another.
    spans = set()
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if place:
            assert place["location"] == "model.weights"
            spans.add((int(place["offset"]), int(place["offset"]) + int(place["length"])))
    ordered = sorted(spans)
    assert all(start % 4096 == 0 for start, _ in ordered)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(ordered))
    assert ordered[-1][1] == (folder / "model.weights").stat().st_size


def test_same_bytes_twice_and_in_another_folder(tmp_path: Path) -> None:
    """The same profile must give the same bundle digest twice, and wherever it is built."""
    source = tiny_source(CONFIGS["qwen2-bias"])
    low, head = QuantFormat(4, 32, False), QuantFormat(8, 32, True)
    folders = [export(tmp_path / name, source, low, head=head) for name in "ab"]
    for file in ("model.onnx", "model.weights"):
        assert sha256_file(folders[0] / file) == sha256_file(folders[1] / file)
        assert str(tmp_path).encode() not in (folders[0] / file).read_bytes()


def test_chunk_size_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors are read in chunks to bound memory; where a chunk ends must not be in the file."""
    source = tiny_source(CONFIGS["llama-untied"])
    formats = (QuantFormat(4, 32, False), QuantFormat(8, 32, True))
    whole = export(tmp_path / "whole", source, formats[0], head=formats[1])
    monkeypatch.setattr(export_module, "CHUNK_BYTES", 4 * 64 * 5)
    chunked = export(tmp_path / "chunked", source, formats[0], head=formats[1])
    assert (whole / "model.weights").read_bytes() == (chunked / "model.weights").read_bytes()


def test_reads_no_more_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory must hang on the chunk: one whole-tensor read undoes the streaming."""
    largest = 0

    class Watched(MemorySource):
        def read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
            nonlocal largest
            rows = super().read(name, start, stop)
            if rows.ndim == 2:
                largest = max(largest, rows.nbytes)
            return rows

    source = tiny_source()
    monkeypatch.setattr(export_module, "CHUNK_BYTES", 4096)
    watched = Watched(source.config, source.tensors)
    export(tmp_path / "m", watched, QuantFormat(4, 32, True), head=QuantFormat(8, 32, True))
    assert largest <= 4096


def test_rounded_matrices_are_taken_as_they_are(tmp_path: Path) -> None:
    """What calibration found must be what is written, not a fresh rounding."""
    source = tiny_source()
    format = QuantFormat(4, 32, True)
    ready = quantise_rtn(np.concatenate([source.read(part) for part in matrix_parts(1, "gate_up")]) * 0.5, format)

    def rounded(layer: int, matrix: str) -> QuantisedRows | None:
        return ready if (layer, matrix) == (1, "gate_up") else None

    folder = export(tmp_path / "m", source, format, head=format, rounded=rounded)
    with BuiltModel(folder, source.config) as built:
        assert built.matrix_of(1, "gate_up").tobytes() == ready.dequantised().tobytes()
        plain = quantise_rtn(np.concatenate([source.read(part) for part in matrix_parts(0, "gate_up")]), format)
        assert built.matrix_of(0, "gate_up").tobytes() == plain.dequantised().tobytes()


def test_progress_names_every_layer(tmp_path: Path) -> None:
    """A progress bar that stands still looks like a hang."""
    seen: list[tuple[str, int, int]] = []
    export(tmp_path / "m", tiny_source(), progress=lambda *step: seen.append(step))
    assert seen == [("export", 0, 2), ("export", 1, 2)]


def without(source: MemorySource, name: str) -> MemorySource:
    return MemorySource(source.config, {key: value for key, value in source.tensors.items() if key != name})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: MemorySource(replace(s.config, family="gpt_oss"), s.tensors), "no native export"),
        (lambda s: MemorySource(replace(s.config, experts=4, experts_per_token=2), s.tensors), "no native export"),
        (lambda s: without(s, "model.norm.weight"), "'model.norm.weight' is missing"),
        (lambda s: without(s, "model.layers.1.mlp.up_proj.weight"), "up_proj.weight' is missing"),
        (lambda s: MemorySource(replace(s.config, tie_embeddings=False), s.tensors), "'lm_head.weight' is missing"),
        (lambda s: MemorySource(replace(s.config, head_dim=32), s.tensors), r"is \[64, 64\], the config says"),
    ],
)
def test_what_the_graph_does_not_compute_is_refused(change: Callable[[MemorySource], MemorySource], words: str) -> None:
    """A model that is exported although a part of it is not computed looks right until it writes."""
    source = change(tiny_source())
    with pytest.raises(SourceError, match=words):
        check_native(source.config, source, "models/x")
    check_native(BASE, tiny_source(), "models/x")
