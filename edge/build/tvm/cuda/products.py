"""Quantised matrix products and embedding rows for a GPU: the tiles, roundings and integers of the CPU's kernels.

The weights file is the CPU's own (layout "bytes" or "signed-bytes"). A block of 128 threads computes the 16 rows of a
tile for up to eight tokens: each thread has one row and every eighth block of 32 columns, then eight partial sums a row
are added in ascending order. The cut does not depend on the number of tokens: a token gets the same bits in every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from edge.build.tvm.cuda.grid import Form, Grid, quotient
from edge.build.tvm.isa import BLOCK, TILE_ROWS, Isa
from edge.build.tvm.kernels.products import Matrix, activation_tensors
from edge.build.tvm.layout import tile_bytes
from edge.build.tvm.writer import Expr, cast, float32, int32, load

THREADS = 128
SLICES = THREADS // TILE_ROWS  # threads that share a row
TOKENS = THREADS // TILE_ROWS  # computed at once from one unpacked weight
WORDS = BLOCK // 4  # int32 of activations in a block


def product(
    name: str, isa: Isa, matrix: Matrix, tokens: int, *, residual: bool = False, form: Form = "threads"
) -> tirx.PrimFunc:
    """Kernel: (activations..., matrix..., [residual [tokens, rows]]) -> out [tokens, padded rows] float32."""
    grid = Grid(name, THREADS, form)
    acts = [grid.argument(f"act{i}", *of) for i, of in enumerate(activation_tensors(isa, tokens, matrix.cols))]
    stored = {suffix: grid.argument(f"w{suffix[1:]}", *of) for suffix, of in matrix.tensors(isa).items()}
    rest = grid.argument("residual", (tokens, matrix.rows), "float32") if residual else None
    out = grid.argument("out", (tokens, matrix.tiles * TILE_ROWS), "float32")
    together = next(n for n in (8, 4, 2, 1) if n <= TOKENS and tokens % n == 0)
    with grid.blocks(matrix.tiles * (tokens // together)) as unit:
        tile, group = quotient(grid, unit, tokens // together)
        first = grid.bind(group * int32(together))
        shared = grid.shared("partial", together * THREADS)
        with grid.phase() as thread:
            row, part = grid.bind(tirx.bitwise_and(thread, int32(15))), grid.bind(tirx.shift_right(thread, int32(4)))
            totals = [grid.number(float32(0.0)) for _ in range(together)]
            with grid.loop(-(-matrix.blocks // SLICES), "step") as step:
                block = grid.bind(step * int32(SLICES) + part)
                with grid.when(block < int32(matrix.blocks)):
                    tokens_at = [grid.bind(first + int32(m)) for m in range(together)]
                    _block(grid, isa, matrix, tile, row, block, tokens_at, acts, stored, totals)
            for m, total in enumerate(totals):
                grid.store(shared, load(total, 0), int32(m * THREADS) + thread)
        with grid.phase() as thread, grid.when(thread < int32(together * TILE_ROWS)):
            row, m = grid.bind(tirx.bitwise_and(thread, int32(15))), grid.bind(tirx.shift_right(thread, int32(4)))
            column = grid.bind(tile * int32(TILE_ROWS) + row)
            start: Expr = float32(0.0)
            if matrix.bias:
                start = load(stored[".bias"], column)
            if rest is not None:
                start = start + load(rest, first + m, column)
            total = grid.bind(start)
            for part_ in range(SLICES):
                total = grid.bind(total + load(shared, m * int32(THREADS) + int32(part_ * TILE_ROWS) + row))
            grid.store(out, total, first + m, column)
    return grid.function()


def _block(
    grid: Grid,
    isa: Isa,
    matrix: Matrix,
    tile: Expr,
    row: Expr,
    block: Expr,
    tokens_at: Sequence[Expr],
    acts: Sequence[Expr],
    stored: dict[str, Expr],
    totals: Sequence[Expr],
) -> None:
    """Add one row's block of 32 columns to each token's total."""
    bits = matrix.format.bits
    words = tile_bytes(bits) // 4 // TILE_ROWS
    at = grid.bind((tile * int32(matrix.blocks) + block) * int32(words * TILE_ROWS) + row)
    sums: list[Expr] = [int32(0)] * len(tokens_at)
    for step in range(words):
        word = grid.bind(load(stored[""], at + int32(step * TILE_ROWS)))
        for half, codes in enumerate(_codes(grid, isa, word, bits)):
            group = step + half * words
            for m, token in enumerate(tokens_at):
                activation = grid.bind(load(acts[0], token, block * int32(WORDS) + int32(group)))
                sums[m] = grid.dot(sums[m], codes, activation)
    scale, zero = _scale(grid, matrix, tile, row, block, stored)
    for m, token in enumerate(tokens_at):
        centred = cast("float32", sums[m])
        if zero is not None:
            centred = centred - zero * load(acts[2], token, block)
        grid.store(totals[m], load(totals[m], 0) + centred * (scale * load(acts[1], token, block)), 0)


def _codes(grid: Grid, isa: Isa, word: Expr, bits: int) -> list[Expr]:
    """Four codes as signed bytes in one int32: 8-bit codes are less 128, whichever way they are stored."""
    if bits == 4:
        mask = int32(0x0F0F0F0F)
        return [grid.bind(tirx.bitwise_and(w, mask)) for w in (word, tirx.shift_right(word, int32(4)))]
    return [word if isa.signed else grid.bind(tirx.bitwise_xor(word, int32(-0x7F7F7F80)))]


def _scale(
    grid: Grid, matrix: Matrix, tile: Expr, row: Expr, block: Expr, stored: dict[str, Expr]
) -> tuple[Expr, Expr | None]:
    """Scale and zero point of a row's block; no zero point where it is 0."""
    form = matrix.format
    index, _ = quotient(grid, block, form.block_size // BLOCK)
    scale = grid.bind(load(stored[".scales"], (tile * int32(matrix.scale_blocks) + index) * int32(TILE_ROWS) + row))
    less = 128 if form.bits == 8 else 0
    if form.symmetric:
        return scale, float32(float(form.middle - less)) if form.middle != less else None
    stride = -(-matrix.scale_blocks // 2) if form.bits == 4 else matrix.scale_blocks
    pair = tirx.shift_right(index, int32(1)) if form.bits == 4 else index
    value = cast("int32", load(stored[".zero_points"], (tile * int32(stride) + pair) * int32(TILE_ROWS) + row))
    if form.bits == 4:
        high = tirx.shift_left(tirx.bitwise_and(index, int32(1)), int32(2))
        value = tirx.bitwise_and(tirx.shift_right(value, high), int32(15))
    return scale, grid.bind(cast("float32", value - int32(less)))


def embedding(name: str, isa: Isa, matrix: Matrix, tokens: int, *, form: Form = "threads") -> tirx.PrimFunc:
    """Kernel: (ids [tokens] int32, matrix...) -> rows of the matrix [tokens, cols] float32."""
    grid = Grid(name, THREADS, form)
    ids = grid.argument("ids", (tokens,), "int32")
    stored: dict[str, Any] = {s: grid.argument(f"w{s[1:]}", *of) for s, of in matrix.tensors(isa).items()}
    out = grid.argument("out", (tokens, matrix.cols), "float32")
    with grid.blocks(tokens) as token:
        tile, row = quotient(grid, grid.bind(load(ids, token)), TILE_ROWS)
        with grid.phase() as thread, grid.share(thread, matrix.cols) as column:
            block, within = quotient(grid, column, BLOCK)
            scale, zero = _scale(grid, matrix, tile, row, block, stored)
            value = cast("float32", _code(grid, isa, matrix, tile, row, block, within, stored[""]))
            grid.store(out, (value - zero if zero is not None else value) * scale, token, column)
    return grid.function()


def _code(grid: Grid, isa: Isa, matrix: Matrix, tile: Expr, row: Expr, block: Expr, within: Expr, codes: Expr) -> Expr:
    """One code as int32, 8-bit ones less 128."""
    bits = matrix.format.bits
    words = tile_bytes(bits) // 4 // TILE_ROWS
    half, place = quotient(grid, within, words * 4)
    group, byte = quotient(grid, place, 4)
    word = grid.bind(load(codes, ((tile * int32(matrix.blocks) + block) * int32(words) + group) * int32(16) + row))
    if bits == 4:
        return tirx.bitwise_and(tirx.shift_right(word, byte * int32(8) + half * int32(4)), int32(15))
    [signed] = _codes(grid, isa, word, bits)
    return tirx.shift_right(tirx.shift_left(signed, int32(24) - byte * int32(8)), int32(24))
