"""Fidelity and golden cases between two engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.bench.golden import load_golden, run_golden
from edge.bench.source_fidelity import load_opinions
from edge.build.optimum_checks import all_logits, golden_of_engines, measure_engines
from edge.build.quantise import QuantFormat
from edge.runtime.optimum_engine import OptimumEngine
from tests.build.test_optimum_graph import saved
from tests.optimum_toy import VOCAB, toy_logits

IDS = [[int(i) for i in np.random.default_rng(seed).integers(0, VOCAB, 24)] for seed in (5, 6)]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> tuple[OptimumEngine, OptimumEngine]:
    """The toy at fp32 and at int8."""
    folder = tmp_path_factory.mktemp("engines")
    saved(folder / "fp32")
    saved(folder / "int8", QuantFormat(8, 32, True))
    return OptimumEngine(folder / "fp32", threads=1), OptimumEngine(folder / "int8", threads=1)


def test_all_logits(engines: tuple[OptimumEngine, OptimumEngine]) -> None:
    """Scores start where they are asked to, from an empty cache."""
    np.testing.assert_allclose(all_logits(engines[0], IDS[0], 5), toy_logits(IDS[0])[5:], rtol=0, atol=1e-4)


def test_fidelity(engines: tuple[OptimumEngine, OptimumEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    """A build against itself is perfect; a rounded one is not, and the figures are those of the definition."""
    monkeypatch.setattr("edge.build.fidelity.GREEDY_NEW_TOKENS", 8)
    same = measure_engines(engines[0], engines[0], IDS)
    assert (same.mean_kl.mean, same.top1.mean, same.greedy_agreement.mean) == (0.0, 1.0, 1.0)
    result = measure_engines(engines[0], engines[1], IDS)
    kl = []
    for ids in IDS:
        logits = [all_logits(engine, ids) for engine in engines]
        source, built = (row - np.log(np.exp(row).sum(axis=-1, keepdims=True)) for row in logits)
        kl.append((np.exp(source) * (source - built)).sum(axis=-1))
    assert result.tokens == 48
    assert result.mean_kl.mean == pytest.approx(np.concatenate(kl).mean(), rel=1e-3)
    assert result.mean_kl.mean > 0


def test_golden(engines: tuple[OptimumEngine, OptimumEngine], tmp_path: Path) -> None:
    """The harness reads what is written, and the build passes its own cases."""
    files = golden_of_engines(engines[0], engines[1], [("note-01", IDS[0], 4), ("note-02", IDS[1], 9)])
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert run_golden(engines[1], load_golden(tmp_path / "cases.json")).passed
    opinions, unit = load_opinions(tmp_path / "source.json")
    assert unit == 100
    expected = toy_logits(IDS[0])[4]
    assert opinions[0]["top_ids"][0][0] == expected.argmax()
    log_probability = expected.max() - np.log(np.exp(expected).sum())
    assert opinions[0]["logprobs"][0][0] / unit == pytest.approx(log_probability, abs=0.006)
