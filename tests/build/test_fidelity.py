"""The fidelity gate: a perfect build scores perfectly, a damaged one is caught, and the limits are limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.build.fidelity import (
    GREEDY_NEW_TOKENS,
    bootstrap,
    fidelity_failures,
    gate_fidelity,
    measure_fidelity,
    worst_matrices,
)
from edge.build.quantise import QuantFormat
from edge.build.readback import BuiltModel
from edge.build.reference import Reference, log_softmax
from edge.errors import ExitStatus, GateError
from edge.runtime.onnx_engine import OnnxEngine
from tests.tiny import MemorySource, engine, export, tiny_ids, tiny_source

SOURCE = tiny_source()
CONTEXT = 200
# More than one scoring chunk, shorter than the greedy prompt, and in between.
SEQUENCES = [tiny_ids(140, seed=1), tiny_ids(9, seed=2), tiny_ids(70, seed=3)]


def built(folder: Path, source: MemorySource = SOURCE, format: QuantFormat | None = None) -> OnnxEngine:
    return engine(export(folder, source, format, head=format, context_tokens=CONTEXT))


def test_a_float_build_is_its_source(tmp_path: Path) -> None:
    """Anything but (almost) zero here is an error of the measurement, and every gate is off by it."""
    fidelity = measure_fidelity(SOURCE, built(tmp_path / "m"), SEQUENCES)
    assert fidelity.tokens == sum(map(len, SEQUENCES))
    assert fidelity.mean_kl.mean < 1e-6
    assert fidelity.top1.mean == 1.0
    assert fidelity.perplexity_ratio.mean == pytest.approx(1.0, abs=1e-4)
    assert fidelity.greedy_agreement.mean == 1.0
    assert fidelity.greedy_prefix_tokens == GREEDY_NEW_TOKENS


def test_numbers_against_a_plain_computation(tmp_path: Path) -> None:
    """Chunked scoring must line tokens up with what comes next: off by one looks plausible and is wrong."""
    model = built(tmp_path / "m", format=QuantFormat(4, 32, True))
    fidelity = measure_fidelity(SOURCE, model, SEQUENCES)
    kl, top, source_nll, built_nll = [], [], [], []
    for ids in SEQUENCES:
        reference = Reference(SOURCE, [ids])
        p = log_softmax(reference.logits(reference.run()))
        model.rewind(0)
        q = log_softmax(model.forward(ids, range(len(ids))).astype(np.float64))
        kl += list((np.exp(p) * (p - q)).sum(axis=1))
        top += list(p.argmax(axis=1) == q.argmax(axis=1))
        source_nll += [-p[at, token] for at, token in enumerate(ids[1:])]
        built_nll += [-q[at, token] for at, token in enumerate(ids[1:])]
    assert fidelity.mean_kl.mean == pytest.approx(np.mean(kl), rel=1e-4)
    assert fidelity.top1.mean == pytest.approx(np.mean(top))
    assert fidelity.perplexity_source == pytest.approx(math.exp(np.mean(source_nll)), rel=1e-4)
    ratio = math.exp(np.mean(built_nll)) / math.exp(np.mean(source_nll))
    assert fidelity.perplexity_ratio.mean == pytest.approx(ratio, rel=1e-3)
    for interval in (fidelity.mean_kl, fidelity.top1, fidelity.perplexity_ratio, fidelity.greedy_agreement):
        assert interval.low <= interval.mean <= interval.high
        assert interval.low < interval.high
    assert fidelity.mean_kl.mean > 0.01


def test_greedy_agreement_against_writing_it_out(tmp_path: Path) -> None:
    """How long the build writes what its source would have written."""
    model = built(tmp_path / "m", format=QuantFormat(8, 32, True))
    fidelity = measure_fidelity(SOURCE, model, [SEQUENCES[1]])
    model.rewind(0)
    ids = list(SEQUENCES[1])
    same = []
    for _ in range(GREEDY_NEW_TOKENS):
        if model.length < len(ids):
            row = model.forward(ids[model.length :], (len(ids) - model.length - 1,))[0]
        reference = Reference(SOURCE, [ids])
        token = int(row.argmax())
        same.append(token == int(reference.logits(reference.run()[-1:])[0].argmax()))
        ids.append(token)
    assert fidelity.greedy_agreement.mean == pytest.approx(np.mean(same))
    assert fidelity.greedy_prefix_tokens == (same.index(False) if False in same else len(same))


def test_a_broken_layer_is_found_and_named(tmp_path: Path) -> None:
    """The gate's one line must point at the matrix that hurts, not at any."""
    tensors = dict(SOURCE.tensors)
    name = "model.layers.1.mlp.down_proj.weight"
    noise = np.random.default_rng(0).standard_normal(tensors[name].shape).astype(np.float32)
    tensors[name] = tensors[name] + 0.3 * noise
    damaged = MemorySource(SOURCE.config, tensors)
    model = built(tmp_path / "m", damaged)
    fidelity = measure_fidelity(SOURCE, model, SEQUENCES[:1]).to_json()
    assert fidelity["mean_kl"]["mean"] > 0.01
    with BuiltModel(tmp_path / "m", SOURCE.config) as read:
        worst = worst_matrices(SOURCE, read, SEQUENCES[:1], count=3)
    assert worst[0][0] == "layers.1.down"
    assert [value for _, value in worst] == sorted((value for _, value in worst), reverse=True)
    assert worst[1][1] == pytest.approx(0, abs=1e-9)
    fidelity["worst_matrices"] = [list(item) for item in worst]
    with pytest.raises(GateError) as caught:
        gate_fidelity(fidelity, {"mean_kl_max": 0.001, "top1_min": None}, "profile x")
    line = str(caught.value)
    assert caught.value.status is ExitStatus.GATE
    assert line.startswith("profile x: fidelity: mean KL is ")
    assert "the budget is 0.001; the most error comes from layers.1.down" in line
    assert len(line.splitlines()) == 1


