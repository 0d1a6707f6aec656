"""Rotary embedding, cache and attention against float64, on every instruction set that this host runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge.build.tvm.isa import Isa
from edge.build.tvm.kernels.attention import Heads, attend, rotate
from tests.tvm_toy import EVERY_ISA, kernels

CAPACITY = 192
EPSILON = 1e-6
MARK = np.float32(-7.5)  # what nobody may write over


@dataclass(frozen=True)
class Case:
    heads: Heads
    tokens: int


def case(heads: int, kv_heads: int, head_dim: int, tokens: int, *, qk_norm: bool = False) -> Case:
    return Case(Heads(heads, kv_heads, head_dim, CAPACITY, qk_norm, EPSILON), tokens)


# Groups of 1, 2, 3, 4 and 6 query heads; heads of 8 to 128 numbers, 80 too (no power of two).
ATTEND: dict[str, Case] = {
    "group1-64": case(2, 2, 64, 1),
    "group2-16": case(4, 2, 16, 4),
    "group3-64": case(6, 2, 64, 1),
    "group3-64-8": case(6, 2, 64, 8),
    "group4-8": case(4, 1, 8, 2),
    "group4-128": case(4, 1, 128, 1),
    "group6-16": case(12, 2, 16, 1),
    "group2-80": case(2, 1, 80, 1),
}
ROTATE: dict[str, Case] = {
    "dim8": case(4, 2, 8, 1),
    "dim16": case(3, 1, 16, 4),
    "dim64": case(2, 2, 64, 8),
    "dim128": case(2, 1, 128, 1),
    "dim80": case(2, 1, 80, 1),
    "norm8": case(4, 1, 8, 2, qk_norm=True),
    "norm64": case(2, 1, 64, 1, qk_norm=True),
    "norm128": case(4, 2, 128, 8, qk_norm=True),
}


def make(isa: Isa) -> dict[str, Any]:
    made = {}
    for name, one in ATTEND.items():
        symbol = f"attend_{name.replace('-', '_')}"
        made[symbol] = attend(symbol, isa, one.heads, one.tokens)
    for name, one in ROTATE.items():
        made[f"rotate_{name}"] = rotate(f"rotate_{name}", isa, one.heads, one.tokens)
    return made


def keys_of(flat: npt.NDArray[np.float32], heads: Heads) -> npt.NDArray[np.float32]:
    """A cache's keys as [kv_heads, capacity, head_dim]."""
    runs = flat.reshape(heads.kv_heads, -1, heads.head_dim, 16)
    return runs.transpose(0, 1, 3, 2).reshape(heads.kv_heads, -1, heads.head_dim)


def flat_keys(keys: npt.NDArray[np.float32], heads: Heads) -> npt.NDArray[np.float32]:
    runs = keys.reshape(heads.kv_heads, -1, 16, heads.head_dim).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(runs).reshape(-1)


