"""Calibrated rounding of a whole tiny model: what is stored, what it costs, what it buys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.build.calibrate import LayerCost, RoundedStore, calibrate, stored_layer
from edge.build.export import export_native, uniform_formats
from edge.build.gptq import Hessian, quantise_gptq
from edge.build.graph import WEIGHTS_FILE, ExportPlan
from edge.build.mixed import choose
from edge.build.quantise import QuantFormat, QuantisedRows, quantise_rtn
from edge.build.reference import MATRICES, Reference, log_softmax, read_layer
from tests.tiny import CONFIGS, MemorySource, tiny_ids, tiny_source

LOW, HIGH = QuantFormat(4, 32, True), QuantFormat(8, 32, True)


def texts(source: MemorySource, count: int = 3, seed: int = 1) -> list[list[int]]:
    return [tiny_ids(60, source.config, seed + index) for index in range(count)]


def divergence(
    source: MemorySource, store: RoundedStore, sequences: list[list[int]], high: frozenset[int] = frozenset()
) -> float:
    """Mean KL of the model whose layers `high` are at 8 bits and the others at 4."""
    reference = Reference(source, sequences)
    wanted = log_softmax(reference.logits(reference.run()))
    names = {f"layers.{layer}.{matrix}" for layer in high for matrix in MATRICES}
    hidden = reference.run(
        lambda layer: stored_layer(source, store, lambda name: HIGH if name in names else LOW, layer)
    )
    return float((np.exp(wanted) * (wanted - log_softmax(reference.logits(hidden)))).sum(axis=1).mean())


@pytest.mark.parametrize("format", [LOW, QuantFormat(4, 64, False), HIGH], ids=str)
def test_the_store_gives_back_what_it_took(tmp_path: Path, format: QuantFormat) -> None:
    """Rounding lies on the disk between two stages, and in the cache between two builds."""
    store = RoundedStore(tmp_path)
    rounded = quantise_rtn(np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32), format)
    store.save("layers.0.qkv", rounded)
    back = store.load("layers.0.qkv", format)
    assert (back.format, back.cols) == (rounded.format, 70)
    for name in ("codes", "scales", "zero_points"):
        one, two = getattr(back, name), getattr(rounded, name)
        assert (one is None and two is None) or (one.dtype == two.dtype and np.array_equal(one, two))
    other = QuantFormat(format.bits, format.block_size, not format.symmetric)
    assert store.path("layers.0.qkv", other) != store.path("layers.0.qkv", format)


@pytest.mark.parametrize("name", ["llama-tied", "qwen3-qk-norm", "mistral-sliding"])
def test_every_matrix_is_rounded_on_its_own_inputs(tmp_path: Path, name: str) -> None:
    """Each matrix must meet the Hessian of what it multiplies in the source model, layer after layer."""
    source = tiny_source(CONFIGS[name])
    sequences = texts(source)
    store = RoundedStore(tmp_path)
    assert calibrate(source, sequences, [LOW], store, gptq=True) == []
    reference = Reference(source, sequences)
    hidden = reference.embed()
    for layer in range(source.config.layers):
        weights = read_layer(source, layer)
        inputs: dict[str, np.ndarray] = {}
        hidden = reference.layer(hidden, weights, inputs.__setitem__)
        for matrix in MATRICES:
            hessian = Hessian(inputs[matrix].shape[1])
            hessian.add(inputs[matrix])
            wanted = quantise_gptq(weights.matrices[matrix], hessian, LOW)
            assert np.array_equal(store.load(f"layers.{layer}.{matrix}", LOW).codes, wanted.codes), (layer, matrix)


def test_without_gptq_it_is_round_to_nearest(tmp_path: Path) -> None:
    """`rounding: rtn` with `mixed` only asks for the sensitivities."""
    source = tiny_source()
    store = RoundedStore(tmp_path)
    costs = calibrate(source, texts(source), [LOW, HIGH], store, gptq=False)
    for format in (LOW, HIGH):
        wanted = quantise_rtn(read_layer(source, 1).matrices["down"], format)
        assert np.array_equal(store.load("layers.1.down", format).codes, wanted.codes)
    assert [cost.layer for cost in costs] == [0, 1]
    assert all(cost.logit_error > 0 for cost in costs)


def test_eight_bits_are_never_calibrated(tmp_path: Path) -> None:
    """At 8 bits GPTQ costs minutes and gains nothing."""
    source = tiny_source()
    store = RoundedStore(tmp_path)
    calibrate(source, texts(source), [LOW, HIGH], store, gptq=True)
    wanted = quantise_rtn(read_layer(source, 0).matrices["o"], HIGH)
    assert np.array_equal(store.load("layers.0.o", HIGH).codes, wanted.codes)


@pytest.mark.parametrize("name", ["llama-tied", "no-groups"])
def test_layer_bytes_are_what_the_export_writes(tmp_path: Path, name: str) -> None:
    """The ranking weighs error by byte: with wrong bytes it buys the wrong layers."""
    source = tiny_source(CONFIGS[name])
    formats = [QuantFormat(4, 32, False), HIGH]
    costs = calibrate(source, texts(source, 1), formats, RoundedStore(tmp_path), gptq=False)
    for format, size in zip(formats, (costs[1].low_bytes, costs[1].high_bytes), strict=True):
        folder = tmp_path / str(format.bits)
        folder.mkdir()
        export_native(source, ExportPlan(uniform_formats(source.config, format), None, 8), folder)
        assert (folder / WEIGHTS_FILE).exists()
        rows = [quantise_rtn(read_layer(source, 1).matrices[matrix], format) for matrix in MATRICES]
        assert size == sum(stored_bytes(item) for item in rows)


def stored_bytes(rounded: QuantisedRows) -> int:
    packed = rounded.packed_zero_points()
    return rounded.packed_codes().nbytes + rounded.scales.nbytes + (0 if packed is None else packed.nbytes)


def test_calibration_pays_and_the_choice_holds_its_budget(tmp_path: Path) -> None:
    """From text to a mix of layers, as the build does it: GPTQ beats RTN, and raised layers bring the rest."""
    source = tiny_source(CONFIGS["llama-untied"])
    sequences, fresh = texts(source, 5), texts(source, 2, seed=100)
    stores = {}
    for name, gptq in (("gptq", True), ("rtn", False)):
        (tmp_path / name).mkdir()
        stores[name] = RoundedStore(tmp_path / name)
        costs = calibrate(source, sequences, [LOW, HIGH], stores[name], gptq=gptq)
    # Random ids make inputs of little correlation, so little can be made up for; test_gptq has the real gain.
    assert divergence(source, stores["gptq"], fresh) < divergence(source, stores["rtn"], fresh)
    worst, best = (divergence(source, stores["rtn"], fresh, high) for high in (frozenset[int](), frozenset(range(3))))
    budget = (worst * best) ** 0.5
    choice = choose(costs, budget, lambda high: divergence(source, stores["rtn"], fresh, high))
    assert 0 < len(choice.int8_layers) <= 3
    assert choice.mean_kl <= budget
    assert isinstance(costs[0], LayerCost)


def test_progress_names_every_layer(tmp_path: Path) -> None:
    """Calibration is the longest stage: its bar must move."""
    seen: list[tuple[str, int, int]] = []
    source = tiny_source()
    store = RoundedStore(tmp_path)
    calibrate(source, texts(source, 1), [LOW], store, gptq=True, progress=lambda *step: seen.append(step))
    assert seen == [("calibrate", 0, 2), ("calibrate", 1, 2)]
