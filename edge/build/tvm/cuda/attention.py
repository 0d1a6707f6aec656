"""Rotary embedding, the KV cache, and attention over it for a GPU: the cache lies as kernels/attention.py says.

Attention: a block of 64 threads for one token and one query head. Of each run of 64 keys a thread has one key's score;
then a thread has every 64th number of the head and adds the values. Runs are taken in ascending order.
"""

from __future__ import annotations

from tvm import tirx

from edge.build.tvm.cuda.grid import Form, Grid, quotient
from edge.build.tvm.isa import TILE_ROWS, Isa
from edge.build.tvm.kernels.attention import KEYS, LOWEST, Heads, key_at
from edge.build.tvm.writer import Expr, float32, int32, load

THREADS = KEYS


def rotate(name: str, isa: Isa, heads: Heads, tokens: int, *, form: Form = "threads") -> tirx.PrimFunc:
    """Kernel: (packed [tokens, q + k + v], position [1] int32, cos, sin [capacity, head_dim / 2],
    [q_norm, k_norm [head_dim]], keys, values) -> query [tokens, heads * head_dim], scaled; writes the cache."""
    grid = Grid(name, THREADS, form)
    dim, half = heads.head_dim, heads.head_dim // 2
    packed = grid.argument("packed", (tokens, heads.packed_size), "float32")
    first = grid.argument("position", (1,), "int32")
    cos = grid.argument("cos", (heads.capacity, half), "float32")
    sin = grid.argument("sin", (heads.capacity, half), "float32")
    norms = []
    if heads.qk_norm:
        norms = [grid.argument(n, (dim,), "float32") for n in ("q_norm", "k_norm")]
    keys = grid.argument("keys", heads.key_shape, "float32")
    values = grid.argument("values", heads.key_shape, "float32")
    query = grid.argument("query", (tokens, heads.heads * dim), "float32")
    with grid.blocks(tokens * (heads.heads + 2 * heads.kv_heads)) as unit:
        token, head = quotient(grid, unit, heads.heads + 2 * heads.kv_heads)
        position = grid.bind(load(first, 0) + token)
        start = grid.bind(head * int32(dim))
        asks = head < int32(heads.heads)
        turned = int32(heads.heads + heads.kv_heads)
        with grid.phase() as thread:
            with grid.when(head < turned):
                factor = tirx.Select(asks, float32(float(dim) ** -0.5), float32(1.0))
                if norms:
                    factor = factor * _inverse(grid, heads, packed, token, start)
                factor = grid.bind(factor)
                with grid.share(thread, half) as at:
                    x = load(packed, token, start + at) * factor
                    y = load(packed, token, start + at + int32(half)) * factor
                    if norms:
                        x = x * tirx.Select(asks, load(norms[0], at), load(norms[1], at))
                        behind = at + int32(half)
                        y = y * tirx.Select(asks, load(norms[0], behind), load(norms[1], behind))
                    x, y = grid.bind(x), grid.bind(y)
                    c, s = grid.bind(load(cos, position, at)), grid.bind(load(sin, position, at))
                    low, high = grid.bind(x * c - y * s), grid.bind(y * c + x * s)
                    with grid.when(asks):
                        grid.store(query, low, token, start + at)
                        grid.store(query, high, token, start + at + int32(half))
                    with grid.when(head >= int32(heads.heads)):
                        place = grid.bind(key_at(heads, head - int32(heads.heads), position) + at * int32(TILE_ROWS))
                        grid.store(keys, low, place)
                        grid.store(keys, high, place + int32(half * TILE_ROWS))
            with grid.when(head >= turned), grid.share(thread, dim) as at:
                row = ((head - turned) * int32(heads.capacity) + position) * int32(dim)
                grid.store(values, load(packed, token, start + at), row + at)
    return grid.function()


