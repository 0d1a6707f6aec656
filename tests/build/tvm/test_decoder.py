"""A whole decoder, compiled for this host, against the reference arithmetic on the weights that lie in the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edge.build.quantise import QuantFormat
from edge.build.readback import BuiltModel
from edge.build.reference import Reference, log_softmax, read_layer
from edge.build.tvm.decoder import Shape, weight_tensors
from edge.build.tvm.isa import ISAS, Isa
from tests.tiny import BASE, CONFIGS, tiny_ids
from tests.tvm_toy import HEAD, HOST_ISAS, LOW, WHOLE, Toy, toy

EXACT = [isa for isa in HOST_ISAS if not isa.bytes]
FAST = [isa for isa in HOST_ISAS if isa.bytes][:1]
TOKENS = 40


def wanted(made: Toy, ids: list[int]) -> npt.NDArray[np.float64]:
    """What the reference computes with the export's weights."""
    reference = Reference(made.source, [ids])
    with BuiltModel(made.exported, made.source.config) as built:
        hidden = built.embedding_rows(reference.token_ids)
        for layer in range(made.source.config.layers):
            hidden = reference.layer(hidden, built.layer(layer, read_layer(made.source, layer)))
        return reference.logits(hidden, built.head())


def computed(made: Toy, ids: list[int]) -> npt.NDArray[np.float32]:
    engine = made.engine()
    try:
        return np.concatenate([engine.forward(ids[:13], range(13)), engine.forward(ids[13:], range(len(ids) - 13))])
    finally:
        engine.close()


@pytest.mark.parametrize("isa", EXACT, ids=lambda isa: isa.name)
@pytest.mark.parametrize("name", WHOLE)
def test_float_kernels_compute_the_model(tmp_path_factory: pytest.TempPathFactory, isa: Isa, name: str) -> None:
    """Nothing is rounded but weights: what differs from the reference is a mistake in the program."""
    made = toy(tmp_path_factory.mktemp, isa, WHOLE[name], chunks=(1, 4) if name == "llama" else (1,))
    ids = tiny_ids(TOKENS, made.source.config)
    assert np.abs(computed(made, ids) - wanted(made, ids)).max() < 1e-3


@pytest.mark.parametrize("isa", FAST, ids=lambda isa: isa.name)
@pytest.mark.parametrize("name", ["llama", "llama-untied", "qwen2-bias", "qwen3-qk-norm"])
def test_byte_kernels_stay_near_the_model(tmp_path_factory: pytest.TempPathFactory, isa: Isa, name: str) -> None:
    """8-bit activations are what ships: they may add noise, not another answer."""
    made = toy(tmp_path_factory.mktemp, isa, WHOLE[name], chunks=(1,))
    ids = tiny_ids(TOKENS, made.source.config)
    exact, found = log_softmax(wanted(made, ids)), log_softmax(computed(made, ids).astype(np.float64))
    divergence = (np.exp(exact) * (exact - found)).sum(axis=1)
    assert divergence.mean() < 0.01
    assert (exact.argmax(axis=1) == found.argmax(axis=1)).mean() > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("isa", HOST_ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize(
    "form", [QuantFormat(8, 32, True), QuantFormat(4, 64, True), QuantFormat(4, 64, False)], ids=str
)
def test_every_format_in_every_place(tmp_path_factory: pytest.TempPathFactory, isa: Isa, form: QuantFormat) -> None:
    """A profile may choose 8 bits, or wider blocks: each product must know its own."""
    config = replace(BASE, intermediate_size=128, vocab_size=301, tie_embeddings=False)
    head = QuantFormat(4, form.block_size, True)
    made = toy(tmp_path_factory.mktemp, isa, config, form=form, head=head, chunks=(1,))
    ids = tiny_ids(TOKENS, config)
    exact, found = log_softmax(wanted(made, ids)), log_softmax(computed(made, ids).astype(np.float64))
    assert (np.exp(exact) * (exact - found)).sum(axis=1).mean() < (0.02 if isa.bytes else 1e-6)


def shape_of(name: str) -> Shape:
    config = CONFIGS[name]
    matrices = ("qkv", "o", "gate_up", "down")
    formats = {f"layers.{layer}.{matrix}": LOW for layer in range(config.layers) for matrix in matrices}
    return Shape(config, formats, HEAD, 100)


def test_the_cache_is_filled_up_to_whole_runs() -> None:
    """Attention reads 64 keys at once: a cache that ends within a run is read past its end."""
    assert shape_of("llama-tied").capacity == 128
    assert replace(shape_of("llama-tied"), context_tokens=128).capacity == 128


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
def test_weights_have_one_order(isa: Isa) -> None:
    """Functions take weights by their place in this list; the file is written by it."""
    tied, untied = (list(weight_tensors(shape_of(name), isa)) for name in ("llama-tied", "llama-untied"))
    assert tied[:2] == ["embedding", "embedding.scales"]
    assert "head" not in tied
    assert untied[-2:] == ["head", "head.scales"]
    assert tied[2:6] == ["layers.0.input_norm", "layers.0.qkv", "layers.0.qkv.scales", "layers.0.qkv.zero_points"]
    assert "layers.0.qkv.bias" in weight_tensors(shape_of("qwen2-bias"), isa)
    assert "layers.1.k_norm" in weight_tensors(shape_of("qwen3-qk-norm"), isa)
