"""From logits to a token: what greedy, temperature, top-p, penalty and seed promise."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.errors import InputError
from edge.runtime.sampling import HEAD_TOKENS, Sampler, SamplerSettings

LOGITS = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-30, 30, width=32))


def draws(settings_: SamplerSettings, logits: np.ndarray, count: int) -> list[int]:
    sampler = Sampler(settings_)
    return [sampler.choose(logits, []) for _ in range(count)]


@given(LOGITS)
def test_temperature_zero_is_the_likeliest(logits: np.ndarray) -> None:
    """A clinical draft must not depend on chance by default; of two equals the first wins, on every host."""
    assert draws(SamplerSettings(), logits, 3) == [int(np.argmax(logits))] * 3


@given(LOGITS, st.integers(0, 2**63 - 1))
def test_same_seed_same_tokens(logits: np.ndarray, seed: int) -> None:
    """A draft that cannot be made again cannot be looked into."""
    chosen = SamplerSettings(temperature=1.0, top_p=0.9, seed=seed)
    assert draws(chosen, logits, 8) == draws(chosen, logits, 8)


def test_another_seed_other_tokens() -> None:
    """A seed that is ignored makes `--seed` a lie."""
    logits = np.zeros(40, dtype=np.float32)
    rows = {tuple(draws(SamplerSettings(temperature=1.0, seed=seed), logits, 20)) for seed in range(20)}
    assert len(rows) == 20


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.floats(0.01, 1.0), st.floats(0.05, 5.0), st.integers(0, 100))
def test_top_p_keeps_the_smallest_set(logits: np.ndarray, top_p: float, temperature: float, seed: int) -> None:
    """Tokens outside the set are the tail that sampling is meant to leave out."""
    probabilities = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    probabilities /= probabilities.sum()
    for token in draws(SamplerSettings(temperature=temperature, top_p=top_p, seed=seed), logits, 20):
        # Everything strictly likelier, without the token, must not have reached top_p yet.
        assert probabilities[probabilities > probabilities[token]].sum() < top_p + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.0), st.floats(0.1, 5.0))
def test_the_short_way_is_the_long_way(seed: int, top_p: float, temperature: float) -> None:
    """A big vocabulary is not sorted whole where its head will do: the token must be the same one."""
    logits = np.round(np.random.default_rng(seed).standard_normal(3 * HEAD_TOKENS) * 4).astype(np.float32)  # with ties
    chosen = SamplerSettings(temperature=temperature, top_p=top_p, seed=seed)
    short = draws(chosen, logits, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.runtime.sampling.HEAD_TOKENS", len(logits))
        assert draws(chosen, logits, 10) == short


def test_frequencies_are_the_distribution() -> None:
    """Temperature and top-p must give the probabilities they name."""
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    count = 6000
    for chosen, wanted in (
        (SamplerSettings(temperature=1.0), [0.5, 0.3, 0.15, 0.05]),
        (SamplerSettings(temperature=1.0, top_p=0.75), [0.625, 0.375, 0, 0]),
        (SamplerSettings(temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
    ):
        seen = Counter(draws(chosen, logits, count))
        for token, probability in enumerate(wanted):
            assert seen[token] / count == pytest.approx(probability, abs=0.02)


def test_extreme_settings_do_not_overflow() -> None:
    """A temperature near zero is greedy, not a warning and token 0."""
    logits = np.array([1.0, 88.0, 87.0, -300.0], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert set(draws(SamplerSettings(temperature=1e-300), logits, 5)) == {1}
        assert set(draws(SamplerSettings(temperature=5.0, top_p=1.0), logits, 200)) <= {0, 1, 2, 3}
        assert set(draws(SamplerSettings(temperature=1.0, top_p=1e-9), logits, 5)) == {1}


def test_forbidden_tokens_stay_forbidden() -> None:
    """A grammar sets logits to minus infinity: those may not be drawn at any temperature."""
    logits = np.full(30, -np.inf, dtype=np.float32)
    logits[[4, 9]] = 1.0
    assert set(draws(SamplerSettings(temperature=5.0), logits, 200)) == {4, 9}
    penalised = Sampler(SamplerSettings(temperature=5.0, repetition_penalty=2.0))
    assert {penalised.choose(logits, [4, 9, 3]) for _ in range(50)} <= {4, 9}


def test_repetition_penalty() -> None:
    """What was written lately becomes less likely, whatever the sign of its logit; the caller's logits stay."""
    logits = np.array([2.0, 1.9, -1.0, -1.1], dtype=np.float32)
    kept = logits.copy()
    sampler = Sampler(SamplerSettings(repetition_penalty=1.5))
    assert sampler.choose(logits, []) == 0
    assert sampler.choose(logits, [0]) == 1
    assert sampler.choose(logits, [0, 0, 0, 1]) == 0  # once, not once for each time it was written
    assert sampler.choose(logits[2:], [0]) == 1  # -1.0 * 1.5 is below -1.1
    assert np.array_equal(logits, kept)


@pytest.mark.parametrize(("window", "chosen"), [(0, 0), (1, 0), (2, 1), (256, 1)])
def test_repetition_window(window: int, chosen: int) -> None:
    """Only the newest tokens count; a window of nothing is no penalty, not a penalty on everything."""
    logits = np.array([2.0, 1.9, 0.0], dtype=np.float32)
    sampler = Sampler(SamplerSettings(repetition_penalty=1.5, repetition_window=window))
    assert sampler.choose(logits, [0, 2]) == chosen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": 5.1}, "give a value from 0 to 5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"repetition_penalty": 0.9}, "repetition_penalty is 0.9"),
        ({"repetition_window": -1}, "repetition_window is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is"),
    ],
)
def test_impossible_settings_are_one_line(change: dict[str, Any], words: str) -> None:
    """They come from the command line and from a task file: no traceback out of numpy."""
    with pytest.raises(InputError, match=words):
        SamplerSettings(**change)


def test_json_gives_the_settings_back() -> None:
    """The bundle stores them; what is read must be what was written."""
    chosen = SamplerSettings(temperature=0.7, top_p=0.9, repetition_penalty=1.1, repetition_window=64, seed=5)
    assert SamplerSettings(**chosen.to_json()) == chosen