def scores(**changes: float) -> dict[str, Any]:
    values = {"mean_kl": 0.05, "top1": 0.9, "perplexity_ratio": 1.1, "greedy_agreement": 0.8} | changes
    return {key: {"mean": value, "low": value, "high": value} for key, value in values.items()}


BUDGET = {"mean_kl_max": 0.05, "top1_min": 0.9, "perplexity_ratio_max": 1.1, "greedy_agreement_min": 0.8}


def test_a_limit_itself_holds() -> None:
    """At most and at least mean just that."""
    assert fidelity_failures(scores(), BUDGET) == []
    gate_fidelity(scores(), BUDGET, "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean_kl": 0.0501}, ["mean KL is 0.0501"]),
        ({"top1": 0.8999}, ["same top token is 0.8999"]),
        ({"perplexity_ratio": 1.11}, ["perplexity ratio is 1.11"]),
        ({"greedy_agreement": 0.79}, ["greedy agreement is 0.79"]),
        ({"mean_kl": 1.0, "top1": 0.1}, ["mean KL", "same top token"]),
        ({"mean_kl": math.nan}, ["mean KL is nan"]),
        ({"top1": math.nan, "perplexity_ratio": math.inf}, ["same top token is nan", "perplexity ratio is inf"]),
    ],
)
def test_every_limit_is_checked(change: dict[str, float], words: Sequence[str]) -> None:
    """A limit that is not looked at, or a not-a-number that slips through, ships a broken model."""
    failures = fidelity_failures(scores(**change), BUDGET)
    assert len(failures) == len(words)
    for failure, word in zip(failures, words, strict=True):
        assert failure.startswith(word)
    assert fidelity_failures(scores(**change), {}) == []
    assert fidelity_failures(scores(**change), dict.fromkeys(BUDGET)) == []


def test_bootstrap_is_the_same_each_time_and_covers() -> None:
    """An interval that moves between two runs of the same build cannot be compared."""
    values = np.random.default_rng(0).exponential(size=400)
    interval = bootstrap(values)
    assert interval == bootstrap(values)
    assert interval.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=half / 3)
    assert interval.high == pytest.approx(values.mean() + half, abs=half / 3)
    single = bootstrap(np.array([2.0]))
    assert (single.low, single.mean, single.high) == (2.0, 2.0, 2.0)


def test_json_has_plain_numbers(tmp_path: Path) -> None:
    """It goes into the build's report and the harness' result."""
    fidelity = measure_fidelity(SOURCE, built(tmp_path / "m"), SEQUENCES[1:2])
    value = fidelity.to_json()
    assert set(value["mean_kl"]) == {"mean", "low", "high"}
    assert all(type(value["mean_kl"][key]) is float for key in value["mean_kl"])
    assert value["tokens"] == 9
    assert len(value["peer_scale"]) == 3
