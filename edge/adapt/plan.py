"""`edge adapt --dry-run`: what a recipe will train and what it needs, from shapes alone; no weights are opened.

Exact: trainable parameters and the size of the adapter. Estimated, and said to be: memory, steps and time. Tokens are
estimated from words, since the tokenizer comes with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.adapt.batches import Source, TokenExample, schedule
from edge.adapt.examples import Pair, read_pairs
from edge.errors import SpecError
from edge.specs.decoder import DecoderConfig
from edge.specs.recipe import Recipe

TOKENS_PER_WORD = 1.45  # measured on ACI-Bench and DxBench prompts with SmolLM2's tokenizer, punctuation included
TEMPLATE_TOKENS = 5  # a message's role markers
BYTES_PER_TRAINED = 16  # float32 value, gradient and Adam's two moments
NF4_BYTES = 4.5 / 8  # 4 bits and a float32 scale for 64 values (Dettmers et al. 2023, QLoRA)
# A recipe that allows longer sequences keeps no activations: they are computed twice (gradient checkpointing).
LONG_TOKENS_KEPT = 2048
PROCESS_BYTES = 1_000_000_000
ANSWER_SHARE = 0.3
# Measured with SmolLM2-135M (bfloat16, 3,072 tokens a step) on 2 cores of a Xeon with AVX-512; other models by size.
CPU_TOKENS_PER_S, CPU_PARAMETERS = 350.0, 134_515_008
CPU_DAYS_MAX = 3.0


@dataclass(frozen=True)
class AdaptPlan:
    """What training a recipe takes. steps, tokens, hours: None without a data folder."""

    name: str
    base_parameters: int
    trainable_parameters: int
    expert_parameters: int
    adapter_bytes: int
    memory_bytes: int
    tokens_per_step: int
    examples: int | None
    steps: int | None
    tokens: int | None
    tokens_per_s: float
    hours: float | None
    needs_gpu: bool
    trains_here: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def module_shapes(config: DecoderConfig) -> dict[str, tuple[int, int]]:
    """(rows, columns) of a layer's linear modules."""
    hidden, query, kv, inner = config.hidden_size, config.query_size, config.kv_size, config.intermediate_size
    shapes = {"q_proj": (query, hidden), "k_proj": (kv, hidden), "v_proj": (kv, hidden), "o_proj": (hidden, query)}
    if not config.experts:
        shapes |= {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}
    return shapes


def base_parameters(config: DecoderConfig) -> tuple[int, int]:
    """(all, those in linear layers and experts) of the base."""
    hidden, inner = config.hidden_size, config.intermediate_size
    linear = sum(rows * columns for rows, columns in module_shapes(config).values())
    other = 2 * hidden + (2 * config.head_dim if config.qk_norm else 0)
    if config.attention_bias:
        other += config.query_size + 2 * config.kv_size
    if config.experts:
        linear += config.experts * 3 * hidden * inner
        # Router, biases of the experts and of o_proj, attention sinks (gpt-oss).
        other += config.experts * (hidden + 1) + config.experts * (2 * inner + hidden) + hidden + config.heads
    top = config.vocab_size * hidden * (1 if config.tie_embeddings else 2) + hidden
    return config.layers * (linear + other) + top, config.layers * linear


def trainable_parameters(recipe: Recipe, config: DecoderConfig) -> tuple[int, int]:
    """(all, those of expert layers): rank * (rows + columns) of every matrix that gets factors.

    Experts: peft's target_parameters gives each expert factors of its own; gate and up are one matrix of twice the
    width in gpt-oss.
    """
    rank = recipe.adapter.rank
    shapes = module_shapes(config)
    linear = config.layers * sum(rank * sum(shapes[name]) for name in recipe.adapter.module_names(config))
    experts = 0
    if recipe.adapter.experts:
        hidden, inner = config.hidden_size, config.intermediate_size
        layers = config.layers if recipe.adapter.expert_layers is None else len(recipe.adapter.expert_layers)
        experts = layers * config.experts * rank * ((hidden + 2 * inner) + (inner + hidden))
    return linear + experts, experts


def memory_bytes(recipe: Recipe, config: DecoderConfig) -> int:
    """Peak memory, estimated within about a third: base, adapter with its optimiser, activations, logits, process."""
    total, linear = base_parameters(config)
    base = 2.0 * total
    if recipe.training.base_precision == "nf4":
        base = 2.0 * (total - linear) + NF4_BYTES * linear
    trained = BYTES_PER_TRAINED * trainable_parameters(recipe, config)[0]
    hidden, inner = config.hidden_size, config.intermediate_size * max(1, config.experts_per_token)
    step = recipe.training.tokens_per_step
    layer = 2 * (16 * hidden + 6 * inner) + 16 * hidden  # bytes a token keeps in a layer for the way back
    if recipe.training.max_length_tokens > LONG_TOKENS_KEPT:
        activations = config.layers * 2 * hidden * step + layer * step  # each layer is computed twice
    else:
        activations = config.layers * layer * step
    logits = 12 * config.vocab_size * round(ANSWER_SHARE * step)
    return round(base + trained + 1.15 * (activations + logits)) + PROCESS_BYTES


