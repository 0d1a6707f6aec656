"""The pieces a decoder's graph is put together from: nodes with fixed names, weights that lie in files beside it.

A matrix with an unmerged adapter is computed as W x + B (A x): two narrow products and a sum more. The factors are
float32 at run time, whatever the base is: onnxruntime's 8-bit kernels read less, yet at a rank of 16 they are no faster
at one token and two to four times as slow at a prompt. Factors that lie in the file as float16 are widened once, when
the session is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge.build.quantise import QuantFormat
from edge.build.weights_file import StoredTensor

if TYPE_CHECKING:
    import onnx_ir as ir
else:
    from edge.build.onnx_library import onnx_ir as ir

MICROSOFT = "com.microsoft"
WEIGHTS_FILE = "model.weights"
ADAPTER_FILE = "adapter.weights"


def factor_names(name: str) -> tuple[str, str]:
    """Names of a matrix's A and B in the graph and in the adapter's file."""
    return f"{name}.lora_a", f"{name}.lora_b"


def adapted_parts(name: str) -> tuple[str, ...]:
    """The parts of a graph matrix that an adapter changes each for itself, in the order of their rows.

    gate and up: the graph splits them anyhow, so neither's B has to step over the other's rows. q, k and v stay
    together, which is two nodes instead of six and a split.
    """
    prefix, _, matrix = name.rpartition(".")
    return (f"{prefix}.gate", f"{prefix}.up") if matrix == "gate_up" else (name,)


class GraphBuilder:
    """Collects nodes and initializers; every name is fixed, so the file is the same bytes each time."""

    def __init__(
        self,
        tensors: Mapping[str, StoredTensor],
        accuracy_level: int,
        adapter: Mapping[str, StoredTensor],
    ) -> None:
        self.tensors, self.adapter = tensors, adapter
        self.accuracy_level = accuracy_level
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}

    def weight(self, name: str) -> ir.Value:
        """The initializer that lies in the weights file, or in the adapter's, under `name`."""
        if name not in self.initializers:
            stored = self.adapter.get(name) or self.tensors[name]
            tensor = ir.ExternalTensor(
                location=ADAPTER_FILE if name in self.adapter else WEIGHTS_FILE,
                offset=stored.offset_bytes,
                length=stored.size_bytes,
                dtype=ir.DataType.from_numpy(stored.dtype),
                shape=ir.Shape(stored.shape),
                name=name,
            )
            self.initializers[name] = ir.Value(
                name=name,
                const_value=tensor,
                shape=ir.Shape(stored.shape),
                type=ir.TensorType(ir.DataType.from_numpy(stored.dtype)),
            )
        return self.initializers[name]

    def constant(self, name: str, values: list[int]) -> ir.Value:
        """A small int64 initializer inside the graph file."""
        if name not in self.initializers:
            tensor = ir.tensor(values, dtype=ir.DataType.INT64, name=name)
            self.initializers[name] = ir.Value(
                name=name,
                const_value=tensor,
                shape=ir.Shape([len(values)]),
                type=ir.TensorType(ir.DataType.INT64),
            )
        return self.initializers[name]

    def node(
        self,
        op: str,
        name: str,
        inputs: list[ir.Value | None],
        outputs: list[str],
        attributes: Mapping[str, int | float | str] | None = None,
        domain: str = "",
    ) -> list[ir.Value]:
        """Append a node; an empty output name is an output that nobody reads."""
        attrs = [ir.convenience.convert_attribute(key, value) for key, value in (attributes or {}).items()]
        node = ir.Node(domain, op, inputs, attributes=attrs, num_outputs=len(outputs), name=name)
        for value, output in zip(node.outputs, outputs, strict=True):
            value.name = output
        self.nodes.append(node)
        return list(node.outputs)

    def linear(
        self,
        name: str,
        inputs: ir.Value,
        rows: int,
        cols: int,
        format: QuantFormat | None,
        bias: bool = False,
    ) -> ir.Value:
        """inputs [..., cols] @ weight [rows, cols] transposed, with the bias, and with what an adapter adds to it."""
        output = self.product(name, inputs, rows, cols, format)
        if bias:
            (output,) = self.node("Add", f"{name}.add_bias", [output, self.weight(f"{name}.bias")], [f"{name}.biased"])
        return self.adapted(name, inputs, output)

    def adapted(self, name: str, inputs: ir.Value, output: ir.Value) -> ir.Value:
        """`output` with B A `inputs` added, where an unmerged adapter changes `name`."""
        shared, spread = factor_names(name)
        if shared not in self.adapter:
            return output
        change = self._float_product(spread, self._float_product(shared, inputs))
        (total,) = self.node("Add", f"{name}.add_adapter", [output, change], [f"{name}.adapted"])
        return total

    def _float_product(self, name: str, inputs: ir.Value) -> ir.Value:
        weight = self.weight(name)
        if weight.dtype == ir.DataType.FLOAT16:
            to = {"to": int(ir.DataType.FLOAT)}
            (weight,) = self.node("Cast", f"{name}.widen", [weight], [f"{name}.wide"], to)
        attributes: Mapping[str, int | float] = {"transA": 0, "transB": 1, "alpha": 1.0}
        (output,) = self.node("FusedMatMul", name, [inputs, weight], [f"{name}.out"], attributes, MICROSOFT)
        return output

    def product(self, name: str, inputs: ir.Value, rows: int, cols: int, format: QuantFormat | None) -> ir.Value:
        """inputs [..., cols] @ the stored matrix `name` [rows, cols] transposed."""
        if format is None:
            return self._float_product(name, inputs)
        operands: list[ir.Value | None] = [inputs, self.weight(name), self.weight(f"{name}.scales")]
        if not format.symmetric:
            operands.append(self.weight(f"{name}.zero_points"))
        (output,) = self.node(
            "MatMulNBits",
            name,
            operands,
            [f"{name}.out"],
            {
                "K": cols,
                "N": rows,
                "bits": format.bits,
                "block_size": format.block_size,
                "accuracy_level": self.accuracy_level,
            },
            MICROSOFT,
        )
        return output

    def skip_norm(self, name: str, hidden: ir.Value, delta: ir.Value, epsilon: float) -> tuple[ir.Value, ir.Value]:
        """(norm(hidden + delta), hidden + delta)."""
        outputs = self.node(
            "SkipSimplifiedLayerNormalization",
            name,
            [hidden, delta, self.weight(name)],
            [f"{name}.normed", "", "", f"{name}.sum"],
            {"epsilon": epsilon},
            MICROSOFT,
        )
        return outputs[0], outputs[3]

    def norm(self, name: str, inputs: ir.Value, epsilon: float, output: str = "") -> ir.Value:
        """RMS norm over the last axis."""
        (normed,) = self.node(
            "SimplifiedLayerNormalization",
            output or name,
            [inputs, self.weight(name)],
            [f"{output or name}.normed"],
            {"epsilon": epsilon, "axis": -1, "stash_type": 1},
        )
        return normed
