"""The shape of a decoder: all that plan, export and runtime need to know of a model without its weights.

Read from a Hugging Face ``config.json`` or from GGUF metadata. Nothing here reads weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge.errors import SourceError

NATIVE_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
PLANNED_FAMILIES = (*NATIVE_FAMILIES, "gpt_oss")


@dataclass(frozen=True)
class RopeScaling:
    """Frequency scaling of rotary embeddings.

    kind: "llama3" (Llama 3.1 and later), "linear" or "yarn" (planned only, no native export).
    """

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder-only transformer of the Llama family, dense or mixture of experts.

    Shapes follow Hugging Face: q_proj [heads * head_dim, hidden], k/v_proj [kv_heads * head_dim, hidden],
    o_proj [hidden, heads * head_dim], gate/up_proj [intermediate, hidden], down_proj [hidden, intermediate],
    embed_tokens and lm_head [vocab, hidden].
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    max_positions: int
    tie_embeddings: bool
    rope_scaling: RopeScaling | None = None
    attention_bias: bool = False  # on q, k and v (Qwen2; gpt-oss)
    qk_norm: bool = False  # RMS norm per head before the rotary embedding (Qwen3)
    sliding_window: int | None = None
    sliding_every: int = 1  # 1: every layer slides; 2: every other one (gpt-oss)
    experts: int = 0
    experts_per_token: int = 0
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()

    @property
    def query_size(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        return self.kv_heads * self.head_dim

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, for the manifest."""
        return asdict(self) | {"eos_token_ids": list(self.eos_token_ids)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DecoderConfig:
        """Inverse of to_json."""
        fields = dict(value)
        scaling = fields.pop("rope_scaling", None)
        fields["eos_token_ids"] = tuple(fields.get("eos_token_ids", ()))
        return DecoderConfig(**fields, rope_scaling=RopeScaling(**scaling) if scaling else None)


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(item) for item in value) if isinstance(value, list | tuple) else (int(value),)


def _rope_scaling(raw: Mapping[str, Any] | None, where: str) -> RopeScaling | None:
    if not raw:
        return None
    kind = str(raw.get("rope_type", raw.get("type", "default")))
    if kind == "default":
        return None
    if kind not in ("llama3", "linear", "yarn"):
        raise SourceError(
            f"rope scaling '{kind}' is not known (known: llama3, linear, yarn)",
            where=where,
            mend="use `export: optimum`",
        )
    return RopeScaling(
        kind=kind,
        factor=float(raw.get("factor", 1.0)),
        low_freq_factor=float(raw.get("low_freq_factor", 1.0)),
        high_freq_factor=float(raw.get("high_freq_factor", 4.0)),
        original_max_positions=int(raw.get("original_max_position_embeddings", 8192)),
    )


def decoder_from_hf_config(config: Mapping[str, Any], where: str) -> DecoderConfig:
    """Read a Hugging Face ``config.json`` already parsed.

    Errors: SourceError names the unknown architecture and the known ones, or the missing key.
    """
    family = str(config.get("model_type", "")).replace("-", "_")
    if family not in PLANNED_FAMILIES:
        raise SourceError(
            f"architecture '{family or 'none given'}' is not known (known: {', '.join(PLANNED_FAMILIES)})",
            where=where,
            mend="use `export: optimum` or a model of a known family",
        )
    # transformers 5 writes rope_parameters {rope_theta, rope_type, ...}; 4 writes rope_theta + rope_scaling.
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    theta = config.get("rope_theta", (rope or {}).get("rope_theta", 10000.0))
    try:
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        sliding = config.get("sliding_window")
        if family.startswith("qwen"):
            if config.get("use_sliding_window", False) and sliding:
                # It would slide from max_window_layers on only.
                raise SourceError(
                    "a sliding window in some layers (use_sliding_window) is not known",
                    where=where,
                    mend="use `export: optimum`",
                )
            sliding = None
        return DecoderConfig(
            family=family,
            vocab_size=int(config["vocab_size"]),
            hidden_size=hidden,
            intermediate_size=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            rope_theta=float(theta),
            max_positions=int(config.get("max_position_embeddings", 2048)),
            tie_embeddings=bool(config.get("tie_word_embeddings", family == "qwen3")),
            rope_scaling=_rope_scaling(rope, where),
            attention_bias=bool(config.get("attention_bias", family == "qwen2")),
            qk_norm=family == "qwen3",
            sliding_window=int(sliding) if sliding else None,
            sliding_every=2 if family == "gpt_oss" else 1,
            experts=int(config.get("num_local_experts", 0)),
            experts_per_token=int(config.get("num_experts_per_tok", 0)) if config.get("num_local_experts") else 0,
            bos_token_id=config.get("bos_token_id"),
            eos_token_ids=_ids(config.get("eos_token_id")),
        )
    except KeyError as error:
        raise SourceError(f"key {error} is missing", where=where, mend="fetch the checkpoint again") from error
    except (TypeError, ValueError) as error:
        raise SourceError(f"not a valid config ({error})", where=where, mend="fetch the checkpoint again") from error
