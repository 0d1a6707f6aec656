"""Numbers of the shards beside the source's: right ones pass in every mode, wrong ones do not."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build.golden import make_golden
from edge.build.mlc_llm.checks import (
    GREEDY_NEW_TOKENS,
    check_adapter,
    compare_weights,
    fidelity_of_weights,
    golden_of_weights,
    sample_rows,
)
from edge.build.mlc_llm.choices import MODES
from edge.build.mlc_llm.shards import dequantised
from edge.errors import SourceError
from tests.build.mlc_llm import fake_mlc_llm as fake
from tests.tiny import BASE, MemorySource, tiny_ids, tiny_source


def bf16(values: Any) -> Any:
    words = np.frombuffer(fake.bf16(values.astype(np.float32)), "<u2").astype(np.uint32)
    return (words << np.uint32(16)).view(np.float32).reshape(values.shape)


def stored(source: MemorySource, mode: str) -> Any:
    """The source after the stand-in's rounding, as a weight source."""
    tensors = {}
    for name, value in source.tensors.items():
        dtype = np.float16 if MODES[mode].dtype == "float16" else np.float32
        value = value.astype(dtype)
        if MODES[mode].grouped and value.ndim == 2:
            words, scales = fake.group_quantised(value)
            scales = bf16(scales) if dtype is np.float32 else scales.astype(np.float32)
            tensors[name] = dequantised(words, scales)[:, : value.shape[1]]
        else:
            tensors[name] = bf16(value) if dtype is np.float32 else value.astype(np.float32)
    return MemorySource(source.config, tensors)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(MODES)), st.integers(0, 10_000), st.sampled_from([1e-5, 1e-2, 1.0, 50.0]))
def test_right_weights_always_pass(mode: str, seed: int, size: float) -> None:
    """If it fails, a right build is refused because of rounding that its mode does."""
    source = tiny_source(replace(BASE, layers=1, hidden_size=72, heads=4, head_dim=18, intermediate_size=40), seed)
    scaled = MemorySource(source.config, {name: value * np.float32(size) for name, value in source.tensors.items()})
    found = compare_weights(scaled, stored(scaled, mode), MODES[mode])
    assert found["tensors"] == len(source.names())


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("wrong", ["rows", "columns", "other", "scaled", "nan"])
def test_wrong_weights_are_named(mode: str, wrong: str) -> None:
    """If it fails, permuted heads, another model's matrix or a wrong scale ships."""
    source = tiny_source()
    built = stored(source, mode)
    name = "model.layers.1.self_attn.k_proj.weight"
    value = built.tensors[name]
    if wrong == "nan":
        value[3, 3] = np.nan
    built.tensors[name] = {
        "rows": value[[1, 0, *range(2, len(value))]],
        "columns": value[:, ::-1],
        "other": stored(tiny_source(seed=5), mode).tensors[name],
        "scaled": value * 1.3,
        "nan": value,
    }[wrong]
    with pytest.raises(SourceError, match=r"layers.1.self_attn.k_proj.weight reads back otherwise"):
        compare_weights(source, built, MODES[mode])


@dataclass(frozen=True)
class Change:
    """A base, the base with a change, and its share as it was merged."""

    base: MemorySource
    merged: MemorySource
    built: Any


def changed(size: float, share: float, mode: str = "q4f16_1") -> Change:
    base = tiny_source(replace(BASE, hidden_size=128, head_dim=32, intermediate_size=256))
    rng = np.random.default_rng(4)
    merged, given_ = dict(base.tensors), dict(base.tensors)
    for name in base.names():
        if name.endswith("_proj.weight"):
            value = base.tensors[name]
            change = size * np.abs(value).mean() * rng.standard_normal(value.shape).astype(np.float32)
            merged[name] = (value + change).astype(np.float32)
            given_[name] = (value + np.float32(share) * change).astype(np.float32)
    return Change(base, MemorySource(base.config, merged), stored(MemorySource(base.config, given_), mode))


@pytest.mark.parametrize("size", [0.02, 0.1])
def test_a_small_adapter_is_told_from_none(size: float) -> None:
    """If it fails, an adapter below half a rounding step can be left out unseen."""
    whole = changed(size, 1.0)
    assert check_adapter(whole.base, whole.merged, whole.built)["share"] == pytest.approx(1, abs=0.25)
    for share in (0.0, 2.0):
        wrong = changed(size, share)
        with pytest.raises(SourceError, match="the adapter is not in the built weights"):
            check_adapter(wrong.base, wrong.merged, wrong.built)


def test_an_adapter_that_rounding_hides_is_not_judged() -> None:
    """If it fails, a right build is refused by noise, or a number is claimed that nobody can measure."""
    none = changed(1e-5, 0.0)
    assert check_adapter(none.base, none.merged, none.built)["standard_error"] > 0.1
    same = changed(0.0, 1.0)
    assert check_adapter(same.base, same.merged, same.built) == {"share": None, "standard_error": None}


@given(st.integers(1, 5000))
def test_samples_lie_inside_and_reach_both_ends(rows: int) -> None:
    """If it fails, the last rows of a matrix are never compared, or rows are read that are not there."""
    stretches = sample_rows(rows)
    assert stretches[0][0] == 0
    assert stretches[-1][1] == rows
    assert all(0 <= start < stop <= rows for start, stop in stretches)


def test_fidelity_of_the_same_weights_is_perfect_and_of_rounded_ones_is_not() -> None:
    """If it fails, the gate judges other weights than those in the shards."""
    source = tiny_source()
    sequences = [tiny_ids(30), tiny_ids(70, seed=2)]
    same = fidelity_of_weights(source, source, sequences)
    assert same.mean_kl.mean == pytest.approx(0, abs=1e-9)
    assert same.top1.mean == same.greedy_agreement.mean == 1
    assert same.greedy_prefix_tokens == GREEDY_NEW_TOKENS
    assert same.tokens == 100
    rounded = fidelity_of_weights(source, stored(source, "q4f16_1"), sequences)
    assert rounded.mean_kl.mean > 1e-3
    assert rounded.top1.mean < 1


def test_golden_is_what_the_built_weights_say() -> None:
    """If it fails, a device is held to tokens that its weights do not give; the native line's own maker agrees."""
    source = tiny_source()
    built = stored(source, "q4f16_1")
    sequences = [("note-01", tiny_ids(20), 9)]
    found = golden_of_weights(source, built, sequences)

    class Native:
        """BuiltModel's methods over a weight source."""

        def embedding_rows(self, ids: Any) -> Any:
            return built.tensors["model.embed_tokens.weight"][ids].astype(np.float64)

        def layer(self, layer: int, _: Any) -> Any:
            from edge.build.reference import read_layer

            return read_layer(built, layer)

        def head(self) -> Any:
            yield built.tensors["model.embed_tokens.weight"]

    native = make_golden(source, Native(), sequences)  # type: ignore[arg-type]
    assert found["source.json"] == native["source.json"]
    wanted, ours = (json.loads(made["cases.json"])["cases"][0] for made in (native, found))
    assert ours["expected_top1"] == wanted["expected_top1"]
    assert ours["margin"] == pytest.approx(wanted["margin"], abs=0.02)  # the native line keeps float32 norms
