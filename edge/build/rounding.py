"""The stages that decide how weights are rounded: calibrated rounding, and the layers that stay at 8 bits.

Both are kept in the cache under what they were computed from (model, text, formats, version of the method), so
a second build of the same model takes seconds here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.build.calibrate import ROUNDING_VERSION, LayerCost, RoundedStore, calibrate, stored_layer
from edge.build.graph import matrix_name
from edge.build.mixed import SAFETY, choose
from edge.build.reference import MATRICES, Reference, log_softmax
from edge.build.state import Build
from edge.build.texts import SEQUENCE_TOKENS, visit_sample
from edge.specs.profile import locate

# For the choice of layers: this many sequences that GPTQ has not seen, the plain ones cut to so many tokens.
CHOICE_SEQUENCES = 3
CHOICE_PLAIN_TOKENS = 192
SCORE_TOKENS = 256  # scored at once, against the memory of [tokens, vocabulary]


def stage_round(build: Build) -> dict[str, Any]:
    """Calibrated rounding and sensitivities; from the cache when the same was computed before."""
    quantisation = build.profile.quantisation
    search = quantisation.scheme == "mixed" and quantisation.int8_layers is None
    gptq = quantisation.rounding == "gptq" and quantisation.scheme != "int8"
    if quantisation.scheme == "none" or not (gptq or search):
        return {"rounding": "rtn" if quantisation.scheme != "none" else "none"}
    text = quantisation.calibration or build.profile.fidelity_text
    whole = visit_sample(
        locate(build.profile_path, text.text), build.tokenizer, text.tokens + CHOICE_SEQUENCES * SEQUENCE_TOKENS
    )
    build.calibration, build.choice_text = whole.split(text.tokens)
    formats = [build.format(4), build.format(8)] if quantisation.scheme == "mixed" else [build.format(4)]
    build.rounded_key = {
        "version": ROUNDING_VERSION,
        "model": build.rounding_source.digest,
        "tokens": hashlib.sha256(repr(build.calibration.sequences).encode()).hexdigest(),
        "gptq": gptq,
        "formats": [[item.bits, item.block_size, item.symmetric] for item in formats],
    }
    cache = build.rounding_cache or build.cache
    entry = cache.find("rounded", build.rounded_key)
    reused = entry is not None
    if entry is None:
        sequences = build.calibration.sequences

        def fill(folder: Path) -> dict[str, Any]:
            store = RoundedStore(folder)
            costs = calibrate(build.rounding_source, sequences, formats, store, gptq=gptq, progress=build.progress)
            (folder / "costs.json").write_text(json.dumps([vars(cost) for cost in costs]))
            return build.rounded_key

        entry = cache.store("rounded", fill)
    build.rounded = RoundedStore(entry.folder)
    build.costs = [LayerCost(**item) for item in json.loads(entry.path("costs.json").read_text())]
    return {"rounding": "gptq" if gptq else "rtn", "tokens": build.calibration.tokens, "from_cache": reused}


def stage_choose(build: Build) -> dict[str, Any]:
    """For `mixed`: the layers that stay at 8 bits."""
    quantisation = build.profile.quantisation
    if quantisation.scheme != "mixed":
        return {}
    if quantisation.int8_layers is not None:
        build.int8_layers = quantisation.int8_layers
        return {"int8_layers": list(build.int8_layers), "chosen_by": "profile"}
    budget = build.profile.budgets.fidelity
    limit = budget.mean_kl_max if budget is not None and budget.mean_kl_max is not None else 0.05
    key = build.rounded_key | {
        "mean_kl_max": limit,
        "safety": SAFETY,
        "sequences": [list(ids) for ids in _choice_sequences(build)],
    }
    cache = build.rounding_cache or build.cache
    entry = cache.find("choice", key)
    if entry is None:

        def fill(folder: Path) -> dict[str, Any]:
            choice = choose(build.costs, limit, _kl_measure(build))
            (folder / "choice.json").write_text(json.dumps(vars(choice)))
            return key

        entry = cache.store("choice", fill)
    choice = json.loads(entry.path("choice.json").read_text())
    build.int8_layers = tuple(choice["int8_layers"])
    return {"int8_layers": list(build.int8_layers), "mean_kl": choice["mean_kl"], "chosen_by": "measurement"}


def _choice_sequences(build: Build) -> list[tuple[int, ...]]:
    """Text to choose layers on; where the folder has no more than the calibration took, that."""
    unseen = build.choice_text.sequences if build.choice_text is not None else ()
    seen = build.calibration.sequences if build.calibration is not None else ()
    controls = build.tokenizer.control_ids
    return [
        ids if not controls.isdisjoint(ids) else ids[:CHOICE_PLAIN_TOKENS]
        for ids in (unseen or seen)[:CHOICE_SEQUENCES]
    ]


def _kl_measure(build: Build) -> Callable[[frozenset[int]], float]:
    """Mean KL of a mix on part of the calibration text, in host-independent arithmetic."""
    store = build.rounded
    if store is None:
        raise ValueError("choose needs a calibrated rounding")
    source = build.rounding_source
    reference = Reference(source, _choice_sequences(build))
    source_states = reference.run()
    low, high = build.format(4), build.format(8)
    steps = 0

    def measure(raised: frozenset[int]) -> float:
        nonlocal steps
        steps += 1
        build.progress("choose", steps, 6)
        names = {matrix_name(layer, matrix) for layer in raised for matrix in MATRICES}
        hidden = reference.run(
            lambda layer: stored_layer(source, store, lambda name: high if name in names else low, layer)
        )
        total = 0.0
        for start in range(0, len(hidden), SCORE_TOKENS):
            # The source's logits are computed again each time: kept, they would be the build's largest matrix.
            rows = slice(start, start + SCORE_TOKENS)
            both = log_softmax(reference.logits(np.concatenate([source_states[rows], hidden[rows]])))
            ours, mixed = np.split(both, 2)
            total += float((np.exp(ours) * (ours - mixed)).sum())
        # Six digits: log's last bits may differ between hosts, the comparison with the budget may not.
        return round(total / len(hidden), 6)

    return measure
