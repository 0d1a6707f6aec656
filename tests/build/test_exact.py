"""Products and functions with the same bits everywhere: the law that makes two hosts' bundles equal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.build import exact

SEEDS = st.integers(0, 2**32 - 1)


def matrix(seed: int, *shape: int) -> np.ndarray:
    """Rows of very different sizes, some with outliers: what activations look like."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6, (*shape[:-1], 1))
    values[rng.random(shape) < 0.02] *= 1000
    return values


@given(SEEDS, st.integers(1, 300), st.integers(1, 9), st.integers(1, 9))
def test_product_holds_its_stated_error(seed: int, inner: int, m: int, n: int) -> None:
    """Calibration and golden cases speak of another model when the product is less exact than it says."""
    left, right = matrix(seed, m, inner), matrix(seed + 1, n, inner)
    size = 2.0 ** -exact.bits_for(inner)
    largest = np.abs(left).max(axis=1)[:, None] * np.abs(right).max(axis=1)[None, :]
    bound = inner * largest * (2 * size + size**2)
    wanted = np.array([[math.fsum(a * b for a, b in zip(x, y, strict=True)) for y in right] for x in left])
    assert (np.abs(exact.matmul(left, right) - wanted) <= bound * 1.01).all()
    assert (np.abs(exact.precise_matmul(left, right) - wanted) <= inner * largest * 4 * size**2 + 1e-300).all()


@given(SEEDS, st.integers(2, 200))
def test_order_of_the_sum_does_not_matter(seed: int, inner: int) -> None:
    """BLAS sums in another order on another CPU: if that shows, two hosts build two bundles."""
    left, right = matrix(seed, 7, inner), matrix(seed + 1, 5, inner)
    order = np.random.default_rng(seed).permutation(inner)
    for product in (exact.matmul, exact.precise_matmul):
        whole = product(left, right)
        assert product(left[:, order], right[:, order]).tobytes() == whole.tobytes()
        assert product(right, left).T.tobytes() == np.ascontiguousarray(whole).tobytes()
        rows = [product(left[start : start + 3], right[:2]) for start in range(0, 7, 3)]
        assert np.concatenate(rows).tobytes() == np.ascontiguousarray(whole[:, :2]).tobytes()


def test_product_is_exact_on_integers_up_to_its_bits() -> None:
    """The bit budget is the whole trick: one bit too many and float64 starts to round."""
    for inner in (1, 2, 3, 63, 64, 65, 1536, 4096):
        bits = exact.bits_for(inner)
        top = 2**bits - 1
        left = np.full((2, inner), float(top))
        left[1, ::2] *= -1
        wanted = [[sum(int(a) * int(b) for a, b in zip(x, y, strict=True)) for y in left] for x in left]
        assert max(max(row) for row in wanted) <= 2**53
        assert exact.matmul(left, left).tolist() == [[float(value) for value in row] for row in wanted]


def test_stacks_are_products_of_each() -> None:
    """Attention multiplies per head: a stack must give what each head gives alone."""
    left, right = matrix(1, 3, 4, 16), matrix(2, 3, 5, 16)
    stacked = exact.matmul(left, right)
    for index in range(3):
        assert stacked[index].tobytes() == exact.matmul(left[index], right[index]).tobytes()


def test_zero_rows_and_the_smallest_numbers() -> None:
    """A dead neuron is a row of zeros or of subnormal numbers: its scale must not become zero or infinite."""
    left = np.zeros((3, 8))
    left[1] = 5e-324
    left[2] = 1e-310
    product = exact.matmul(left, np.ones((2, 8)))
    assert product[:2].tolist() == [[0.0, 0.0], [4e-323, 4e-323]]
    assert product[2] == pytest.approx([8e-310, 8e-310], rel=1e-7)
    assert exact.exact_sum(left) == pytest.approx([0.0, 4e-323, 8e-310])


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=70), elements=st.floats(-1e9, 1e9)))
def test_sum_is_the_same_in_any_order(values: np.ndarray) -> None:
    """numpy adds pairwise by SIMD width: a norm that depends on it differs between hosts."""
    total = exact.exact_sum(values)
    assert np.array_equal(exact.exact_sum(values[..., ::-1]), total)
    largest = np.abs(values).max(initial=0.0)
    assert np.allclose(total, values.sum(axis=-1), rtol=0, atol=largest * values.shape[-1] * 2.0**-44)
    assert exact.exact_sum(values, keepdims=True).shape == (*values.shape[:-1], 1)
    assert exact.exact_sum(values, axis=0).shape == values.shape[1:]


@given(st.floats(-708, 709))
def test_exp_is_close(value: float) -> None:
    """Softmax and SiLU of the reference would drift from the model's own."""
    assert exact.exp(np.array([value]))[0] == pytest.approx(math.exp(value), rel=4e-14)


def test_exp_at_its_ends() -> None:
    """A masked score is minus infinity: anything but 0 lets a token look into the future."""
    values = exact.exp(np.array([-np.inf, -1e308, -708.5, 0.0, 1e-300, 800.0]))
    assert values[:3].tolist() == [0.0, 0.0, 0.0]
    assert values[3:5].tolist() == [1.0, 1.0]
    assert np.isfinite(values[5])


def test_exp_of_many_is_exp_of_each() -> None:
    """Pieces are worked on one after another: a seam must not show, whatever the shape or the stride."""
    values = np.random.default_rng(0).standard_normal((3, 20011)) * 20
    whole = exact.exp(values)
    assert whole.shape == values.shape
    assert whole[:, ::7].tobytes() == np.ascontiguousarray(exact.exp(values[:, ::7])).tobytes()
    assert exact.exp(np.empty((0, 4))).shape == (0, 4)


@given(st.floats(0, 2**20))
def test_sine_and_cosine_are_close(angle: float) -> None:
    """Rotary tables go into the bundle: a wrong quadrant turns a head's attention around."""
    sine, cosine = exact.sin_cos(np.array([angle, -angle]))
    assert sine == pytest.approx([math.sin(angle), -math.sin(angle)], abs=2e-15)
    assert cosine == pytest.approx([math.cos(angle)] * 2, abs=2e-15)


@settings(max_examples=30)
@given(st.floats(2, 1e7), st.integers(1, 64))
def test_inverse_power_is_correctly_rounded(base: float, half: int) -> None:
    """pow of libm differs between hosts, and so would every rotary angle."""
    values = exact.inverse_power(base, [(index, half) for index in range(half)])
    assert values[0] == 1.0
    assert values == pytest.approx([base ** -(index / half) for index in range(half)], rel=1e-14)
