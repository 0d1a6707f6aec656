"""Matrix products and elementary functions whose result is the same bits on every host.

A float product depends on the host: BLAS chooses the order of the sum, the block size and fused
multiply-add by CPU and thread count (llama.cpp PR 25353: 113 of 147 tensors differ between x86 and Arm).
Calibrated rounding and layer choice depend on such products, so they would make a bundle irreproducible.

Here every factor is first rounded to integers of at most `bits` bits times a power of two a row. The
product of two such matrices is a sum of integers below 2**53, which float64 BLAS computes without any
rounding, in any order, with or without FMA. Scaling back by powers of two is exact too. What remains are
elementwise +, -, *, /, sqrt and rint, which IEEE 754 defines to the last bit and numpy never fuses.

exp, sin and cos of libm are not bit-identical between hosts; the ones here are built from those operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

MANTISSA_BITS = 53


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on one thread within the block; the build shares its work out itself.

    Only a matter of speed, never of results: BLAS threads spin while they wait, which costs most when several
    threads call it or another program wants the CPU (seen: four times the time).
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # not in the build extra's place: slower, the same bits
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def bits_for(inner: int) -> int:
    """Bits a factor may have so that `inner` products of two of them add up below 2**53."""
    return (MANTISSA_BITS - int(np.ceil(np.log2(max(inner, 2))))) // 2


def power_of_two_scale(magnitude: Float64, bits: int) -> Float64:
    """The power of two s with magnitude / s <= 2**bits, elementwise; 1 where magnitude is 0."""
    _, exponent = np.frexp(magnitude)  # magnitude = m * 2**exponent, 0.5 <= m < 1
    scale = np.ldexp(1.0, np.maximum(exponent - bits, -1074))  # below the smallest number is 0
    return np.where(magnitude > 0, scale, 1.0)


def to_integers(matrix: npt.NDArray[np.floating], bits: int) -> tuple[Float64, Float64]:
    """Round each row to integers of at most `bits` bits.

    matrix: [..., rows, inner]. Returns (integers as float64, same shape; powers of two [..., rows, 1]).
    """
    values = np.asarray(matrix, dtype=np.float64)
    scale = power_of_two_scale(np.abs(values).max(axis=-1, keepdims=True, initial=0.0), bits)
    integers = values / scale
    np.rint(integers, out=integers)
    return integers, scale


def matmul(left: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> Float64:
    """left [..., m, k] @ right [..., n, k] transposed -> [..., m, n] float64, the same bits everywhere.

    Relative error of each factor is 2**-bits_for(k) of its row's largest value (about 2**-21 at k = 1536).
    """
    bits = bits_for(left.shape[-1])
    left_integers, left_scale = to_integers(left, bits)
    right_integers, right_scale = to_integers(right, bits)
    return scaled_product(left_integers, left_scale, right_integers, right_scale)


def scaled_product(left: Float64, left_scale: Float64, right: Float64, right_scale: Float64) -> Float64:
    """Exact product of operands that `to_integers` made, for callers that use one operand many times."""
    product: Float64 = np.matmul(left, np.swapaxes(right, -1, -2))
    product *= left_scale
    product *= np.swapaxes(right_scale, -1, -2)
    return product


def exact_sum(values: Float64, axis: int = -1, *, keepdims: bool = False) -> Float64:
    """Sum after rounding to integers that cannot overflow 2**53, so that the order does not matter."""
    count = values.shape[axis]
    bits = MANTISSA_BITS - int(np.ceil(np.log2(max(count, 2))))
    scale = power_of_two_scale(np.abs(values).max(axis=axis, keepdims=True, initial=0.0), bits)
    total: Float64 = np.rint(values / scale).sum(axis=axis, keepdims=True) * scale
    return total if keepdims else np.squeeze(total, axis=axis)


_LN2_HIGH = 6.93147180369123816490e-01  # 32 leading bits of ln 2: k * _LN2_HIGH is exact for |k| < 2**20
_LN2_LOW = 1.90821492927058770002e-10
_EXP_TERMS = [1.0]
for _n in range(1, 13):
    _EXP_TERMS.append(_EXP_TERMS[-1] / _n)
_CACHE_VALUES = 16384  # work on pieces that stay in the cache: four times as fast as whole matrices


def exp(values: Float64) -> Float64:
    """e**x to about one unit in the 14th digit; below -708 it is 0."""
    result = np.empty(values.shape)
    source, target = values.reshape(-1), result.reshape(-1)
    for start in range(0, source.size, _CACHE_VALUES):
        piece = source[start : start + _CACHE_VALUES]
        rest = np.clip(piece, -708.0, 709.0)
        k = np.rint(rest * 1.4426950408889634)
        rest -= k * _LN2_HIGH
        rest -= k * _LN2_LOW
        total = rest * _EXP_TERMS[-1]
        total += _EXP_TERMS[-2]
        for term in _EXP_TERMS[-3::-1]:
            total *= rest
            total += term
        total *= _power_of_two(k)
        total[piece < -708.0] = 0.0
        target[start : start + _CACHE_VALUES] = total
    return result


def _power_of_two(exponent: Float64) -> Float64:
    """2**k for whole k in -1021..1023, by writing the exponent bits."""
    return ((exponent.astype(np.int64) + 1023) << 52).view(np.float64)


_HALF_PI_PARTS = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21)


def sin_cos(angles: Float64) -> tuple[Float64, Float64]:
    """(sin, cos) of angles up to about 2**20, by Cody-Waite reduction and Taylor series."""
    k = np.rint(angles * 0.6366197723675814)
    rest = angles
    for part in _HALF_PI_PARTS:
        rest = rest - k * part
    square = rest * rest
    sine = np.zeros_like(rest)
    cosine = np.zeros_like(rest)
    for n in range(9, -1, -1):
        sine = 1.0 - sine * square / ((2 * n + 2) * (2 * n + 3))
        cosine = 1.0 - cosine * square / ((2 * n + 1) * (2 * n + 2))
    sine = sine * rest
    quadrant = k.astype(np.int64) & 3
    swapped = (quadrant & 1).astype(bool)
    sin_value = np.where(swapped, cosine, sine) * np.where(quadrant >= 2, -1.0, 1.0)
    cos_value = np.where(swapped, sine, cosine) * np.where((quadrant == 1) | (quadrant == 2), -1.0, 1.0)
    return sin_value, cos_value


def inverse_power(base: float, exponents: list[tuple[int, int]]) -> Float64:
    """base ** -(numerator / denominator), correctly rounded by decimal arithmetic."""
    with localcontext() as context:
        context.prec = 40
        return np.array([float(Decimal(base) ** (-Decimal(n) / Decimal(d))) for n, d in exponents])


def precise_matmul(left: Float64, right: Float64) -> Float64:
    """Like `matmul`, with each factor cut into two slices: relative error about 2**-42 instead of 2**-21.

    After Ozaki et al. 2012, error-free transformation of matrix multiplication.
    """
    bits = bits_for(left.shape[-1])
    left_high, left_scale = to_integers(left, bits)
    right_high, right_scale = to_integers(right, bits)
    left_low = np.rint((left / left_scale - left_high) * 2.0**bits)
    right_low = np.rint((right / right_scale - right_high) * 2.0**bits)
    cross = scaled_product(left_high, left_scale, right_low, right_scale)
    cross += scaled_product(left_low, left_scale, right_high, right_scale)
    cross *= 2.0**-bits
    cross += scaled_product(left_high, left_scale, right_high, right_scale)
    return cross
