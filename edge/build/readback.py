"""What was built, read back from the files of the bundle.

The formats, offsets and codes come from model.onnx and the weights files alone, so golden expectations and the
blame for a lost fidelity speak of the artefact, not of what the exporter believed it wrote. With an unmerged adapter
a matrix is what base and adapter are together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.build import exact
from edge.build.graph import MODEL_FILE, matrix_name
from edge.build.graph_builder import adapted_parts, factor_names
from edge.build.quantise import QuantFormat, QuantisedRows, unpack_nibbles
from edge.build.reference import HEAD_ROWS, MATRICES, LayerWeights
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig

if TYPE_CHECKING:
    import onnx_ir as ir
else:
    from edge.build.onnx_library import onnx_ir as ir


class BuiltModel:
    """Dequantised weights of a built model folder; reads rows with pread."""

    def __init__(self, folder: Path, config: DecoderConfig) -> None:
        self.config = config
        self._model = ir.load(folder / MODEL_FILE)
        self._formats: dict[str, QuantFormat] = {}
        self._tensors: dict[str, ir.ExternalTensor] = {}
        for name, value in self._model.graph.initializers.items():
            if isinstance(value.const_value, ir.ExternalTensor):
                self._tensors[name] = value.const_value
        for node in self._model.graph:
            if node.op_type == "MatMulNBits" and node.name:
                attributes = node.attributes
                self._formats[node.name] = QuantFormat(
                    bits=attributes["bits"].as_int(),
                    block_size=attributes["block_size"].as_int(),
                    symmetric=f"{node.name}.zero_points" not in self._tensors,
                )
        # Location as the graph names it -> open file and its size.
        self._files: dict[str, tuple[int, int]] = {}
        for location in sorted({str(tensor.location) for tensor in self._tensors.values()}):
            descriptor = os.open(folder / location, os.O_RDONLY)
            self._files[location] = descriptor, os.fstat(descriptor).st_size

    def __enter__(self) -> BuiltModel:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for descriptor, _size in self._files.values():
            os.close(descriptor)

    def format(self, name: str) -> QuantFormat | None:
        """Format of a graph matrix; None is float32."""
        return self._formats.get(name)

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[np.generic]:
        """Rows of a stored tensor as it lies in the file."""
        tensor = self._tensors[name]
        shape = [int(size) for size in tensor.shape.numpy()]
        stop = shape[0] if stop is None else min(stop, shape[0])
        dtype = tensor.dtype.numpy()
        row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        size, offset = (stop - start) * row_bytes, int(tensor.offset or 0) + start * row_bytes
        descriptor, file_size = self._files[str(tensor.location)]
        data = os.pread(descriptor, size, offset) if offset + size <= file_size else b""
        if len(data) != size:
            raise SourceError(f"tensor '{name}' is cut short", where=str(tensor.location), mend="build again")
        return np.frombuffer(data, dtype=dtype).reshape([stop - start, *shape[1:]])

    def factors(self, name: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]] | None:
        """(A [rank, columns], B [rows, rank]) as they lie in an unmerged adapter's file; None without one."""
        shared, spread = factor_names(name)
        return (self.rows(shared), self.rows(spread)) if shared in self._tensors else None

    def matrix(self, name: str, cols: int, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Dequantised rows of a graph matrix, with its adapter's change: [rows, cols] float32."""
        values = self._base(name, cols, start, stop)
        first = 0  # of the part's rows in the matrix
        for part in adapted_parts(name):
            factors = self.factors(part)
            if factors is None:
                first += self.config.intermediate_size  # only gate and up are parts of a whole
                continue
            a, b = (np.asarray(factor, dtype=np.float32) for factor in factors)
            low, high = max(first, start), min(first + len(b), start + len(values))
            if low < high:
                # As the merge does it (checkpoint/adapter.py): an exact product, rounded once.
                change = exact.matmul(b[low - first : high - first], np.ascontiguousarray(a.T))
                values[low - start : high - start] = change + values[low - start : high - start]
            first += len(b)
        return values

    def _base(self, name: str, cols: int, start: int, stop: int | None) -> npt.NDArray[np.float32]:
        """The same without an adapter."""
        format = self._formats.get(name)
        stored = self.rows(name, start, stop)
        if format is None:
            return np.array(stored, dtype=np.float32)
        codes = np.asarray(stored, dtype=np.uint8)
        if format.bits == 4:
            codes = unpack_nibbles(codes)
        scales = np.asarray(self.rows(f"{name}.scales", start, stop), dtype=np.float32)
        zero_points = None
        if not format.symmetric:
            packed = np.asarray(self.rows(f"{name}.zero_points", start, stop), dtype=np.uint8)
            zero_points = unpack_nibbles(packed)[:, : scales.shape[1]] if format.bits == 4 else packed
        return QuantisedRows(format, cols, codes, scales, zero_points).dequantised()

    def matrix_of(self, layer: int, matrix: str) -> npt.NDArray[np.float32]:
        """One matrix of MATRICES in a layer."""
        cols = {"o": self.config.query_size, "down": self.config.intermediate_size}
        return self.matrix(matrix_name(layer, matrix), cols.get(matrix, self.config.hidden_size))

    def layer(self, layer: int, source_layer: LayerWeights) -> LayerWeights:
        """`source_layer` with its matrices replaced by the built ones (norms and biases are not rounded)."""
        for matrix in MATRICES:
            source_layer = source_layer.with_matrix(matrix, self.matrix_of(layer, matrix))
        return source_layer

    def head(self) -> Iterator[npt.NDArray[np.float32]]:
        """The output head in row chunks."""
        name = "embedding" if self.config.tie_embeddings else "head"
        for start in range(0, self.config.vocab_size, HEAD_ROWS):
            yield self.matrix(name, self.config.hidden_size, start, start + HEAD_ROWS)

    def embedding_rows(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Embeddings of token ids: [tokens, hidden] float64."""
        unique, inverse = np.unique(ids, return_inverse=True)
        # The look-up's scales are stored once; a tied or untied table has them under the gather's name.
        table = np.stack([self._embedding_row(int(index)) for index in unique])
        rows: npt.NDArray[np.float64] = table[inverse].astype(np.float64)
        return rows

    def _embedding_row(self, index: int) -> npt.NDArray[np.float32]:
        gather = next(node for node in self._model.graph if node.name == "embed")
        if gather.op_type == "Gather":
            row: npt.NDArray[np.float32] = np.asarray(self.rows("embedding", index, index + 1)[0], dtype=np.float32)
            return row
        bits, block = gather.attributes["bits"].as_int(), gather.attributes["block_size"].as_int()
        format = QuantFormat(bits, block, symmetric=True)
        codes = np.asarray(self.rows("embedding", index, index + 1), dtype=np.uint8)
        scales = np.asarray(self.rows("embedding.gather_scales", index, index + 1), dtype=np.float32)[..., 0]
        codes = unpack_nibbles(codes) if bits == 4 else codes
        rounded = QuantisedRows(format, self.config.hidden_size, codes, scales, None)
        return rounded.dequantised().reshape(-1)
