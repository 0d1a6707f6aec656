"""One score for each candidate of a case, by the likelihoods that a variant asks for and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.clinical.conditions import Fit
from edge.clinical.differential_prompt import completion, differential_messages, findings_completion, findings_messages
from edge.clinical.scoring import (
    Likelihoods,
    Reader,
    ScoringVariant,
    chat_ids,
    combine,
    score_continuations,
    spoken_ids,
)
from edge.errors import InputError


def candidate_scores(
    reader: Reader, case_text: str, names: Sequence[str], fits: Mapping[str, Fit | None], variant: ScoringVariant
) -> tuple[dict[str, float], int]:
    """(score of each name, percent of the text that was read when it had to be cut, else 0)."""
    if not names:
        return {}, 0
    spoken = [spoken_ids(reader.tokenizer, completion(name), end_token=variant.end_token) for name in names]
    listed = list(names) if variant.listed else []
    room = reader.engine.context_tokens - max(map(len, spoken))
    text = _fitting(reader, case_text, listed, room)
    zeros = [0.0] * len(names)

    def sums(case: str, among: Sequence[str]) -> list[float]:
        ids = chat_ids(reader.tokenizer, differential_messages(case, among))
        return [float(row.sum()) for row in score_continuations(reader.engine, ids, spoken)]

    direct = sums(text, listed) if variant.direct_weight else zeros
    prior = sums("", listed) if variant.prior_weight else zeros
    unlisted = zeros
    if variant.open_weight:
        unlisted = [found - before for found, before in zip(sums(text, ()), sums("", ()), strict=True)]
    channel = _channel(reader, text, names) if variant.channel_weight else zeros
    # A condition that no table knows is neither favoured nor punished for it.
    known = [fit.likeness for name in names if (fit := fits.get(name))]
    neutral = sum(known) / len(known) if known else 0.0
    scores = {}
    for index, name in enumerate(names):
        fit = fits.get(name)
        table = fit.likeness if fit else neutral
        one = Likelihoods(direct[index], len(spoken[index]), prior[index], channel[index], table, unlisted[index])
        scores[name] = combine(one, variant)
    return scores, 0 if text == case_text else max(1, round(100 * len(text) / len(case_text)))


def _channel(reader: Reader, text: str, names: Sequence[str]) -> list[float]:
    told = spoken_ids(reader.tokenizer, findings_completion(text))
    prompts = [chat_ids(reader.tokenizer, findings_messages(name)) for name in names]
    told = told[: reader.engine.context_tokens - max(map(len, prompts))]
    return [float(score_continuations(reader.engine, ids, [told])[0].sum()) for ids in prompts]


def _fitting(reader: Reader, text: str, listed: Sequence[str], room: int) -> str:
    """The text, its end left out until the prompt fits. Errors: InputError when not even the candidates fit."""
    if len(chat_ids(reader.tokenizer, differential_messages("", listed))) > room:
        raise InputError("the candidates do not fit into the model's context", mend="give fewer candidates")
    while len(chat_ids(reader.tokenizer, differential_messages(text, listed))) > room:
        text = text[: len(text) * 9 // 10].rsplit(" ", 1)[0] if len(text) > 20 else ""
    return text
