"""A decoder in the shape of optimum's graphs, made by hand: engine and rounding are tested without torch.

Hidden states are the token's row plus the sum of all earlier rows (kept as keys and values), so every answer depends
on the whole past, on its order through the positions, and on nothing later.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

VOCAB, HIDDEN, HEADS, POSITIONS = 96, 64, 2, 40

Float32 = npt.NDArray[np.float32]


def toy_weights() -> dict[str, Float32]:
    """table [vocab, hidden], positions [positions, hidden], inner [hidden, hidden], bias [hidden]."""
    rng = np.random.default_rng(4)
    shapes = {"table": (VOCAB, HIDDEN), "positions": (POSITIONS, HIDDEN), "inner": (HIDDEN, HIDDEN), "bias": (HIDDEN,)}
    return {name: (0.3 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def toy_logits(ids: list[int]) -> Float32:
    """What the toy answers: [n, vocab]."""
    weights = toy_weights()
    rows = weights["table"][ids] + weights["positions"][: len(ids)]
    hidden = np.cumsum(rows, axis=0) @ weights["inner"] + weights["bias"]
    result: Float32 = (hidden @ weights["table"].T).astype(np.float32)
    return result


def toy_model(*, extra_input: str = "", positions: bool = True) -> ir.Model:
    """The graph, with traces of a host in it as torch leaves them."""
    head_dim = HIDDEN // HEADS
    initializers: dict[str, ir.Value] = {}

    def constant(name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        initializers[name] = value
        return value

    def feed(name: str, dtype: ir.DataType, shape: tuple[int | str, ...]) -> ir.Value:
        return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))

    nodes: list[ir.Node] = []

    def node(op: str, *inputs: ir.Value, out: str, **attributes: int) -> ir.Value:
        made = ir.node(op, list(inputs), attributes, name=f"node_{out}", doc_string="/home/somebody/export.py:12")
        made.metadata_props["pkg.torch.onnx.stack_trace"] = "/home/somebody/export.py"
        made.outputs[0].name = out
        nodes.append(made)
        return made.outputs[0]

    weights = toy_weights()
    tables = {name: constant(name, array) for name, array in weights.items()}
    ids = feed("input_ids", ir.DataType.INT64, ("batch_size", "sequence_length"))
    mask = feed("attention_mask", ir.DataType.INT64, ("batch_size", "total"))
    place = feed("position_ids", ir.DataType.INT64, ("batch_size", "sequence_length"))
    cache = ("batch_size", HEADS, "past", head_dim)
    past = [feed(f"past_key_values.0.{kind}", ir.DataType.FLOAT, cache) for kind in ("key", "value")]
    rows = node("Gather", tables["table"], ids, out="rows", axis=0)
    if positions:
        rows = node("Add", rows, node("Gather", tables["positions"], place, out="places", axis=0), out="placed")
    split = node("Reshape", rows, constant("heads", np.array([0, 0, HEADS, head_dim])), out="split")
    heads = node("Transpose", split, out="headed")
    nodes[-1].attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 1, 3])
    key = node("Concat", past[0], heads, out="present.0.key", axis=2)
    value = node("Concat", past[1], heads, out="present.0.value", axis=2)
    summed = node("CumSum", value, constant("axis", np.array(2)), out="summed")
    count = node("Neg", node("Shape", ids, out="length", start=1), out="minus")
    newest = node(
        "Slice", summed, count, constant("end", np.array([2**31])), constant("second", np.array([2])), out="newest"
    )
    back = node("Transpose", newest, out="back")
    nodes[-1].attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 1, 3])
    flat = node("Reshape", back, constant("flat", np.array([-1, HIDDEN])), out="flat_rows")
    inner = node("Gemm", node("Identity", flat, out="same"), tables["inner"], tables["bias"], out="inner_rows")
    shaped = node("Reshape", inner, node("Shape", rows, out="shape"), out="shaped")
    head = constant("onnx::MatMul_9", np.ascontiguousarray(weights["table"].T))
    logits = node("MatMul", shaped, head, out="logits")
    logits.type, logits.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(("batch_size", "sequence_length", VOCAB))
    for present in (key, value):
        present.type, present.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(("batch_size", HEADS, "all", head_dim))
    inputs = [ids, mask, *([place] if positions else []), *past]
    if extra_input:
        inputs.append(feed(extra_input, ir.DataType.INT64, ("batch_size",)))
    graph = ir.Graph(
        inputs,
        [logits, key, value],
        nodes=nodes,
        initializers=list(initializers.values()),
        opset_imports={"": 18},
        name="main_graph",
        doc_string="exported at 12:30",
    )
    return ir.Model(graph, ir_version=8, producer_name="pytorch", producer_version="2.13.0")


def write_toy(folder: Path, **options: bool | str) -> Path:
    """model.onnx with all weights inside, as optimum leaves it; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    ir.save(toy_model(**options), path)  # type: ignore[arg-type]
    return path
