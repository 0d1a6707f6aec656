"""Rotary embedding, the KV cache, and attention over it (online softmax, Milakov and Gimelshein 2018).

The cache of a layer: keys [kv_heads, capacity / 16, head_dim, 16] (16 keys side by side, so that scores of 16 keys are
one vector without a horizontal sum), values [kv_heads, capacity, head_dim], both float32. Keys are read in runs of 64
that begin at multiples of 64, whatever part of a text is being read: a token's sums are added in the same order in
every call.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from edge.build.tvm.isa import TILE_ROWS, Isa
from edge.build.tvm.kernels.rows import PARALLEL_FROM, exp_vector, horizontal
from edge.build.tvm.writer import Expr, Kernel, broadcast, float32, fma, int32, llvm, load, splat

KEYS = 64  # keys between two rescalings
LOWEST = -1e30
QUERIES = 6  # heads and tokens at once: what 32 registers hold beside keys


@dataclass(frozen=True)
class Heads:
    """Shape of attention. capacity: of the cache, a multiple of 64; qk_norm: RMS norm of each head (Qwen3)."""

    heads: int
    kv_heads: int
    head_dim: int
    capacity: int
    qk_norm: bool = False
    epsilon: float = 0.0

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.heads // self.kv_heads

    @property
    def key_shape(self) -> tuple[int, ...]:
        return (self.kv_heads * self.capacity * self.head_dim,)

    @property
    def packed_size(self) -> int:
        """Width of query, key and value side by side."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


