"""Codes, scales and layouts: against a slow plain implementation and against the kernels that read them."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.build.graph import MICROSOFT, OPSETS
from edge.build.quantise import (
    QuantFormat,
    QuantisedRows,
    encode,
    ordered_sum,
    pack_nibbles,
    quantise_rtn,
    searched_parameters,
    unpack_nibbles,
)

FORMATS = st.builds(QuantFormat, st.sampled_from((4, 8)), st.sampled_from((32, 64, 128)), st.booleans())
WEIGHTS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 150)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 40).map(lambda n: 2 * n))


@given(hnp.arrays(np.uint8, PAIRS, elements={"max_value": 15}))
def test_packing_loses_nothing(codes: np.ndarray) -> None:
    """A swapped nibble swaps two neighbouring weights all over the model."""
    packed = pack_nibbles(codes)
    assert packed.shape == (codes.shape[0], codes.shape[1] // 2)
    assert packed[0, 0] == codes[0, 0] + 16 * codes[0, 1]
    assert np.array_equal(unpack_nibbles(packed), codes)


@given(WEIGHTS, FORMATS)
def test_rounding_errs_by_half_a_step_inside_the_range(weights: np.ndarray, format: QuantFormat) -> None:
    """Round to nearest must be nearest; only what symmetric 4-bit cannot reach may be clipped, by one step."""
    rounded = quantise_rtn(weights, format)
    scales = np.repeat(np.abs(rounded.scales), format.block_size, axis=1)[:, : weights.shape[1]].astype(np.float64)
    error = np.abs(rounded.dequantised().astype(np.float64) - weights)
    zero = format.middle if rounded.zero_points is None else rounded.zero_points.astype(np.int64)[:, :, None]
    ends = np.stack([(edge - zero) * rounded.scales[:, :, None].astype(np.float64) for edge in (0, format.levels - 1)])
    ends = np.broadcast_to(ends, (2, *rounded.codes.shape)).reshape(2, weights.shape[0], -1)[:, :, : weights.shape[1]]
    inside = (weights >= ends.min(axis=0)) & (weights <= ends.max(axis=0))
    slack = 1e-5 * np.abs(weights) + 1e-37
    assert (error[inside] <= (scales / 2 + slack)[inside]).all()
    # An asymmetric zero point is rounded too, so its range may sit half a step aside.
    assert (error <= scales + slack).all()


@given(WEIGHTS, FORMATS)
def test_rounding_against_a_plain_implementation(weights: np.ndarray, format: QuantFormat) -> None:
    """The vectorised rounding must be the textbook's, code by code."""
    rounded = quantise_rtn(weights, format)
    top = format.levels - 1
    for row in range(weights.shape[0]):
        for block in range(format.blocks(weights.shape[1])):
            part = [float(v) for v in weights[row, block * format.block_size : (block + 1) * format.block_size]]
            padded = part + [0.0] * (format.block_size - len(part))
            low, high, zero = min(padded), max(padded), format.middle
            if not format.symmetric:
                low, high = min(low, 0.0), max(high, 0.0)
                scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(top)) or np.float32(1)
                zero = min(max(round(float(np.float32(-low) / scale)), 0), top)
            elif format.bits == 4:
                scale = np.float32((low if -low > high else high) / -8.0) or np.float32(1)
            else:
                scale = np.float32(max(-low, high) / np.float32(127)) or np.float32(1)
            codes = [min(max(round(float(np.float32(v) / scale)) + zero, 0), top) for v in padded]
            assert rounded.scales[row, block] == scale
            assert rounded.codes[row, block].tolist() == codes
            if rounded.zero_points is not None:
                assert rounded.zero_points[row, block] == zero


def test_an_empty_or_constant_block_survives() -> None:
    """A block of zeros has no range: dividing by it would write not-a-number into the bundle."""
    for format in (QuantFormat(bits, 32, symmetric) for bits in (4, 8) for symmetric in (True, False)):
        weights = np.zeros((3, 32), dtype=np.float32)
        weights[1], weights[2] = 2.5, -2.5
        values = quantise_rtn(weights, format).dequantised()
        assert values == pytest.approx(weights, rel=1e-6), format


def test_a_nonfinite_scale_is_never_written() -> None:
    """float32's largest and smallest weights must not overflow into infinite or zero scales."""
    for value in (3.4e38, 1e-45, -1e-45, -3.4e38):
        rounded = quantise_rtn(np.full((1, 32), value, dtype=np.float32), QuantFormat(4, 32, True))
        assert np.isfinite(rounded.scales).all()
        assert (rounded.scales != 0).all()
        assert np.isfinite(rounded.dequantised()).all()


@given(st.integers(1, 300), FORMATS, st.integers(1, 3))
def test_bytes_per_row_are_what_is_stored(cols: int, format: QuantFormat, rows: int) -> None:
    """`edge plan` promises sizes by this number."""
    rounded = quantise_rtn(np.ones((rows, cols), dtype=np.float32), format)
    packed = rounded.packed_zero_points()
    stored = rounded.packed_codes().nbytes + rounded.scales.nbytes + (0 if packed is None else packed.nbytes)
    assert stored == rows * format.bytes_per_row(cols)


