"""How quantised weights lie for the kernels: tiles of 16 rows, each block of 32 columns in one run of memory.

From the codes that the quantiser made (quantise.py: [rows, blocks, block_size], the same for every backend) to what
a kernel reads from its first byte to its last, and back. A tile's block holds, for 4 bits, 256 bytes:

    bytes         [4 groups][16 rows][4 columns]; low nibble: columns 4 g..4 g + 3, high nibble: 16 columns later
    signed-bytes  the same; 8-bit codes are stored less 128, because Arm's dot product wants signed bytes
    floats        [16 columns][16 rows]; low nibble: column c, high nibble: column c + 16

and for 8 bits the same without halves: 8 groups, or 32 columns. Scales are [tile][block][16 rows] float32, zero
points [tile][pair of blocks][16 rows], a nibble each, the even block low (8 bits: a byte a block).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.build.quantise import QuantFormat, QuantisedRows
from edge.build.tvm.isa import BLOCK, TILE_ROWS

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


def padded_rows(rows: int) -> int:
    """Rows with the last tile filled."""
    return -(-rows // TILE_ROWS) * TILE_ROWS


def tile_bytes(bits: int) -> int:
    """Bytes of the codes of 16 rows and 32 columns."""
    return TILE_ROWS * BLOCK * bits // 8


def pack_codes(codes: Codes, bits: int, packing: str) -> Codes:
    """codes: [rows, columns] with rows a multiple of 16, columns of 32 -> [tiles, blocks, tile_bytes]."""
    rows, columns = codes.shape
    tiles, blocks = rows // TILE_ROWS, columns // BLOCK
    if packing == "signed-bytes" and bits == 8:
        codes = codes ^ np.uint8(0x80)
    cut = codes.reshape(tiles, TILE_ROWS, blocks, BLOCK)
    lying: Codes
    if packing == "floats":
        lying = cut.transpose(0, 2, 3, 1)  # [tiles, blocks, 32 columns, 16 rows]
    else:
        lying = cut.reshape(tiles, TILE_ROWS, blocks, BLOCK // 4, 4).transpose(0, 2, 3, 1, 4)
    if bits == 4:
        half = lying.shape[2] // 2
        lying = np.bitwise_or(lying[:, :, :half], np.left_shift(lying[:, :, half:], np.uint8(4)), dtype=np.uint8)
    return np.ascontiguousarray(lying).reshape(tiles, blocks, tile_bytes(bits))


def unpack_codes(packed: Codes, bits: int, packing: str) -> Codes:
    """Inverse of pack_codes."""
    tiles, blocks, _ = packed.shape
    if packing == "floats":
        lying = packed.reshape(tiles, blocks, -1, TILE_ROWS)
    else:
        lying = packed.reshape(tiles, blocks, -1, TILE_ROWS, 4)
    if bits == 4:
        lying = np.concatenate([lying & 0x0F, lying >> 4], axis=2)
    order = (0, 3, 1, 2) if packing == "floats" else (0, 3, 1, 2, 4)
    codes = np.ascontiguousarray(lying.transpose(order)).reshape(tiles * TILE_ROWS, blocks * BLOCK)
    return codes ^ np.uint8(0x80) if packing == "signed-bytes" and bits == 8 else codes


def pack_blocks(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """[rows, blocks] -> [tiles, blocks, 16]."""
    rows, blocks = values.shape
    return np.ascontiguousarray(values.reshape(rows // TILE_ROWS, TILE_ROWS, blocks).transpose(0, 2, 1))


def unpack_blocks(packed: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Inverse of pack_blocks."""
    tiles, blocks, _ = packed.shape
    return np.ascontiguousarray(packed.transpose(0, 2, 1)).reshape(tiles * TILE_ROWS, blocks)


def pack_zero_points(zero_points: Codes, bits: int) -> Codes:
    """[rows, blocks] -> [tiles, ceil(blocks / 2) or blocks, 16] uint8."""
    lying = np.asarray(pack_blocks(zero_points), dtype=np.uint8)
    if bits == 8:
        return lying
    if lying.shape[1] % 2:
        lying = np.pad(lying, ((0, 0), (0, 1), (0, 0)))
    return np.bitwise_or(lying[:, 0::2], np.left_shift(lying[:, 1::2], np.uint8(4)), dtype=np.uint8)


def unpack_zero_points(packed: Codes, bits: int, blocks: int) -> Codes:
    """Inverse of pack_zero_points."""
    if bits == 4:
        both = np.empty((packed.shape[0], packed.shape[1] * 2, TILE_ROWS), dtype=np.uint8)
        both[:, 0::2], both[:, 1::2] = packed & 0x0F, packed >> 4
        packed = both[:, :blocks]
    return np.asarray(unpack_blocks(packed), dtype=np.uint8)


def pack_rows(rows: QuantisedRows, packing: str) -> dict[str, npt.NDArray[np.generic]]:
    """The tensors of a matrix, or of whole tiles of it: "" (codes), ".scales" and, when asymmetric, ".zero_points".

    The last tile is filled with rows of scale 0. Errors: ValueError for a width that is no multiple of 32.
    """
    count, blocks, block_size = rows.codes.shape
    if rows.cols % BLOCK or blocks * block_size != rows.cols:
        raise ValueError(f"a width of {rows.cols} is no multiple of the block")
    missing = padded_rows(count) - count
    codes = np.pad(rows.codes.reshape(count, -1), ((0, missing), (0, 0)))
    made: dict[str, npt.NDArray[np.generic]] = {
        "": pack_codes(codes, rows.format.bits, packing),
        ".scales": pack_blocks(np.pad(rows.scales, ((0, missing), (0, 0)))),
    }
    if rows.zero_points is not None:
        padded = np.pad(rows.zero_points, ((0, missing), (0, 0)))
        made[".zero_points"] = pack_zero_points(padded, rows.format.bits)
    return made


def unpack_rows(
    tensors: dict[str, npt.NDArray[np.generic]], format: QuantFormat, rows: int, cols: int, packing: str
) -> QuantisedRows:
    """Inverse of pack_rows; rows: without the filling."""
    codes = unpack_codes(np.asarray(tensors[""], dtype=np.uint8), format.bits, packing)[:rows]
    scales = np.asarray(unpack_blocks(tensors[".scales"]), dtype=np.float32)[:rows]
    zero_points = None
    if not format.symmetric:
        packed = np.asarray(tensors[".zero_points"], dtype=np.uint8)
        zero_points = unpack_zero_points(packed, format.bits, format.blocks(cols))[:rows]
    return QuantisedRows(format, cols, codes.reshape(rows, -1, format.block_size), scales, zero_points)
