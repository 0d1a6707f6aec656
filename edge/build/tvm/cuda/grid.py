"""Writes a kernel for a GPU as blocks of threads that work in phases, or the same description as loops of a CPU.

A block's threads run a phase side by side and wait for one another at its end. They hand numbers on in arrays that
the block shares, and a phase reads there only what an earlier phase wrote: then the order of the threads within
a phase is of no account, and the description means the same when a CPU runs them one after another. That second form,
in both orders, is how the kernels are proven on a machine without a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from tvm import ir, tirx

from edge.build.tvm.writer import Expr, Kernel, cast, float32, int32, load, reinterpret

Form = Literal["threads", "forwards", "backwards"]  # of a GPU; on a CPU from the first thread on, from the last


class Grid(Kernel):
    """A kernel under construction: `blocks` once, in it arrays that are `shared`, then `phase`s, in loops too.

    threads: in each block, a multiple of 32. A value bound outside of a phase is the same for all threads of a block;
    what a thread keeps in `local` ends with its phase.
    """

    def __init__(self, name: str, threads: int, form: Form) -> None:
        super().__init__(name)
        self.threads, self.form = threads, form
        self._thread = tirx.Var("thread", "int32")
        self._barrier: Any = None

    @contextlib.contextmanager
    def blocks(self, count: int) -> Iterator[Expr]:
        """All blocks of the grid, in no order."""
        if self.form != "threads":
            with self.loop(count, "block", parallel=True) as block:
                yield block
            return
        variable = tirx.Var("block", "int32")
        self._blocks.append([])
        yield variable
        if self._blocks[-1][-1] is self._barrier:  # nobody waits for the end
            self._blocks[-1].pop()
        body = self._close()
        for tag, of, extent in (("threadIdx.x", self._thread, self.threads), ("blockIdx.x", variable, count)):
            axis = tirx.IterVar(ir.Range(int32(0), int32(extent)), of, tirx.IterVar.ThreadIndex, tag)
            body = tirx.AttrStmt(axis, "thread_extent", int32(extent), body)
        self._add(body)

    def shared(self, name: str, size: int) -> Expr:
        """An array of float32 of the block, to be asked for before any phase or loop.

        An array a purpose, never two in one: TVM would wait for threads where it cannot tell the places apart.
        """
        scope = "shared" if self.form == "threads" else "global"
        buffer = tirx.decl_buffer((size,), "float32", self._name(name), scope=scope, layout=None)
        self._add(tirx.AllocBuffer(buffer))
        return buffer

    def kept(self, name: str, size: int) -> Kept:
        """float32 numbers that each thread has for itself through all phases; asked for where `shared` is."""
        if self.form == "threads":
            return Kept(self, self._private(name, size, "float32"), 0)
        buffer = tirx.decl_buffer((size * self.threads,), "float32", self._name(name), layout=None)
        self._add(tirx.AllocBuffer(buffer))
        return Kept(self, buffer, size)

    @contextlib.contextmanager
    def phase(self) -> Iterator[Expr]:
        """What each thread does (its number is given) until all wait for one another."""
        if self.form == "threads":
            self._blocks.append([])
            yield self._thread
            for statement in self._blocks.pop():
                self._add(statement)
            self._barrier = tirx.Evaluate(tirx.op.tvm_storage_sync("shared"))
            self._add(self._barrier)
            return
        with self.loop(self.threads, "thread") as number:
            yield number if self.form == "forwards" else self.bind(int32(self.threads - 1) - number)

    @contextlib.contextmanager
    def share(self, thread: Expr, count: int) -> Iterator[Expr]:
        """A thread's part of 0..count: every `threads`-th number from its own on."""
        with self.steps(thread, count) as (_, index):
            yield index

    @contextlib.contextmanager
    def steps(self, thread: Expr, count: int) -> Iterator[tuple[Expr, Expr]]:
        """As `share`, with how many numbers the thread had before: (number, index)."""
        with self.loop(-(-count // self.threads), "step") as step:
            index = self.bind(step * int32(self.threads) + thread)
            if count % self.threads:
                with self.when(index < int32(count)):
                    yield step, index
            else:
                yield step, index

    def number(self, start: Expr, kind: str = "float32") -> Expr:
        """A variable of one thread; `place[0]` holds it."""
        place = self.local("number", 1, kind)
        self.store(place, start, 0)
        return place

    def dot(self, total: Expr, left: Expr, right: Expr) -> Expr:
        """total + the sum of the four products of signed bytes of two int32."""
        if self.form == "threads":
            return self.bind(tirx.call_pure_extern("int32", "__dp4a", left, right, total))
        for byte in range(4):
            up = int32(24 - 8 * byte)
            one, other = (tirx.shift_right(tirx.shift_left(word, up), int32(24)) for word in (left, right))
            total = self.bind(total + one * other)
        return total

    def exp(self, value: Expr) -> Expr:
        """e**x as the CPU's kernels have it (rows.exp_vector), in operations that a GPU has too."""
        x = self.bind(tirx.Max(tirx.Min(value, float32(88.0)), float32(-87.0)))
        n = self.bind(tirx.nearbyint(x * float32(1.44269504088896341)))
        r = self.bind(x - n * float32(0.693359375))
        r = self.bind(r + n * float32(2.12194440e-4))
        total = float32(1.9875691500e-4)
        for term in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            total = self.bind(total * r + float32(term))
        whole = self.bind(total * (r * r) + (r + float32(1.0)))
        exponent = self.bind(tirx.shift_left(cast("int32", n) + int32(127), int32(23)))
        return self.bind(whole * reinterpret("float32", 1, exponent))

    def local(self, name: str, size: int, dtype: str) -> Expr:
        """A small array of one thread, for one phase."""
        return self._private(name, size, dtype) if self.form == "threads" else super().local(name, size, dtype)

    def _private(self, name: str, size: int, dtype: str) -> Expr:
        buffer = tirx.decl_buffer((size,), dtype, self._name(name), scope="local", layout=None)
        self._add(tirx.AllocBuffer(buffer))
        return buffer


class Kept:
    """A thread's own numbers; on a GPU in its registers, on a CPU its part of an array of all threads."""

    def __init__(self, grid: Grid, buffer: Expr, stride: int) -> None:
        self._grid, self._buffer, self._stride = grid, buffer, stride

    def get(self, thread: Expr, index: int | Expr = 0) -> Expr:
        """The thread's number at an index."""
        return load(self._buffer, thread * int32(self._stride) + int32(index))

    def put(self, thread: Expr, value: Expr, index: int | Expr = 0) -> None:
        """Set it."""
        self._grid.store(self._buffer, value, thread * int32(self._stride) + int32(index))


def quotient(kernel: Kernel, value: Expr, by: int) -> tuple[Expr, Expr]:
    """(value // by, value % by) of what is not negative."""
    if by == 1:
        return value, int32(0)
    whole = kernel.bind(tirx.truncdiv(value, int32(by)))
    return whole, kernel.bind(value - whole * int32(by))
