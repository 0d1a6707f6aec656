"""The cost of a layer's rounding, against running the whole model once for each layer."""

from __future__ import annotations

import numpy as np
import pytest

from edge.build import sensitivity
from edge.build.quantise import QuantFormat, quantise_rtn
from edge.build.reference import MATRICES, LayerWeights, Reference, read_layer
from edge.build.sensitivity import PROBE_SEQUENCES, PROBE_TOKENS, SensitivityProbe
from tests.tiny import CONFIGS, MemorySource, tiny_ids, tiny_source

INT4 = QuantFormat(4, 32, True)


def rounded_layer(source: MemorySource, layer: int) -> LayerWeights:
    weights = read_layer(source, layer)
    for matrix in MATRICES:
        weights = weights.with_matrix(matrix, quantise_rtn(weights.matrices[matrix], INT4).dequantised())
    return weights


def probe_errors(source: MemorySource, sequences: list[list[int]]) -> list[float]:
    probe = SensitivityProbe(source, sequences)
    for layer in range(source.config.layers):
        probe.layer(read_layer(source, layer), rounded_layer(source, layer))
    return probe.errors()


@pytest.mark.parametrize("name", ["llama-tied", "llama-untied", "qwen2-bias"])
def test_one_pass_equals_one_run_a_layer(name: str) -> None:
    """A wrong ranking keeps the wrong layers at 8 bits: a bigger and worse bundle, and nothing says so."""
    source = tiny_source(CONFIGS[name])
    sequences = [tiny_ids(20, source.config, seed) for seed in (1, 2)]
    reference = Reference(source, sequences)
    whole = reference.logits(reference.run())
    wanted = []
    for rounded in range(source.config.layers):

        def weights(layer: int, rounded: int = rounded) -> LayerWeights:
            return rounded_layer(source, layer) if layer == rounded else read_layer(source, layer)

        variant = reference.logits(reference.run(weights))
        difference = variant - whole
        # Up to a constant that all logits share: softmax does not see it.
        difference -= difference.mean(axis=1, keepdims=True)
        wanted.append(float((difference**2).mean()))
    assert probe_errors(source, sequences) == pytest.approx(wanted, rel=1e-3)


def test_nothing_rounded_costs_nothing() -> None:
    """A cost where there is none would raise a layer for nothing."""
    source = tiny_source()
    probe = SensitivityProbe(source, [tiny_ids(10)])
    for layer in range(2):
        probe.layer(read_layer(source, layer), read_layer(source, layer))
    assert probe.errors() == [0.0, 0.0]


def test_only_the_probes_own_tokens_are_read() -> None:
    """The probe runs every layer once for each layer before it: it must stay small whatever the text is."""
    source = tiny_source()
    long = [tiny_ids(PROBE_TOKENS + 9, seed=seed) for seed in range(PROBE_SEQUENCES + 2)]
    short = [ids[:PROBE_TOKENS] for ids in long[:PROBE_SEQUENCES]]
    assert probe_errors(source, long) == probe_errors(source, short)


def test_head_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head's Gram matrix is summed over row chunks."""
    source = tiny_source()
    whole = sensitivity._centred_gram(source)
    head = source.tensors["model.embed_tokens.weight"].astype(np.float64)
    centred = head - head.mean(axis=0)
    assert whole == pytest.approx(centred.T @ centred, abs=1e-4)
    monkeypatch.setattr("edge.build.reference.HEAD_ROWS", 50)
    assert sensitivity._centred_gram(source) == pytest.approx(whole, abs=1e-4)
