"""The decoder as a program of kernels: one function for each number of tokens read at once, one for each of logits.

    tokens_N (ids [N] int32, position [1] int32, cache, weights) -> hidden [N, hidden_size] float32
    logits_M (hidden [M, hidden_size] float32, weights)           -> logits [M, padded vocabulary] float32

cache: (keys, values) of layer 0, layer 1, ...; written in place. weights: in the order of `weight_tensors`. Relax gives
the program its memory plan and its bytecode; every kernel in it is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from edge.build.graph import matrix_name
from edge.build.quantise import QuantFormat
from edge.build.tvm.isa import TILE_ROWS, Isa
from edge.build.tvm.kernels.attention import KEYS, Heads, attend, rotate
from edge.build.tvm.kernels.products import Matrix, Tensor, activation_tensors, embedding, product
from edge.build.tvm.kernels.rows import gate, norm, rounded
from edge.specs.decoder import DecoderConfig

CHUNKS = (1, 2, 4, 8, 32, 128)
HEAD_ROWS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Shape:
    """What is compiled: the decoder, the formats of its matrices, the capacity of its cache.

    formats: graph matrix name ("layers.0.qkv") -> format; head: of the output head and the embedding.
    """

    config: DecoderConfig
    formats: Mapping[str, QuantFormat]
    head: QuantFormat
    context_tokens: int

    @property
    def capacity(self) -> int:
        """Places in the cache: the context, filled up to a whole run of keys."""
        return -(-self.context_tokens // KEYS) * KEYS

    @property
    def heads(self) -> Heads:
        c = self.config
        return Heads(c.heads, c.kv_heads, c.head_dim, self.capacity, c.qk_norm, c.rms_norm_eps)

    def matrix(self, layer: int, matrix: str) -> Matrix:
        """One of qkv, o, gate_up, down."""
        c, form = self.config, self.formats[matrix_name(layer, matrix)]
        rows, cols = {
            "qkv": (c.query_size + 2 * c.kv_size, c.hidden_size),
            "o": (c.hidden_size, c.query_size),
            "gate_up": (2 * c.intermediate_size, c.hidden_size),
            "down": (c.hidden_size, c.intermediate_size),
        }[matrix]
        return Matrix(rows, cols, form, bias=matrix == "qkv" and c.attention_bias)

    @property
    def table(self) -> Matrix:
        """The output head, and the embedding."""
        return Matrix(self.config.vocab_size, self.config.hidden_size, self.head)

    @property
    def head_name(self) -> str:
        return "embedding" if self.config.tie_embeddings else "head"


def weight_tensors(shape: Shape, isa: Isa) -> dict[str, Tensor]:
    """Every tensor of the weights file in the order in which functions take them: name -> (shape, dtype)."""
    c = shape.config
    hidden: Tensor = ((c.hidden_size,), "float32")
    rotary: Tensor = ((shape.capacity, c.head_dim // 2), "float32")
    made: dict[str, Tensor] = {}

    def add(name: str, matrix: Matrix) -> None:
        made.update({name + suffix: of for suffix, of in matrix.tensors(isa).items()})

    add("embedding", shape.table)
    for layer in range(c.layers):
        made[f"layers.{layer}.input_norm"] = hidden
        add(matrix_name(layer, "qkv"), shape.matrix(layer, "qkv"))
        if c.qk_norm:
            made |= {f"layers.{layer}.{n}": ((c.head_dim,), "float32") for n in ("q_norm", "k_norm")}
        add(matrix_name(layer, "o"), shape.matrix(layer, "o"))
        made[f"layers.{layer}.post_norm"] = hidden
        add(matrix_name(layer, "gate_up"), shape.matrix(layer, "gate_up"))
        add(matrix_name(layer, "down"), shape.matrix(layer, "down"))
    made["final_norm"] = hidden
    made["rotary.cos"] = made["rotary.sin"] = rotary
    if not c.tie_embeddings:
        add("head", shape.table)
    return made


@dataclass(frozen=True)
class KernelSet:
    """Who writes the kernels; the signatures are those of the CPU's."""

    embedding: Callable[..., Any] = embedding
    product: Callable[..., Any] = product
    norm: Callable[..., Any] = norm
    rounded: Callable[..., Any] = rounded
    gate: Callable[..., Any] = gate
    rotate: Callable[..., Any] = rotate
    attend: Callable[..., Any] = attend


