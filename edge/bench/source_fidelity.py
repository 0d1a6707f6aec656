"""This device's fidelity, measured against what the float32 source said of the golden cases.

`golden/source.json` holds, for every scored position of `golden/cases.json`, the source's most likely tokens with
their log-probabilities (in 1 / logprob_unit nat). The Kullback-Leibler divergence over those tokens plus one
bucket for all others is a lower bound of the full one (data processing inequality), and close to it, since the
listed tokens carry nearly all of the probability. Nothing of the source has to be on the device.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.bench.golden import GoldenSet
from edge.errors import BundleError
from edge.runtime.engine import Engine

CHUNK_TOKENS = 32
TINY = 1e-12


@dataclass(frozen=True)
class SourceFidelity:
    """tokens: scored positions; mean_kl: lower bound, nat; top1: share with the source's own first choice.

    ..._error: standard errors of these means.
    """

    tokens: int
    mean_kl: float
    mean_kl_error: float
    top1: float
    top1_error: float

    def as_checked(self) -> dict[str, Any]:
        """Means with 95 % intervals, as the fidelity checks read them."""

        def interval(mean: float, error: float) -> dict[str, float]:
            return {"mean": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}

        return {
            "tokens": self.tokens,
            "mean_kl": interval(self.mean_kl, self.mean_kl_error),
            "top1": interval(self.top1, self.top1_error),
        }


def load_opinions(path: Path) -> tuple[list[dict[str, Any]], float]:
    """(cases, logprob unit) of golden/source.json. Errors: BundleError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["schema_version"] != 1:
            raise BundleError("is of a version this edge does not know", where=str(path), mend="update edge")
        return list(value["cases"]), float(value["logprob_unit"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError("cannot be read", where=str(path), mend="install the bundle again") from error


def divergence(
    logits: npt.NDArray[np.float32], top_ids: npt.NDArray[np.int64], source_logprobs: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """KL of each position, [n]. logits: [n, vocab]; top_ids, source_logprobs: [n, k]."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    here = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    here_top = np.take_along_axis(here, top_ids, axis=-1)
    source = np.exp(source_logprobs)
    source_rest = np.maximum(1.0 - source.sum(axis=-1), TINY)
    here_rest = np.maximum(1.0 - np.exp(here_top).sum(axis=-1), TINY)
    listed = (source * (source_logprobs - here_top)).sum(axis=-1)
    result: npt.NDArray[np.float64] = np.maximum(listed + source_rest * np.log(source_rest / here_rest), 0.0)
    return result


def measure_source_fidelity(engine: Engine, golden: GoldenSet, opinions_path: Path) -> SourceFidelity:
    """Read the golden cases once more and compare with the source. Errors: BundleError when they do not fit."""
    opinions, unit = load_opinions(opinions_path)
    by_id = {str(opinion["id"]): opinion for opinion in opinions}
    kls: list[npt.NDArray[np.float64]] = []
    same: list[npt.NDArray[np.bool_]] = []
    for case in golden.cases:
        opinion = by_id.get(case.id)
        positions = len(case.token_ids) - case.first
        if opinion is None or len(opinion["top_ids"]) != positions:
            raise BundleError("does not fit the golden cases", where=str(opinions_path), mend="build the bundle again")
        top_ids = np.asarray(opinion["top_ids"], dtype=np.int64)
        logprobs = np.asarray(opinion["logprobs"], dtype=np.float64) / unit
        engine.rewind(0)
        if case.first:
            engine.forward(case.token_ids[: case.first], (case.first - 1,))
        for start in range(case.first, len(case.token_ids), CHUNK_TOKENS):
            chunk = case.token_ids[start : start + CHUNK_TOKENS]
            logits = engine.forward(chunk, range(len(chunk)))
            rows = slice(start - case.first, start - case.first + len(chunk))
            kls.append(divergence(logits, top_ids[rows], logprobs[rows]))
            same.append(logits.argmax(axis=-1) == top_ids[rows, 0])
    kl, top = np.concatenate(kls), np.concatenate(same).astype(np.float64)
    root = float(np.sqrt(len(kl)))
    return SourceFidelity(len(kl), float(kl.mean()), float(kl.std()) / root, float(top.mean()), float(top.std()) / root)
