"""Kernels over one row: norm, gate, rounding, and the exponential that attention shares, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge.build.tvm.isa import BLOCK, Isa
from edge.build.tvm.kernels.rows import exp_vector, gate, norm, rounded
from edge.build.tvm.writer import Kernel, int32, load
from tests.tvm_toy import EVERY_ISA, activations, empty_activations, kernels, values_of

EPSILON = 1e-5
COLS, TOKENS = 96, (1, 3, 8)
POINTS = 4096


def exponential(name: str, lanes: int) -> Any:
    """Kernel: x [POINTS] -> e**x."""
    kernel = Kernel(name)
    source = kernel.argument("x", (POINTS,), "float32")
    out = kernel.argument("out", (POINTS,), "float32")
    with kernel.loop(POINTS // lanes, "part") as part:
        at = part * int32(lanes)
        kernel.store(out, exp_vector(kernel, kernel.bind(load(source, at, lanes=lanes)), lanes), at)
    return kernel.function()


def make(isa: Isa) -> dict[str, Any]:
    made = {f"exp_{lanes}": exponential(f"exp_{lanes}", lanes) for lanes in (1, isa.lanes)}
    for tokens in TOKENS:
        made[f"norm_{tokens}"] = norm(f"norm_{tokens}", isa, tokens, COLS, EPSILON)
        made[f"gate_{tokens}"] = gate(f"gate_{tokens}", isa, tokens, COLS)
        made[f"rounded_{tokens}"] = rounded(f"rounded_{tokens}", isa, tokens, COLS)
    return made


def near(isa: Isa, arrays: list[npt.NDArray[Any]], wanted: npt.NDArray[np.float64]) -> None:
    """Written activations stand for `wanted`, up to half a step of their block and float32's last digits."""
    slack = 3e-6 * np.abs(wanted).max() + 1e-7
    if isa.bytes:
        slack = slack + 0.501 * np.repeat(arrays[1].astype(np.float64), BLOCK, axis=1)
    assert np.all(np.abs(values_of(isa, arrays) - wanted) <= slack)
    sums = values_of(isa, arrays).reshape(len(wanted), -1, BLOCK).sum(axis=2)
    scale = arrays[1].astype(np.float64) if isa.bytes else 1.0
    assert arrays[-1] * scale == pytest.approx(sums, rel=1e-5, abs=1e-4)


@EVERY_ISA
@pytest.mark.parametrize("tokens", TOKENS)
def test_rounded(isa: Isa, tokens: int) -> None:
    """What products read must be what the products' tests assume: the same codes, scales and sums, bit for bit."""
    values = np.random.default_rng(1).standard_normal((tokens, COLS)).astype(np.float32) * 3
    values[0, :BLOCK] = 0.0
    out = empty_activations(isa, tokens, COLS)
    kernels(isa, make)(f"rounded_{tokens}", values, *out)
    wanted = activations(isa, values).arrays
    for found, expected in zip(out[: 3 if isa.bytes else 1], wanted, strict=False):
        assert found.tobytes() == expected.tobytes()
    assert out[-1] == pytest.approx(wanted[-1], abs=1e-5)


@EVERY_ISA
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-40, 1e-37, 1e-31, 1e-20, 1e30])
def test_no_block_becomes_nothing_that_is_a_number(isa: Isa, size: float) -> None:
    """127 over a number near zero is infinite, and infinity times a zero beside it spoils the whole text."""
    values = np.zeros((1, COLS), dtype=np.float32)
    values[0, 1::2] = size
    out = empty_activations(isa, 1, COLS)
    kernels(isa, make)("rounded_1", values, *out)
    found = values_of(isa, out)
    assert np.isfinite(found).all()
    assert np.isfinite(out[-1]).all()
    assert found == pytest.approx(values.astype(np.float64), rel=1e-2, abs=1e-29)


@EVERY_ISA
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("size", [1e-6, 1.0, 3e4])
def test_norm(isa: Isa, tokens: int, size: float) -> None:
    """RMS norm stands before every product; epsilon decides where a row is nearly nothing."""
    rng = np.random.default_rng(2)
    hidden = (rng.standard_normal((tokens, COLS)) * size).astype(np.float32)
    weight = rng.uniform(0.5, 1.5, COLS).astype(np.float32)
    out = empty_activations(isa, tokens, COLS)
    kernels(isa, make)(f"norm_{tokens}", hidden, weight, *out)
    exact = hidden.astype(np.float64)
    mean = (exact**2).mean(axis=1, keepdims=True)
    near(isa, out, exact / np.sqrt(mean + EPSILON) * weight)


@EVERY_ISA
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("size", [0.1, 3.0, 200.0])
def test_gate(isa: Isa, tokens: int, size: float) -> None:
    """SiLU of the first half times the second; far below zero the exponential must not overflow."""
    both = (np.random.default_rng(3).standard_normal((tokens, 2 * COLS)) * size).astype(np.float32)
    out = empty_activations(isa, tokens, COLS)
    kernels(isa, make)(f"gate_{tokens}", both, *out)
    left, right = both[:, :COLS].astype(np.float64), both[:, COLS:].astype(np.float64)
    near(isa, out, left / (1 + np.exp(-left)) * right)


@EVERY_ISA
@pytest.mark.parametrize("kernel", ["norm", "gate", "rounded"])
def test_a_row_has_the_same_bits_in_any_company(isa: Isa, kernel: str) -> None:
    """Eight rows are shared out among threads, one is not: the numbers must not tell."""
    rng = np.random.default_rng(4)
    values = rng.standard_normal((8, COLS * (2 if kernel == "gate" else 1))).astype(np.float32)
    more = [rng.uniform(0.5, 1.5, COLS).astype(np.float32)] if kernel == "norm" else []
    together = empty_activations(isa, 8, COLS)
    kernels(isa, make)(f"{kernel}_8", values, *more, *together)
    for row in range(8):
        alone = empty_activations(isa, 1, COLS)
        kernels(isa, make)(f"{kernel}_1", values[row : row + 1], *more, *alone)
        for one, all_rows in zip(alone, together, strict=True):
            assert one.tobytes() == all_rows[row : row + 1].tobytes()


@EVERY_ISA
@pytest.mark.parametrize("vector", [False, True])
def test_exponential(isa: Isa, vector: bool) -> None:
    """The softmax of a long visit adds thousands of these: an error of one in a million would be seen in the logits."""
    name = f"exp_{isa.lanes if vector else 1}"
    rng = np.random.default_rng(5)
    for low, high in ((-87.0, 88.0), (-1.0, 1.0), (-1e-3, 1e-3)):
        x = rng.uniform(low, high, POINTS).astype(np.float32)
        x[:3] = low, high, 0.0
        out = np.zeros(POINTS, dtype=np.float32)
        kernels(isa, make)(name, x, out)
        exact = np.exp(x.astype(np.float64))
        assert np.abs(out / exact - 1).max() < 2e-7
        assert out[2] == 1.0


@EVERY_ISA
def test_exponential_beyond_its_range(isa: Isa) -> None:
    """A masked score is -1e30 and a wild one +1e30: both stay numbers."""
    x = np.zeros(POINTS, dtype=np.float32)
    x[:6] = -1e30, -200.0, -88.0, 89.0, 1e4, 1e30
    out = np.zeros(POINTS, dtype=np.float32)
    kernels(isa, make)(f"exp_{isa.lanes}", x, out)
    assert np.isfinite(out).all()
    assert (out[:3] < 2e-38).all()
    assert (out[3:6] > 1e38).all()
