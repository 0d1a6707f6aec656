"""Optimum's graph made fit for a bundle: no trace of the host in it, one weights file, int8 by edge's own rounding.

Rounding is quantise.py's, as in the native route: the same codes on every host, and activations rounded row by row
in the kernel. onnxruntime's dynamic quantisation was measured and left out: on SmolLM2-135M it loses KL .55 against
.005 (top token 52 % against 93 %), and because it takes one scale for all rows of a call, the answer would depend on
how the prompt is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.build.graph import MICROSOFT, MODEL_FILE, WEIGHTS_FILE
from edge.build.quantise import QuantFormat, quantise_rtn
from edge.build.weights_file import WeightsFile
from edge.errors import SourceError

if TYPE_CHECKING:
    import onnx_ir as ir
else:
    from edge.build.onnx_library import onnx_ir as ir

INLINE_BYTES = 1024  # smaller tensors stay in model.onnx: axes, shapes, small biases
ROUND_VALUES = 4 << 20  # rounded at once


def load_graph(path: Path) -> ir.Model:
    """Read optimum's model and drop what depends on the host or is not used. Errors: SourceError."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass, IdentityEliminationPass, RemoveUnusedNodesPass

    try:
        model = ir.load(path)
    except Exception as error:  # protobuf's own errors
        raise _unreadable(path) from error
    if not len(model.graph):
        raise _unreadable(path)
    model = ClearMetadataAndDocStringPass()(model).model
    model = IdentityEliminationPass()(model).model
    model = RemoveUnusedNodesPass()(model).model
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    model.producer_name, model.producer_version, model.doc_string = "edge", None, None
    model.graph.name = "edge-optimum"
    return model


def _unreadable(path: Path) -> SourceError:
    return SourceError("the exported graph cannot be read", where=path.name, mend="run the build again")


def save_model(model: ir.Model, folder: Path, properties: Mapping[str, str]) -> None:
    """Write model.onnx and model.weights into `folder`; the model's tensors lie in that file afterwards."""
    model.metadata_props.clear()
    model.metadata_props.update(sorted(properties.items()))
    with WeightsFile(folder / WEIGHTS_FILE) as file:
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < INLINE_BYTES:
                continue
            stored = file.append(name, tensor.numpy())
            value.const_value = ir.ExternalTensor(
                location=WEIGHTS_FILE,
                offset=stored.offset_bytes,
                length=stored.size_bytes,
                dtype=tensor.dtype,
                shape=ir.Shape(stored.shape),
                name=name,
                base_dir=folder,
            )
    (folder / MODEL_FILE).write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def quantise_matrices(model: ir.Model, format: QuantFormat, accuracy_level: int, vocab_size: int) -> int:
    """Replace products with constant matrices by MatMulNBits, and the look-up of tokens by the same rounding.

    Returns how many products were replaced. The token table is rounded where its width is whole blocks; where the
    head is its transpose, both share the bytes.
    """
    rounded = _Rounded(model, format)
    replaced = 0
    for node in list(model.graph):
        if node.op_type in ("MatMul", "Gemm") and _replace_product(model, node, rounded, accuracy_level):
            replaced += 1
    for node in list(model.graph):
        if node.op_type == "Gather":
            _replace_lookup(model, node, rounded, vocab_size)
    model.graph.opset_imports[MICROSOFT] = 1
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]
    return replaced


