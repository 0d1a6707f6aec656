"""A GGUF file as a checkpoint: llama.cpp's names, row order and metadata turned into Hugging Face's.

llama.cpp's converter interleaves the rows of q and k within each head for its rotary kernel; they are put
back here row by row. Quantised tensors are dequantised by the gguf package, only the rows that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge.build.cache import Cache
from edge.build.checkpoint.base import (
    FETCH_AGAIN,
    Float32,
    ModelSpec,
    check_digest,
    check_tensors,
    decoder_config,
)
from edge.build.checkpoint.gguf_header import GgufHeader, GgufTensor, read_header
from edge.build.checkpoint.rows import Bytes, RowFile, Rows, StoredTensor
from edge.build.gguf_tokenizer import special_tokens, tokenizer_files
from edge.errors import MissingToolError, SourceError
from edge.files import resource_error, sha256_file
from edge.specs.decoder import DecoderConfig

# general.architecture -> whether q and k rows are interleaved. Mistral comes as llama.
ARCHITECTURES: dict[str, bool] = {"llama": True, "qwen2": False, "qwen3": False}

TOP_NAMES: dict[str, str] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES: dict[str, str] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ROPE_FACTORS = "rope_freqs.weight"
# llama3 scaling as published: (low_freq_factor, high_freq_factor, original context). GGUF keeps only the
# resulting factors, so the parameters are recognised, never guessed.
LLAMA3_SCALINGS: tuple[tuple[float, float, int], ...] = ((1.0, 4.0, 8192),)
LLAMA3_TOLERANCE = 1e-4  # the converter computes in float32


class GgufCheckpoint:
    """An open GGUF file; see base.Checkpoint."""

    def __init__(self, path: Path, *, digest: str, license_id: str) -> None:
        self.path, self.digest, self.license = path, digest, license_id
        self._file = RowFile(path)
        try:
            header = read_header(self._file)
            self._metadata = header.metadata
            stored = _locate(self._file, header)
            factors = stored.pop(ROPE_FACTORS, None)
            self.config = self._config(stored, factors)
            self._tensors = self._named(stored)
            shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
            self._names = check_tensors(self.config, shapes, str(path))
        except BaseException:
            self.close()
            raise
        parts = [self._metadata.get(f"general.{key}") for key in ("basename", "size_label")]
        self.base_name = "-".join(part for part in parts if isinstance(part, str))

    def names(self) -> tuple[str, ...]:
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name).shape

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Float32:
        return self._file.read(name, self._tensor(name), start, stop)

    def tokenizer_files(self) -> dict[str, bytes]:
        return tokenizer_files(self._metadata, str(self.path), vocab_size=self.config.vocab_size)

    def close(self) -> None:
        self._file.close()

    def _tensor(self, name: str) -> StoredTensor:
        if name not in self._tensors:
            raise SourceError(f"tensor {name} is missing", where=str(self.path), mend=FETCH_AGAIN)
        return self._tensors[name]

    def _config(self, stored: Mapping[str, StoredTensor], factors: StoredTensor | None) -> DecoderConfig:
        where = str(self.path)
        raw = _hf_config(self._metadata, stored, where)
        if factors is not None:
            if raw["model_type"] != "llama" or "rope_scaling" in raw:
                raise SourceError(
                    f"{ROPE_FACTORS} does not go with this model",
                    where=where,
                    mend="use its Hugging Face folder",
                )
            head_dim = int(raw["head_dim"])
            if factors.shape != (head_dim // 2,):
                raise SourceError(
                    f"{ROPE_FACTORS} has shape {list(factors.shape)} for heads of {head_dim}",
                    where=where,
                    mend=FETCH_AGAIN,
                )
            values = self._file.read(ROPE_FACTORS, factors, 0, None)
            raw["rope_scaling"] = _llama3_scaling(values.tolist(), float(raw["rope_theta"]), where)
        return decoder_config(raw, where)

    def _named(self, stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
        interleaved = ARCHITECTURES[str(self._metadata["general.architecture"])]
        head_dim = self.config.head_dim
        tensors: dict[str, StoredTensor] = {}
        for name, tensor in stored.items():
            new_name = _hf_name(name)
            if interleaved and new_name.rpartition(".")[0].endswith(("q_proj", "k_proj")):
                tensor = StoredTensor(
                    tensor.shape,
                    tensor.offset,
                    tensor.row_bytes,
                    tensor.decode,
                    partial(_interleaved_rows, head_dim=head_dim),
                    head_dim,
                )
            tensors[new_name] = tensor
        return tensors


def open_gguf(spec: ModelSpec, location: str, cache: Cache, base_folder: Path) -> GgufCheckpoint:
    """`gguf:PATH`, relative to `base_folder`. The digest is checked before the file is parsed."""
    path = base_folder / location
    try:
        digest = sha256_file(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceError("is not a file", where=str(path), mend="check the path of model.source") from error
    except OSError as error:
        raise resource_error(error, str(path)) from error
    check_digest(digest, spec.sha256, str(path))
    return GgufCheckpoint(path, digest=digest, license_id=spec.license)


def _quants() -> tuple[ModuleType, ModuleType]:
    try:
        from gguf import constants, quants
    except ImportError as error:
        raise MissingToolError(
            "the gguf package is not installed", mend="install edge-kit[build] to build from a GGUF"
        ) from error
    return constants, quants


def _interleaved_rows(rows: Rows, head_dim: int) -> Rows:
    """Hugging Face row (head, half i, pair j) lies in the file as (head, pair j, half i)."""
    within = rows % head_dim
    half, pair = within // (head_dim // 2), within % (head_dim // 2)
    return rows - within + 2 * pair + half


def _hf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in TOP_NAMES:
        return f"{TOP_NAMES[stem]}.{kind}"
    parts = stem.split(".", 2)
    if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal() and parts[2] in LAYER_NAMES:
        return f"model.layers.{int(parts[1])}.{LAYER_NAMES[parts[2]]}.{kind}"
    return name  # check_tensors names it as one that does not belong


def _locate(file: RowFile, header: GgufHeader) -> dict[str, StoredTensor]:
    """Place, row size and decoder of every tensor, each within the file and none over another."""
    constants, quants = _quants()
    located: dict[str, StoredTensor] = {}
    decoders: dict[int, tuple[int, int, Callable[[Bytes], Float32]]] = {}
    end, before = 0, ""
    for name, tensor in sorted(header.tensors.items(), key=lambda item: item[1].offset):
        if tensor.type_number not in decoders:
            decoders[tensor.type_number] = _decoder(file, name, tensor, constants, quants)
        block_values, block_bytes, decode = decoders[tensor.type_number]
        shape = tensor.shape
        row_values = shape[-1] if len(shape) > 1 else 1
        if row_values % block_values:
            raise SourceError(
                f"is corrupt: tensor {name} of shape {list(shape)} does not fill blocks of {block_values}",
                where=str(file.path),
                mend=FETCH_AGAIN,
            )
        row_bytes = prod(shape[1:]) // block_values * block_bytes
        if tensor.offset < end:
            raise SourceError(f"is corrupt: tensor {name} lies over {before}", where=str(file.path), mend=FETCH_AGAIN)
        end, before = tensor.offset + shape[0] * row_bytes, name
        if end > file.size_bytes:
            raise file.truncated(f"tensor {name}", end)
        located[name] = StoredTensor(shape, tensor.offset, row_bytes, decode)
    return located


def _decoder(
    file: RowFile, name: str, tensor: GgufTensor, constants: ModuleType, quants: ModuleType
) -> tuple[int, int, Callable[[Bytes], Float32]]:
    """(values, bytes) of a block and the function that decodes rows of blocks."""
    label = str(tensor.type_number)
    try:
        kind = constants.GGMLQuantizationType(tensor.type_number)
        label = kind.name
        block_values, block_bytes = constants.GGML_QUANT_SIZES[kind]
        decode: Callable[[Bytes], Float32] = partial(quants.dequantize, qtype=kind)
        if decode(np.zeros((1, block_bytes), dtype=np.uint8)).dtype != np.float32:
            raise NotImplementedError
    except (ValueError, KeyError, NotImplementedError) as error:
        raise SourceError(
            f"tensor {name} has type {label}, which cannot be dequantised here",
            where=str(file.path),
            mend="use the model's Q8_0, F16 or BF16 file",
        ) from error
    return int(block_values), int(block_bytes), decode


def _hf_config(metadata: Mapping[str, Any], stored: Mapping[str, StoredTensor], where: str) -> dict[str, Any]:
    """The metadata as a Hugging Face config. Errors: SourceError for what it cannot say."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise SourceError(
            f"architecture '{architecture}' is not known (known: {', '.join(ARCHITECTURES)})",
            where=where,
            mend="use `export: optimum` or a model of a known family",
        )
    if metadata.get("general.type", "model") != "model":
        raise SourceError(
            f"is a GGUF of type '{metadata['general.type']}'",
            where=where,
            mend="use the file of the model itself",
        )
    if metadata.get("split.count", 0) not in (0, 1):
        raise SourceError(
            "is one part of a split GGUF", where=where, mend="join the parts with `llama-gguf-split --merge`"
        )

    def number(key: str, default: float | None = None) -> Any:
        value = metadata.get(f"{architecture}.{key}", default)
        if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
            raise SourceError(f"metadata {architecture}.{key} is {value!r}", where=where, mend=FETCH_AGAIN)
        return value

    if number("expert_count", 0):
        raise SourceError(
            f"architecture '{architecture}' with experts has no native build",
            where=where,
            mend="use `export: optimum` or a model without experts",
        )
    embedding = stored.get("token_embd.weight")
    if embedding is None:
        raise SourceError("tensor token_embd.weight is missing", where=where, mend=FETCH_AGAIN)
    hidden, heads = number("embedding_length"), number("attention.head_count")
    head_dim = number("attention.key_length", hidden // max(heads, 1))
    for key in ("attention.value_length", "rope.dimension_count"):
        if number(key, head_dim) != head_dim:
            raise SourceError(
                f"{architecture}.{key} is {number(key)} but heads have {head_dim} values",
                where=where,
                mend="use `export: optimum` for this model",
            )
    specials = special_tokens(metadata, where)
    config: dict[str, Any] = {
        "model_type": architecture,
        "vocab_size": embedding.shape[0],
        "hidden_size": hidden,
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "rope_theta": number("rope.freq_base", 10000.0),
        "max_position_embeddings": number("context_length"),
        "tie_word_embeddings": "output.weight" not in stored,
        "attention_bias": "blk.0.attn_q.bias" in stored,
        "bos_token_id": specials.bos_token_id,
        "eos_token_id": list(specials.eos_token_ids),
    }
    if number("attention.sliding_window", 0):
        config |= {"sliding_window": number("attention.sliding_window"), "use_sliding_window": True}
    kind = metadata.get(f"{architecture}.rope.scaling.type", "none")
    factor = number("rope.scaling.factor", number("rope.scale_linear", 1.0))
    if kind != "none" or factor not in (0, 1):
        config["rope_scaling"] = {
            "rope_type": "linear" if kind == "none" else str(kind),
            "factor": factor,
            "original_max_position_embeddings": number("rope.scaling.original_context_length", 8192),
        }
    return config


def _llama3_scaling(factors: list[float], theta: float, where: str) -> dict[str, Any] | None:
    """The llama3 parameters whose factors these are; None if they are all 1. Errors: SourceError."""
    factor = float(np.format_float_scientific(np.float32(max(factors)), unique=True))
    if all(value == 1.0 for value in factors):
        return None
    for low, high, original in LLAMA3_SCALINGS:
        wanted = _llama3_factors(len(factors), theta, factor, low, high, original)
        if all(abs(a / b - 1.0) <= LLAMA3_TOLERANCE for a, b in zip(factors, wanted, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    raise SourceError(
        f"{ROPE_FACTORS} is not a known llama3 scaling (known low, high, context: "
        f"{'; '.join(str(scaling) for scaling in LLAMA3_SCALINGS)})",
        where=where,
        mend="use the Hugging Face folder of the model, whose config.json names it",
    )


def _llama3_factors(count: int, theta: float, factor: float, low: float, high: float, original: int) -> list[float]:
    """What the converter stores: by how much each rotary frequency is divided."""
    factors = []
    for index in range(count):
        turns = original * theta ** (-index / count) / (2 * math.pi)  # full turns within the original context
        if turns > high:
            factors.append(1.0)
        elif turns < low:
            factors.append(factor)
        else:
            smooth = (turns - low) / (high - low)
            factors.append(1.0 / ((1.0 - smooth) / factor + smooth))
    return factors
