"""Is the build as right as its source? Measured on clinical text, with intervals, by two implementations.

The source speaks through reference.py (numpy, its own weights); the build through the engine that ships. For
each token of the text: Kullback-Leibler divergence of the build's next-token distribution from the source's,
and whether both would pick the same token. Greedy agreement: the build writes; the source says at each token
whether it would have written the same.

Scale for orientation, llama.cpp's published quantisations (mean KL / same top token): Q8_0 .0002 / 99.2 %,
Q5_K_M .0047 / 96.6 %, Q3_K_M .051 / 89.6 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build.readback import BuiltModel
from edge.build.reference import MATRICES, Reference, WeightSource, log_softmax, read_layer
from edge.errors import GateError
from edge.runtime.engine import Engine

Float64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

BOOTSTRAP_SAMPLES = 2000
PEER_SCALE = (
    ("Q8_0", 0.0002, 0.992),
    ("Q5_K_M", 0.0047, 0.966),
    ("Q3_K_M", 0.051, 0.896),
)
GREEDY_PROMPT_TOKENS = 64
GREEDY_NEW_TOKENS = 48
SCORE_TOKENS = 256  # scored at once: a table of [256, vocabulary] in float64 is 100 MB for SmolLM2


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval (Efron 1979), resampled by token."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"mean": round(self.mean, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


@dataclass(frozen=True)
class Fidelity:
    """The build against its source. tokens: scored positions; greedy_prefix_tokens: mean tokens written before
    the source would have written another."""

    tokens: int
    mean_kl: Interval
    top1: Interval
    perplexity_source: float
    perplexity_ratio: Interval
    greedy_agreement: Interval
    greedy_prefix_tokens: float

    def to_json(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "mean_kl": self.mean_kl.to_json(),
            "top1": self.top1.to_json(),
            "perplexity_source": round(self.perplexity_source, 4),
            "perplexity_ratio": self.perplexity_ratio.to_json(),
            "greedy_agreement": self.greedy_agreement.to_json(),
            "greedy_prefix_tokens": round(self.greedy_prefix_tokens, 2),
            "peer_scale": [list(row) for row in PEER_SCALE],
        }


def bootstrap(values: Float64, seed: int = 0) -> Interval:
    """Mean and percentile interval of a sample [n]."""
    random = np.random.Generator(np.random.PCG64(seed))
    means = np.array([values[random.integers(0, len(values), len(values))].mean() for _ in range(BOOTSTRAP_SAMPLES)])
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class _Scores:
    kl: Float64
    same_top: Float64
    source_nll: Float64
    built_nll: Float64


def score(source_logits: Float64, built_logits: npt.NDArray[np.float32], targets: Sequence[int]) -> _Scores:
    """Scores of some positions; targets: what the text says next, shorter by one at the end of a sequence."""
    source, built = log_softmax(source_logits), log_softmax(built_logits.astype(np.float64))
    kl = (np.exp(source) * (source - built)).sum(axis=-1)
    rows = np.arange(len(targets))
    return _Scores(
        np.maximum(kl, 0.0),
        (source.argmax(axis=-1) == built.argmax(axis=-1)).astype(np.float64),
        -source[rows, targets],
        -built[rows, targets],
    )


def worst_matrices(
    source: WeightSource, built: BuiltModel, sequences: Sequence[Sequence[int]], count: int = 8
) -> list[tuple[str, float]]:
    """(matrix, energy of its output error over that of its output) on the text, the worst first."""
    reference = Reference(source, sequences)
    hidden = reference.embed()
    blame: dict[str, float] = {}
    for layer in range(source.config.layers):
        weights = read_layer(source, layer)
        inputs: dict[str, Float64] = {}
        hidden = reference.layer(hidden, weights, inputs.__setitem__)
        for matrix in MATRICES:
            whole = inputs[matrix] @ weights.matrices[matrix].T.astype(np.float64)
            rounded = inputs[matrix] @ built.matrix_of(layer, matrix).T.astype(np.float64)
            blame[f"layers.{layer}.{matrix}"] = float(((rounded - whole) ** 2).sum() / max((whole**2).sum(), 1e-30))
    return sorted(blame.items(), key=lambda item: -item[1])[:count]


def measure_fidelity(
    source: WeightSource,
    engine: Engine,
    sequences: Sequence[Sequence[int]],
    *,
    progress: Progress | None = None,
) -> Fidelity:
    """Score the engine against the source on token sequences, each scored from an empty cache."""
    greedy = [write_greedily(engine, sequence[:GREEDY_PROMPT_TOKENS]) for sequence in sequences]
    reference = Reference(source, [*sequences, *greedy])
    hidden = reference.embed()
    for layer in range(source.config.layers):
        if progress:
            progress("fidelity", layer, source.config.layers)
        hidden = reference.layer(hidden, read_layer(source, layer))
    scores: list[_Scores] = []
    start = 0
    for sequence in sequences:
        engine.rewind(0)
        for first in range(0, len(sequence), SCORE_TOKENS):
            chunk = sequence[first : first + SCORE_TOKENS]
            built_logits = engine.forward(chunk, range(len(chunk)))
            source_logits = reference.logits(hidden[start + first : start + first + len(chunk)])
            scores.append(score(source_logits, built_logits, sequence[first + 1 : first + 1 + len(chunk)]))
        start += len(sequence)
    agreements: list[Float64] = []
    for prompt, written in zip(sequences, greedy, strict=True):
        first = min(GREEDY_PROMPT_TOKENS, len(prompt))
        states = hidden[start + first - 1 : start + len(written) - 1]
        start += len(written)
        same = reference.logits(states).argmax(axis=-1) == np.asarray(written[first:])
        agreements.append(same.astype(np.float64))
    return summarise(scores, agreements)


def write_greedily(engine: Engine, prompt: Sequence[int]) -> list[int]:
    """The prompt and what the build writes after it, end-of-text ignored: all engines write equally much."""
    engine.rewind(0)
    ids = list(prompt)
    logits = engine.forward(ids, (len(ids) - 1,))
    for _ in range(GREEDY_NEW_TOKENS):
        ids.append(int(logits[0].argmax()))
        logits = engine.forward(ids[-1:], (0,))
    return ids


def summarise(scores: Sequence[_Scores], agreements: Sequence[Float64]) -> Fidelity:
    kl = np.concatenate([score.kl for score in scores])
    prefixes = [float(len(same) if same.all() else same.argmin()) for same in agreements]
    source_nll = np.concatenate([score.source_nll for score in scores])
    built_nll = np.concatenate([score.built_nll for score in scores])
    difference = bootstrap(built_nll - source_nll)
    return Fidelity(
        tokens=len(kl),
        mean_kl=bootstrap(kl),
        top1=bootstrap(np.concatenate([score.same_top for score in scores])),
        perplexity_source=float(np.exp(source_nll.mean())),
        perplexity_ratio=Interval(*(float(np.exp(v)) for v in (difference.mean, difference.low, difference.high))),
        greedy_agreement=bootstrap(np.concatenate(agreements)),
        greedy_prefix_tokens=float(np.mean(prefixes)),
    )


def fidelity_failures(fidelity: dict[str, Any], budget: dict[str, float | None]) -> list[str]:
    """What of the profile's fidelity budget does not hold, in words; empty when all holds.

    Compares means (the intervals are reported, not gated: a gate on their edge would reward short texts).
    """
    rules = (
        ("mean_kl_max", "mean_kl", "mean KL", 1),
        ("top1_min", "top1", "same top token", -1),
        ("perplexity_ratio_max", "perplexity_ratio", "perplexity ratio", 1),
        ("greedy_agreement_min", "greedy_agreement", "greedy agreement", -1),
    )
    failures = []
    for key, field, words, sign in rules:
        limit = budget.get(key)
        if limit is None:
            continue
        value = float(fidelity[field]["mean"])
        if not sign * value <= sign * limit:  # this way round, not-a-number fails
            failures.append(f"{words} is {value:.4g}, the budget is {limit:g}")
    return failures


def gate_fidelity(fidelity: dict[str, Any], budget: dict[str, float | None], where: str) -> None:
    """Errors: GateError that says what does not hold and which matrix hurts most."""
    failures = fidelity_failures(fidelity, budget)
    if not failures:
        return
    worst = fidelity.get("worst_matrices") or []
    blame = f"; the most error comes from {worst[0][0]} ({worst[0][1]:.2g} of its output's energy)" if worst else ""
    raise GateError(
        f"fidelity: {', '.join(failures)}{blame}",
        where=where,
        mend="use `scheme: mixed` or int8, `rounding: gptq`, or a smaller block_size",
    )