def key_at(heads: Heads, head: Expr, position: Expr) -> Expr:
    """Place of a key's first number; the next ones follow at a distance of 16."""
    run = tirx.shift_right(position, int32(4))
    start = (head * int32(heads.capacity // TILE_ROWS) + run) * int32(heads.head_dim * TILE_ROWS)
    return start + tirx.bitwise_and(position, int32(TILE_ROWS - 1))


def rotate(name: str, isa: Isa, heads: Heads, tokens: int) -> tirx.PrimFunc:
    """Kernel: (packed [tokens, q + k + v], position [1] int32, cos, sin [capacity, head_dim / 2],
    [q_norm, k_norm [head_dim]], keys, values) -> query [tokens, heads * head_dim], scaled; writes the cache."""
    kernel = Kernel(name)
    half = heads.head_dim // 2
    packed = kernel.argument("packed", (tokens, heads.packed_size), "float32")
    first = kernel.argument("position", (1,), "int32")
    cos = kernel.argument("cos", (heads.capacity, half), "float32")
    sin = kernel.argument("sin", (heads.capacity, half), "float32")
    norms = []
    if heads.qk_norm:
        norms = [kernel.argument(n, (heads.head_dim,), "float32") for n in ("q_norm", "k_norm")]
    keys = kernel.argument("keys", heads.key_shape, "float32")
    values = kernel.argument("values", heads.key_shape, "float32")
    query = kernel.argument("query", (tokens, heads.heads * heads.head_dim), "float32")
    lanes = min(isa.lanes, half & -half)
    turn = _Turn(kernel, isa, heads, lanes, cos, sin, packed)
    with kernel.loop(tokens, "token", parallel=tokens >= PARALLEL_FROM) as token:
        position = kernel.bind(load(first, int32(0)) + token)
        with kernel.loop(heads.heads, "head") as head:
            start = kernel.bind(head * int32(heads.head_dim))
            scale = float(heads.head_dim) ** -0.5
            with turn.pairs(token, start, position, norms[0] if norms else None, scale) as (at, low, high):
                kernel.store(query, low, token, start + at)
                kernel.store(query, high, token, start + at + int32(half))
        with kernel.loop(heads.kv_heads, "head") as head:
            start = kernel.bind((head + int32(heads.heads)) * int32(heads.head_dim))
            place = kernel.bind(key_at(heads, head, position))
            staged = kernel.local("staged", lanes, "float32")
            with turn.pairs(token, start, position, norms[1] if norms else None, 1.0) as (at, low, high):
                for offset, vector in ((0, low), (half, high)):
                    kernel.store(staged, vector, 0)
                    for lane in range(lanes):
                        to = place + (at + int32(offset + lane)) * int32(TILE_ROWS)
                        kernel.store(keys, load(staged, lane), to)
            start = kernel.bind((head + int32(heads.heads + heads.kv_heads)) * int32(heads.head_dim))
            row = kernel.bind((head * int32(heads.capacity) + position) * int32(heads.head_dim))
            with kernel.loop(heads.head_dim // lanes, "part") as part:
                at = part * int32(lanes)
                kernel.store(values, load(packed, token, start + at, lanes=lanes), row + at)
    return kernel.function()


class _Turn:
    """Rotates one head: pairs (x[i], x[i + half]) by the angle of their frequency (Su et al. 2021)."""

    def __init__(self, kernel: Kernel, isa: Isa, heads: Heads, lanes: int, cos: Expr, sin: Expr, packed: Expr) -> None:
        self.kernel, self.isa, self.heads, self.lanes = kernel, isa, heads, lanes
        self.cos, self.sin, self.packed = cos, sin, packed

    def pairs(self, token: Expr, start: Expr, position: Expr, norm: Expr | None, scale: float) -> _Pairs:
        """Loop over the pairs: (place within the head, low half, high half)."""
        return _Pairs(self, token, start, position, norm, scale)


class _Pairs:
    def __init__(self, turn: _Turn, token: Expr, start: Expr, position: Expr, norm: Expr | None, scale: float) -> None:
        self.turn, self.token, self.start, self.position = turn, token, start, position
        self.weights, self.scale = norm, scale

    def __enter__(self) -> tuple[Expr, Expr, Expr]:
        turn, kernel, lanes = self.turn, self.turn.kernel, self.turn.lanes
        half = turn.heads.head_dim // 2
        factor = splat(self.scale, lanes)
        if self.weights is not None:
            factor = broadcast(kernel.bind(self._inverse() * float32(self.scale)), lanes)
        self.loop = kernel.loop(half // lanes, "pair")
        at = kernel.bind(self.loop.__enter__() * int32(lanes))
        x = load(turn.packed, self.token, self.start + at, lanes=lanes) * factor
        y = load(turn.packed, self.token, self.start + at + int32(half), lanes=lanes) * factor
        if self.weights is not None:
            x = x * load(self.weights, at, lanes=lanes)
            y = y * load(self.weights, at + int32(half), lanes=lanes)
        x, y = kernel.bind(x), kernel.bind(y)
        c = kernel.bind(load(turn.cos, self.position, at, lanes=lanes))
        s = kernel.bind(load(turn.sin, self.position, at, lanes=lanes))
        against = kernel.bind(splat(0.0, lanes) - s)
        return at, kernel.bind(fma(x, c, y * against)), kernel.bind(fma(y, c, x * s))

    def __exit__(self, *error: object) -> None:
        self.loop.__exit__(None, None, None)

    def _inverse(self) -> Expr:
        """1 / RMS of the head."""
        turn, kernel, lanes = self.turn, self.turn.kernel, self.turn.lanes
        # As many sums for every instruction set, so that all add in the same order.
        width = min(TILE_ROWS, turn.heads.head_dim & -turn.heads.head_dim)
        squares = [kernel.local("squares", lanes, "float32") for _ in range(width // lanes)]
        for square in squares:
            kernel.store(square, splat(0.0, lanes), 0)
        with kernel.loop(turn.heads.head_dim // width, "part") as part:
            for i, square in enumerate(squares):
                at = self.start + part * int32(width) + int32(i * lanes)
                value = kernel.bind(load(turn.packed, self.token, at, lanes=lanes))
                kernel.store(square, fma(value, value, load(square, 0, lanes=lanes)), 0)
        held = [kernel.bind(load(square, 0, lanes=lanes)) for square in squares]
        total = horizontal(kernel, "sum", held, lanes)
        mean = fma(total, float32(1.0 / turn.heads.head_dim), float32(turn.heads.epsilon))
        return float32(1.0) / llvm("float32", 1, "llvm.sqrt", mean)


def attend(name: str, isa: Isa, heads: Heads, tokens: int) -> tirx.PrimFunc:
    """Kernel: (query [tokens, heads * head_dim], position [1] int32, keys, values) -> out, shaped as query."""
    kernel = Kernel(name)
    width = heads.heads * heads.head_dim
    query = kernel.argument("query", (tokens, width), "float32")
    first = kernel.argument("position", (1,), "int32")
    keys = kernel.argument("keys", heads.key_shape, "float32")
    values = kernel.argument("values", heads.key_shape, "float32")
    out = kernel.argument("out", (tokens, width), "float32")
    together = next(n for n in (4, 3, 2, 1) if heads.group % n == 0)
    rows = next(n for n in (4, 2, 1) if n * together <= QUERIES and tokens % n == 0)
    units = heads.heads // together
    with kernel.loop(tokens // rows * units, "unit", parallel=True) as unit:
        group = kernel.bind(tirx.truncdiv(unit, int32(units)))
        start = kernel.bind((unit - group * int32(units)) * int32(together))
        queries = []
        for row in range(rows):
            token = kernel.bind(group * int32(rows) + int32(row))
            position = kernel.bind(load(first, int32(0)) + token)
            columns = [kernel.bind((start + int32(h)) * int32(heads.head_dim)) for h in range(together)]
            queries += [_Query(token, column, position) for column in columns]
        kv_head = kernel.bind(tirx.truncdiv(start, int32(heads.group)))
        _Unit(kernel, isa, heads, queries, kv_head, query, keys, values).run(out)
    return kernel.function()


@dataclass(frozen=True)
class _Query:
    """One head of one token: its row, its first column there, the token's position in the text."""

    token: Expr
    column: Expr
    position: Expr


class _Unit:
    """Some queries of one key head: keys and values are loaded once for all of them; each has sums of its own."""

    def __init__(
        self,
        kernel: Kernel,
        isa: Isa,
        heads: Heads,
        queries: list[_Query],
        kv_head: Expr,
        query: Expr,
        keys: Expr,
        values: Expr,
    ) -> None:
        self.kernel, self.isa, self.heads = kernel, isa, heads
        self.queries, self.kv_head = queries, kv_head
        self.query, self.keys, self.values = query, keys, values
        dim = heads.head_dim
        self.together = len(queries)
        self.scores = [kernel.local("scores", KEYS, "float32") for _ in queries]
        self.sums = [kernel.local("sums", dim, "float32") for _ in queries]
        self.most = [kernel.local("most", 1, "float32") for _ in queries]
        self.total = [kernel.local("total", 1, "float32") for _ in queries]
        self.lanes = min(isa.lanes, dim & -dim)

    def run(self, out: Expr) -> None:
        """All runs of 64 keys up to the token's own, then the division."""
        kernel, lanes, dim = self.kernel, self.lanes, self.heads.head_dim
        for h in range(self.together):
            kernel.store(self.most[h], float32(LOWEST), 0)
            kernel.store(self.total[h], float32(0.0), 0)
            for at in range(0, dim, lanes):
                kernel.store(self.sums[h], splat(0.0, lanes), at)
        furthest = self.queries[-1].position
        runs = kernel.bind(tirx.shift_right(furthest, int32(6)) + int32(1))
        with kernel.loop(runs, "run") as run:
            base = kernel.bind(run * int32(KEYS))
            self._scores(base)
            for h, query in enumerate(self.queries):
                self._softmax(h, kernel.bind(query.position - base + int32(1)))
            self._values(base, kernel.bind(tirx.Min(furthest - base + int32(1), int32(KEYS))))
        for h, query in enumerate(self.queries):
            inverse = kernel.bind(float32(1.0) / load(self.total[h], 0))
            for at in range(0, dim, lanes):
                value = load(self.sums[h], at, lanes=lanes) * broadcast(inverse, lanes)
                kernel.store(out, value, query.token, query.column + int32(at))

    def _scores(self, base: Expr) -> None:
        """Scores of 64 keys, `key_tiles` tiles of 16 at a time in registers."""
        kernel, lanes, tiles = self.kernel, self.isa.lanes, self.isa.key_tiles
        dim = self.heads.head_dim
        with kernel.loop(KEYS // TILE_ROWS // tiles, "tiles") as group:
            places = [
                [[kernel.local("score", lanes, "float32") for _ in range(self.isa.parts)] for _ in range(tiles)]
                for _ in range(self.together)
            ]
            for one in places:
                for tile in one:
                    for part in tile:
                        kernel.store(part, splat(0.0, lanes), 0)
            at = kernel.bind(key_at(self.heads, self.kv_head, base + group * int32(tiles * TILE_ROWS)))
            with kernel.loop(dim, "d") as d:
                wanted = [broadcast(kernel.bind(load(self.query, q.token, q.column + d)), lanes) for q in self.queries]
                for number in range(tiles):
                    for piece in range(self.isa.parts):
                        place = at + int32(number * dim * TILE_ROWS + piece * lanes) + d * int32(TILE_ROWS)
                        key = kernel.bind(load(self.keys, place, lanes=lanes))
                        for h in range(self.together):
                            score = places[h][number][piece]
                            kernel.store(score, fma(key, wanted[h], load(score, 0, lanes=lanes)), 0)
            for h in range(self.together):
                for number in range(tiles):
                    for piece in range(self.isa.parts):
                        to = group * int32(tiles * TILE_ROWS) + int32(number * TILE_ROWS + piece * lanes)
                        kernel.store(self.scores[h], load(places[h][number][piece], 0, lanes=lanes), to)

    def _softmax(self, h: int, last: Expr) -> None:
        """Scores -> weights of the run; what was summed before is rescaled to the new maximum.

        Keys from `last` on are not the token's to see: their weight is 0 exactly, so that a run read for the sake of
        a later token changes no bit of an earlier one.
        """
        kernel, lanes, scores = self.kernel, self.isa.lanes, self.scores[h]
        wide = kernel.local("wide", lanes, "float32")
        kernel.store(wide, splat(LOWEST, lanes), 0)
        with kernel.loop(KEYS // lanes, "part") as part:
            at = kernel.bind(part * int32(lanes))
            index = tirx.Ramp(at, int32(1), lanes)
            there = index < broadcast(last, lanes)
            shown = kernel.bind(tirx.Select(there, load(scores, at, lanes=lanes), splat(LOWEST, lanes)))
            kernel.store(scores, shown, at)
            kernel.store(wide, tirx.Max(load(wide, 0, lanes=lanes), shown), 0)
        before = kernel.bind(load(self.most[h], 0))
        widest = llvm("float32", 1, "llvm.vector.reduce.fmax", load(wide, 0, lanes=lanes))
        most = kernel.bind(tirx.Max(before, widest))
        # 16 sums for every instruction set, so that all add in the same order.
        added = [kernel.local("added", lanes, "float32") for _ in range(self.isa.parts)]
        for place in added:
            kernel.store(place, splat(0.0, lanes), 0)
        with kernel.loop(KEYS // TILE_ROWS, "tile") as tile:
            for number, place in enumerate(added):
                at = kernel.bind(tile * int32(TILE_ROWS) + int32(number * lanes))
                seen = exp_vector(kernel, load(scores, at, lanes=lanes) - broadcast(most, lanes), lanes)
                there = tirx.Ramp(at, int32(1), lanes) < broadcast(last, lanes)
                weight = kernel.bind(tirx.Select(there, seen, splat(0.0, lanes)))
                kernel.store(scores, weight, at)
                kernel.store(place, load(place, 0, lanes=lanes) + weight, 0)
        factor = kernel.bind(exp_vector(kernel, before - most, 1))
        held = [kernel.bind(load(place, 0, lanes=lanes)) for place in added]
        total = horizontal(kernel, "sum", held, lanes)
        kernel.store(self.total[h], fma(load(self.total[h], 0), factor, total), 0)
        kernel.store(self.most[h], most, 0)
        with kernel.loop(self.heads.head_dim // self.lanes, "part") as part:
            at = kernel.bind(part * int32(self.lanes))
            scaled = load(self.sums[h], at, lanes=self.lanes) * broadcast(factor, self.lanes)
            kernel.store(self.sums[h], scaled, at)

    def _values(self, base: Expr, last: Expr) -> None:
        """sums += weight * value row, for the keys that are there."""
        kernel, lanes, dim = self.kernel, self.lanes, self.heads.head_dim
        # As many registers as the set can hold: a quarter of a head at a time where vectors are narrow.
        held = max(lanes, min(dim, 16 * lanes // (4 if self.isa.lanes < TILE_ROWS else 1)))
        while dim % held:
            held -= lanes
        row = kernel.bind((self.kv_head * int32(self.heads.capacity) + base) * int32(dim))
        for begin in range(0, dim, held):
            places = [
                [kernel.local("sum", lanes, "float32") for _ in range(held // lanes)] for _ in range(self.together)
            ]
            for h, held_parts in enumerate(places):
                for i, part in enumerate(held_parts):
                    kernel.store(part, load(self.sums[h], begin + i * lanes, lanes=lanes), 0)
            with kernel.loop(last, "key") as key:
                weights = [broadcast(kernel.bind(load(self.scores[h], key)), lanes) for h in range(self.together)]
                for i in range(held // lanes):
                    place = row + key * int32(dim) + int32(begin + i * lanes)
                    value = kernel.bind(load(self.values, place, lanes=lanes))
                    for h in range(self.together):
                        part = places[h][i]
                        kernel.store(part, fma(value, weights[h], load(part, 0, lanes=lanes)), 0)
            for h, held_parts in enumerate(places):
                for i, part in enumerate(held_parts):
                    kernel.store(self.sums[h], load(part, 0, lanes=lanes), begin + i * lanes)
