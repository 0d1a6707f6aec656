"""How much each layer's rounding hurts the model's answer, measured layer by layer in one pass.

One variant of the model a layer: all layers as in the source, that one rounded. The variants travel through
the layers together, so every layer's weights are read once. What counts is the mean squared error of the final
logits, up to a constant all logits may share (softmax does not see it):

    error_l = mean over tokens of |(W - mean row of W) (h_l - h)|^2 / vocab

with h, h_l the normalised final states of source and variant, and W the head. It is computed from W's Gram
matrix, hence without writing out any logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge.build import exact
from edge.build.reference import LayerWeights, Reference, WeightSource, head_rows, rms_norm

Float64 = npt.NDArray[np.float64]

PROBE_SEQUENCES = 4
PROBE_TOKENS = 32


class SensitivityProbe:
    """Feed it every layer in order, then read `errors`."""

    def __init__(self, source: WeightSource, sequences: Sequence[Sequence[int]]) -> None:
        self.source = source
        self._sequences = [sequence[:PROBE_TOKENS] for sequence in sequences[:PROBE_SEQUENCES]]
        self._single = Reference(source, self._sequences)
        self._states = [self._single.embed()]

    def layer(self, weights: LayerWeights, rounded: LayerWeights) -> None:
        """Move the source and all variants one layer on, and start the variant of this layer."""
        variant = self._single.layer(self._states[0], rounded)
        together = Reference(self.source, self._sequences * len(self._states))
        moved = together.layer(np.concatenate(self._states), weights)
        self._states = [*np.split(moved, len(self._states)), variant]

    def errors(self) -> list[float]:
        """Mean squared logit error of each variant, by layer."""
        config = self.source.config
        gamma = self.source.read("model.norm.weight")
        gram = _centred_gram(self.source)
        final = [rms_norm(state, gamma, config.rms_norm_eps) for state in self._states]
        errors = []
        for variant in final[1:]:
            difference = variant - final[0]
            energy = exact.exact_sum((exact.matmul(difference, gram) * difference).reshape(-1))
            errors.append(float(energy) / (difference.shape[0] * config.vocab_size))
        return errors


def _centred_gram(source: WeightSource) -> Float64:
    """(W - mean row)^T (W - mean row) of the head: [hidden, hidden]."""
    width = source.config.hidden_size
    gram: Float64 = np.zeros((width, width))
    total: Float64 = np.zeros(width)
    for rows in head_rows(source):
        columns = np.ascontiguousarray(rows.T, dtype=np.float64)
        gram += exact.matmul(columns, columns)
        total += exact.exact_sum(columns)
    mean = total / source.config.vocab_size
    return gram - source.config.vocab_size * mean[:, None] * mean[None, :]
