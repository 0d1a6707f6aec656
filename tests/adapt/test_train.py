"""The learning-rate curve: pure, so tested without torch."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edge.adapt.train import LoopSettings, learning_rate_at

SETTINGS = LoopSettings(learning_rate=1e-3, warmup_share=0.1, weight_decay=0.0, clip_norm=1.0, seed=1)


def test_warms_up_then_falls_to_a_tenth() -> None:
    """Rises in even steps to the peak, then falls without a jump; a wrong curve makes another adapter."""
    rates = [learning_rate_at(step, 200, SETTINGS) for step in range(200)]
    assert rates[0] == pytest.approx(1e-3 / 20)
    assert rates[19] == pytest.approx(1e-3) and max(rates) == pytest.approx(1e-3)
    assert all(later <= earlier for earlier, later in pairwise(rates[19:]))
    assert 1e-4 <= rates[-1] < 1.01e-4


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs(steps: int) -> None:
    """A run of a few steps has a rate at each; a division by zero would end it."""
    assert all(0 < learning_rate_at(step, steps, SETTINGS) <= 1e-3 for step in range(steps))
