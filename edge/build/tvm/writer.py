"""Writes one kernel as TIR: buffers, loops, values that stay in registers, and vectors of a fixed width.

The only module that builds TIR nodes, because TVM's Python API is renamed at every release. Two things decide the
speed and are easy to lose: `bind` gives a value a name without memory behind it, and `local` is an array on the stack.
TVM puts arrays below 1 KB there only when their scope is the default one: with the scope "local", in spite of its name,
each comes from a heap, and LLVM then keeps every accumulator in memory (attention: five times slower).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tvm
from tvm import tirx

Expr = Any  # tvm.ir.Expr: the package carries no types
STACK_BYTES = 1024  # TVM's limit for an array on the stack


class Kernel:
    """One kernel under construction; `function()` ends it. Its arguments are the buffers in the order of `argument`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._arguments: list[Any] = []
        self._blocks: list[list[Any]] = [[]]
        self._names = 0

    def argument(self, name: str, shape: Sequence[int], dtype: str) -> Expr:
        """A buffer that the caller gives."""
        buffer = tirx.decl_buffer(tuple(shape), dtype, name)
        self._arguments.append(buffer)
        return buffer

    def local(self, name: str, size: int, dtype: str) -> Expr:
        """A small array on the stack; in registers where every index is constant."""
        if size * 4 >= STACK_BYTES:
            raise ValueError(f"an array of {size} numbers does not go on the stack")
        buffer = tirx.decl_buffer((size,), dtype, self._name(name), layout=None)
        self._add(tirx.AllocBuffer(buffer))
        return buffer

    def bind(self, value: Expr, name: str = "v") -> Expr:
        """A name for a value that is computed once."""
        variable = tirx.Var(self._name(name), value.ty)
        self._add(tirx.Bind(variable, value))
        return variable

    def store(self, buffer: Expr, value: Expr, *index: Expr) -> None:
        """buffer[index] = value; a vector goes to consecutive places of the last axis."""
        self._add(tirx.BufferStore(buffer, value, [*index[:-1], spread(index[-1], lanes_of(value))]))

    @contextlib.contextmanager
    def loop(self, count: int | Expr, name: str = "i", *, parallel: bool = False) -> Iterator[Expr]:
        """for name in 0..count; parallel over the threads of the runtime."""
        variable = tirx.Var(self._name(name), "int32")
        self._blocks.append([])
        yield variable
        body = self._close()
        kind = tirx.ForKind.PARALLEL if parallel else tirx.ForKind.SERIAL
        self._add(tirx.For(variable, int32(0), int32(count), kind, body))

    @contextlib.contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """if condition."""
        self._blocks.append([])
        yield
        self._add(tirx.IfThenElse(condition, self._close(), None))

    def function(self) -> Any:
        """The finished kernel; nothing of TVM's schedules touches it."""
        body = self._close()
        made = tirx.PrimFunc(self._arguments, body)
        # 8 is opaque: no pass of relax may fuse it.
        return made.with_attr({"global_symbol": self.name, "tirx.is_scheduled": True, "op_pattern": 8, "s_tir": True})

    def _name(self, name: str) -> str:
        self._names += 1
        return f"{name}_{self._names}"

    def _add(self, statement: Any) -> None:
        self._blocks[-1].append(statement)

    def _close(self) -> Any:
        statements = self._blocks.pop()
        return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def int32(value: int | Expr) -> Expr:
    """A whole number as TIR has it."""
    return tirx.const(value, "int32") if isinstance(value, int) else value


def lanes_of(value: Expr) -> int:
    """1 for a scalar."""
    _, _, lanes = str(value.ty.dtype).partition("x")
    return int(lanes) if lanes else 1


def float32(value: float) -> Expr:
    return tirx.const(value, "float32")


def spread(start: int | Expr, lanes: int) -> Expr:
    """Indices start, start + 1, ... of a vector."""
    return int32(start) if lanes == 1 else tirx.Ramp(int32(start), int32(1), lanes)


def load(buffer: Expr, *index: int | Expr, lanes: int = 1) -> Expr:
    """`lanes` consecutive values of the last axis."""
    return tirx.BufferLoad(buffer, [*(int32(i) for i in index[:-1]), spread(index[-1], lanes)])


def broadcast(value: Expr, lanes: int) -> Expr:
    """A scalar in all lanes."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def splat(value: float, lanes: int) -> Expr:
    """A float32 constant in all lanes."""
    return broadcast(float32(value), lanes)


def cast(kind: str, value: Expr) -> Expr:
    """Convert each lane to `kind` ("float32", "int8"...)."""
    return tirx.Cast(vector_type(kind, lanes_of(value)), value)


def reinterpret(kind: str, lanes: int, value: Expr) -> Expr:
    """The same bits as another type."""
    return tirx.reinterpret(vector_type(kind, lanes), value)


def vector_type(kind: str, lanes: int) -> str:
    return kind if lanes == 1 else f"{kind}x{lanes}"


def llvm(kind: str, lanes: int, name: str, *values: Expr) -> Expr:
    """A pure LLVM intrinsic."""
    return tirx.call_llvm_pure_intrin(vector_type(kind, lanes), name, *values)


def fma(a: Expr, b: Expr, c: Expr) -> Expr:
    """a * b + c with one rounding, said outright: whether LLVM fuses a product and a sum differs between targets.

    With every such pair written so, and every sum in a fixed order, a kernel gives the same bits on x86 and Arm.
    """
    return llvm("float32", lanes_of(c), "llvm.fma", a, b, c)


def pieces(value: Expr, lanes: int, *, start: int) -> Expr:
    """`lanes` lanes of a vector from `start` on."""
    return tirx.Shuffle([value], [int32(start + lane) for lane in range(lanes)])


def module(kernels: dict[str, Any]) -> Any:
    """An IRModule of plain kernels, for tests of a single one."""
    return tvm.IRModule(kernels)
