"""The GPU's products and embedding, run as loops on this CPU, against numpy: every format, both byte layouts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

import tvm

from edge.build.tvm.cuda.products import embedding, product
from edge.build.tvm.isa import Isa, llvm_target
from edge.build.tvm.kernels.products import Matrix
from edge.runtime.tvm_engine import aligned
from tests.build.tvm.kernels.test_products import (
    CASES,
    TABLE_COLS,
    TABLE_ROWS,
    TABLE_TOKENS,
    TABLES,
    extra,
    stored,
    symbol,
)
from tests.cuda_toy import BYTES_ISAS, QUICK
from tests.tvm_toy import Array, activations, random_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BYTES_ISAS, reason="this CPU has no byte products, whose tiles the GPU's kernels read"),
]
# Of an x86 host's weights file, and of a Jetson's: 8-bit codes less 128.
LAYOUTS = {"bytes": False, "signed-bytes": True}


@cache
def built(layout: str) -> tuple[Isa, Any]:
    """Every case in one module."""
    isa = replace(BYTES_ISAS[0], signed=LAYOUTS[layout])
    target = tvm.target.Target({**llvm_target(isa), **QUICK})
    made = {
        symbol(n): product(symbol(n), isa, c.matrix, c.tokens, residual=c.residual, form="forwards")
        for n, c in CASES.items()
    }
    for name, form in TABLES.items():
        matrix = Matrix(TABLE_ROWS, TABLE_COLS, form)
        made[symbol(name)] = embedding(symbol(name), isa, matrix, TABLE_TOKENS, form="forwards")
    return isa, tvm.compile(tvm.IRModule({n: f.with_attr("target", target) for n, f in made.items()}), target)


def call(module: Any, name: str, inputs: list[Array], out: Array) -> Array:
    placed = []
    for array in (*inputs, out):
        place = aligned(array.shape, array.dtype.type)
        place[:] = array
        placed.append(place)
    module[symbol(name)](*(tvm.runtime.from_dlpack(place) for place in placed))
    return np.asarray(placed[-1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_product(layout: str, name: str) -> None:
    """All of a decoder's arithmetic but attention: a wrong place of a scale or a nibble, and it writes nonsense."""
    isa, module = built(layout)
    one = CASES[name]
    rng = np.random.default_rng(3)
    rows = random_rows(rng, one.form, one.rows, one.cols)
    values = activations(isa, rng.standard_normal((one.tokens, one.cols)).astype(np.float32))
    rest = [rng.standard_normal(shape).astype(np.float32) for shape in extra(one)]
    empty = np.full((one.tokens, one.matrix.tiles * 16), np.nan, dtype=np.float32)
    out = call(module, name, [*values.arrays, *stored(isa, one.matrix, rows), *rest], empty)
    wanted = values.values @ rows.dequantised().astype(np.float64).T + sum(rest, np.zeros(one.rows))
    size = np.abs(values.values) @ np.abs(rows.scales).repeat(one.form.block_size, axis=1).T * one.form.levels
    assert np.all(np.abs(out[:, : one.rows] - wanted) <= 1e-6 * size + 1e-6)
    assert not out[:, one.rows :].any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TABLES)
def test_embedding(layout: str, name: str) -> None:
    """The first thing that a token becomes: a wrong row, and the model reads another text."""
    isa, module = built(layout)
    form = TABLES[name]
    rows = random_rows(np.random.default_rng(6), form, TABLE_ROWS, TABLE_COLS)
    ids = np.array([0, 17, TABLE_ROWS - 1], dtype=np.int32)
    tensors = stored(isa, Matrix(TABLE_ROWS, TABLE_COLS, form), rows)
    out = call(module, name, [ids, *tensors], np.full((TABLE_TOKENS, TABLE_COLS), np.nan, dtype=np.float32))
    assert np.array_equal(out, rows.dequantised()[ids])
