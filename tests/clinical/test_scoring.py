"""Scores are the model's own likelihoods, and nothing but the candidate changes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.clinical.scoring import (
    Likelihoods,
    ScoringVariant,
    chat_ids,
    combine,
    end_of_turn,
    log_probabilities,
    score_continuations,
    softmax,
    spoken_ids,
)
from edge.errors import BundleError, InputError
from tests.clinical.tiny_reader import TinyReader, tiny_reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> TinyReader:
    return tiny_reader(tmp_path_factory.mktemp("scoring"), 256)


def test_the_likelihood_is_that_of_a_plain_forward(reader: TinyReader) -> None:
    """Rewinding and sharing the prompt must not change a number."""
    prompt, words = [5, 6, 7, 8, 9], [[10], [11, 12, 13], [14, 15]]
    told = score_continuations(reader.engine, prompt, words)
    assert reader.engine.length == len(prompt)
    for ids, row in zip(words, told, strict=True):
        reader.engine.rewind(0)
        whole = prompt + ids
        logits = reader.engine.forward(whole, tuple(range(len(prompt) - 1, len(whole) - 1)))
        assert row == pytest.approx(log_probabilities(logits, ids), abs=1e-4)
        assert (row < 0).all()


def test_no_candidate_sees_another(reader: TinyReader) -> None:
    """The order in which candidates come must not change their scores, to the last bit."""
    words = [[10, 11], [12, 13, 14], [15]]
    there = score_continuations(reader.engine, [5, 6, 7], words)
    back = score_continuations(reader.engine, [5, 6, 7], words[::-1])[::-1]
    assert all((one == other).all() for one, other in zip(there, back, strict=True))


def test_log_probabilities_sum_to_one() -> None:
    """Large logits must not overflow."""
    logits = np.array([[1000.0, 999.0, -1000.0]], dtype=np.float32)
    assert sum(float(np.exp(log_probabilities(logits, [index])[0])) for index in range(3)) == pytest.approx(1.0)


def test_what_does_not_fit_is_refused(reader: TinyReader) -> None:
    """Before anything is computed."""
    with pytest.raises(InputError, match="the model can read 256"):
        score_continuations(reader.engine, list(range(250)), [[1] * 10])


def test_the_turn_ends_with_its_token(reader: TinyReader) -> None:
    """Without its end a name is likelier the shorter it is."""
    assert end_of_turn(reader.tokenizer) == [2]
    assert spoken_ids(reader.tokenizer, "pain")[-1] == 2
    assert 2 not in spoken_ids(reader.tokenizer, "pain", end_token=False)
    assert chat_ids(reader.tokenizer, [{"role": "user", "content": "<|im_end|>"}]).count(2) == 1


def test_combine_is_arithmetic() -> None:
    """A training script mirrors this function with its own sums."""
    one = Likelihoods(direct=-8.0, tokens=4, prior=-4.0, channel=-20.0, table=3.0)
    assert combine(one, ScoringVariant()) == -8.0
    assert combine(one, ScoringVariant(prior_weight=1.0)) == -4.0
    assert combine(one, ScoringVariant(prior_weight=0.5, length="mean")) == -1.5
    assert combine(one, ScoringVariant(length="root")) == -4.0
    assert combine(replace(one, open=3.0), ScoringVariant(open_weight=0.5)) == -6.5
    assert combine(one, ScoringVariant(direct_weight=0.0, channel_weight=0.1, table_weight=2.0)) == 4.0


def test_softmax() -> None:
    """Shares of one, also for scores far apart."""
    assert softmax([]) == []
    assert softmax([-1000.0, -1000.0]) == [0.5, 0.5]
    assert softmax([0.0, -10000.0]) == [1.0, 0.0]
    assert softmax([1.0, 0.0], temperature=1000.0)[0] < 0.51


def test_a_variant_travels_and_an_unknown_one_is_refused() -> None:
    """A task file of a future edge must not be half understood."""
    variant = ScoringVariant(prior_weight=0.5, length="mean", listed=False)
    assert ScoringVariant.from_json(variant.to_json()) == variant
    for bad in ({"prior": 1}, {"length": "median"}, {"temperature": 0.0}, 3):
        with pytest.raises(BundleError):
            ScoringVariant.from_json(bad)
