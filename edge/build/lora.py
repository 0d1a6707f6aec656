"""An adapter beside its base: A and B in a file of their own, which the graph applies as W x + B (A x).

The base is then rounded, calibrated and written as if there were no adapter, so its file is the same bytes with any
adapter and with none; another adapter is another small file. q, k and v are one product in the graph: their A stand one
under the other, their B block by block on a diagonal. The scale alpha / rank is in B. The factors lie in the file as
float16, which is what adapters are saved in and finer than the base is stored; beside a float32 base as float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.build.checkpoint.base import expected_tensors
from edge.build.graph import matrix_name
from edge.build.graph_builder import ADAPTER_FILE, adapted_parts, factor_names
from edge.build.readback import BuiltModel
from edge.build.reference import MATRICES, matrix_parts
from edge.build.weights_file import StoredTensor, WeightsFile
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig

Float32 = npt.NDArray[np.float32]
Dtype = np.dtype[np.floating]

# Factors are small and many: at a page each, a twentieth of the file would be padding.
ALIGNMENT_BYTES = 64


class FactorSource(Protocol):
    """The part of a checkpoint with an adapter that is read here."""

    @property
    def config(self) -> DecoderConfig: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def factors(self, name: str) -> tuple[Float32, Float32] | None: ...


@dataclass(frozen=True)
class AdapterShape:
    """What an unmerged adapter adds. values: numbers in its file; file_bytes: of that file; ranks: highest and lowest
    of a checkpoint tensor's factors."""

    values: int
    file_bytes: int
    ranks: tuple[int, int]

    @property
    def rank_text(self) -> str:
        """ "16", or "8 to 16"."""
        low, high = min(self.ranks), max(self.ranks)
        return str(high) if low == high else f"{low} to {high}"


def factor_dtype(scheme: str) -> Dtype:
    """How factors are stored beside a base of a profile's `quantisation.scheme`."""
    return np.dtype(np.float32 if scheme == "none" else np.float16)


def adapted_matrices(config: DecoderConfig) -> dict[str, tuple[str, ...]]:
    """Every name under which the graph looks for factors, with the checkpoint tensors under it."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in range(config.layers):
        for matrix in MATRICES:
            names, tensors = adapted_parts(matrix_name(layer, matrix)), matrix_parts(layer, matrix)
            found |= {names[0]: tensors} if len(names) == 1 else {n: (t,) for n, t in zip(names, tensors, strict=True)}
    return found if config.tie_embeddings else found | {"head": ("lm_head.weight",)}


def adapter_shape(config: DecoderConfig, shapes: Mapping[str, tuple[int, int, int]], dtype: Dtype) -> AdapterShape:
    """From {checkpoint tensor: (rank, rows, columns)}, before anything is written. There must be at least one."""
    expected = dict(expected_tensors(config))
    values = file_bytes = 0
    for parts in adapted_matrices(config).values():
        present = [shapes[part] for part in parts if part in shapes]
        if not present:
            continue
        rank = sum(shape[0] for shape in present)
        rows = sum(expected[part][0] for part in parts)
        for count in (rank * present[0][2], rows * rank):
            file_bytes += -file_bytes % ALIGNMENT_BYTES + count * dtype.itemsize
            values += count
    ranks = [shape[0] for shape in shapes.values()]
    return AdapterShape(values, file_bytes, (min(ranks), max(ranks)))


def joined_factors(source: FactorSource, parts: Sequence[str]) -> tuple[Float32, Float32] | None:
    """(A [ranks, columns], B [rows, ranks]) of tensors stacked by rows; None if none is adapted.

    B A is the tensors' own changes under each other: where one has no factors, its rows of B are zero.
    """
    factors = [source.factors(part) for part in parts]
    above = [pair[0] for pair in factors if pair is not None]
    if not above:
        return None
    spread = np.zeros((sum(source.shape(part)[0] for part in parts), sum(len(a) for a in above)), np.float32)
    row = rank = 0
    for part, pair in zip(parts, factors, strict=True):
        rows = source.shape(part)[0]
        if pair is not None:
            width = len(pair[0])
            spread[row : row + rows, rank : rank + width] = pair[1]
            rank += width
        row += rows
    return np.concatenate(above), spread


def write_adapter(source: FactorSource, dtype: Dtype, folder: Path) -> Mapping[str, StoredTensor]:
    """Write adapter.weights into `folder`; returns where each factor lies.

    Errors: SourceError for a value that the dtype cannot hold, ResourceError for a full disk.
    """
    with WeightsFile(folder / ADAPTER_FILE, alignment_bytes=ALIGNMENT_BYTES) as file:
        for name, parts in adapted_matrices(source.config).items():
            for label, factor in zip(factor_names(name), joined_factors(source, parts) or (), strict=False):
                file.append(label, _narrowed(name, factor, dtype))
        return file.tensors


def _narrowed(name: str, factor: Float32, dtype: Dtype) -> npt.NDArray[np.floating]:
    with np.errstate(over="ignore"):
        narrow = factor.astype(dtype)
    if not np.isfinite(narrow).all():
        raise SourceError(
            f"the adapter of matrix '{name}' has a value beyond {dtype}", where=ADAPTER_FILE, mend="write merged: true"
        )
    return narrow


def check_adapter(source: FactorSource, built: BuiltModel, dtype: Dtype) -> int:
    """Read every factor back from its file and compare it, bit by bit, with the adapter's own; returns how many.

    Errors: SourceError names the matrix.
    """
    count = 0
    for name, parts in adapted_matrices(source.config).items():
        wanted, found = joined_factors(source, parts) or (), built.factors(name) or ()
        if not _equal((_narrowed(name, factor, dtype) for factor in wanted), found):
            raise SourceError(
                f"the adapter of matrix '{name}' does not read back as it was written",
                where=ADAPTER_FILE,
                mend="build again",
            )
        count += len(found)
    return count


def _equal(wanted: Iterable[npt.NDArray[np.generic]], found: Sequence[npt.NDArray[np.generic]]) -> bool:
    pairs = list(wanted)
    return len(pairs) == len(found) and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) for a, b in zip(pairs, found, strict=True)
    )