def test_rows_round_alone() -> None:
    """The exporter rounds in row chunks: a chunk's edge must not show in the codes."""
    weights = np.random.default_rng(0).standard_normal((7, 70)).astype(np.float32)
    format = QuantFormat(4, 32, False)
    whole = quantise_rtn(weights, format)
    parts = [quantise_rtn(weights[start : start + 3], format) for start in range(0, 7, 3)]
    assert np.array_equal(np.concatenate([part.codes for part in parts]), whole.codes)
    assert np.array_equal(np.concatenate([part.scales for part in parts]), whole.scales)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_searched_scale_is_never_worse_than_plain(seed: int, symmetric: bool) -> None:
    """The search includes the plain scale: a worse result means its loss is computed wrongly."""
    rng = np.random.default_rng(seed)
    format = QuantFormat(4, 32, symmetric)
    block = (rng.standard_normal((5, 32)) * rng.choice([1, 8], (5, 32), p=[0.95, 0.05])).astype(np.float32)
    importance = rng.random(32) ** 4
    scales, zeros = searched_parameters(block.astype(np.float64), importance, format)
    chosen = encode(block[:, None], scales[:, None].astype(np.float32), zeros[:, None].astype(np.uint8), format)
    searched = QuantisedRows(format, 32, chosen, scales[:, None].astype(np.float32), zeros[:, None].astype(np.uint8))
    plain = quantise_rtn(block, format)

    def loss(rounded: QuantisedRows) -> np.ndarray:
        return ((rounded.dequantised().astype(np.float64) - block) ** 2 * importance).sum(axis=1)

    assert (loss(searched) <= loss(plain) * (1 + 1e-5) + 1e-9).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70))
def test_ordered_sum_is_a_sum(values: list[float]) -> None:
    """The loss that picks a scale."""
    assert ordered_sum(np.array([values]))[0] == pytest.approx(math.fsum(values), rel=1e-9, abs=1e-6)


# ---- the kernels that will read it ----------------------------------------------------------------------


def run_node(
    op: str, inputs: list[tuple[str, np.ndarray]], feed: dict[str, np.ndarray], **attributes: int
) -> np.ndarray:
    """One com.microsoft node in a real session: those of its inputs that are not fed become initializers."""
    values = []
    initializers = []
    graph_inputs = []
    for name, array in inputs:
        value = ir.Value(
            name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.from_numpy(array.dtype))
        )
        if name in feed:
            graph_inputs.append(value)
        else:
            value.const_value = ir.tensor(np.ascontiguousarray(array), name=name)
            initializers.append(value)
        values.append(value)
    attrs = [ir.convenience.convert_attribute(key, number) for key, number in attributes.items()]
    node = ir.Node(MICROSOFT, op, values, attributes=attrs, num_outputs=1)
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        graph_inputs, node.outputs, nodes=[node], initializers=initializers, opset_imports=OPSETS, name="one"
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, feed)
    return np.asarray(result)


def tensors(rounded: QuantisedRows) -> list[tuple[str, np.ndarray]]:
    packed = rounded.packed_zero_points()
    stored = [("w", rounded.packed_codes()), ("scales", rounded.scales)]
    return stored if packed is None else [*stored, ("zero_points", packed)]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block_size", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8])
def test_matmul_kernel_reads_the_layout(bits: int, block_size: int, symmetric: bool) -> None:
    """The packed bytes must mean the same to MatMulNBits as to us, also in a last block that is cut short."""
    rng = np.random.default_rng(bits + block_size)
    format = QuantFormat(bits, block_size, symmetric)
    for cols in (2 * block_size, 2 * block_size + block_size // 2, block_size + 3, 7):
        # Off centre, so that zero points matter.
        rounded = quantise_rtn(rng.standard_normal((6, cols)).astype(np.float32) + 0.5, format)
        for rows in (1, 5):
            x = rng.standard_normal((rows, cols)).astype(np.float32)
            got = run_node(
                "MatMulNBits",
                [("x", x), *tensors(rounded)],
                {"x": x},
                K=cols,
                N=6,
                bits=bits,
                block_size=block_size,
                accuracy_level=0,
            )
            assert got == pytest.approx(x.astype(np.float64) @ rounded.dequantised().T, abs=2e-4), (cols, rows)


@pytest.mark.parametrize("block_size", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8])
def test_lookup_kernel_reads_the_layout(bits: int, block_size: int) -> None:
    """The embedding shares the head's bytes: the look-up must decode them to the very same values."""
    weights = np.random.default_rng(bits).standard_normal((9, block_size * 2 + 5)).astype(np.float32)
    rounded = quantise_rtn(weights, QuantFormat(bits, block_size, True))
    ids = np.array([[8, 0, 3, 3]], dtype=np.int64)
    got = run_node(
        "GatherBlockQuantized",
        [("w", rounded.packed_codes()), ("ids", ids), ("scales", rounded.scales[..., None])],
        {"ids": ids},
        bits=bits,
        block_size=block_size,
        gather_axis=0,
        quantize_axis=2,
    )
    assert got.reshape(4, -1)[:, : weights.shape[1]].tobytes() == rounded.dequantised()[ids[0]].tobytes()
