"""RMS norm, SiLU gate and rounding to 8 bits for a GPU: the formulas of kernels/rows.py, one thread a block of 32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from tvm import tirx

from edge.build.tvm.cuda.grid import Form, Grid, quotient
from edge.build.tvm.isa import BLOCK, Isa
from edge.build.tvm.kernels.products import activation_tensors
from edge.build.tvm.kernels.rows import SMALLEST
from edge.build.tvm.writer import Expr, cast, float32, int32, load

THREADS = 128
FEW = 32  # threads of a block where a thread has a block of 32 numbers to itself


def _outputs(grid: Grid, isa: Isa, tokens: int, cols: int) -> list[Expr]:
    return [grid.argument(f"out{i}", *of) for i, of in enumerate(activation_tensors(isa, tokens, cols))]


def _write(grid: Grid, outs: Sequence[Expr], token: Expr, block: Expr, value: Callable[[Expr], Expr]) -> None:
    """Round one block of 32; value: the number of a column."""
    values, widest = grid.local("values", BLOCK, "float32"), grid.number(float32(0.0))
    with grid.loop(BLOCK, "column") as column:
        one = grid.bind(value(block * int32(BLOCK) + column))
        grid.store(values, one, column)
        grid.store(widest, tirx.Max(load(widest, 0), tirx.Max(one, float32(0.0) - one)), 0)
    most = grid.bind(load(widest, 0))
    inverse = grid.bind(tirx.Select(most > float32(SMALLEST), float32(127.0) / most, float32(0.0)))
    total = grid.number(int32(0), "int32")
    with grid.loop(BLOCK // 4, "word") as word:
        packed: Expr = int32(0)
        for byte in range(4):
            rounded_ = tirx.nearbyint(load(values, word * int32(4) + int32(byte)) * inverse)
            whole = grid.bind(cast("int32", rounded_))
            grid.store(total, load(total, 0) + whole, 0)
            shifted = tirx.shift_left(tirx.bitwise_and(whole, int32(255)), int32(8 * byte))
            packed = grid.bind(tirx.bitwise_or(packed, shifted))
        grid.store(outs[0], packed, token, block * int32(BLOCK // 4) + word)
    grid.store(outs[1], most * float32(1.0 / 127.0), token, block)
    grid.store(outs[2], cast("float32", load(total, 0)), token, block)


def norm(name: str, isa: Isa, tokens: int, cols: int, epsilon: float, *, form: Form = "threads") -> tirx.PrimFunc:
    """Kernel: (hidden [tokens, cols], weight [cols]) -> activations of RMSNorm(hidden) * weight."""
    grid = Grid(name, THREADS, form)
    hidden = grid.argument("hidden", (tokens, cols), "float32")
    weight = grid.argument("weight", (cols,), "float32")
    outs = _outputs(grid, isa, tokens, cols)
    with grid.blocks(tokens) as token:
        shared = grid.shared("partial", THREADS)
        with grid.phase() as thread:
            squares = grid.number(float32(0.0))
            with grid.share(thread, cols) as column:
                value = grid.bind(load(hidden, token, column))
                grid.store(squares, load(squares, 0) + value * value, 0)
            grid.store(shared, load(squares, 0), thread)
        with grid.phase() as thread:
            total = grid.number(float32(0.0))
            with grid.loop(THREADS, "other") as other:  # each thread for itself, in one order
                grid.store(total, load(total, 0) + load(shared, other), 0)
            mean = load(total, 0) * float32(1.0 / cols) + float32(epsilon)
            inverse = grid.bind(float32(1.0) / tirx.sqrt(mean))
            with grid.share(thread, cols // BLOCK) as block:
                _write(grid, outs, token, block, lambda c: load(hidden, token, c) * inverse * load(weight, c))
    return grid.function()


def rounded(name: str, isa: Isa, tokens: int, cols: int, *, form: Form = "threads") -> tirx.PrimFunc:
    """Kernel: (values [tokens, cols]) -> activations."""
    grid = Grid(name, FEW, form)
    values = grid.argument("values", (tokens, cols), "float32")
    outs = _outputs(grid, isa, tokens, cols)
    with _each_block(grid, tokens, cols) as (token, block):
        _write(grid, outs, token, block, lambda c: load(values, token, c))
    return grid.function()


def gate(name: str, isa: Isa, tokens: int, cols: int, *, form: Form = "threads") -> tirx.PrimFunc:
    """Kernel: (gate and up [tokens, 2 cols]) -> activations of SiLU(gate) * up."""
    grid = Grid(name, FEW, form)
    both = grid.argument("both", (tokens, 2 * cols), "float32")
    outs = _outputs(grid, isa, tokens, cols)

    def value(column: Expr) -> Expr:
        g = grid.bind(load(both, token, column))
        return g / (float32(1.0) + grid.exp(float32(0.0) - g)) * load(both, token, column + int32(cols))

    with _each_block(grid, tokens, cols) as (token, block):
        _write(grid, outs, token, block, value)
    return grid.function()


@contextlib.contextmanager
def _each_block(grid: Grid, tokens: int, cols: int) -> Iterator[tuple[Expr, Expr]]:
    """Every block of 32 of every token, a thread for each."""
    blocks = cols // BLOCK
    groups = -(-blocks // FEW)
    with grid.blocks(tokens * groups) as unit:
        token, group = quotient(grid, unit, groups)
        with grid.phase() as thread:
            block = grid.bind(group * int32(FEW) + thread)
            with grid.when(block < int32(blocks)):
                yield token, block
