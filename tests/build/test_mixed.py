"""The choice of layers: as few at 8 bits as the budget allows, with few measurements."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build.calibrate import LayerCost
from edge.build.mixed import SAFETY, choose, rank

COSTS = st.lists(
    st.tuples(st.floats(0, 1e3), st.integers(1, 10**6), st.integers(0, 10**6)), min_size=1, max_size=40
).map(lambda rows: [LayerCost(layer, error, low, low + more) for layer, (error, low, more) in enumerate(rows)])


@settings(max_examples=60, deadline=None)
@given(COSTS, st.floats(0, 1), st.data())
def test_finds_the_smallest_mix_that_holds(costs: list[LayerCost], limit: float, data: st.DataObject) -> None:
    """One layer too many is dead weight on the tablet, one too few fails the fidelity gate."""
    order = rank(costs)
    needed = data.draw(st.integers(0, len(order) + 1))  # one more than all: nothing holds
    calls: list[frozenset[int]] = []

    def measure(raised: frozenset[int]) -> float:
        calls.append(raised)
        assert raised == frozenset(order[: len(raised)])
        return SAFETY * limit if len(raised) >= needed else SAFETY * limit + 0.1 + 1 / (1 + len(raised))

    choice = choose(costs, limit, measure)
    assert choice.int8_layers == tuple(sorted(order[: min(needed, len(order))]))
    assert choice.mean_kl == measure(frozenset(choice.int8_layers))
    assert choice.measurements == len(calls) - 1
    assert choice.measurements <= len(order) + 1
    assert len(set(calls[:-1])) == len(calls) - 1


@given(COSTS, st.floats(0.01, 0.99))
def test_few_measurements_where_error_and_divergence_go_together(costs: list[LayerCost], share: float) -> None:
    """A measurement is a pass of the whole model over the text: minutes on a big one."""
    order = rank(costs)
    errors = {cost.layer: cost.logit_error for cost in costs}

    def measure(raised: frozenset[int]) -> float:
        return sum(errors[layer] for layer in order if layer not in raised)

    choice = choose(costs, share * measure(frozenset()) / SAFETY, measure)
    assert choice.mean_kl <= share * measure(frozenset()) * (1 + 1e-9)
    assert choice.measurements <= 4


def test_a_measure_that_is_not_a_number_is_not_a_pass() -> None:
    """A model that computes not-a-number must end at the most careful mix, where the gate speaks."""
    costs = [LayerCost(layer, 1.0, 1, 2) for layer in range(5)]
    assert choose(costs, 0.1, lambda _: math.nan).int8_layers == (0, 1, 2, 3, 4)


def test_the_best_buy_goes_first() -> None:
    """Error saved per byte, not error alone: a huge layer may cost more than it brings."""
    costs = [LayerCost(0, 1.0, 100, 200), LayerCost(1, 3.0, 1000, 2000), LayerCost(2, 1.0, 100, 150)]
    assert rank(costs) == [2, 0, 1]


@given(COSTS)
def test_ties_are_broken_by_number(costs: list[LayerCost]) -> None:
    """Equal layers in another order would be another bundle."""
    assert rank(costs) == rank(list(reversed(costs)))
    assert sorted(rank(costs)) == list(range(len(costs)))
