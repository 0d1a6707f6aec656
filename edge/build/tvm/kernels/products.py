"""Quantised matrix products: rows of activations times a packed matrix, and the look-up of embedding rows.

    out[m, n] = sum over blocks b of scale[n, b] s[m, b] (sum_k code[n, k] q[m, k] - zero[n, b] sum_k q[m, k])

The bracket is a sum of integers and exact; blocks are added in ascending order whatever the number of rows, so a token
gets the same bits however a text is cut into calls. The sum that zero points multiply is that of the *rounded*
activations: with the exact one, errors of a block no longer cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tvm import tirx

from edge.build.quantise import QuantFormat
from edge.build.tvm.isa import BLOCK, TILE_ROWS, Isa
from edge.build.tvm.layout import padded_rows, tile_bytes
from edge.build.tvm.writer import (
    Expr,
    Kernel,
    broadcast,
    cast,
    float32,
    fma,
    int32,
    llvm,
    load,
    pieces,
    reinterpret,
    splat,
)

Tensor = tuple[tuple[int, ...], str]  # shape, dtype


@dataclass(frozen=True)
class Matrix:
    """A packed matrix as kernels see it: [rows, cols] in a format, stored for an instruction set."""

    rows: int
    cols: int
    format: QuantFormat
    bias: bool = False

    @property
    def tiles(self) -> int:
        return padded_rows(self.rows) // TILE_ROWS

    @property
    def blocks(self) -> int:
        """Blocks of 32 columns, whatever shares a scale."""
        return self.cols // BLOCK

    @property
    def scale_blocks(self) -> int:
        return self.format.blocks(self.cols)

    def tensors(self, isa: Isa) -> dict[str, Tensor]:
        """What lies in the weights file, by suffix of its name."""
        size = self.tiles * self.blocks * tile_bytes(self.format.bits)
        codes: Tensor = ((size // 4,), "int32") if isa.bytes else ((size,), "uint8")
        made = {"": codes, ".scales": ((self.tiles * self.scale_blocks * TILE_ROWS,), "float32")}
        if not self.format.symmetric:
            stored = -(-self.scale_blocks // 2) if self.format.bits == 4 else self.scale_blocks
            made[".zero_points"] = ((self.tiles * stored * TILE_ROWS,), "uint8")
        if self.bias:
            made[".bias"] = ((self.rows,), "float32")
        return made


def activation_tensors(isa: Isa, tokens: int, cols: int) -> list[Tensor]:
    """Activations as products read them: values, then (bytes only) scales, then sums of each block of 32."""
    blocks = cols // BLOCK
    if isa.bytes:
        return [((tokens, cols // 4), "int32"), ((tokens, blocks), "float32"), ((tokens, blocks), "float32")]
    return [((tokens, cols), "float32"), ((tokens, blocks), "float32")]


def product(name: str, isa: Isa, matrix: Matrix, tokens: int, *, residual: bool = False) -> tirx.PrimFunc:
    """Kernel: (activations..., matrix..., [residual [tokens, rows]]) -> out [tokens, padded rows] float32."""
    kernel = Kernel(name)
    acts = [
        kernel.argument(f"act{i}", shape, dtype)
        for i, (shape, dtype) in enumerate(activation_tensors(isa, tokens, matrix.cols))
    ]
    stored = {suffix: kernel.argument(f"w{suffix[1:]}", *of) for suffix, of in matrix.tensors(isa).items()}
    rest = kernel.argument("residual", (tokens, matrix.rows), "float32") if residual else None
    out = kernel.argument("out", (tokens, matrix.tiles * TILE_ROWS), "float32")
    rows = next(n for n in (isa.rows, 4, 2, 1) if n <= isa.rows and tokens % n == 0)
    with kernel.loop(matrix.tiles, "tile", parallel=True) as tile, kernel.loop(tokens // rows, "group") as group:
        tokens_at = [kernel.bind(group * int32(rows) + int32(m)) for m in range(rows)]
        _tile(kernel, isa, matrix, tile, tokens_at, acts, stored, rest, out)
    return kernel.function()


def _tile(
    kernel: Kernel,
    isa: Isa,
    matrix: Matrix,
    tile: Expr,
    tokens_at: Sequence[Expr],
    acts: Sequence[Expr],
    stored: dict[str, Expr],
    rest: Expr | None,
    out: Expr,
) -> None:
    lanes, parts = isa.lanes, range(isa.parts)
    totals = [[kernel.local("total", lanes, "float32") for _ in parts] for _ in tokens_at]
    for token, places in zip(tokens_at, totals, strict=True):
        for part in parts:
            at = tile * int32(TILE_ROWS) + int32(part * lanes)
            start = splat(0.0, lanes)
            if matrix.bias:
                start = load(stored[".bias"], at, lanes=lanes)
            if rest is not None:
                more = load(rest, token, at, lanes=lanes)
                start = start + more if matrix.bias else more
            kernel.store(places[part], start, 0)
    with kernel.loop(matrix.blocks, "block") as block:
        sums = (_bytes if isa.bytes else _floats)(kernel, isa, matrix, tile, block, tokens_at, acts, stored)
        scales, zeros = _scales(kernel, isa, matrix, tile, block, stored)
        for m, token in enumerate(tokens_at):
            total = broadcast(kernel.bind(load(acts[-1], token, block)), lanes)
            for part in parts:
                centred = fma(zeros[part], total, sums[m][part]) if zeros else sums[m][part]
                factor = scales[part]
                if isa.bytes:
                    factor = factor * broadcast(load(acts[1], token, block), lanes)
                kernel.store(totals[m][part], fma(centred, factor, load(totals[m][part], 0, lanes=lanes)), 0)
    for token, places in zip(tokens_at, totals, strict=True):
        for part in parts:
            at = tile * int32(TILE_ROWS) + int32(part * lanes)
            kernel.store(out, load(places[part], 0, lanes=lanes), token, at)


def _scales(
    kernel: Kernel, isa: Isa, matrix: Matrix, tile: Expr, block: Expr, stored: dict[str, Expr]
) -> tuple[list[Expr], list[Expr]]:
    """Scales and negated zero points of a block, a vector a part; no zero points where they are 0."""
    lanes, form = isa.lanes, matrix.format
    shared = form.block_size // BLOCK
    index = kernel.bind(tirx.truncdiv(block, int32(shared)) if shared > 1 else block)
    at = kernel.bind((tile * int32(matrix.scale_blocks) + index) * int32(TILE_ROWS))
    scales = [kernel.bind(load(stored[".scales"], at + int32(p * lanes), lanes=lanes)) for p in range(isa.parts)]
    shift = 128 if isa.signed and form.bits == 8 else 0
    if form.symmetric:
        middle = form.middle - shift
        return scales, [splat(-float(middle), lanes)] * isa.parts if middle else []
    stride = -(-matrix.scale_blocks // 2) if form.bits == 4 else matrix.scale_blocks
    pair = tirx.shift_right(index, int32(1)) if form.bits == 4 else index
    base = kernel.bind((tile * int32(stride) + pair) * int32(TILE_ROWS))
    zeros = []
    for part in range(isa.parts):
        value = cast("int32", load(stored[".zero_points"], base + int32(part * lanes), lanes=lanes))
        if form.bits == 4:
            high = kernel.bind(tirx.shift_left(tirx.bitwise_and(index, int32(1)), int32(2)))
            value = tirx.bitwise_and(tirx.shift_right(value, broadcast(high, lanes)), broadcast(int32(15), lanes))
        zeros.append(kernel.bind(cast("float32", broadcast(int32(shift), lanes) - value)))
    return scales, zeros


# ---- bytes ----------------------------------------------------------------------------------------------------------


def _bytes(
    kernel: Kernel,
    isa: Isa,
    matrix: Matrix,
    tile: Expr,
    block: Expr,
    tokens_at: Sequence[Expr],
    acts: Sequence[Expr],
    stored: dict[str, Expr],
) -> list[list[Expr]]:
    """float32 vectors [token][part] of the block's integer sums."""
    words = tile_bytes(matrix.format.bits) // 4
    at = kernel.bind((tile * int32(matrix.blocks) + block) * int32(words))
    groups = BLOCK // 4
    dot = DOTS[isa.name](kernel, isa, matrix.format.bits, len(tokens_at))
    for step in range(words // TILE_ROWS):
        codes = [
            kernel.bind(load(stored[""], at + int32(step * TILE_ROWS + part * isa.lanes), lanes=isa.lanes))
            for part in range(isa.parts)
        ]
        for half in range(groups * TILE_ROWS // words):
            if matrix.format.bits == 4:
                mask = broadcast(int32(0x0F0F0F0F), isa.lanes)
                shifted = [tirx.shift_right(c, broadcast(int32(4), isa.lanes)) for c in codes] if half else codes
                values = [kernel.bind(tirx.bitwise_and(c, mask)) for c in shifted]
            else:
                values = codes
            group = step + half * (words // TILE_ROWS)
            for m, token in enumerate(tokens_at):
                activation = kernel.bind(load(acts[0], token, block * int32(groups) + int32(group)))
                dot.add(m, values, activation)
    return dot.sums()


class _Vnni:
    """vpdpbusd: 16 x 4 products of unsigned codes and signed activations in one instruction."""

    def __init__(self, kernel: Kernel, isa: Isa, bits: int, tokens: int) -> None:
        self.kernel = kernel
        self.totals: list[list[Expr]] = [[broadcast(int32(0), isa.lanes)] * isa.parts for _ in range(tokens)]

    def add(self, token: int, codes: Sequence[Expr], activation: Expr) -> None:
        """Four columns."""
        for part, code in enumerate(codes):
            name = "llvm.x86.avx512.vpdpbusd.512"
            values = reinterpret("int8", 64, code), reinterpret("int8", 64, broadcast(activation, 16))
            self.totals[token][part] = self.kernel.bind(llvm("int32", 16, name, self.totals[token][part], *values))

    def sums(self) -> list[list[Expr]]:
        """As float32."""
        return [[self.kernel.bind(cast("float32", total)) for total in parts] for parts in self.totals]


class _Sdot:
    """sdot: 4 x 4 products of signed bytes."""

    def __init__(self, kernel: Kernel, isa: Isa, bits: int, tokens: int) -> None:
        self.kernel = kernel
        self.totals: list[list[Expr]] = [[broadcast(int32(0), isa.lanes)] * isa.parts for _ in range(tokens)]

    def add(self, token: int, codes: Sequence[Expr], activation: Expr) -> None:
        """Four columns."""
        for part, code in enumerate(codes):
            values = reinterpret("int8", 16, code), reinterpret("int8", 16, broadcast(activation, 4))
            name = "llvm.aarch64.neon.sdot"
            self.totals[token][part] = self.kernel.bind(llvm("int32", 4, name, self.totals[token][part], *values))

    def sums(self) -> list[list[Expr]]:
        """As float32."""
        return [[self.kernel.bind(cast("float32", total)) for total in parts] for parts in self.totals]


class _Avx2:
    """vpmaddubsw adds pairs of products in 16 bits: at most 15 x 127 x 2 of a nibble, so eight of them fit.

    8-bit codes are cut into nibbles, for 255 x 127 x 2 would be clipped without a word.
    """

    def __init__(self, kernel: Kernel, isa: Isa, bits: int, tokens: int) -> None:
        self.kernel, self.bits = kernel, bits
        halves = 2 if bits == 8 else 1
        self.pairs: list[list[list[Expr | None]]] = [[[None] * halves for _ in range(isa.parts)] for _ in range(tokens)]

    def add(self, token: int, codes: Sequence[Expr], activation: Expr) -> None:
        """Four columns."""
        signed = reinterpret("int8", 32, broadcast(activation, 8))
        mask = broadcast(int32(0x0F0F0F0F), 8)
        for part, code in enumerate(codes):
            nibbles = [code]
            if self.bits == 8:
                high = tirx.bitwise_and(tirx.shift_right(code, broadcast(int32(4), 8)), mask)
                nibbles = [tirx.bitwise_and(code, mask), high]
            for half, nibble in enumerate(nibbles):
                made = llvm("int16", 16, "llvm.x86.avx2.pmadd.ub.sw", reinterpret("int8", 32, nibble), signed)
                before = self.pairs[token][part][half]
                self.pairs[token][part][half] = self.kernel.bind(made if before is None else before + made)

    def sums(self) -> list[list[Expr]]:
        """As float32."""
        made = []
        for parts in self.pairs:
            row = []
            for halves in parts:
                total: Expr = None
                for value, weight in zip(halves, (1, 16), strict=False):
                    weights = broadcast(tirx.const(weight, "int16"), 16)
                    wide = llvm("int32", 8, "llvm.x86.avx2.pmadd.wd", value, weights)
                    total = wide if total is None else total + wide
                row.append(self.kernel.bind(cast("float32", total)))
            made.append(row)
        return made


class _Dot(Protocol):
    """Sums of products over a block, for some tokens and the parts of a tile."""

    def add(self, token: int, codes: Sequence[Expr], activation: Expr) -> None: ...

    def sums(self) -> list[list[Expr]]: ...


DOTS: dict[str, Callable[[Kernel, Isa, int, int], _Dot]] = {
    "avx512-vnni": _Vnni,
    "avx2": _Avx2,
    "neon-dotprod": _Sdot,
}


# ---- floats ---------------------------------------------------------------------------------------------------------


def _floats(
    kernel: Kernel,
    isa: Isa,
    matrix: Matrix,
    tile: Expr,
    block: Expr,
    tokens_at: Sequence[Expr],
    acts: Sequence[Expr],
    stored: dict[str, Expr],
) -> list[list[Expr]]:
    """float32 vectors [token][part] of code times activation."""
    lanes, bits = isa.lanes, matrix.format.bits
    at = kernel.bind((tile * int32(matrix.blocks) + block) * int32(tile_bytes(bits)))
    places = [[kernel.local("sum", lanes, "float32") for _ in range(isa.parts)] for _ in tokens_at]
    for parts in places:
        for place in parts:
            kernel.store(place, splat(0.0, lanes), 0)
    steps = BLOCK * bits // 8
    # A loop, not written out: LLVM needs minutes for a model's worth of the unrolled form.
    with kernel.loop(steps, "step") as step:
        byte = kernel.bind(load(stored[""], at + step * int32(TILE_ROWS), lanes=TILE_ROWS))
        for half in range(8 // bits):
            value = byte
            if bits == 4:
                four, low = (broadcast(tirx.const(n, "uint8"), TILE_ROWS) for n in (4, 15))
                value = tirx.shift_right(byte, four) if half else tirx.bitwise_and(byte, low)
            wide = kernel.bind(cast("float32", cast("int32", value)))
            codes = [kernel.bind(pieces(wide, lanes, start=part * lanes)) for part in range(isa.parts)]
            column = block * int32(BLOCK) + step + int32(half * steps)
            for m, token in enumerate(tokens_at):
                activation = broadcast(kernel.bind(load(acts[0], token, column)), lanes)
                for place, code in zip(places[m], codes, strict=True):
                    kernel.store(place, fma(code, activation, load(place, 0, lanes=lanes)), 0)
    return [[kernel.bind(load(place, 0, lanes=lanes)) for place in parts] for parts in places]


# ---- embedding ------------------------------------------------------------------------------------------------------


def embedding(name: str, isa: Isa, matrix: Matrix, tokens: int) -> tirx.PrimFunc:
    """Kernel: (ids [tokens] int32, matrix...) -> rows of the matrix [tokens, cols] float32."""
    kernel = Kernel(name)
    ids = kernel.argument("ids", (tokens,), "int32")
    stored = {suffix: kernel.argument(f"w{suffix[1:]}", *of) for suffix, of in matrix.tensors(isa).items()}
    out = kernel.argument("out", (tokens, matrix.cols), "float32")
    bits, form = matrix.format.bits, matrix.format
    shared = form.block_size // BLOCK
    middle = form.middle - (128 if isa.signed and bits == 8 else 0)
    with kernel.loop(tokens, "token") as token, kernel.loop(matrix.blocks, "block") as block:
        row = kernel.bind(load(ids, token))
        tile, lane = kernel.bind(tirx.shift_right(row, int32(4))), kernel.bind(tirx.bitwise_and(row, int32(15)))
        of_scale = tirx.truncdiv(block, int32(shared)) if shared > 1 else block
        scale = kernel.bind(load(stored[".scales"], (tile * int32(matrix.scale_blocks) + of_scale) * int32(16) + lane))
        at = kernel.bind((tile * int32(matrix.blocks) + block) * int32(tile_bytes(bits) // (4 if isa.bytes else 1)))
        for column in range(BLOCK):
            code = _code(kernel, isa, stored[""], at, lane, column, bits)
            value = (cast("float32", code) - float32(float(middle))) * scale
            kernel.store(out, value, token, block * int32(BLOCK) + int32(column))
    return kernel.function()


def _code(kernel: Kernel, isa: Isa, codes: Expr, at: Expr, lane: Expr, column: int, bits: int) -> Expr:
    """One code of a tile's block as int32; signed where the layout says so."""
    if not isa.bytes:
        half = BLOCK * bits // 8
        byte = cast("int32", load(codes, at + int32(column % half * TILE_ROWS) + lane))
        shift = 4 if column >= half else 0
        return tirx.bitwise_and(tirx.shift_right(byte, int32(shift)), int32(15)) if bits == 4 else byte
    groups = tile_bytes(bits) // 64
    group, within = divmod(column, 4)
    word = load(codes, at + int32(group % groups * TILE_ROWS) + lane)
    shift = within * 8 + (4 if group >= groups else 0)
    if bits == 4:
        return tirx.bitwise_and(tirx.shift_right(word, int32(shift)), int32(15))
    if isa.signed:  # the byte to the top, and back with its sign
        return tirx.shift_right(tirx.shift_left(word, int32(24 - shift)), int32(24))
    return tirx.bitwise_and(tirx.shift_right(word, int32(shift)), int32(255))
