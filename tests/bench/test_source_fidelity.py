"""A device's own fidelity against the source's opinion that travels in the bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.golden import GoldenCase, GoldenRule, GoldenSet
from edge.bench.source_fidelity import SourceFidelity, divergence, load_opinions, measure_source_fidelity
from edge.errors import BundleError
from edge.runtime.engine import Logits, TokenIds

VOCAB = 40


def logits_of(token: int) -> np.ndarray:
    """Some distribution that depends on the token read."""
    return np.random.default_rng(token).normal(size=VOCAB).astype(np.float32) * 3


class TableEngine:
    """Predicts from the last token alone."""

    vocab_size = VOCAB
    context_tokens = 64
    length = 0

    def forward(self, token_ids: TokenIds, wanted: object) -> Logits:
        rows = [logits_of(int(token_ids[i])) for i in wanted]  # type: ignore[attr-defined]
        self.length += len(token_ids)
        return np.stack(rows)

    def rewind(self, length: int) -> None:
        self.length = length

    def close(self) -> None:
        pass


def log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values.astype(np.float64) - values.max()
    return shifted - np.log(np.exp(shifted).sum())


def write_opinions(path: Path, tokens: list[int], first: int, shift: float = 0.0) -> GoldenSet:
    tops, logprobs = [], []
    for token in tokens[first:]:
        row = log_softmax(logits_of(token) * (1 + shift))
        order = np.argsort(-row)[:16]
        tops.append([int(i) for i in order])
        logprobs.append([round(float(row[i]) * 10_000) for i in order])
    case = {"id": "a", "from": first, "top_ids": tops, "logprobs": logprobs}
    path.write_text(json.dumps({"schema_version": 1, "logprob_unit": 10_000, "cases": [case]}))
    positions = len(tokens) - first
    golden = GoldenCase("a", tuple(tokens), first, tuple(top[0] for top in tops), (5.0,) * positions)
    return GoldenSet(GoldenRule(2.0, 0.9), (golden,))


def test_the_source_itself_has_no_divergence(tmp_path: Path) -> None:
    """An engine equal to the source would otherwise be told that it differs."""
    golden = write_opinions(tmp_path / "source.json", [1, 2, 3, 4, 5, 6], 2)
    found = measure_source_fidelity(TableEngine(), golden, tmp_path / "source.json")
    assert found.tokens == 4
    assert found.mean_kl < 1e-3
    assert found.top1 == 1.0


def test_another_model_diverges(tmp_path: Path) -> None:
    """A rounding that changes the distribution must show."""
    golden = write_opinions(tmp_path / "source.json", [1, 2, 3, 4, 5, 6], 0, shift=-0.7)
    assert measure_source_fidelity(TableEngine(), golden, tmp_path / "source.json").mean_kl > 0.1


@given(st.integers(0, 1000), st.integers(1, 30))
def test_listed_tokens_give_a_lower_bound(seed: int, kept: int) -> None:
    """The number is called a lower bound of the full divergence: it must be one, and never negative."""
    random = np.random.default_rng(seed)
    here = random.normal(size=VOCAB).astype(np.float32) * 2
    source = log_softmax(random.normal(size=VOCAB) * 2)
    order = np.argsort(-source)[:kept]
    bound = divergence(here[None], order[None], source[order][None])[0]
    full = float((np.exp(source) * (source - log_softmax(here))).sum())
    assert 0.0 <= bound <= full + 1e-6


def test_opinions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Opinions of other cases would give a number that means nothing."""
    path = tmp_path / "source.json"
    golden = write_opinions(path, [1, 2, 3, 4], 1)
    other = GoldenCase("b", (1, 2, 3), 1, (0, 0), (5.0, 5.0))
    with pytest.raises(BundleError, match="does not fit"):
        measure_source_fidelity(TableEngine(), GoldenSet(golden.rule, (other,)), path)
    path.write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        load_opinions(path)
    path.write_text(json.dumps({"schema_version": 2, "logprob_unit": 1, "cases": []}))
    with pytest.raises(BundleError, match="version"):
        load_opinions(path)


def test_intervals_surround_the_mean() -> None:
    """The gate gives the benefit of the doubt by these bounds."""
    checked = SourceFidelity(100, 0.05, 0.01, 0.9, 0.03).as_checked()
    assert checked["mean_kl"]["low"] < 0.05 < checked["mean_kl"]["high"]
    assert checked["top1"]["low"] < 0.9 < checked["top1"]["high"]