def attention(
    heads: Heads,
    query: npt.NDArray[np.float32],
    position: int,
    keys: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Softmax over the keys up to each token's own, in float64."""
    out = np.zeros(query.shape)
    for token, row in enumerate(query):
        seen = position + token + 1
        for head in range(heads.heads):
            span = slice(head * heads.head_dim, (head + 1) * heads.head_dim)
            near = keys[head // heads.group, :seen].astype(np.float64)
            scores = near @ row[span].astype(np.float64)
            weights = np.exp(scores - scores.max())
            out[token, span] = weights / weights.sum() @ values[head // heads.group, :seen].astype(np.float64)
    return out


def random_cache(heads: Heads, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    shape = (heads.kv_heads, heads.capacity, heads.head_dim)
    return rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


def run_attend(isa: Isa, name: str, query: Any, position: int, keys: Any, values: Any) -> npt.NDArray[np.float32]:
    heads = ATTEND[name].heads
    out = np.full(query.shape, np.nan, dtype=np.float32)
    kernels(isa, make)(
        f"attend_{name.replace('-', '_')}",
        query,
        np.array([position], np.int32),
        flat_keys(keys, heads),
        values.reshape(-1),
        out,
    )
    return out


@EVERY_ISA
@pytest.mark.parametrize("name", ATTEND)
def test_attend(isa: Isa, name: str) -> None:
    """Contexts end inside and at the ends of runs of 16 and 64 keys; what lies behind the text was never written."""
    one = ATTEND[name]
    rng = np.random.default_rng(1)
    for position in (0, 1, 14, 15, 16, 47, 62, 63, 64, 65, 127, 128, 150):
        if position + one.tokens > CAPACITY:
            continue
        query = rng.standard_normal((one.tokens, one.heads.heads * one.heads.head_dim)).astype(np.float32)
        query *= np.float32(2.0 / np.sqrt(one.heads.head_dim))
        keys, values = random_cache(one.heads, position)
        keys[:, position + one.tokens :] = values[:, position + one.tokens :] = np.nan
        out = run_attend(isa, name, query, position, keys, values)
        assert out == pytest.approx(attention(one.heads, query, position, keys, values), abs=3e-6, rel=1e-5)


@EVERY_ISA
@pytest.mark.parametrize("size", [0.0, 50.0, 1e4])
def test_attention_to_one_key_or_to_all(isa: Isa, size: float) -> None:
    """Scores far apart must not overflow, scores that are equal must give the mean; the largest may come last."""
    one = ATTEND["group3-64"]
    rng = np.random.default_rng(2)
    query = (rng.standard_normal((1, one.heads.heads * 64)) * size).astype(np.float32)
    keys, values = random_cache(one.heads, 3)
    # The highest score of the first head lies in the last run.
    keys[0, 140] = 3 * np.sign(query[0, :64])
    out = run_attend(isa, "group3-64", query, 150, keys, values)
    assert np.isfinite(out).all()
    assert out == pytest.approx(attention(one.heads, query, 150, keys, values), abs=1e-3 if size > 100 else 1e-4)


@EVERY_ISA
def test_a_token_attends_with_the_same_bits_in_any_company(isa: Isa) -> None:
    """Eight tokens at once, or one after the other: keys are added in the same order."""
    rng = np.random.default_rng(5)
    heads = ATTEND["group3-64"].heads
    keys, values = random_cache(heads, 6)
    query = rng.standard_normal((8, heads.heads * 64)).astype(np.float32)
    for position in (0, 12, 59, 120):
        together = run_attend(isa, "group3-64-8", query, position, keys, values)
        for token in range(8):
            alone = run_attend(isa, "group3-64", query[token : token + 1], position + token, keys, values)
            assert alone.tobytes() == together[token : token + 1].tobytes()


def turned(x: npt.NDArray[np.float64], cos: Any, sin: Any, weight: Any) -> npt.NDArray[np.float64]:
    """[heads, head_dim] normed (where there is a weight) and rotated."""
    if weight is not None:
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPSILON) * weight
    half = x.shape[1] // 2
    low, high = x[:, :half], x[:, half:]
    return np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=1)


@EVERY_ISA
@pytest.mark.parametrize("name", ROTATE)
@pytest.mark.parametrize("position", [0, 13, 62])
def test_rotate(isa: Isa, name: str, position: int) -> None:
    """Queries are turned and scaled, keys and values go to their own places of the cache and to no other."""
    one = ROTATE[name]
    heads, dim = one.heads, one.heads.head_dim
    rng = np.random.default_rng(7)
    packed = rng.standard_normal((one.tokens, heads.packed_size)).astype(np.float32)
    angles = rng.uniform(0, 6, (CAPACITY, dim // 2))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    weights = [rng.uniform(0.5, 1.5, dim).astype(np.float32) for _ in range(2 if heads.qk_norm else 0)]
    keys = np.full(heads.key_shape, MARK)
    values = np.full(heads.key_shape, MARK)
    query = np.zeros((one.tokens, heads.heads * dim), dtype=np.float32)
    first = np.array([position], np.int32)
    kernels(isa, make)(f"rotate_{name}", packed, first, cos, sin, *weights, keys, values, query)
    norms = weights or [None, None]
    found, rows = keys_of(keys, heads), values.reshape(heads.kv_heads, CAPACITY, dim)
    exact = packed.astype(np.float64).reshape(one.tokens, -1, dim)
    for token in range(one.tokens):
        at = position + token
        wanted = turned(exact[token, : heads.heads], cos[at], sin[at], norms[0]) * dim**-0.5
        assert query[token].reshape(-1, dim) == pytest.approx(wanted, abs=2e-6)
        wanted = turned(exact[token, heads.heads : heads.heads + heads.kv_heads], cos[at], sin[at], norms[1])
        assert found[:, at] == pytest.approx(wanted, abs=2e-6)
        assert np.array_equal(rows[:, at], packed[token].reshape(-1, dim)[heads.heads + heads.kv_heads :])
    outside = np.r_[0:position, position + one.tokens : CAPACITY]
    assert (found[:, outside] == MARK).all()
    assert (rows[:, outside] == MARK).all()
