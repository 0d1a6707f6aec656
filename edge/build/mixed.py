"""Which layers stay at 8 bits: the fewest bytes under which the fidelity budget holds.

Layers are ranked by measured logit error saved per byte added. How many of them must go up is found by
measuring the KL divergence of the whole model, where the remaining logit error says it should just hold, until
one more layer at 4 bits is known not to hold. All numbers come from host-independent arithmetic,
so the choice is part of what two hosts agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.build.calibrate import LayerCost

Measure = Callable[[frozenset[int]], float]
SAFETY = 0.9  # of the budget: text outside the sample, and the kernels of the device, shall hold it too


@dataclass(frozen=True)
class Choice:
    """int8_layers: kept at 8 bits, ascending; mean_kl: measured with them; measurements: models tried."""

    int8_layers: tuple[int, ...]
    mean_kl: float
    measurements: int


def rank(costs: Sequence[LayerCost]) -> list[int]:
    """Layers, the best buy first: error saved per byte added; ties by number."""
    return [
        cost.layer
        for cost in sorted(
            costs, key=lambda cost: (-cost.logit_error / max(cost.high_bytes - cost.low_bytes, 1), cost.layer)
        )
    ]


def choose(costs: Sequence[LayerCost], mean_kl_max: float, measure: Measure) -> Choice:
    """The smallest mix along the ranking whose measured mean KL is at most SAFETY * mean_kl_max.

    measure: mean KL of the model with the given layers at 8 bits. With every layer raised the result is
    returned even if it does not hold: the fidelity gate says so with the true numbers.
    """
    order = rank(costs)
    limit = SAFETY * mean_kl_max
    errors = {cost.layer: cost.logit_error for cost in costs}
    # Share of the error that is left with the first n of the order raised: KL is about proportional to it.
    left = [sum(errors[layer] for layer in order[count:]) for count in range(len(order) + 1)]
    tried: dict[int, float] = {}

    def kl(count: int) -> float:
        if count not in tried:
            tried[count] = measure(frozenset(order[:count]))
        return tried[count]

    fails, holds = -1, len(order)
    if kl(0) <= limit:
        holds = 0
    while holds - fails > 1:
        known = max(count for count in tried if count <= max(fails, 0))
        scale = tried[known] / max(left[known], 1e-30)
        guess = next((count for count in range(fails + 1, holds) if left[count] * scale <= limit), holds - 1)
        # Every other step halves the gap, so that a KL that is not proportional costs no more than bisection.
        middle = min(max(guess, fails + 1), holds - 1) if len(tried) % 2 else (holds + fails) // 2
        if kl(middle) <= limit:
            holds = middle
        else:
            fails = middle
    return Choice(tuple(sorted(order[:holds])), kl(holds), len(tried))
