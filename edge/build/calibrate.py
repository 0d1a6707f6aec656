"""Calibrated rounding of a whole model, layer by layer, and what each layer's rounding costs.

One pass of the source model over clinical text gives the inputs of every matrix, and with them the Hessian that
GPTQ needs; each matrix is rounded at once in every candidate format. Only one layer is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.build.gptq import Hessian, inverse_factor, quantise_with_factor
from edge.build.graph import matrix_name
from edge.build.quantise import QuantFormat, QuantisedRows, quantise_rtn
from edge.build.reference import MATRICES, WORKERS, LayerWeights, Reference, WeightSource, read_layer
from edge.build.sensitivity import SensitivityProbe

Float64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

# Changes when the rounding's result may change: cached roundings of another version are not reused.
ROUNDING_VERSION = 4


@dataclass(frozen=True)
class LayerCost:
    """One layer. logit_error: see sensitivity.py, with this layer alone at low bits.

    low_bytes, high_bytes: the layer's matrices as stored in either format.
    """

    layer: int
    logit_error: float
    low_bytes: int
    high_bytes: int


class RoundedStore:
    """Rounded matrices on disk, one .npz each, so that memory does not grow with the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, format: QuantFormat) -> Path:
        kind = "s" if format.symmetric else "a"
        return self.folder / f"{name}.{format.bits}.{format.block_size}{kind}.npz"

    def save(self, name: str, rounded: QuantisedRows) -> None:
        arrays = {"codes": rounded.codes, "scales": rounded.scales, "cols": np.array(rounded.cols)}
        if rounded.zero_points is not None:
            arrays["zero_points"] = rounded.zero_points
        with self.path(name, rounded.format).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub types allow_pickle only

    def load(self, name: str, format: QuantFormat) -> QuantisedRows:
        with np.load(self.path(name, format)) as arrays:
            zero_points = arrays.get("zero_points")
            return QuantisedRows(format, int(arrays["cols"]), arrays["codes"], arrays["scales"], zero_points)


def calibrate(
    source: WeightSource,
    sequences: Sequence[Sequence[int]],
    formats: Sequence[QuantFormat],
    store: RoundedStore,
    *,
    gptq: bool,
    progress: Progress | None = None,
) -> list[LayerCost]:
    """Round every matrix of every layer in every format into `store`; the first format is the low one.

    gptq: for formats of 4 bits (8-bit rounding loses nothing that it could regain); else round-to-nearest.
    Returns the sensitivities when there are two formats to choose from, else nothing.
    """
    reference = Reference(source, sequences)
    hidden = reference.embed()
    probe = SensitivityProbe(source, sequences) if len(formats) > 1 else None
    for layer in range(source.config.layers):
        if progress:
            progress("calibrate", layer, source.config.layers)
        weights = read_layer(source, layer)
        inputs: dict[str, Float64] = {}
        hidden = reference.layer(hidden, weights, inputs.__setitem__)
        with ThreadPoolExecutor(WORKERS) as pool:
            jobs = {
                matrix: pool.submit(
                    _round_matrix,
                    matrix_name(layer, matrix),
                    weights.matrices[matrix],
                    inputs.pop(matrix),
                    formats,
                    store,
                    gptq,
                )
                # The largest first: with few threads it would otherwise be waited for at the end.
                for matrix in reversed(MATRICES)
            }
            low = weights
            for matrix, job in jobs.items():
                low = low.with_matrix(matrix, job.result())
        if probe is not None:
            probe.layer(weights, low)
    if probe is None:
        return []
    return [
        LayerCost(layer, error, *(_layer_bytes(source, layer, format) for format in formats[:2]))
        for layer, error in enumerate(probe.errors())
    ]


def _round_matrix(
    name: str,
    weights: npt.NDArray[np.floating],
    inputs: Float64,
    formats: Sequence[QuantFormat],
    store: RoundedStore,
    gptq: bool,
) -> npt.NDArray[np.float32]:
    """Round into the store; returns the dequantised matrix in the first format."""
    factored: tuple[Float64, Float64] | None = None
    for format in formats:
        if gptq and format.bits == 4:
            if factored is None:
                hessian = Hessian(inputs.shape[1])
                hessian.add(inputs)
                damped = hessian.damped()
                factored = inverse_factor(damped), np.diag(damped).copy()
            store.save(name, quantise_with_factor(weights, *factored, format))
        else:
            store.save(name, quantise_rtn(weights, format))
    return store.load(name, formats[0]).dequantised()


def _layer_bytes(source: WeightSource, layer: int, format: QuantFormat) -> int:
    config = source.config
    shapes = (
        (config.query_size + 2 * config.kv_size, config.hidden_size),
        (config.hidden_size, config.query_size),
        (2 * config.intermediate_size, config.hidden_size),
        (config.hidden_size, config.intermediate_size),
    )
    return sum(rows * format.bytes_per_row(cols) for rows, cols in shapes)


def stored_layer(
    source: WeightSource, store: RoundedStore, choice: Callable[[str], QuantFormat | None], layer: int
) -> LayerWeights:
    """A layer with its rounded matrices in the chosen formats (None: the source's own)."""
    weights = read_layer(source, layer)
    for matrix in MATRICES:
        format = choice(matrix_name(layer, matrix))
        if format is not None:
            rounded = store.load(matrix_name(layer, matrix), format)
            weights = weights.with_matrix(matrix, rounded.dequantised())
    return weights
