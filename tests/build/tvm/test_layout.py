"""Tiles of 16 rows: what the packer writes is what the quantiser made, in the order that the kernels read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build.quantise import QuantFormat, QuantisedRows
from edge.build.tvm.isa import BLOCK, ISAS, TILE_ROWS, Isa
from edge.build.tvm.kernels.products import Matrix
from edge.build.tvm.layout import (
    pack_codes,
    pack_rows,
    pack_zero_points,
    padded_rows,
    tile_bytes,
    unpack_codes,
    unpack_rows,
    unpack_zero_points,
)
from tests.tvm_toy import random_rows

PACKINGS = ("bytes", "signed-bytes", "floats")
FORMATS = [QuantFormat(b, size, s) for b in (4, 8) for size in (32, 64, 128) for s in (True, False)]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.sampled_from(PACKINGS),
    st.integers(1, 50),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_what_is_packed_can_be_read_back(form: QuantFormat, packing: str, rows: int, blocks: int, seed: int) -> None:
    """A code at another's place is a model that answers fluently and wrong."""
    cols = blocks * form.block_size
    made = random_rows(np.random.default_rng(seed), form, rows, cols)
    packed = pack_rows(made, packing)
    found = unpack_rows(packed, form, rows, cols, packing)
    assert np.array_equal(found.codes, made.codes)
    assert np.array_equal(found.scales, made.scales)
    assert (found.zero_points is None) == form.symmetric
    if made.zero_points is not None:
        assert np.array_equal(found.zero_points, made.zero_points)


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_sizes_are_what_the_kernels_were_told(isa: Isa, form: QuantFormat) -> None:
    """Kernels take addresses from these shapes: a byte too few in the file is read from the next tensor."""
    one = isa
    rows, cols = 40, 3 * form.block_size
    packed = pack_rows(random_rows(np.random.default_rng(0), form, rows, cols), one.packing)
    wanted = Matrix(rows, cols, form).tensors(one)
    assert set(packed) == set(wanted)
    for suffix, (shape, dtype) in wanted.items():
        assert packed[suffix].nbytes == int(np.prod(shape)) * np.dtype(dtype).itemsize


def test_one_tile_of_four_bits_byte_by_byte() -> None:
    """The layout is a promise to bundles that were built before: another order needs another schema version."""
    row, column = np.indices((TILE_ROWS, BLOCK))
    codes = ((row + column) % 16).astype(np.uint8)
    tile = pack_codes(codes, 4, "bytes").reshape(4, TILE_ROWS, 4)
    for group in range(4):
        for r in range(TILE_ROWS):
            for c in range(4):
                low, high = (r + 4 * group + c) % 16, (r + 4 * group + c + 16) % 16
                assert tile[group, r, c] == low | high << 4
    assert np.array_equal(pack_codes(codes, 4, "signed-bytes"), pack_codes(codes, 4, "bytes"))
    floats = pack_codes(codes, 4, "floats").reshape(16, TILE_ROWS)
    assert np.array_equal(floats, (codes[:, :16] | codes[:, 16:] << 4).T)
    # Row 0 begins with its columns 0 to 3, each beside the column 16 further on; then comes row 1.
    assert tile.reshape(-1)[:8].tobytes().hex() == "0011223311223344"


def test_one_tile_of_eight_bits_byte_by_byte() -> None:
    """The same for 8 bits, where Arm's dot product wants codes less 128."""
    codes = np.arange(TILE_ROWS * BLOCK).reshape(TILE_ROWS, BLOCK).astype(np.uint8)
    tile = pack_codes(codes, 8, "bytes").reshape(-1)
    assert tile[:8].tobytes().hex() == "0001020320212223"
    assert tile[64:68].tobytes().hex() == "04050607"
    signed = pack_codes(codes, 8, "signed-bytes").reshape(-1)
    assert np.array_equal(signed.view(np.int8).astype(int), tile.astype(int) - 128)
    assert np.array_equal(pack_codes(codes, 8, "floats").reshape(BLOCK, TILE_ROWS), codes.T)


def test_zero_points_lie_in_pairs() -> None:
    """An odd last block has no partner: its nibble must not be another tile's."""
    points = np.arange(2 * TILE_ROWS * 3).reshape(2 * TILE_ROWS, 3).astype(np.uint8) % 16
    packed = pack_zero_points(points, 4)
    assert packed.shape == (2, 2, TILE_ROWS)
    assert packed[0, 0, 5] == points[5, 0] | points[5, 1] << 4
    assert packed[1, 1, 5] == points[21, 2]
    assert np.array_equal(unpack_zero_points(packed, 4, 3), points)
    assert pack_zero_points(points, 8).shape == (2, 3, TILE_ROWS)


def test_the_filling_adds_nothing() -> None:
    """Rows that fill the last tile are multiplied too: only a scale of 0 makes them nothing."""
    form = QuantFormat(4, 32, False)
    packed = pack_rows(random_rows(np.random.default_rng(1), form, 17, 64), "bytes")
    assert padded_rows(17) == 32
    assert not packed[".scales"][1, :, 1:].any()
    assert packed[".scales"][1, :, 0].all()


def test_a_width_that_tiles_do_not_cover_is_refused() -> None:
    """A padded block would be multiplied with activations that are not there."""
    form = QuantFormat(4, 32, True)
    made = random_rows(np.random.default_rng(2), form, 16, 64)
    with pytest.raises(ValueError, match="width of 48"):
        pack_rows(QuantisedRows(form, 48, made.codes, made.scales, None), "bytes")


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_byte_is_used(bits: int, packing: str) -> None:
    """Weights are read at memory's speed: a byte that holds nothing is lost speed."""
    codes = np.full((TILE_ROWS, 2 * BLOCK), (1 << bits) - 1, dtype=np.uint8)
    packed = pack_codes(codes, bits, packing)
    assert packed.shape == (1, 2, tile_bytes(bits))
    unsigned = packed ^ 0x80 if packing == "signed-bytes" and bits == 8 else packed
    assert (unsigned == 255).all()
    assert np.array_equal(unpack_codes(packed, bits, packing), codes)
