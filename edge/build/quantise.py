"""Group-wise weight quantisation by numpy arithmetic that gives the same codes on every host.

A weight matrix [rows, cols] is cut along cols into blocks. A block holds unsigned codes, one float32 scale
and, when not symmetric, one unsigned zero point:  w = (code - zero_point) * scale.  The layouts are those of
ONNX Runtime's MatMulNBits and GatherBlockQuantized; the packing is shared with other backends.

Only elementwise IEEE operations, exact minima/maxima and integer sums are used (see exact.py for why).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

# Shrink factors tried for a block's scale; 1.0 keeps the whole range, less clips the extremes.
SCALE_SEARCH = tuple(1.0 - 0.025 * step for step in range(9))


@dataclass(frozen=True)
class QuantFormat:
    """How a matrix is stored. bits: 4 or 8; block_size: weights that share a scale."""

    bits: int
    block_size: int
    symmetric: bool

    @property
    def levels(self) -> int:
        return 1 << self.bits

    @property
    def middle(self) -> int:
        """The implied zero point of a symmetric block (MatMulNBits' default)."""
        return 1 << (self.bits - 1)

    def blocks(self, cols: int) -> int:
        return -(-cols // self.block_size)

    def bytes_per_row(self, cols: int) -> int:
        """Codes + float32 scales + packed zero points of one row."""
        blocks = self.blocks(cols)
        zero_points = 0 if self.symmetric else -(-blocks * self.bits // 8)
        return blocks * (self.block_size * self.bits // 8 + 4) + zero_points


@dataclass(frozen=True)
class QuantisedRows:
    """Quantised rows of a matrix.

    codes: uint8 [rows, blocks, block_size], one code a byte; scales: float32 [rows, blocks];
    zero_points: uint8 [rows, blocks] or None when symmetric. cols: true width (the last block may be padded).
    """

    format: QuantFormat
    cols: int
    codes: Codes
    scales: Float32
    zero_points: Codes | None

    def dequantised(self) -> Float32:
        """[rows, cols] float32, as the runtime computes it."""
        zero: npt.NDArray[np.float32] | np.float32
        if self.zero_points is None:
            zero = np.float32(self.format.middle)
        else:
            zero = self.zero_points.astype(np.float32)[:, :, None]
        values = (self.codes.astype(np.float32) - zero) * self.scales[:, :, None]
        return values.reshape(values.shape[0], -1)[:, : self.cols]

    def packed_codes(self) -> Codes:
        """uint8 [rows, blocks, block_size * bits / 8]; with 4 bits the first of a pair is the low nibble."""
        return pack_nibbles(self.codes) if self.format.bits == 4 else self.codes

    def packed_zero_points(self) -> Codes | None:
        """uint8 [rows, ceil(blocks * bits / 8)] or None."""
        if self.zero_points is None or self.format.bits == 8:
            return self.zero_points
        odd = self.zero_points.shape[1] % 2
        # The unused last nibble is the middle, so that a padded block decodes to zeros.
        padded = np.pad(self.zero_points, ((0, 0), (0, odd)), constant_values=self.format.middle)
        return pack_nibbles(padded)


def pack_nibbles(codes: Codes) -> Codes:
    """[..., 2n] values below 16 -> [..., n] bytes, low nibble first."""
    return np.bitwise_or(codes[..., 0::2], np.left_shift(codes[..., 1::2], np.uint8(4)), dtype=np.uint8)


def unpack_nibbles(packed: Codes) -> Codes:
    """Inverse of pack_nibbles."""
    codes = np.empty((*packed.shape[:-1], packed.shape[-1] * 2), dtype=np.uint8)
    codes[..., 0::2] = packed & 0x0F
    codes[..., 1::2] = packed >> 4
    return codes


def to_blocks(rows: npt.NDArray[np.floating], format: QuantFormat) -> Float32:
    """[rows, cols] -> float32 [rows, blocks, block_size], zero-padded."""
    count, cols = rows.shape
    blocks = format.blocks(cols)
    padding = blocks * format.block_size - cols
    values = np.ascontiguousarray(rows, dtype=np.float32)
    if padding:
        values = np.pad(values, ((0, 0), (0, padding)))
    return values.reshape(count, blocks, format.block_size)


def block_parameters(blocks: Float32, format: QuantFormat) -> tuple[Float32, Codes | None]:
    """Round-to-nearest scale and zero point from the range of each block.

    blocks: [rows, blocks, block_size]. Symmetric 4-bit uses the signed extreme as the lowest level, so all 16
    levels serve (as llama.cpp's Q4_0); symmetric 8-bit uses +-127.
    """
    lowest = blocks.min(axis=-1)
    highest = blocks.max(axis=-1)
    if format.symmetric:
        if format.bits == 4:
            extreme = np.where(-lowest > highest, lowest, highest)
            scales = extreme / np.float32(-format.middle)
        else:
            scales = np.maximum(-lowest, highest) / np.float32(format.middle - 1)
        return np.where(scales == 0, np.float32(1), scales).astype(np.float32), None
    low = np.minimum(lowest, 0)
    high = np.maximum(highest, 0)
    scales = (high - low) / np.float32(format.levels - 1)
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    zero_points = np.clip(np.rint(-low / scales), 0, format.levels - 1).astype(np.uint8)
    return scales, zero_points


def encode(blocks: Float32, scales: Float32, zero_points: Codes | None, format: QuantFormat) -> Codes:
    """Nearest codes of [rows, blocks, block_size] under given parameters."""
    codes = blocks / scales[..., None]
    np.rint(codes, out=codes)
    if zero_points is None:
        codes += np.float32(format.middle)
    else:
        codes += zero_points.astype(np.float32)[..., None]
    np.clip(codes, 0, format.levels - 1, out=codes)
    return codes.astype(np.uint8)


def quantise_rtn(rows: npt.NDArray[np.floating], format: QuantFormat) -> QuantisedRows:
    """Round to nearest. rows: [rows, cols] float."""
    blocks = to_blocks(rows, format)
    scales, zero_points = block_parameters(blocks, format)
    codes = encode(blocks, scales, zero_points, format)
    return QuantisedRows(format, rows.shape[1], codes, scales, zero_points)


def searched_parameters(block: Float64, importance: Float64, format: QuantFormat) -> tuple[Float64, Float64]:
    """Scale and zero point of one block of columns that lose least, weighted by column importance.

    block: [rows, block_size]; importance: [block_size] >= 0 (the Hessian's diagonal). Returns
    (scales [rows], zero_points [rows]) as float64 holding float32 and integer values.
    """
    lowest = np.minimum(block.min(axis=1), 0.0)
    highest = np.maximum(block.max(axis=1), 0.0)
    extreme = np.where(-lowest > highest, lowest, highest)
    candidates: list[tuple[Float64, Float64]] = []
    for shrink in SCALE_SEARCH:
        if format.symmetric:
            divisor = -float(format.middle) if format.bits == 4 else float(format.middle - 1)
            scale = _nonzero_float32((extreme if format.bits == 4 else np.abs(extreme)) * shrink / divisor)
            candidates.append((scale, np.full_like(scale, float(format.middle))))
        else:
            scale = _nonzero_float32((highest - lowest) * shrink / (format.levels - 1))
            zero = np.clip(np.rint(-lowest / scale), 0, format.levels - 1)
            candidates.append((scale, zero))
            # A scale under which the lowest weight is a whole number of steps from zero: no shift remains.
            whole = np.maximum(np.rint(-lowest / scale), 1.0)
            fitted = _nonzero_float32(np.where(lowest < 0, -lowest / whole, scale))
            candidates.append((fitted, np.clip(np.where(lowest < 0, whole, 0.0), 0, format.levels - 1)))
    best_loss = np.full(block.shape[0], np.inf)
    best_scale = candidates[0][0].copy()
    best_zero = candidates[0][1].copy()
    for scale, zero in candidates:
        codes = np.clip(np.rint(block / scale[:, None]) + zero[:, None], 0, format.levels - 1)
        error = block - (codes - zero[:, None]) * scale[:, None]
        loss = ordered_sum(error * error * importance)
        better = loss < best_loss
        best_loss = np.where(better, loss, best_loss)
        best_scale = np.where(better, scale, best_scale)
        best_zero = np.where(better, zero, best_zero)
    return best_scale, best_zero


def _nonzero_float32(scale: Float64) -> Float64:
    rounded = scale.astype(np.float32).astype(np.float64)
    return np.where(rounded == 0.0, 1.0, rounded)


def ordered_sum(values: Float64) -> Float64:
    """Sum over the last axis by halving: a fixed order, whatever SIMD width numpy was built for."""
    while values.shape[-1] > 1:
        if values.shape[-1] % 2:
            values = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
        half = values.shape[-1] // 2
        values = values[..., :half] + values[..., half:]
    return values[..., 0]
