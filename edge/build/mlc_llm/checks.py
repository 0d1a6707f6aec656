"""Numbers against numbers: the shards' weights beside the source's, golden cases and fidelity of these weights.

Rounding to 4 bits moves a weight by at most half a step of its group, so any permuted, shifted or wrong matrix shows
in a sample of its rows. An adapter that was not merged can hide below half a step; it shows when the difference of
the built weights from the base is projected on the adapter's own change: 1 for a merge, 0 for none.

Golden cases and fidelity are computed by reference.py from the weights in the shards. They speak of the weights that
ship; the kernels of the device are judged on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.build.fidelity import GREEDY_PROMPT_TOKENS, Fidelity, score, summarise
from edge.build.golden import CASES_FILE, LOGPROB_UNIT, RULE, SOURCE_FILE, expected_of, json_bytes, opinion_of
from edge.build.mlc_llm.choices import GROUP_SIZE, Mode
from edge.build.mlc_llm.shards import ShardModel
from edge.build.reference import Reference, WeightSource, read_layer
from edge.errors import SourceError

Float64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

SAMPLE_ROWS = 32  # at the start, in the middle and at the end of every tensor
HALF_STEP = 1 / 14  # of a group's largest weight: 15 codes from -7 to 7
# bfloat16 scales move a weight of 7 steps by 2^-9 of itself; a merge that was saved as bfloat16 by as much again.
SLACK = 2.0**-7
SMALLEST = {"float16": 2.0**-20, "float32": 1e-30}  # where float16 scales have few bits left
ADAPTER_SHARE = (0.5, 1.5)
ADAPTER_SURE = 0.1  # standard error of that share up to which it decides
SCORE_ROWS = 256
GREEDY_NEW_TOKENS = 8


def compare_weights(source: WeightSource, built: ShardModel, mode: Mode) -> dict[str, Any]:
    """Every tensor's sampled rows within what the mode may move them.

    Returns {"tensors", "worst_relative_error", "worst_tensor"}. Errors: SourceError names the first tensor off.
    """
    worst, worst_name = 0.0, ""
    for name in source.names():
        for start, stop in sample_rows(source.shape(name)[0]):
            wanted = source.read(name, start, stop).astype(np.float64)
            error = np.abs(built.read(name, start, stop).astype(np.float64) - wanted)
            if not (error <= _bound(wanted, mode)).all():  # this way round, not-a-number fails
                raise SourceError(
                    f"tensor {name} reads back otherwise than the source (rows {start} to {stop - 1} are off by up to "
                    f"{float(error.max()):.3g})",
                    mend="install another version of mlc_llm; these weights are of another model, order or adapter",
                )
            relative = float(np.sqrt((error**2).sum() / max(float((wanted**2).sum()), 1e-30)))
            if relative > worst:
                worst, worst_name = relative, name
    return {"tensors": len(source.names()), "worst_relative_error": round(worst, 5), "worst_tensor": worst_name}


def sample_rows(rows: int) -> list[tuple[int, int]]:
    """Stretches of rows that are compared; all rows of a small tensor."""
    if rows <= 3 * SAMPLE_ROWS:
        return [(0, rows)]
    middle = rows // 2
    return [(0, SAMPLE_ROWS), (middle, middle + SAMPLE_ROWS), (rows - SAMPLE_ROWS, rows)]


def _bound(wanted: Float64, mode: Mode) -> Float64:
    """How far each weight may lie from the source's."""
    tiny = SMALLEST[mode.dtype]
    if wanted.ndim == 1 or not mode.grouped:
        plain: Float64 = np.abs(wanted) * SLACK + tiny
        return plain
    rows, columns = wanted.shape
    groups = -(-columns // GROUP_SIZE)
    padded = np.zeros((rows, groups * GROUP_SIZE))
    padded[:, :columns] = np.abs(wanted)
    largest = padded.reshape(rows, groups, GROUP_SIZE).max(axis=-1)
    bound: Float64 = np.repeat(largest * (HALF_STEP + SLACK) + tiny, GROUP_SIZE, axis=1)[:, :columns]
    return bound


def check_adapter(base: WeightSource, merged: WeightSource, built: ShardModel) -> dict[str, Any]:
    """Is the adapter in the built weights, once and whole? Sampled rows of every tensor that it changes.

    Returns {"share", "standard_error"}; the share is not judged where rounding hides it (a tiny adapter).
    Errors: SourceError when it is not about 1.
    """
    along, square, noise = 0.0, 0.0, 0.0
    for name in merged.names():
        for start, stop in sample_rows(merged.shape(name)[0]):
            before = base.read(name, start, stop).astype(np.float64)
            change = merged.read(name, start, stop).astype(np.float64) - before
            if not change.any():
                continue
            difference = built.read(name, start, stop).astype(np.float64) - before
            along += float((difference * change).sum())
            square += float((change**2).sum())
            noise += float(((difference - change) ** 2 * change**2).sum())
    if square == 0.0:
        return {"share": None, "standard_error": None}
    share = along / square
    # Were it not merged, its own change would be the rest; that is no noise.
    error = float(np.sqrt(noise)) / square
    low, high = ADAPTER_SHARE
    if error <= ADAPTER_SURE and not low <= share <= high:
        raise SourceError(
            f"the adapter is not in the built weights as it should be ({share:.2f} of its change, 1 is right)",
            mend="install another version of mlc_llm, or merge the adapter with peft and name the merged folder",
        )
    return {"share": round(share, 4), "standard_error": round(error, 5)}


def _states(source: WeightSource, sequences: Sequence[Sequence[int]], progress: Progress | None) -> Float64:
    """Hidden states after the last layer, [tokens, hidden]."""
    reference = Reference(source, sequences)
    hidden = reference.embed()
    for layer in range(source.config.layers):
        if progress:
            progress("fidelity", layer, source.config.layers)
        hidden = reference.layer(hidden, read_layer(source, layer))
    return hidden


def golden_of_weights(
    source: WeightSource, built: WeightSource, sequences: Sequence[tuple[str, list[int], int]]
) -> dict[str, bytes]:
    """File name -> content for the bundle's golden/ folder, as golden.make_golden, from the weights alone."""
    ids = [tokens for _, tokens, _ in sequences]
    scored = np.concatenate([np.arange(len(tokens)) >= first for (_, tokens, first) in sequences])
    logits = {
        key: Reference(model, ids).logits(_states(model, ids, None)[scored])
        for key, model in (("source", source), ("built", built))
    }
    cases, opinions, start = list[dict[str, Any]](), list[dict[str, Any]](), 0
    for name, tokens, first in sequences:
        stop = start + len(tokens) - first
        cases.append({"id": name, "token_ids": tokens, "from": first, **expected_of(logits["built"][start:stop])})
        opinions.append({"id": name, "from": first, **opinion_of(logits["source"][start:stop])})
        start = stop
    return {
        CASES_FILE: json_bytes({"schema_version": 1, "rule": RULE, "cases": cases}),
        SOURCE_FILE: json_bytes({"schema_version": 1, "logprob_unit": LOGPROB_UNIT, "cases": opinions}),
    }


def fidelity_of_weights(
    source: WeightSource, built: WeightSource, sequences: Sequence[Sequence[int]], progress: Progress | None = None
) -> Fidelity:
    """Score the built weights against the source's, both by reference.py; as fidelity.measure_fidelity.

    Without an engine every written token costs a pass over all before it, so GREEDY_NEW_TOKENS are few.
    """
    greedy = _written([list(sequence[:GREEDY_PROMPT_TOKENS]) for sequence in sequences], built)
    said = _states(source, [*sequences, *greedy], progress)
    made = _states(built, sequences, progress)
    speaks, answers = Reference(source, sequences), Reference(built, sequences)
    scores, agreements, start = [], list[Float64](), 0
    for sequence in sequences:
        for first in range(0, len(sequence), SCORE_ROWS):
            count = len(sequence[first : first + SCORE_ROWS])
            rows = slice(start + first, start + first + count)
            built_logits = answers.logits(made[rows]).astype(np.float32)
            scores.append(score(speaks.logits(said[rows]), built_logits, sequence[first + 1 : first + 1 + count]))
        start += len(sequence)
    for prompt, written in zip(sequences, greedy, strict=True):
        first = min(GREEDY_PROMPT_TOKENS, len(prompt))
        states = said[start + first - 1 : start + len(written) - 1]
        start += len(written)
        same = speaks.logits(states).argmax(axis=-1) == np.asarray(written[first:])
        agreements.append(same.astype(np.float64))
    return summarise(scores, agreements)


def _written(prompts: Sequence[Sequence[int]], built: WeightSource) -> list[list[int]]:
    """The prompts and what these weights write after them, all sequences side by side."""
    texts = [list(prompt) for prompt in prompts]
    for _ in range(GREEDY_NEW_TOKENS):
        ends = np.cumsum([len(text) for text in texts]) - 1
        logits = Reference(built, texts).logits(_states(built, texts, None)[ends])
        for text, row in zip(texts, logits, strict=True):
            text.append(int(row.argmax()))
    return texts
