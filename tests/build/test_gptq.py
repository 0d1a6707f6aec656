"""Calibrated rounding: less output error than round-to-nearest, and factorisations that are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build import gptq
from edge.build.gptq import Hessian, cholesky_lower, inverse_factor, inverse_upper, quantise_gptq, quantise_with_factor
from edge.build.quantise import QuantFormat, QuantisedRows, encode, quantise_rtn, searched_parameters, to_blocks

INT4 = QuantFormat(4, 32, True)


def correlated(tokens: int, width: int, seed: int = 0) -> np.ndarray:
    """Inputs as layers see them: a few directions carry most of it, a few columns are large."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((tokens, 12)) @ rng.standard_normal((12, width)) + 0.2 * rng.standard_normal(
        (tokens, width)
    )
    inputs[:, :3] *= 10
    return inputs


def hessian(inputs: np.ndarray) -> Hessian:
    result = Hessian(inputs.shape[1])
    result.add(inputs)
    return result


def output_error(rounded: QuantisedRows, weights: np.ndarray, inputs: np.ndarray) -> float:
    return float(((inputs @ (rounded.dequantised().astype(np.float64) - weights).T) ** 2).sum())


@pytest.mark.parametrize("format", [QuantFormat(4, b, s) for b in (32, 64, 128) for s in (True, False)], ids=str)
def test_beats_rounding_to_nearest(format: QuantFormat) -> None:
    """The reason to calibrate at all: without it int4 loses KL .459 on the reference model."""
    inputs, fresh = np.split(correlated(600, 200), 2)
    weights = np.random.default_rng(1).standard_normal((40, 200)).astype(np.float32)
    calibrated = quantise_gptq(weights, hessian(inputs), format)
    plain = quantise_rtn(weights, format)
    assert calibrated.codes.shape == plain.codes.shape
    assert output_error(calibrated, weights, inputs) < 0.4 * output_error(plain, weights, inputs)
    assert output_error(calibrated, weights, fresh) < 0.5 * output_error(plain, weights, fresh)


@pytest.mark.parametrize("symmetric", [True, False])
def test_with_inputs_that_know_nothing_of_each_other_it_is_plain_rounding(symmetric: bool) -> None:
    """With H = I no column can make up for another, so every code is the nearest one under the searched scale.

    Not under RTN's scale: the search may clip an extreme to serve the other weights. Where it keeps RTN's scale,
    the codes are RTN's.
    """
    format = QuantFormat(4, 32, symmetric)
    weights = np.random.default_rng(2).standard_normal((20, 96)).astype(np.float32)
    rounded = quantise_with_factor(weights, np.eye(96), np.ones(96), format)
    zeros = rounded.zero_points if not symmetric else None
    assert np.array_equal(rounded.codes, encode(to_blocks(weights, format), rounded.scales, zeros, format))
    plain = quantise_rtn(weights, format)
    same = rounded.scales == plain.scales
    if zeros is not None and plain.zero_points is not None:
        same &= zeros == plain.zero_points
    assert same.any()
    assert np.array_equal(rounded.codes[same], plain.codes[same])
    assert output_error(rounded, weights, np.eye(96)) <= output_error(plain, weights, np.eye(96))
    # Searched block by block with equal importance: the same as searching each block of the plain weights.
    scales, _ = searched_parameters(weights[:, :32].astype(np.float64), np.ones(32), format)
    assert np.array_equal(rounded.scales[:, 0], scales.astype(np.float32))


def test_inputs_never_seen_round_plainly() -> None:
    """A dead input column has no Hessian: it must not divide by zero nor drag its neighbours along."""
    inputs = correlated(100, 64)
    inputs[:, [5, 40]] = 0.0
    weights = np.random.default_rng(3).standard_normal((8, 64)).astype(np.float32)
    rounded = quantise_gptq(weights, hessian(inputs), INT4)
    assert np.isfinite(rounded.scales).all()
    scale = rounded.scales[:, 1]
    nearest = np.clip(np.rint(weights[:, 40] / scale) + 8, 0, 15)
    assert np.array_equal(rounded.codes[:, 1, 8], nearest.astype(np.uint8))


def test_fewer_tokens_than_columns() -> None:
    """A short calibration text leaves H without full rank: damping must keep the factorisation alive."""
    weights = np.random.default_rng(4).standard_normal((8, 160)).astype(np.float32)
    for tokens in (1, 7):
        rounded = quantise_gptq(weights, hessian(correlated(tokens, 160)), INT4)
        assert np.isfinite(rounded.dequantised()).all()


def test_an_outlier_column_a_million_times_larger() -> None:
    """Massive activations are real: the Cholesky must not meet a negative pivot because of them."""
    inputs = correlated(300, 130)
    inputs[:, 77] *= 1e6
    weights = np.random.default_rng(5).standard_normal((6, 130)).astype(np.float32)
    rounded = quantise_gptq(weights, hessian(inputs), INT4)
    assert np.isfinite(rounded.scales).all()


def test_rows_do_not_know_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are rounded in chunks to bound memory: the chunk size must not change a code."""
    weights = np.random.default_rng(6).standard_normal((11, 96)).astype(np.float32)
    damped = hessian(correlated(90, 96)).damped()
    factor, importance = inverse_factor(damped), np.diag(damped).copy()
    whole = quantise_with_factor(weights, factor, importance, INT4)
    monkeypatch.setattr(gptq, "ROW_CHUNK", 4)
    chunked = quantise_with_factor(weights, factor, importance, INT4)
    assert np.array_equal(whole.codes, chunked.codes)
    assert np.array_equal(whole.scales, chunked.scales)


def test_batches_add_up() -> None:
    """Calibration text arrives in pieces: together they must make the same Hessian, and a symmetric one."""
    inputs = correlated(120, 40)
    whole, parts = hessian(inputs), Hessian(40)
    parts.add(inputs[:50])
    parts.add(inputs[50:])
    assert parts.tokens == whole.tokens == 120
    scale = np.abs(inputs).max() ** 2 * 120
    assert np.abs(parts.matrix - whole.matrix).max() < scale * 2.0**-20
    assert np.abs(whole.matrix - inputs.T @ inputs).max() < scale * 2.0**-20
    assert np.array_equal(whole.matrix, whole.matrix.T)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_factorisations_are_what_they_say(size: int, seed: int) -> None:
    """A wrong factor spreads errors in wrong directions: GPTQ would still run, and lose to RTN."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((size, size + 5))
    matrix = root @ root.T + 0.1 * size * np.eye(size)
    lower = cholesky_lower(matrix)
    assert np.array_equal(lower, np.tril(lower))
    assert np.abs(lower @ lower.T - matrix).max() < 1e-9 * np.abs(matrix).max()
    upper = np.ascontiguousarray(lower.T)
    inverse = inverse_upper(upper)
    assert np.array_equal(inverse, np.triu(inverse))
    assert np.abs(inverse @ upper - np.eye(size)).max() < 1e-8
    factor = inverse_factor(matrix)
    assert np.array_equal(factor, np.triu(factor))
    assert np.abs(factor.T @ factor @ matrix - np.eye(size)).max() < 1e-7