def plan_recipe(recipe: Recipe, data: Path | None, tokens_per_s: float | None) -> AdaptPlan:
    """The plan of a recipe. Errors: SpecError without an architecture, InputError for unreadable data."""
    config = recipe.model.decoder()
    if config is None:
        raise SpecError("key 'model.architecture' is needed for --dry-run", mend="write the keys of its config.json")
    total, _ = base_parameters(config)
    trainable, experts = trainable_parameters(recipe, config)
    speed = tokens_per_s or CPU_TOKENS_PER_S * CPU_PARAMETERS / _active(config, total)
    examples = steps = tokens = None
    hours = None
    if data is not None:
        sources = [
            Source(tuple(_estimated(found, recipe.training.max_length_tokens)), item.epochs)
            for item, found in zip(recipe.data, read_pairs(recipe, recipe.data, data), strict=True)
        ]
        batches = schedule(sources, recipe.training.tokens_per_step, recipe.training.seed)
        examples, steps = sum(len(source.examples) for source in sources), len(batches)
        tokens = sum(example.length for batch in batches for example in batch)
        hours = tokens / speed / 3600
    memory = memory_bytes(recipe, config)
    slow = hours is not None and tokens_per_s is None and hours > 24 * CPU_DAYS_MAX
    trains_here = recipe.training.base_precision == "bfloat16" and not recipe.adapter.experts
    return AdaptPlan(
        name=recipe.name,
        base_parameters=total,
        trainable_parameters=trainable,
        expert_parameters=experts,
        adapter_bytes=2 * trainable,
        memory_bytes=memory,
        tokens_per_step=recipe.training.tokens_per_step,
        examples=examples,
        steps=steps,
        tokens=tokens,
        tokens_per_s=round(speed, 3),
        hours=None if hours is None else round(hours, 2),
        needs_gpu=slow or recipe.training.base_precision == "nf4",
        trains_here=trains_here,
    )


def _active(config: DecoderConfig, total: int) -> float:
    """Parameters that a token passes through."""
    if not config.experts:
        return float(total)
    idle = (config.experts - config.experts_per_token) * 3 * config.hidden_size * config.intermediate_size
    return float(total - config.layers * idle)


def _estimated(pairs: Sequence[Pair], max_length: int) -> list[TokenExample]:
    """Examples of about the right lengths, without their words."""
    made = []
    for pair in pairs:
        words = sum(len(content.split()) for _, content in pair.messages)
        prompt = math.ceil(TOKENS_PER_WORD * words) + TEMPLATE_TOKENS * (len(pair.messages) + 1)
        answer = math.ceil(TOKENS_PER_WORD * len(pair.answer.split())) + 1
        if prompt + answer <= max_length:
            made.append(TokenExample((0,) * prompt, (0,) * answer))
    return made


def render(plan: AdaptPlan, recipe: Recipe) -> str:
    """The plan for a person."""
    experts = f", {plan.expert_parameters:,} of them in expert layers" if plan.expert_parameters else ""
    lines = [
        f"{plan.name}: {recipe.description}",
        f"  base        {plan.base_parameters:,} parameters, {recipe.training.base_precision}, frozen",
        f"  trainable   {plan.trainable_parameters:,} parameters (rank {recipe.adapter.rank}){experts}",
        f"  adapter     {plan.adapter_bytes / 1e6:,.1f} MB in float16",
        f"  memory      about {plan.memory_bytes / 1e9:,.1f} GB (estimate), {plan.tokens_per_step} tokens a step",
    ]
    if plan.steps is None:
        lines.append("  steps       not known: give the data folder with --data")
    else:
        lines.append(f"  steps       about {plan.steps} of {plan.examples} examples, {plan.tokens:,} tokens (estimate)")
        lines.append(f"  time        about {plan.hours:,.1f} h at {plan.tokens_per_s:,.1f} tokens/s")
    if recipe.model.sha256 is None:
        lines.append("  model       not pinned: planned, not trained, until model.sha256 is set")
    if plan.needs_gpu:
        lines.append("  device      a GPU is needed")
    if not plan.trains_here:
        lines.append("  not here    nf4 bases and expert layers are planned, not trained by this edge")
    return "\n".join(lines)
