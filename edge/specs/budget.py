"""Budgets: the measured values that decide whether a build passes. A budget of null is not checked."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.specs.yaml_source import Spec, fault

Share = Annotated[float, Field(ge=0, le=1)]


class FidelityBudget(Spec):
    """How far the built model may be from its own fp32 source on the fidelity text.

    mean_kl_max: mean KL divergence of the next-token distributions, in nats. top1_min: share of positions
    with the same most likely token. perplexity_ratio_max: built over source. greedy_agreement_min: share of
    greedily generated tokens that agree.
    """

    mean_kl_max: float | None = Field(default=None, gt=0)
    top1_min: Share | None = None
    perplexity_ratio_max: float | None = Field(default=None, gt=0)
    greedy_agreement_min: Share | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for _, value in self):
            raise fault("", "gives no limit; write null for no fidelity budget")
        return self


class TtftBudget(Spec):
    """Time to the first token of a prompt of `prompt_tokens`, in ms."""

    prompt_tokens: int = Field(ge=1)
    ms: float = Field(gt=0)


class SustainedBudget(Spec):
    """Under load for `seconds`, decode speed stays at `floor_ratio_min` of its start or above."""

    seconds: float = Field(gt=0)
    floor_ratio_min: Share


class ClinicalBudget(Spec):
    """How much worse than its own fp32 source the build may do on a task: non-inferiority, paired by case.

    suite: note, the share of the reference answer's next tokens that are the model's own first choice; differential,
    the share of the right one among the options. margin: how far the lower confidence bound of the mean difference
    (build minus source) may lie below 0, in shares of 1. cases_min: with fewer cases nothing is proven. confidence:
    of the one-sided bound.
    """

    suite: Literal["note", "differential"]
    margin: float = Field(default=0.02, gt=0, lt=1)
    cases_min: int = Field(default=16, ge=8, le=1000)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)


class Budgets(Spec):
    """All limits of a profile."""

    fidelity: FidelityBudget | None = None
    clinical: ClinicalBudget | None = None
    disk_bytes_max: int | None = Field(default=None, gt=0)
    load_ms_max: float | None = Field(default=None, gt=0)
    peak_rss_bytes_max: int | None = Field(default=None, gt=0)
    ttft_ms_max: TtftBudget | None = None
    decode_tokens_per_s_min: float | None = Field(default=None, gt=0)
    prefill_tokens_per_s_min: float | None = Field(default=None, gt=0)
    sustained: SustainedBudget | None = None
