"""Quantised products and the embedding against numpy, on every instruction set that this host runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build.quantise import QuantFormat, QuantisedRows
from edge.build.tvm.isa import Isa
from edge.build.tvm.kernels.products import Matrix, embedding, product
from edge.build.tvm.layout import pack_rows
from tests.tvm_toy import EVERY_ISA, Array, Kernels, activations, kernels, random_rows


@dataclass(frozen=True)
class Case:
    """One shape of product."""

    form: QuantFormat
    rows: int
    cols: int
    tokens: int
    bias: bool = False
    residual: bool = False

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.rows, self.cols, self.form, bias=self.bias)


def case(bits: int, block: int, symmetric: bool, *rest: int, **more: bool) -> Case:
    return Case(QuantFormat(bits, block, symmetric), *rest, **more)


# Rows 40: the last tile of an output head is half filled. 96 columns of 32: an odd number of blocks.
CASES: dict[str, Case] = {
    "int4": case(4, 32, True, 48, 96, 1),
    "int4-asymmetric": case(4, 32, False, 48, 96, 1),
    "int4-asymmetric-2": case(4, 32, False, 48, 96, 2),
    "int4-asymmetric-4": case(4, 32, False, 48, 96, 4),
    "int4-asymmetric-8": case(4, 32, False, 48, 96, 8),
    "int4-bias": case(4, 32, False, 48, 64, 2, bias=True),
    "int4-residual": case(4, 32, True, 48, 64, 2, residual=True),
    "int4-both": case(4, 32, True, 48, 64, 1, bias=True, residual=True),
    "int4-block64": case(4, 64, False, 16, 192, 4),
    "int4-block128": case(4, 128, False, 16, 384, 1),
    "int4-block128-symmetric": case(4, 128, True, 16, 256, 2),
    "int8": case(8, 32, True, 48, 96, 1),
    "int8-8": case(8, 32, True, 48, 96, 8),
    "int8-asymmetric": case(8, 32, False, 48, 96, 2),
    "int8-block64": case(8, 64, False, 16, 192, 1),
    "int8-block128": case(8, 128, True, 16, 256, 4),
    "int8-residual": case(8, 32, True, 32, 64, 1, residual=True),
    "head": case(8, 32, True, 40, 64, 1),
    "head-4": case(8, 32, True, 40, 64, 4),
    "head-int4": case(4, 32, True, 40, 64, 2),
}
TABLES = {"embedding-8": QuantFormat(8, 32, True), "embedding-4": QuantFormat(4, 32, True)}
TABLES |= {"embedding-64": QuantFormat(4, 64, True)}
TABLE_ROWS, TABLE_COLS, TABLE_TOKENS = 40, 128, 3


def make(isa: Isa) -> dict[str, Any]:
    made = {
        name: product(name, isa, one.matrix, one.tokens, residual=one.residual).with_attr("global_symbol", symbol(name))
        for name, one in CASES.items()
    }
    for name, form in TABLES.items():
        kernel = embedding(name, isa, Matrix(TABLE_ROWS, TABLE_COLS, form), TABLE_TOKENS)
        made[name] = kernel.with_attr("global_symbol", symbol(name))
    return {symbol(name): kernel for name, kernel in made.items()}


def symbol(name: str) -> str:
    return name.replace("-", "_")


def stored(isa: Isa, matrix: Matrix, rows: QuantisedRows) -> list[Array]:
    """The tensors of a matrix in the order of a kernel's arguments (without bias)."""
    packed = pack_rows(rows, isa.packing)
    tensors = matrix.tensors(isa)
    return [
        np.asarray(packed[suffix]).reshape(-1).view(dtype).reshape(shape)
        for suffix, (shape, dtype) in tensors.items()
        if suffix != ".bias"
    ]


def run(built: Kernels, name: str, one: Case, rows: QuantisedRows, acts: Any, *rest: Array) -> Array:
    out = np.full((one.tokens, one.matrix.tiles * 16), np.nan, dtype=np.float32)
    built(symbol(name), *acts, *stored(built.isa, one.matrix, rows), *rest, out)
    return out


@EVERY_ISA
@pytest.mark.parametrize("name", CASES)
def test_product(isa: Isa, name: str) -> None:
    """All of a decoder's arithmetic but attention: a wrong place of a scale or a nibble, and it writes nonsense."""
    one = CASES[name]
    rng = np.random.default_rng(3)
    rows = random_rows(rng, one.form, one.rows, one.cols)
    values = activations(isa, rng.standard_normal((one.tokens, one.cols)).astype(np.float32))
    rest = [rng.standard_normal(shape).astype(np.float32) for shape in extra(one)]
    out = run(kernels(isa, make), name, one, rows, values.arrays, *rest)
    dense = rows.dequantised().astype(np.float64)
    wanted = values.values @ dense.T + sum(rest, np.zeros(one.rows))
    # Terms of one sign would add up to this much: float32 keeps seven digits of it.
    size = np.abs(values.values) @ np.abs(rows.scales).repeat(one.form.block_size, axis=1).T * one.form.levels
    assert np.all(np.abs(out[:, : one.rows] - wanted) <= 1e-6 * size + 1e-6)
    assert not out[:, one.rows :].any()