class _Rounded:
    """Rounded matrices of one graph; the same rows are stored once, whoever reads them."""

    def __init__(self, model: ir.Model, format: QuantFormat) -> None:
        self.graph, self.format = model.graph, format
        self._made: dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]] = {}

    def label(self, name: str, rows: npt.NDArray[np.float32]) -> str:
        """Round `rows` [n, cols]; the initializers are LABEL.codes [n, blocks, bytes] and LABEL.scales [n, blocks]."""
        step = max(1, ROUND_VALUES // rows.shape[1])
        pieces = [quantise_rtn(rows[start : start + step], self.format) for start in range(0, len(rows), step)]
        codes = np.concatenate([piece.packed_codes() for piece in pieces])
        scales = np.concatenate([piece.scales for piece in pieces])
        for known, (other_codes, other_scales) in self._made.items():
            if np.array_equal(scales, other_scales) and np.array_equal(codes, other_codes):
                return known
        self._made[name] = (codes, scales)
        self.initializer(f"{name}.codes", codes)
        self.initializer(f"{name}.scales", scales)
        # A look-up's block is a row of the last axis (see graph.py); dropped again where nothing looks up.
        self.initializer(f"{name}.lookup_scales", scales[..., None])
        return name

    def initializer(self, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        """A new initializer, or the one of that name."""
        if name not in self.graph.initializers:
            tensor = ir.tensor(array, name=name)
            self.graph.initializers[name] = ir.Value(
                name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype)
            )
        return self.graph.initializers[name]

    def __getitem__(self, name: str) -> ir.Value:
        return self.graph.initializers[name]


def _constant(value: ir.Value | None, rank: int) -> npt.NDArray[np.float32] | None:
    """The float32 content of an initializer of that rank."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    tensor = value.const_value
    if tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != rank:
        return None
    return np.asarray(tensor.numpy(), dtype=np.float32)


def _number(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.value)


def _replace_product(model: ir.Model, node: ir.Node, rounded: _Rounded, accuracy_level: int) -> bool:
    matrix = _constant(node.inputs[1], 2)
    if matrix is None or matrix.shape[0] < rounded.format.block_size:
        return False
    bias: ir.Value | None = None
    if node.op_type == "Gemm":
        plain = _number(node, "alpha", 1.0) == 1.0 and _number(node, "transA", 0) == 0
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if not plain or (bias is not None and _number(node, "beta", 1.0) != 1.0):
            return False
        if _number(node, "transB", 0):
            matrix = matrix.T
    source = node.inputs[1]
    cols, rows = matrix.shape
    label = rounded.label(str(source.name if source is not None else node.name), np.ascontiguousarray(matrix.T))
    attributes = {
        "K": cols,
        "N": rows,
        "bits": rounded.format.bits,
        "block_size": rounded.format.block_size,
        "accuracy_level": accuracy_level,
    }
    operands = [node.inputs[0], rounded[f"{label}.codes"], rounded[f"{label}.scales"]]
    product = ir.node("MatMulNBits", operands, attributes, domain=MICROSOFT, name=node.name)
    new = [product] if bias is None else [product, ir.node("Add", [product.outputs[0], bias], name=f"{node.name}.bias")]
    if bias is not None:
        product.outputs[0].name = f"{node.outputs[0].name}.product"
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], new, node.outputs, new[-1].outputs)
    return True


def _replace_lookup(model: ir.Model, node: ir.Node, rounded: _Rounded, vocab_size: int) -> None:
    table = _constant(node.inputs[0], 2)
    source, index = node.inputs[0], node.inputs[1]
    if table is None or source is None or index is None or _number(node, "axis", 0) != 0:
        return
    if table.shape[0] != vocab_size or table.shape[1] % rounded.format.block_size:
        return
    label = rounded.label(str(source.name), table)
    operands = [rounded[f"{label}.codes"], index, rounded[f"{label}.lookup_scales"]]
    attributes = {
        "bits": rounded.format.bits,
        "block_size": rounded.format.block_size,
        "gather_axis": 0,
        "quantize_axis": 2,
    }
    blocks = ir.node("GatherBlockQuantized", operands, attributes, domain=MICROSOFT, name=node.name)
    blocks.outputs[0].name = f"{node.outputs[0].name}.blocks"
    shape = rounded.initializer("lookup_shape", np.array([0, 0, table.shape[1]], dtype=np.int64))
    joined = ir.node("Reshape", [blocks.outputs[0], shape], name=f"{node.name}.join")
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], [blocks, joined], node.outputs, joined.outputs)