def _inverse(grid: Grid, heads: Heads, packed: Expr, token: Expr, start: Expr) -> Expr:
    """1 / RMS of the head; each thread for itself."""
    squares = grid.number(float32(0.0))
    with grid.loop(heads.head_dim, "d") as d:
        value = grid.bind(load(packed, token, start + d))
        grid.store(squares, load(squares, 0) + value * value, 0)
    mean = load(squares, 0) * float32(1.0 / heads.head_dim) + float32(heads.epsilon)
    return grid.bind(float32(1.0) / tirx.sqrt(mean))


def attend(name: str, isa: Isa, heads: Heads, tokens: int, *, form: Form = "threads") -> tirx.PrimFunc:
    """Kernel: (query [tokens, heads * head_dim], position [1] int32, keys, values) -> out, shaped as query."""
    grid = Grid(name, THREADS, form)
    dim, width = heads.head_dim, heads.heads * heads.head_dim
    query = grid.argument("query", (tokens, width), "float32")
    first = grid.argument("position", (1,), "int32")
    keys = grid.argument("keys", heads.key_shape, "float32")
    values = grid.argument("values", heads.key_shape, "float32")
    out = grid.argument("out", (tokens, width), "float32")
    with grid.blocks(tokens * heads.heads) as unit:
        token, head = quotient(grid, unit, heads.heads)
        kv_head, _ = quotient(grid, head, heads.group)
        position = grid.bind(load(first, 0) + token)
        column = grid.bind(head * int32(dim))
        scores, weights = grid.shared("scores", KEYS), grid.shared("weights", KEYS)
        # Each thread has the maximum and the total for itself, the same in all; and its own sums.
        most, total, factor = (grid.kept(n, 1) for n in ("most", "total", "factor"))
        sums = grid.kept("sums", -(-dim // THREADS))
        with grid.phase() as thread:
            most.put(thread, float32(LOWEST))
            total.put(thread, float32(0.0))
            with grid.steps(thread, dim) as (mine, _):
                sums.put(thread, float32(0.0), mine)
        with grid.loop(grid.bind(tirx.shift_right(position, int32(6)) + int32(1)), "run") as run:
            base = grid.bind(run * int32(KEYS))
            last = grid.bind(tirx.Min(position - base + int32(1), int32(KEYS)))
            with grid.phase() as thread:
                place = grid.bind(key_at(heads, kv_head, base + thread))
                score = grid.number(float32(0.0))
                with grid.loop(dim, "d") as d:
                    pair = load(query, token, column + d) * load(keys, place + d * int32(TILE_ROWS))
                    grid.store(score, load(score, 0) + pair, 0)
                grid.store(scores, tirx.Select(thread < last, load(score, 0), float32(LOWEST)), thread)
            with grid.phase() as thread:
                before = grid.bind(most.get(thread))
                widest = grid.number(before)
                with grid.loop(KEYS, "key") as key:
                    grid.store(widest, tirx.Max(load(widest, 0), load(scores, key)), 0)
                now = grid.bind(load(widest, 0))
                most.put(thread, now)
                factor.put(thread, grid.exp(before - now))
                weight = grid.exp(load(scores, thread) - now)
                grid.store(weights, tirx.Select(thread < last, weight, float32(0.0)), thread)
            with grid.phase() as thread:
                scale = grid.bind(factor.get(thread))
                number = grid.number(total.get(thread) * scale)
                with grid.loop(KEYS, "key") as key:
                    grid.store(number, load(number, 0) + load(weights, key), 0)
                total.put(thread, load(number, 0))
                row = grid.bind((kv_head * int32(heads.capacity) + base) * int32(dim))
                with grid.steps(thread, dim) as (mine, d):
                    number = grid.number(sums.get(thread, mine) * scale)
                    with grid.loop(last, "key") as key:
                        value = load(values, row + key * int32(dim) + d)
                        grid.store(number, load(number, 0) + load(weights, key) * value, 0)
                    sums.put(thread, load(number, 0), mine)
        with grid.phase() as thread, grid.steps(thread, dim) as (mine, d):
            grid.store(out, sums.get(thread, mine) / total.get(thread), token, column + d)
    return grid.function()
