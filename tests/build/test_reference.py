"""The exact forward pass against a plain one, written from the papers, in ordinary float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.build.reference import Reference, inverse_frequencies, read_layer, rotary_tables
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig, RopeScaling
from tests.tiny import BASE, CONFIGS, MemorySource, tiny_ids, tiny_source


def plain_frequencies(config: DecoderConfig) -> list[float]:
    """Rotary frequencies one by one, Llama 3.1's scaling as its reference code has it."""
    frequencies = []
    for index in range(config.head_dim // 2):
        frequency = config.rope_theta ** (-2 * index / config.head_dim)
        scaling = config.rope_scaling
        if scaling is not None and scaling.kind == "linear":
            frequency /= scaling.factor
        elif scaling is not None:
            wavelength = 2 * np.pi / frequency
            if wavelength > scaling.original_max_positions / scaling.low_freq_factor:
                frequency /= scaling.factor
            elif wavelength >= scaling.original_max_positions / scaling.high_freq_factor:
                smooth = (scaling.original_max_positions / wavelength - scaling.low_freq_factor) / (
                    scaling.high_freq_factor - scaling.low_freq_factor
                )
                frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency
        frequencies.append(frequency)
    return frequencies


def plain_logits(source: MemorySource, ids: list[int]) -> np.ndarray:
    """[tokens, vocab], token by token and head by head."""
    config, tensors = source.config, {name: value.astype(np.float64) for name, value in source.tensors.items()}
    frequencies = np.array(plain_frequencies(config))

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.rms_norm_eps) * tensors[name]

    def rotate(x: np.ndarray, position: int) -> np.ndarray:
        angles = position * np.concatenate([frequencies, frequencies])
        half = config.head_dim // 2
        return x * np.cos(angles) + np.concatenate([-x[half:], x[:half]]) * np.sin(angles)

    hidden = tensors["model.embed_tokens.weight"][ids]
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}."
        normed = norm(hidden, prefix + "input_layernorm.weight")
        heads = {}
        for part in "qkv":
            name = f"{prefix}self_attn.{part}_proj"
            value = normed @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", 0.0)
            heads[part] = value.reshape(len(ids), -1, config.head_dim)
            if config.qk_norm and part in "qk":
                heads[part] = norm(heads[part], f"{prefix}self_attn.{part}_norm.weight")
        attended = np.zeros((len(ids), config.heads, config.head_dim))
        for head in range(config.heads):
            kv = head // (config.heads // config.kv_heads)
            keys = [rotate(heads["k"][position, kv], position) for position in range(len(ids))]
            for position in range(len(ids)):
                first = 0 if config.sliding_window is None else max(0, position - config.sliding_window + 1)
                query = rotate(heads["q"][position, head], position)
                scores = np.array([query @ key for key in keys[first : position + 1]]) / np.sqrt(config.head_dim)
                weights = np.exp(scores - scores.max())
                attended[position, head] = weights / weights.sum() @ heads["v"][first : position + 1, kv]
        hidden = hidden + attended.reshape(len(ids), -1) @ tensors[prefix + "self_attn.o_proj.weight"].T
        normed = norm(hidden, prefix + "post_attention_layernorm.weight")
        gate = normed @ tensors[prefix + "mlp.gate_proj.weight"].T
        up = normed @ tensors[prefix + "mlp.up_proj.weight"].T
        hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ tensors[prefix + "mlp.down_proj.weight"].T
    head_name = "model.embed_tokens.weight" if config.tie_embeddings else "lm_head.weight"
    return norm(hidden, "model.norm.weight") @ tensors[head_name].T


def reference_logits(source: MemorySource, *sequences: list[int]) -> np.ndarray:
    reference = Reference(source, sequences)
    return reference.logits(reference.run())


@pytest.mark.parametrize("name", CONFIGS)
def test_computes_the_model(name: str) -> None:
    """Calibration, the choice of layers and the golden cases all stand on this forward pass."""
    source = tiny_source(CONFIGS[name])
    ids = tiny_ids(12, source.config)
    assert np.abs(reference_logits(source, ids) - plain_logits(source, ids)).max() < 2e-4


def test_sequences_of_a_batch_do_not_see_each_other() -> None:
    """Calibration reads many texts at once: a token may only attend to its own."""
    source = tiny_source()
    first, second = tiny_ids(9, seed=1), tiny_ids(5, seed=2)
    together = reference_logits(source, first, second, first)
    assert together[:9].tobytes() == reference_logits(source, first).tobytes()
    assert together[9:14].tobytes() == reference_logits(source, second).tobytes()
    assert together[14:].tobytes() == together[:9].tobytes()


def test_a_later_token_does_not_change_an_earlier_one() -> None:
    """A look into the future would make every score of fidelity too good."""
    source = tiny_source()
    ids = tiny_ids(10)
    # Not to the last bit: an attention row's integers have fewer bits the longer the sequence is.
    assert reference_logits(source, ids)[:6] == pytest.approx(reference_logits(source, ids[:6]), abs=1e-4)


def test_head_in_chunks_is_the_whole_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head is read in row chunks to bound memory."""
    source = tiny_source()
    whole = reference_logits(source, tiny_ids(3))
    monkeypatch.setattr("edge.build.reference.HEAD_ROWS", 7)
    assert reference_logits(source, tiny_ids(3)).tobytes() == whole.tobytes()


def test_collect_sees_what_each_matrix_multiplies() -> None:
    """GPTQ's Hessian of the wrong inputs rounds the matrix for another layer."""
    source = tiny_source()
    reference = Reference(source, [tiny_ids(6)])
    weights = read_layer(source, 0)
    seen: dict[str, np.ndarray] = {}
    hidden = reference.embed()
    after = reference.layer(hidden, weights, seen.__setitem__)
    config = source.config
    assert {name: value.shape for name, value in seen.items()} == {
        "qkv": (6, config.hidden_size),
        "o": (6, config.query_size),
        "gate_up": (6, config.hidden_size),
        "down": (6, config.intermediate_size),
    }
    with_o = hidden + seen["o"] @ weights.matrices["o"].T
    assert after == pytest.approx(with_o + seen["down"] @ weights.matrices["down"].T, abs=1e-4)


@pytest.mark.parametrize("name", ["llama-tied", "llama3-rope", "linear-rope"])
def test_rotary_frequencies(name: str) -> None:
    """Llama 3's bands: high ones kept, low ones divided, blended in between."""
    config = CONFIGS[name]
    assert inverse_frequencies(config) == pytest.approx(plain_frequencies(config), rel=1e-13)
    cosine, sine = rotary_tables(config, 40)
    angles = np.outer(np.arange(40), plain_frequencies(config))
    assert cosine == pytest.approx(np.cos(angles), abs=1e-12)
    assert sine == pytest.approx(np.sin(angles), abs=1e-12)


def test_all_three_bands_of_llama3_are_in_the_test() -> None:
    """Else the test above would pass with a band left out."""
    plain = inverse_frequencies(replace(CONFIGS["llama3-rope"], rope_scaling=None))
    ratio = inverse_frequencies(CONFIGS["llama3-rope"]) / plain
    assert (ratio == 1).any()
    assert (ratio == 1 / 8).any()
    assert ((ratio > 1 / 8) & (ratio < 1)).any()


def test_unknown_rope_scaling_is_refused() -> None:
    """Yarn computed as plain rope would read long texts wrongly, in silence."""
    with pytest.raises(SourceError, match="rope scaling 'yarn' has no native export"):
        inverse_frequencies(replace(BASE, rope_scaling=RopeScaling("yarn", 4.0)))
