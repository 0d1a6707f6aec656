"""What a checkpoint is to the build: named float32 tensors read row by row, a config, a tokenizer, a digest.

Nothing here maps a file into memory or reads a whole one: the build's peak memory is budgeted by its largest
tensor slice, and mapped pages would count as resident.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.build.cache import canonical_json
from edge.errors import SourceError
from edge.files import resource_error
from edge.specs.decoder import NATIVE_FAMILIES, DecoderConfig, decoder_from_hf_config

Float32 = npt.NDArray[np.float32]

FETCH_AGAIN = "fetch it again"
TOKENIZER_FILE = "tokenizer.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
SPECIAL_TOKENS_FILE = "special_tokens.json"


class ModelSpec(Protocol):
    """The `model` part of a profile, as far as a checkpoint needs it."""

    @property
    def source(self) -> str: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def file(self) -> str | None: ...
    @property
    def license(self) -> str: ...


class Checkpoint(Protocol):
    """An open model. Tensor names and shapes are those of Hugging Face's Llama family."""

    @property
    def config(self) -> DecoderConfig: ...

    @property
    def digest(self) -> str:
        """Hex sha256 over the content: the same model has the same digest wherever it lies."""
        ...

    @property
    def license(self) -> str:
        """SPDX expression from the profile."""
        ...

    @property
    def base_name(self) -> str:
        """The model's own name as its source tells it, '' if it does not; 'org/name' is exact."""
        ...

    def names(self) -> tuple[str, ...]:
        """Every tensor, in the order of the forward pass; lm_head.weight only if it is not tied."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor. Errors: SourceError if there is none of that name."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Float32:
        """Rows start..stop of a tensor, [rows, ...] float32; only those rows are read from the disk.

        Errors: SourceError if the file ends early or a value is not finite.
        """
        ...

    def tokenizer_files(self) -> dict[str, bytes]:
        """tokenizer.json, chat_template.jinja and special_tokens.json. Cheap: call it before the export.

        Errors: SourceError if one is missing or does not fit the model.
        """
        ...

    def close(self) -> None:
        """Close the files. Idempotent."""
        ...


@dataclass(frozen=True)
class SpecialTokens:
    """What starts a text and what ends an answer; `eos_token_ids` has the one of `eos_token` first."""

    bos_token: str | None
    eos_token: str | None
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    add_bos: bool

    def to_bytes(self) -> bytes:
        """Canonical JSON, as it lies in the bundle."""
        return canonical_json(
            {
                "bos_token": self.bos_token,
                "eos_token": self.eos_token,
                "bos_token_id": self.bos_token_id,
                "eos_token_ids": list(self.eos_token_ids),
                "add_bos": self.add_bos,
            }
        )


def eos_order(primary: int | None, others: Iterable[int]) -> tuple[int, ...]:
    """The end tokens with the primary one first and the rest by number, each once."""
    rest = sorted(set(others) - {primary})
    return (primary, *rest) if primary is not None else tuple(rest)


def check_digest(actual: str, wanted: str | None, where: str) -> None:
    """Refuse a source that is not what the profile pinned, or that it did not pin."""
    if not wanted:
        raise SourceError("is not pinned by a digest", where=where, mend=f"set its sha256 to {actual}")
    if actual != wanted.lower():
        raise SourceError(
            f"is not what the profile pins (sha256 {actual}, pinned {wanted})",
            where=where,
            mend="fetch it again, or pin the new digest if the change is meant",
        )


def read_bytes(path: Path) -> bytes:
    """A small file of a source, whole. Errors: SourceError if it is missing, ResourceError else."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceError("is missing", where=str(path), mend=FETCH_AGAIN) from error
    except OSError as error:
        raise resource_error(error, str(path)) from error


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Errors: SourceError."""
    try:
        value = json.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"is not valid JSON ({error})", where=str(path), mend=FETCH_AGAIN) from error
    if not isinstance(value, dict):
        raise SourceError("is not a JSON object", where=str(path), mend=FETCH_AGAIN)
    return value


def decoder_config(config: Mapping[str, Any], where: str) -> DecoderConfig:
    """A DecoderConfig whose sizes are possible. Errors: SourceError."""
    if "quantization_config" in config:
        raise SourceError(
            "the checkpoint is already quantised",
            where=where,
            mend="use its bf16, f16 or f32 version, or a GGUF",
        )
    try:
        decoder = decoder_from_hf_config(config, where)
    except (ArithmeticError, AttributeError) as error:
        raise SourceError(f"not a valid config ({error})", where=where, mend=FETCH_AGAIN) from error
    if decoder.family not in NATIVE_FAMILIES or decoder.experts:
        kind = f"architecture '{decoder.family}'" + (" with experts" if decoder.experts else "")
        raise SourceError(
            f"{kind} has no native build (known: {', '.join(NATIVE_FAMILIES)})",
            where=where,
            mend="use `export: optimum` or a model of a known family",
        )
    if not (0 < decoder.rms_norm_eps < 1 and 0 < decoder.rope_theta < float("inf")):
        raise SourceError(
            f"rms_norm_eps {decoder.rms_norm_eps} or rope_theta {decoder.rope_theta} is impossible",
            where=where,
            mend=FETCH_AGAIN,
        )
    for key in ("vocab_size", "hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "head_dim"):
        if getattr(decoder, key) < 1:
            raise SourceError(f"{key} is {getattr(decoder, key)}", where=where, mend=FETCH_AGAIN)
    if decoder.heads % decoder.kv_heads or decoder.head_dim % 2:
        raise SourceError(
            f"{decoder.heads} heads of {decoder.head_dim} do not go with {decoder.kv_heads} key-value heads",
            where=where,
            mend=FETCH_AGAIN,
        )
    return decoder


def expected_tensors(config: DecoderConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every tensor of the family, in the order of the forward pass."""
    hidden, query, kv = config.hidden_size, config.query_size, config.kv_size
    yield "model.embed_tokens.weight", (config.vocab_size, hidden)
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        for name, rows in (("q", query), ("k", kv), ("v", kv)):
            yield f"{prefix}self_attn.{name}_proj.weight", (rows, hidden)
            if config.attention_bias:
                yield f"{prefix}self_attn.{name}_proj.bias", (rows,)
        if config.qk_norm:
            yield prefix + "self_attn.q_norm.weight", (config.head_dim,)
            yield prefix + "self_attn.k_norm.weight", (config.head_dim,)
        yield prefix + "self_attn.o_proj.weight", (hidden, query)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "mlp.gate_proj.weight", (config.intermediate_size, hidden)
        yield prefix + "mlp.up_proj.weight", (config.intermediate_size, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, config.intermediate_size)
    yield "model.norm.weight", (hidden,)
    if not config.tie_embeddings:
        yield "lm_head.weight", (config.vocab_size, hidden)


def check_tensors(config: DecoderConfig, stored: Mapping[str, tuple[int, ...]], where: str) -> tuple[str, ...]:
    """All expected tensors are stored in the expected shapes, and no others. Returns their names in order.

    A tensor that would be dropped in silence (a bias, an expert) makes another model, so it is an error.
    """
    names: list[str] = []
    for name, shape in expected_tensors(config):  # lazily: an absurd layer count ends at its first gap
        if name not in stored:
            raise SourceError(f"tensor {name} is missing", where=where, mend=FETCH_AGAIN)
        if stored[name] != shape:
            raise SourceError(
                f"tensor {name} has shape {list(stored[name])}, the config asks for {list(shape)}",
                where=where,
                mend="use the config and the weights of one model",
            )
        names.append(name)
    extra = sorted(set(stored) - set(names))
    if extra:
        raise SourceError(
            f"tensor {extra[0]} is not part of the {config.family} family ({len(extra)} such)",
            where=where,
            mend="use `export: optimum` for this model",
        )
    return tuple(names)
