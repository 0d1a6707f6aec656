"""The ONNX graph of a Llama-family decoder on ONNX Runtime's fused operators.

One session serves prefill, decode and verification of drafts: the hidden rows named by `logits_index` are
gathered before the head, so prefill pays for one row of logits and verification gets all it asks for.

Inputs
    input_ids [1, n] int64 · seqlens_k [1] int32 (tokens in the cache after this call, minus 1) ·
    total_sequence_length [] int32 (the same, without the minus) · logits_index [m] int64 ·
    past.N.key, past.N.value [1, kv_heads, capacity, head_dim] float32
Outputs
    logits [m, vocab] float32 · present.N.key, present.N.value (bound to the same buffers as past)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.build.graph_builder import ADAPTER_FILE, MICROSOFT, WEIGHTS_FILE, GraphBuilder
from edge.build.quantise import QuantFormat
from edge.build.weights_file import StoredTensor
from edge.specs.decoder import DecoderConfig

if TYPE_CHECKING:
    import onnx_ir as ir
else:
    from edge.build.onnx_library import onnx_ir as ir

__all__ = ["ADAPTER_FILE", "MICROSOFT", "MODEL_FILE", "OPSETS", "WEIGHTS_FILE"]
__all__ += ["ExportPlan", "build_graph", "matrix_name", "save_graph"]

OPSETS = {"": 21, MICROSOFT: 1}
MODEL_FILE = "model.onnx"
IR_VERSION = 10

Formats = Mapping[str, QuantFormat | None]


@dataclass(frozen=True)
class ExportPlan:
    """What every matrix becomes.

    formats: graph matrix name ("layers.0.qkv") -> format, None keeps float32. head_format: of the embedding
    and the head. context_tokens: capacity the rotary tables are made for. accuracy_level: of MatMulNBits; 4
    lets the kernel round activations to int8, 0 keeps them float32.
    """

    formats: dict[str, QuantFormat | None]
    head_format: QuantFormat | None
    context_tokens: int
    accuracy_level: int = 4


def matrix_name(layer: int, matrix: str) -> str:
    """Name of a matrix in the graph and in the weights file."""
    return f"layers.{layer}.{matrix}"


def _value(name: str, dtype: ir.DataType, shape: tuple[int | str, ...]) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))


def build_graph(
    config: DecoderConfig,
    plan: ExportPlan,
    tensors: Mapping[str, StoredTensor],
    adapter: Mapping[str, StoredTensor] | None = None,
) -> ir.Model:
    """The whole decoder. tensors: what the weights file holds; adapter: what that of an unmerged adapter holds."""
    formats, head_format = plan.formats, plan.head_format
    builder = GraphBuilder(tensors, plan.accuracy_level, adapter or {})
    input_ids = _value("input_ids", ir.DataType.INT64, (1, "n"))
    seqlens_k = _value("seqlens_k", ir.DataType.INT32, (1,))
    total = _value("total_sequence_length", ir.DataType.INT32, ())
    logits_index = _value("logits_index", ir.DataType.INT64, ("m",))
    cache_shape = (1, config.kv_heads, "capacity", config.head_dim)
    past = [
        (
            _value(f"past.{i}.key", ir.DataType.FLOAT, cache_shape),
            _value(f"past.{i}.value", ir.DataType.FLOAT, cache_shape),
        )
        for i in range(config.layers)
    ]
    present: list[ir.Value] = []

    hidden = _embed(builder, config, input_ids, head_format)
    delta: ir.Value | None = None
    for layer in range(config.layers):
        prefix = f"layers.{layer}"
        if delta is None:
            normed = builder.norm(f"{prefix}.input_norm", hidden, config.rms_norm_eps)
        else:
            normed, hidden = builder.skip_norm(f"{prefix}.input_norm", hidden, delta, config.rms_norm_eps)
        attended, key, value = _attention(builder, config, layer, normed, formats, past[layer], seqlens_k, total)
        present += [key, value]
        normed, hidden = builder.skip_norm(f"{prefix}.post_norm", hidden, attended, config.rms_norm_eps)
        delta = _feed_forward(builder, config, layer, normed, formats)

    if delta is None:
        raise ValueError("a decoder needs at least one layer")
    # Only the rows that somebody asked for go through the last norm and the head.
    (picked,) = builder.node("Gather", "pick_hidden", [hidden, logits_index], ["picked_hidden"], {"axis": 1})
    (picked_delta,) = builder.node("Gather", "pick_delta", [delta, logits_index], ["picked_delta"], {"axis": 1})
    normed, _ = builder.skip_norm("final_norm", picked, picked_delta, config.rms_norm_eps)
    (flat,) = builder.node(
        "Reshape", "flatten", [normed, builder.constant("flat_shape", [-1, config.hidden_size])], ["flat"]
    )
    head = "embedding" if config.tie_embeddings else "head"
    logits = builder.linear(head, flat, config.vocab_size, config.hidden_size, head_format)
    logits.name = "logits"
    logits.type = ir.TensorType(ir.DataType.FLOAT)
    logits.shape = ir.Shape(("m", config.vocab_size))

    for cache in present:
        cache.type = ir.TensorType(ir.DataType.FLOAT)
        cache.shape = ir.Shape(cache_shape)
    graph = ir.Graph(
        [input_ids, seqlens_k, total, logits_index, *(value for pair in past for value in pair)],
        [logits, *present],
        nodes=builder.nodes,
        initializers=list(builder.initializers.values()),
        opset_imports=OPSETS,
        name="edge-decoder",
    )
    return ir.Model(
        graph,
        ir_version=IR_VERSION,
        producer_name="edge",
        metadata_props={"context_tokens": str(plan.context_tokens)},
    )


def _embed(builder: GraphBuilder, config: DecoderConfig, input_ids: ir.Value, format: QuantFormat | None) -> ir.Value:
    if format is None:
        (hidden,) = builder.node("Gather", "embed", [builder.weight("embedding"), input_ids], ["hidden"], {"axis": 0})
        return hidden
    # The table keeps MatMulNBits' 3-D layout, so a tied head and the look-up share the same bytes; a block is
    # a row of the last axis, hence scales [vocab, blocks, 1].
    (blocks,) = builder.node(
        "GatherBlockQuantized",
        "embed",
        [builder.weight("embedding"), input_ids, builder.weight("embedding.gather_scales")],
        ["hidden_blocks"],
        {"bits": format.bits, "block_size": format.block_size, "gather_axis": 0, "quantize_axis": 2},
        MICROSOFT,
    )
    width = format.blocks(config.hidden_size) * format.block_size
    (hidden,) = builder.node(
        "Reshape",
        "join_blocks",
        [blocks, builder.constant("hidden_shape", [1, -1, width])],
        ["hidden" if width == config.hidden_size else "hidden_padded"],
    )
    if width != config.hidden_size:  # the last block is padded (576 wide in blocks of 128)
        (hidden,) = builder.node(
            "Slice",
            "cut_padding",
            [
                hidden,
                builder.constant("cut_start", [0]),
                builder.constant("cut_stop", [config.hidden_size]),
                builder.constant("cut_axis", [2]),
            ],
            ["hidden"],
        )
    return hidden


def _attention(
    builder: GraphBuilder,
    config: DecoderConfig,
    layer: int,
    normed: ir.Value,
    formats: Formats,
    past: tuple[ir.Value, ir.Value],
    seqlens_k: ir.Value,
    total: ir.Value,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    name = matrix_name(layer, "qkv")
    rows = config.query_size + 2 * config.kv_size
    packed = builder.linear(name, normed, rows, config.hidden_size, formats[name], config.attention_bias)
    query: ir.Value = packed
    key: ir.Value | None = None
    value: ir.Value | None = None
    if config.qk_norm:
        query, key, value = _normed_heads(builder, config, layer, packed)
    sliding = config.sliding_window if config.sliding_window and layer % config.sliding_every == 0 else None
    attended, present_key, present_value = builder.node(
        "GroupQueryAttention",
        f"layers.{layer}.attention",
        [
            query,
            key,
            value,
            past[0],
            past[1],
            seqlens_k,
            total,
            builder.weight("rotary.cos"),
            builder.weight("rotary.sin"),
        ],
        [f"layers.{layer}.attended", f"present.{layer}.key", f"present.{layer}.value"],
        {
            "num_heads": config.heads,
            "kv_num_heads": config.kv_heads,
            "scale": float(config.head_dim) ** -0.5,
            "do_rotary": 1,
            "rotary_interleaved": 0,
            "local_window_size": sliding if sliding is not None else -1,
        },
        MICROSOFT,
    )
    output = matrix_name(layer, "o")
    projected = builder.linear(output, attended, config.hidden_size, config.query_size, formats[output])
    return projected, present_key, present_value


def _normed_heads(
    builder: GraphBuilder, config: DecoderConfig, layer: int, packed: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Qwen3: RMS norm of each head of q and k before the rotary embedding."""
    prefix = f"layers.{layer}"
    parts = builder.node(
        "Split",
        f"{prefix}.split_qkv",
        [packed, builder.constant("qkv_sizes", [config.query_size, config.kv_size, config.kv_size])],
        [f"{prefix}.query", f"{prefix}.key", f"{prefix}.value"],
        {"axis": -1},
    )
    normed = []
    for part, label, size in ((parts[0], "q_norm", config.query_size), (parts[1], "k_norm", config.kv_size)):
        name = f"{prefix}.{label}"
        shape = builder.constant(f"head_shape.{size}", [1, -1, size // config.head_dim, config.head_dim])
        (heads,) = builder.node("Reshape", f"{name}.split", [part, shape], [f"{name}.heads"])
        scaled = builder.norm(name, heads, config.rms_norm_eps)
        normed += builder.node(
            "Reshape",
            f"{name}.join",
            [scaled, builder.constant(f"join_shape.{size}", [1, -1, size])],
            [f"{name}.joined"],
        )
    return normed[0], normed[1], parts[2]


def _feed_forward(
    builder: GraphBuilder, config: DecoderConfig, layer: int, normed: ir.Value, formats: Formats
) -> ir.Value:
    prefix = f"layers.{layer}"
    name = matrix_name(layer, "gate_up")
    width = config.intermediate_size
    both = builder.linear(name, normed, 2 * width, config.hidden_size, formats[name])
    gate, up = builder.node(
        "Split",
        f"{prefix}.split",
        [both, builder.constant("gate_up_sizes", [width, width])],
        [f"{prefix}.gate", f"{prefix}.up"],
        {"axis": -1},
    )
    gate, up = builder.adapted(f"{prefix}.gate", normed, gate), builder.adapted(f"{prefix}.up", normed, up)
    (activated,) = builder.node(
        "QuickGelu", f"{prefix}.silu", [gate], [f"{prefix}.activated"], {"alpha": 1.0}, MICROSOFT
    )
    (product,) = builder.node("Mul", f"{prefix}.gated", [activated, up], [f"{prefix}.product"])
    down = matrix_name(layer, "down")
    return builder.linear(down, product, config.hidden_size, width, formats[down])


def save_graph(model: ir.Model, folder: Path) -> None:
    """Write model.onnx beside its weights file; the weights are referenced, not read."""
    proto = ir.to_proto(model)
    (folder / MODEL_FILE).write_bytes(proto.SerializeToString(deterministic=True))
