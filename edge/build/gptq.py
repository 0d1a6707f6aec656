"""Calibrated rounding: GPTQ (Frantar et al. 2022, arXiv 2210.17323) with the same codes on every host.

Columns are rounded one after another; the error of each is spread over the columns not yet rounded by the
inverse Hessian of the layer's output error, H = X^T X over calibration inputs X. Scales are chosen block by
block when the block is reached, by search weighted with H's diagonal.

The factorisation and the error feedback go through exact.py, so that no BLAS, LAPACK or thread count can
change a code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.build import exact
from edge.build.quantise import Codes, QuantFormat, QuantisedRows, searched_parameters

Float64 = npt.NDArray[np.float64]

DAMPING = 0.01  # of the mean diagonal, as in the paper
LAZY_COLUMNS = 32  # errors spread by matmul past these; in-between elementwise
BASE_SIZE = 64
ROW_CHUNK = 4096


@dataclass
class Hessian:
    """Running X^T X. inputs come as [tokens, width] float64 batches."""

    width: int

    def __post_init__(self) -> None:
        self.matrix: Float64 = np.zeros((self.width, self.width))
        self.tokens = 0

    def add(self, inputs: Float64) -> None:
        columns = np.ascontiguousarray(inputs.T)
        self.matrix += exact.matmul(columns, columns)
        self.tokens += inputs.shape[0]

    def damped(self) -> Float64:
        """H plus damping; inputs never seen (zero diagonal) get 1, so that their weights round plainly."""
        damped = self.matrix.copy()
        diagonal = np.einsum("ii->i", damped)
        diagonal[diagonal == 0.0] = 1.0
        diagonal += DAMPING * (exact.exact_sum(diagonal.copy()) / self.width)
        return damped


def inverse_upper(upper: Float64) -> Float64:
    """Inverse of an upper triangular matrix, by halving; small blocks by back substitution."""
    size = upper.shape[0]
    if size <= BASE_SIZE:
        inverse = np.zeros_like(upper)
        rest = np.eye(size)
        for row in range(size - 1, -1, -1):
            inverse[row] = rest[row] / upper[row, row]
            rest[:row] -= upper[:row, row, None] * inverse[row]
        return inverse
    half = size // 2
    first = inverse_upper(upper[:half, :half])
    second = inverse_upper(upper[half:, half:])
    corner = exact.precise_matmul(first, np.ascontiguousarray(upper[:half, half:].T))
    corner = exact.precise_matmul(corner, np.ascontiguousarray(second.T))
    return np.block([[first, -corner], [np.zeros((size - half, half)), second]])


def cholesky_lower(matrix: Float64) -> Float64:
    """L with L L^T = matrix (positive definite), by halving; small blocks column by column."""
    size = matrix.shape[0]
    if size <= BASE_SIZE:
        rest = matrix.copy()
        lower = np.zeros_like(matrix)
        for column in range(size):
            lower[column:, column] = rest[column:, column] / np.sqrt(rest[column, column])
            rest[column:, column:] -= lower[column:, column, None] * lower[None, column:, column]
        return lower
    half = size // 2
    first = cholesky_lower(matrix[:half, :half])
    first_inverse = np.ascontiguousarray(inverse_upper(np.ascontiguousarray(first.T)).T)
    below = exact.precise_matmul(np.ascontiguousarray(matrix[half:, :half]), first_inverse)
    second = cholesky_lower(matrix[half:, half:] - exact.precise_matmul(below, below))
    return np.block([[first, np.zeros((half, size - half))], [below, second]])


def inverse_factor(hessian: Float64) -> Float64:
    """Upper triangular U with U^T U = hessian^-1.

    With H = R R^T, R upper triangular (a Cholesky of H read backwards), U = R^-1.
    """
    flipped = np.ascontiguousarray(hessian[::-1, ::-1])
    upper = np.ascontiguousarray(cholesky_lower(flipped)[::-1, ::-1])
    return inverse_upper(upper)


def quantise_gptq(weights: npt.NDArray[np.floating], hessian: Hessian, format: QuantFormat) -> QuantisedRows:
    """Round a matrix [rows, cols] so that its output on the calibration inputs changes least."""
    damped = hessian.damped()
    return quantise_with_factor(weights, inverse_factor(damped), np.diag(damped).copy(), format)


def quantise_with_factor(
    weights: npt.NDArray[np.floating], factor: Float64, importance: Float64, format: QuantFormat
) -> QuantisedRows:
    """The rounding itself, for callers that share a factorisation between formats."""
    rows, cols = weights.shape
    parts = [
        _quantise_rows(weights[start : start + ROW_CHUNK], factor, importance, format)
        for start in range(0, rows, ROW_CHUNK)
    ]
    return QuantisedRows(
        format,
        cols,
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        None if format.symmetric else np.concatenate([part[2] for part in parts]),
    )


def _quantise_rows(
    weights: npt.NDArray[np.floating], factor: Float64, importance: Float64, format: QuantFormat
) -> tuple[Codes, npt.NDArray[np.float32], Codes]:
    rows, cols = weights.shape
    blocks = format.blocks(cols)
    # Column-major work: one column of all rows is contiguous.
    work = np.ascontiguousarray(weights.T, dtype=np.float64)
    codes = np.full((blocks * format.block_size, rows), format.middle, dtype=np.uint8)
    scales = np.ones((blocks, rows))
    zeros = np.full((blocks, rows), float(format.middle))
    top = float(format.levels - 1)
    lazy = max(LAZY_COLUMNS, format.block_size)
    for start in range(0, cols, lazy):
        stop = min(start + lazy, cols)
        errors = np.zeros((stop - start, rows))
        for column in range(start, stop):
            block = column // format.block_size
            if column % format.block_size == 0:
                end = min(column + format.block_size, stop)
                scales[block], zeros[block] = searched_parameters(
                    np.ascontiguousarray(work[column:end].T), importance[column:end], format
                )
            code = np.clip(np.rint(work[column] / scales[block]) + zeros[block], 0.0, top)
            codes[column] = code
            error = (work[column] - (code - zeros[block]) * scales[block]) / factor[column, column]
            errors[column - start] = error
            work[column + 1 : stop] -= factor[column, column + 1 : stop, None] * error
        if stop < cols:
            feedback = np.ascontiguousarray(factor[start:stop, stop:].T)
            work[stop:] -= exact.matmul(feedback, np.ascontiguousarray(errors.T))
    shaped = np.ascontiguousarray(codes.T).reshape(rows, blocks, format.block_size)
    return (
        shaped,
        np.ascontiguousarray(scales.T.astype(np.float32)),
        np.ascontiguousarray(zeros.T.astype(np.uint8)),
    )