def extra(one: Case) -> list[tuple[int, ...]]:
    return [(one.rows,)] * one.bias + [(one.tokens, one.rows)] * one.residual


@EVERY_ISA
@pytest.mark.parametrize(("several", "single"), [("int4-asymmetric", 8), ("int4-asymmetric", 4), ("int8", 8)])
def test_a_token_has_the_same_bits_in_any_company(isa: Isa, several: str, single: int) -> None:
    """Drafts are verified in runs of 8 and written one by one: another bit, and a greedy text changes its course."""
    one, many = CASES[several], CASES[f"{several}-{single}"]
    rng = np.random.default_rng(4)
    rows = random_rows(rng, one.form, one.rows, one.cols)
    values = activations(isa, rng.standard_normal((many.tokens, many.cols)).astype(np.float32))
    together = run(kernels(isa, make), f"{several}-{single}", many, rows, values.arrays)
    for token in range(many.tokens):
        acts = [array[token : token + 1] for array in values.arrays]
        alone = run(kernels(isa, make), several, one, rows, acts)
        assert alone.tobytes() == together[token : token + 1].tobytes()


@EVERY_ISA
@pytest.mark.parametrize("name", ["int4-asymmetric", "int8-asymmetric"])
@pytest.mark.parametrize("pattern", ["plus", "minus", "alternating", "random"])
def test_the_widest_numbers_do_not_saturate(isa: Isa, name: str, pattern: str) -> None:
    """AVX2 adds pairs of products in 16 bits and cuts what is larger without a word: sums must be exact."""
    one = CASES[name]
    rng = np.random.default_rng(5)
    top = one.form.levels - 1
    blocks = one.cols // one.form.block_size
    codes = np.full((one.rows, blocks, one.form.block_size), top, dtype=np.uint8)
    zeros = np.zeros((one.rows, blocks), dtype=np.uint8)
    rows = QuantisedRows(one.form, one.cols, codes, np.ones((one.rows, blocks), np.float32), zeros)
    signs = {
        "plus": np.ones(one.cols),
        "minus": -np.ones(one.cols),
        "alternating": np.tile([1, -1], one.cols // 2),
        "random": rng.choice([-1, 1], one.cols),
    }[pattern]
    values = np.tile(127 * signs, (one.tokens, 1)).astype(np.float32)
    acts = activations(isa, values)
    out = run(kernels(isa, make), name, one, rows, acts.arrays)
    assert np.array_equal(out[:, : one.rows], np.full((one.tokens, one.rows), top * 127.0 * signs.sum()))


@EVERY_ISA
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["int4-asymmetric", "int8", "int8-asymmetric"]))
def test_whole_numbers_are_exact(isa: Isa, seed: int, name: str) -> None:
    """With scales of 1 and whole activations nothing is rounded: every set of kernels must give the same integers."""
    one = CASES[name]
    rng = np.random.default_rng(seed)
    made = random_rows(rng, one.form, one.rows, one.cols)
    rows = QuantisedRows(one.form, one.cols, made.codes, np.ones_like(made.scales), made.zero_points)
    values = rng.integers(-127, 128, (one.tokens, one.cols)).astype(np.float32)
    values[:, ::32] = 127.0  # the largest of each block: activations are scaled by 1
    out = run(kernels(isa, make), name, one, rows, activations(isa, values).arrays)
    assert np.array_equal(out[:, : one.rows], values.astype(np.int64) @ rows.dequantised().astype(np.int64).T)


@EVERY_ISA
@pytest.mark.parametrize("name", TABLES)
def test_embedding(isa: Isa, name: str) -> None:
    """A row of the table is the first thing that a token becomes; the last row lies in a tile that is not full."""
    form = TABLES[name]
    rows = random_rows(np.random.default_rng(6), form, TABLE_ROWS, TABLE_COLS)
    matrix = Matrix(TABLE_ROWS, TABLE_COLS, form)
    for ids in ([0, 1, 39], [15, 16, 17]):
        out = np.full((TABLE_TOKENS, TABLE_COLS), np.nan, dtype=np.float32)
        kernels(isa, make)(symbol(name), np.array(ids, np.int32), *stored(isa, matrix, rows), out)
        assert np.array_equal(out, rows.dequantised()[ids])