class Program:
    """Collects kernels (each once) and functions into one module."""

    def __init__(self, shape: Shape, isa: Isa, target: Any, kernels: KernelSet | None = None) -> None:
        self.shape, self.isa, self.kernels = shape, isa, kernels or KernelSet()
        self.builder = relax.BlockBuilder()
        self._kernels: dict[str, Any] = {}
        self._target = target
        self._tensors = weight_tensors(shape, isa)
        self._weights: dict[str, Any] = {}

    def module(self, chunks: tuple[int, ...] = CHUNKS, head_rows: tuple[int, ...] = HEAD_ROWS) -> Any:
        """The whole program."""
        for tokens in chunks:
            self._read(tokens)
        for rows in head_rows:
            self._score(rows)
        return self.builder.get()

    def _call(self, key: str, make: Any, inputs: list[Any], outputs: list[Tensor]) -> list[Any]:
        """Emit a call of a kernel; `make(name)` writes it where it is new."""
        if key not in self._kernels:
            self._kernels[key] = self.builder.add_func(make(key).with_attr("target", self._target), key)
        kinds = [relax.TensorType(of, dtype) for of, dtype in outputs]
        kind = kinds[0] if len(kinds) == 1 else kinds
        called = self.builder.emit(relax.call_tir(self._kernels[key], relax.Tuple(inputs), kind))
        if len(outputs) == 1:
            return [called]
        return [self.builder.emit(relax.TupleGetItem(called, i)) for i in range(len(outputs))]

    def _weights_parameter(self) -> Any:
        return relax.Var(
            "weights", relax.TupleType([relax.TensorType(of, dtype) for of, dtype in self._tensors.values()])
        )

    def _unpack(self, weights: Any) -> None:
        self._weights = {
            name: self.builder.emit(relax.TupleGetItem(weights, i)) for i, name in enumerate(self._tensors)
        }

    def _stored(self, name: str, matrix: Matrix) -> list[Any]:
        return [self._weights[name + suffix] for suffix in matrix.tensors(self.isa)]

    def _product(self, name: str, matrix: Matrix, acts: list[Any], tokens: int, rest: Any = None) -> Any:
        form = matrix.format
        kind = f"b{form.bits}k{form.block_size}{'s' if form.symmetric else 'a'}{'_bias' if matrix.bias else ''}"
        key = f"product_{matrix.rows}x{matrix.cols}_{kind}_{tokens}{'_add' if rest is not None else ''}"
        inputs = [*acts, *self._stored(name, matrix), *([rest] if rest is not None else [])]
        out: Tensor = ((tokens, matrix.tiles * TILE_ROWS), "float32")
        isa, product = self.isa, self.kernels.product
        return self._call(key, lambda n: product(n, isa, matrix, tokens, residual=rest is not None), inputs, [out])[0]

    def _norm(self, name: str, hidden: Any, tokens: int) -> list[Any]:
        c, isa = self.shape.config, self.isa
        return self._call(
            f"norm_{tokens}",
            lambda n: self.kernels.norm(n, isa, tokens, c.hidden_size, c.rms_norm_eps),
            [hidden, self._weights[name]],
            activation_tensors(isa, tokens, c.hidden_size),
        )

    def _read(self, tokens: int) -> None:
        """tokens_N."""
        shape, isa, c, builder, kernels = self.shape, self.isa, self.shape.config, self.builder, self.kernels
        heads = shape.heads
        ids = relax.Var("ids", relax.TensorType((tokens,), "int32"))
        position = relax.Var("position", relax.TensorType((1,), "int32"))
        store = relax.TensorType(heads.key_shape, "float32")
        cache = relax.Var("cache", relax.TupleType([store] * (2 * c.layers)))
        weights = self._weights_parameter()
        wide: Tensor = ((tokens, c.query_size), "float32")
        with builder.function(f"tokens_{tokens}", [ids, position, cache, weights]):
            with builder.dataflow():
                self._unpack(weights)
                table = shape.table
                [hidden] = self._call(
                    f"embedding_{tokens}",
                    lambda n: kernels.embedding(n, isa, table, tokens),
                    [ids, *self._stored("embedding", table)],
                    [((tokens, c.hidden_size), "float32")],
                )
                for layer in range(c.layers):
                    keys, values = (builder.emit(relax.TupleGetItem(cache, 2 * layer + i)) for i in range(2))
                    acts = self._norm(f"layers.{layer}.input_norm", hidden, tokens)
                    packed = self._product(matrix_name(layer, "qkv"), shape.matrix(layer, "qkv"), acts, tokens)
                    norms = [self._weights[f"layers.{layer}.{n}"] for n in ("q_norm", "k_norm") if c.qk_norm]
                    rotary = [self._weights["rotary.cos"], self._weights["rotary.sin"]]
                    [query] = self._call(
                        f"rotate_{tokens}",
                        lambda n: kernels.rotate(n, isa, heads, tokens),
                        [packed, position, *rotary, *norms, keys, values],
                        [wide],
                    )
                    [seen] = self._call(
                        f"attend_{tokens}",
                        lambda n: kernels.attend(n, isa, heads, tokens),
                        [query, position, keys, values],
                        [wide],
                    )
                    acts = self._call(
                        f"rounded_{tokens}", lambda n: kernels.rounded(n, isa, tokens, c.query_size), [seen],
                        activation_tensors(isa, tokens, c.query_size),
                    )  # fmt: skip
                    hidden = self._product(matrix_name(layer, "o"), shape.matrix(layer, "o"), acts, tokens, hidden)
                    acts = self._norm(f"layers.{layer}.post_norm", hidden, tokens)
                    both = self._product(matrix_name(layer, "gate_up"), shape.matrix(layer, "gate_up"), acts, tokens)
                    acts = self._call(
                        f"gate_{tokens}", lambda n: kernels.gate(n, isa, tokens, c.intermediate_size), [both],
                        activation_tensors(isa, tokens, c.intermediate_size),
                    )  # fmt: skip
                    down = shape.matrix(layer, "down")
                    hidden = self._product(matrix_name(layer, "down"), down, acts, tokens, hidden)
                out = builder.emit_output(hidden)
            builder.emit_func_output(out)

    def _score(self, rows: int) -> None:
        """logits_M."""
        builder, shape = self.builder, self.shape
        hidden = relax.Var("hidden", relax.TensorType((rows, shape.config.hidden_size), "float32"))
        weights = self._weights_parameter()
        with builder.function(f"logits_{rows}", [hidden, weights]):
            with builder.dataflow():
                self._unpack(weights)
                acts = self._norm("final_norm", hidden, rows)
                logits = self._product(shape.head_name, shape.table, acts, rows)
                out = builder.emit_output(logits)
            builder.emit_func_output(out)


def passes() -> Any:
    """From the program to bytecode: memory is planned, nothing is fused, scheduled or rewritten."""
    t = relax.transform
    return tvm.transform.Sequential(
        [
            t.ToNonDataflow(),
            t.RemovePurityChecking(),
            t.CallTIRRewrite(),
            t.StaticPlanBlockMemory(),
            t.LowerAllocTensor(),
            t.KillAfterLastUse(),
            t.LowerRuntimeBuiltin(),
            t.ComputePrimValue(),
            t.VMShapeLower(),
            t.AttachGlobalSymbol(),
        ]
    )
