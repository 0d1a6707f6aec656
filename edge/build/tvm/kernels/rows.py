"""Kernels over one token's row: RMS norm, SiLU gate, and what products read (rounding to 8 bits a block of 32)."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from edge.build.tvm.isa import BLOCK, Isa
from edge.build.tvm.kernels.products import activation_tensors
from edge.build.tvm.writer import Expr, Kernel, broadcast, cast, float32, fma, int32, llvm, load, reinterpret, splat

SMALLEST = 1e-30  # a block of activations whose largest is below it counts as zeros
PARALLEL_FROM = 8  # tokens; below, starting threads costs more than the work


def exp_vector(kernel: Kernel, value: Expr, lanes: int) -> Expr:
    """e**x, |relative error| below 2e-7; x is cut off at -87 and 88 (Cephes' polynomial, Moshier)."""
    x = kernel.bind(tirx.Max(tirx.Min(value, splat(88.0, lanes)), splat(-87.0, lanes)))
    n = kernel.bind(llvm("float32", lanes, "llvm.nearbyint", x * splat(1.44269504088896341, lanes)))
    r = kernel.bind(fma(n, splat(-0.693359375, lanes), x))
    r = kernel.bind(fma(n, splat(2.12194440e-4, lanes), r))
    total = splat(1.9875691500e-4, lanes)
    for term in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        total = kernel.bind(fma(total, r, splat(term, lanes)))
    whole = kernel.bind(fma(total, r * r, r + splat(1.0, lanes)))
    exponent = tirx.shift_left(cast("int32", n) + broadcast(int32(127), lanes), broadcast(int32(23), lanes))
    return kernel.bind(whole * reinterpret("float32", lanes, exponent))


def horizontal(kernel: Kernel, kind: str, values: Sequence[Expr], lanes: int) -> Expr:
    """One number of vectors that hold 16: "fmax", or "sum" in a fixed order."""
    if kind == "fmax":
        widest = values[0]
        for value in values[1:]:
            widest = tirx.Max(widest, value)
        return kernel.bind(llvm("float32", 1, "llvm.vector.reduce.fmax", widest))
    place = kernel.local("lane", lanes * len(values), "float32")
    for part, value in enumerate(values):
        kernel.store(place, value, part * lanes)
    numbers = [load(place, lane) for lane in range(lanes * len(values))]
    while len(numbers) > 1:
        half = len(numbers) // 2
        numbers = [kernel.bind(a + b) for a, b in zip(numbers[:half], numbers[half:], strict=True)]
    return numbers[0]


def write_activations(
    kernel: Kernel, isa: Isa, outs: Sequence[Expr], token: Expr, block: Expr, values: Sequence[Expr]
) -> None:
    """One block of 32 in the form that products read. values: vectors of `lanes`, together 32 numbers."""
    lanes = isa.lanes
    if not isa.bytes:
        for part, value in enumerate(values):
            kernel.store(outs[0], value, token, block * int32(BLOCK) + int32(part * lanes))
        halves = [values[i] + values[i + len(values) // 2] for i in range(len(values) // 2)]
        total = horizontal(kernel, "sum", [kernel.bind(half) for half in halves], lanes)
        kernel.store(outs[1], total, token, block)
        return
    sizes = [kernel.bind(llvm("float32", lanes, "llvm.fabs", value)) for value in values]
    widest = horizontal(kernel, "fmax", sizes, lanes)
    # Below, 127 / widest is infinite, and infinity times a zero beside it is no number.
    inverse = kernel.bind(tirx.Select(widest > float32(SMALLEST), float32(127.0) / widest, float32(0.0)))
    total = None
    for part, value in enumerate(values):
        rounded = llvm("float32", lanes, "llvm.nearbyint", value * broadcast(inverse, lanes))
        whole = kernel.bind(cast("int32", rounded))
        total = whole if total is None else kernel.bind(total + whole)
        packed = reinterpret("int32", lanes // 4, cast("int8", whole))
        kernel.store(outs[0], packed, token, block * int32(BLOCK // 4) + int32(part * lanes // 4))
    kernel.store(outs[1], widest * float32(1.0 / 127.0), token, block)
    kernel.store(outs[2], cast("float32", llvm("int32", 1, "llvm.vector.reduce.add", total)), token, block)


def _outputs(kernel: Kernel, isa: Isa, tokens: int, cols: int) -> list[Expr]:
    return [
        kernel.argument(f"out{i}", shape, dtype)
        for i, (shape, dtype) in enumerate(activation_tensors(isa, tokens, cols))
    ]


def _vectors(isa: Isa) -> range:
    """Vectors in a block of 32."""
    return range(BLOCK // isa.lanes)


def norm(name: str, isa: Isa, tokens: int, cols: int, epsilon: float) -> tirx.PrimFunc:
    """Kernel: (hidden [tokens, cols], weight [cols]) -> activations of RMSNorm(hidden) * weight."""
    kernel, lanes = Kernel(name), isa.lanes
    hidden = kernel.argument("hidden", (tokens, cols), "float32")
    weight = kernel.argument("weight", (cols,), "float32")
    outs = _outputs(kernel, isa, tokens, cols)
    with kernel.loop(tokens, "token", parallel=tokens >= PARALLEL_FROM) as token:
        squares = [kernel.local("squares", lanes, "float32") for _ in _vectors(isa)]
        for square in squares:
            kernel.store(square, splat(0.0, lanes), 0)
        with kernel.loop(cols // BLOCK, "block") as block:
            for part in _vectors(isa):
                value = kernel.bind(load(hidden, token, block * int32(BLOCK) + int32(part * lanes), lanes=lanes))
                kernel.store(squares[part], fma(value, value, load(squares[part], 0, lanes=lanes)), 0)
        total = horizontal(kernel, "sum", [kernel.bind(load(s, 0, lanes=lanes)) for s in squares], lanes)
        mean = fma(total, float32(1.0 / cols), float32(epsilon))
        inverse = kernel.bind(float32(1.0) / llvm("float32", 1, "llvm.sqrt", mean))
        with kernel.loop(cols // BLOCK, "block") as block:
            values = []
            for part in _vectors(isa):
                at = block * int32(BLOCK) + int32(part * lanes)
                scaled = load(hidden, token, at, lanes=lanes) * broadcast(inverse, lanes)
                values.append(kernel.bind(scaled * load(weight, at, lanes=lanes)))
            write_activations(kernel, isa, outs, token, block, values)
    return kernel.function()


def rounded(name: str, isa: Isa, tokens: int, cols: int) -> tirx.PrimFunc:
    """Kernel: (values [tokens, cols]) -> activations."""
    kernel, lanes = Kernel(name), isa.lanes
    values = kernel.argument("values", (tokens, cols), "float32")
    outs = _outputs(kernel, isa, tokens, cols)
    with (
        kernel.loop(tokens, "token", parallel=tokens >= PARALLEL_FROM) as token,
        kernel.loop(cols // BLOCK, "block") as block,
    ):
        at = [block * int32(BLOCK) + int32(part * lanes) for part in _vectors(isa)]
        vectors = [kernel.bind(load(values, token, place, lanes=lanes)) for place in at]
        write_activations(kernel, isa, outs, token, block, vectors)
    return kernel.function()


def gate(name: str, isa: Isa, tokens: int, cols: int) -> tirx.PrimFunc:
    """Kernel: (gate and up [tokens, 2 cols]) -> activations of SiLU(gate) * up."""
    kernel, lanes = Kernel(name), isa.lanes
    both = kernel.argument("both", (tokens, 2 * cols), "float32")
    outs = _outputs(kernel, isa, tokens, cols)
    with (
        kernel.loop(tokens, "token", parallel=tokens >= PARALLEL_FROM) as token,
        kernel.loop(cols // BLOCK, "block") as block,
    ):
        values = []
        for part in _vectors(isa):
            at = block * int32(BLOCK) + int32(part * lanes)
            g = kernel.bind(load(both, token, at, lanes=lanes))
            up = load(both, token, at + int32(cols), lanes=lanes)
            one = splat(1.0, lanes)
            values.append(kernel.bind(g / (one + exp_vector(kernel, splat(0.0, lanes) - g, lanes)) * up))
        write_activations(kernel, isa, outs, token, block, values)
    return kernel.function()
