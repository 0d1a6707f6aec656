"""The source model's own forward pass in host-independent arithmetic, one layer at a time.

It serves three jobs of the build that must not depend on the host: calibration (inputs of every matrix),
the choice of layers for mixed precision, and the golden expectations that travel in the bundle. It holds one
layer's weights at a time, so its memory is the largest layer's, not the model's.

All products go through exact.py; agreement with float32 frameworks is about 1e-4 in the logits (tested
against transformers).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.build import exact
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig

Float64 = npt.NDArray[np.float64]
Collect = Callable[[str, Float64], None]

# The matrices of a layer as the graph multiplies them: q, k and v in one, gate and up in one.
MATRICES = ("qkv", "o", "gate_up", "down")
_PARTS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
HEAD_ROWS = 8192
LOG_SOFTMAX_ROWS = 16  # a few rows of the vocabulary stay in the cache
WORKERS = min(8, len(os.sched_getaffinity(0)))
_POOL = ThreadPoolExecutor(WORKERS, thread_name_prefix="reference")


class WeightSource(Protocol):
    """The part of a checkpoint that the forward pass reads."""

    @property
    def config(self) -> DecoderConfig: ...

    def names(self) -> tuple[str, ...]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class LayerWeights:
    """One decoder layer. matrices: name in MATRICES -> [out, in]; vectors are float32."""

    matrices: dict[str, npt.NDArray[np.floating]]
    input_norm: npt.NDArray[np.float32]
    post_norm: npt.NDArray[np.float32]
    qkv_bias: npt.NDArray[np.float32] | None = None
    q_norm: npt.NDArray[np.float32] | None = None
    k_norm: npt.NDArray[np.float32] | None = None

    def with_matrix(self, name: str, matrix: npt.NDArray[np.floating]) -> LayerWeights:
        return replace(self, matrices={**self.matrices, name: matrix})


def matrix_parts(layer: int, matrix: str) -> tuple[str, ...]:
    """Checkpoint tensors that make up one matrix of the graph, in row order."""
    return tuple(f"model.layers.{layer}.{part}.weight" for part in _PARTS[matrix])


def read_layer(source: WeightSource, layer: int) -> LayerWeights:
    """Read one layer whole."""
    prefix = f"model.layers.{layer}"
    names = set(source.names())

    def optional(name: str) -> npt.NDArray[np.float32] | None:
        return source.read(f"{prefix}.{name}") if f"{prefix}.{name}" in names else None

    biases = [optional(f"{part}.bias") for part in _PARTS["qkv"]]
    present = [bias for bias in biases if bias is not None]
    return LayerWeights(
        matrices={
            matrix: np.concatenate([source.read(part) for part in matrix_parts(layer, matrix)]) for matrix in MATRICES
        },
        input_norm=source.read(f"{prefix}.input_layernorm.weight"),
        post_norm=source.read(f"{prefix}.post_attention_layernorm.weight"),
        qkv_bias=np.concatenate(present) if len(present) == 3 else None,
        q_norm=optional("self_attn.q_norm.weight"),
        k_norm=optional("self_attn.k_norm.weight"),
    )


def inverse_frequencies(config: DecoderConfig) -> Float64:
    """Rotary inverse frequencies [head_dim / 2], with Llama 3 or linear scaling (Llama 3.1 report, 2024)."""
    half = config.head_dim // 2
    base = exact.inverse_power(config.rope_theta, [(index, half) for index in range(half)])
    scaling = config.rope_scaling
    if scaling is None:
        return base
    if scaling.kind == "linear":
        return base / scaling.factor
    if scaling.kind != "llama3":
        raise SourceError(
            f"rope scaling '{scaling.kind}' has no native export",
            where="config",
            mend="use `export: optimum`",
        )
    wavelength = 2.0 * np.pi / base
    low = scaling.original_max_positions / scaling.low_freq_factor
    high = scaling.original_max_positions / scaling.high_freq_factor
    smooth = (scaling.original_max_positions / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    blended = (1.0 - smooth) * base / scaling.factor + smooth * base
    return np.where(wavelength < high, base, np.where(wavelength > low, base / scaling.factor, blended))


def rotary_tables(config: DecoderConfig, positions: int) -> tuple[Float64, Float64]:
    """(cos, sin), each [positions, head_dim / 2]."""
    angles = np.arange(positions, dtype=np.float64)[:, None] * inverse_frequencies(config)[None, :]
    sine, cosine = exact.sin_cos(angles)
    return cosine, sine


def rms_norm(hidden: Float64, gamma: npt.NDArray[np.float32], epsilon: float) -> Float64:
    """[..., width] -> the same, root-mean-square normalised."""
    mean_square = exact.exact_sum(hidden * hidden, keepdims=True) / hidden.shape[-1]
    normed: Float64 = hidden / np.sqrt(mean_square + epsilon) * gamma.astype(np.float64)
    return normed


def log_softmax(logits: Float64) -> Float64:
    """Over the last axis, in float64 (only for reporting: log is libm's)."""
    result = np.empty(logits.shape)
    for start in range(0, len(logits), LOG_SOFTMAX_ROWS):
        rows = slice(start, start + LOG_SOFTMAX_ROWS)
        np.subtract(logits[rows], logits[rows].max(axis=-1, keepdims=True), out=result[rows])
        result[rows] -= np.log(np.exp(result[rows]).sum(axis=-1, keepdims=True))
    return result


@dataclass(frozen=True)
class _Part:
    """Sequences that one thread works on. tokens: their rows; positions: of each token in its sequence."""

    tokens: slice
    lengths: tuple[int, ...]
    positions: npt.NDArray[np.int64]


def _parts(lengths: Sequence[int], workers: int) -> list[_Part]:
    """Cut a batch into up to `workers` runs of whole sequences with about equally many tokens."""
    parts: list[_Part] = []
    total, start, current = sum(lengths), 0, list[int]()
    for index, length in enumerate(lengths):
        current.append(length)
        end = start + sum(current)
        if end * workers >= total * (len(parts) + 1) or index == len(lengths) - 1:
            positions = np.concatenate([np.arange(item) for item in current])
            parts.append(_Part(slice(start, end), tuple(current), positions))
            start, current = end, []
    return parts


class Reference:
    """Forward pass over a batch of independent sequences.

    A batch is a list of token-id lists; hidden states of all are one [tokens, hidden] matrix.
    """

    def __init__(self, source: WeightSource, sequences: Sequence[Sequence[int]]) -> None:
        self.source = source
        self.config = source.config
        lengths = [len(sequence) for sequence in sequences]
        self._cos, self._sin = rotary_tables(self.config, max(lengths))
        self.token_ids = np.concatenate([np.asarray(sequence, dtype=np.int64) for sequence in sequences])
        self._parts = _parts(lengths, WORKERS)

    def embed(self) -> Float64:
        """[tokens, hidden] float64."""
        unique, inverse = np.unique(self.token_ids, return_inverse=True)
        rows = np.stack([self.source.read("model.embed_tokens.weight", int(i), int(i) + 1)[0] for i in unique])
        return rows[inverse].astype(np.float64)

    def layer(self, hidden: Float64, weights: LayerWeights, collect: Collect | None = None) -> Float64:
        """One decoder layer; `collect(matrix, inputs [tokens, in])` sees what each matrix multiplies.

        Sequences are shared out among threads. Every operation is by token or by sequence, so the result does
        not depend on how.
        """
        matrices = {
            name: exact.to_integers(matrix, exact.bits_for(matrix.shape[-1]))
            for name, matrix in weights.matrices.items()
        }

        def work(part: _Part) -> tuple[Float64, dict[str, Float64]]:
            seen: dict[str, Float64] = {}
            return self._layer(part, hidden[part.tokens], weights, matrices, seen if collect else None), seen

        results = list(_POOL.map(work, self._parts))
        if collect is not None:
            for name in MATRICES:
                collect(name, np.concatenate([seen[name] for _, seen in results]))
        return np.concatenate([states for states, _ in results])

    def _layer(
        self,
        part: _Part,
        hidden: Float64,
        weights: LayerWeights,
        matrices: Mapping[str, tuple[Float64, Float64]],
        seen: dict[str, Float64] | None,
    ) -> Float64:
        config = self.config

        def product(name: str, inputs: Float64) -> Float64:
            if seen is not None:
                seen[name] = inputs
            left, left_scale = exact.to_integers(inputs, exact.bits_for(inputs.shape[-1]))
            return exact.scaled_product(left, left_scale, *matrices[name])

        qkv = product("qkv", rms_norm(hidden, weights.input_norm, config.rms_norm_eps))
        if weights.qkv_bias is not None:
            qkv = qkv + weights.qkv_bias.astype(np.float64)
        hidden = hidden + product("o", self._attention(part, qkv, weights))
        both = product("gate_up", rms_norm(hidden, weights.post_norm, config.rms_norm_eps))
        gate, up = both[:, : config.intermediate_size], both[:, config.intermediate_size :]
        return hidden + product("down", gate / (1.0 + exact.exp(-gate)) * up)

    def _rotate(self, heads: Float64, positions: npt.NDArray[np.int64]) -> Float64:
        half = self.config.head_dim // 2
        cos = self._cos[positions][:, None, :]
        sin = self._sin[positions][:, None, :]
        first, second = heads[..., :half], heads[..., half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def _attention(self, part: _Part, qkv: Float64, weights: LayerWeights) -> Float64:
        config = self.config
        tokens = qkv.shape[0]
        query = qkv[:, : config.query_size].reshape(tokens, config.heads, config.head_dim)
        key = qkv[:, config.query_size : config.query_size + config.kv_size]
        key = key.reshape(tokens, config.kv_heads, config.head_dim)
        value = qkv[:, config.query_size + config.kv_size :].reshape(tokens, config.kv_heads, config.head_dim)
        if weights.q_norm is not None and weights.k_norm is not None:
            query = rms_norm(query, weights.q_norm, config.rms_norm_eps)
            key = rms_norm(key, weights.k_norm, config.rms_norm_eps)
        query, key = self._rotate(query, part.positions), self._rotate(key, part.positions)
        groups = config.heads // config.kv_heads
        outputs = []
        start = 0
        for length in part.lengths:
            span = slice(start, start + length)
            start += length
            grouped = query[span].reshape(length, config.kv_heads, groups, config.head_dim)
            q = grouped.transpose(1, 2, 0, 3).reshape(config.kv_heads, groups * length, config.head_dim)
            k = key[span].transpose(1, 0, 2)
            v = value[span].transpose(1, 2, 0)
            products = exact.matmul(q, k) / np.sqrt(float(config.head_dim))
            scores = products.reshape(config.kv_heads, groups, length, length)
            scores = np.where(self._visible(length), scores, -np.inf)
            scores -= scores.max(axis=-1, keepdims=True)
            weight = exact.exp(scores)
            weight /= exact.exact_sum(weight, keepdims=True)
            flat = exact.matmul(weight.reshape(config.kv_heads, groups * length, length), v)
            mixed = flat.reshape(config.kv_heads, groups, length, config.head_dim).transpose(2, 0, 1, 3)
            outputs.append(mixed.reshape(length, config.query_size))
        return np.concatenate(outputs)

    def _visible(self, length: int) -> npt.NDArray[np.bool_]:
        rows = np.arange(length)[:, None]
        columns = np.arange(length)[None, :]
        visible = columns <= rows
        if self.config.sliding_window:
            visible &= columns > rows - self.config.sliding_window
        return visible

    def logits(self, hidden: Float64, head: Iterable[npt.NDArray[np.floating]] | None = None) -> Float64:
        """[tokens, hidden] -> [tokens, vocab]. head: row chunks of the head, the source's by default."""
        normed = rms_norm(hidden, self.source.read("model.norm.weight"), self.config.rms_norm_eps)
        integers, scale = exact.to_integers(normed, exact.bits_for(normed.shape[-1]))

        def work(rows: npt.NDArray[np.floating]) -> Float64:
            right, right_scale = exact.to_integers(rows, exact.bits_for(rows.shape[-1]))
            return exact.scaled_product(integers, scale, right, right_scale)

        chunks: list[Float64] = []
        waiting = iter(head if head is not None else head_rows(self.source))
        # A few chunks at a time: a pool's map would read the whole head at once.
        while batch := list(islice(waiting, WORKERS)):
            chunks += _POOL.map(work, batch)
        return np.concatenate(chunks, axis=1)

    def run(self, layer_weights: Callable[[int], LayerWeights] | None = None) -> Float64:
        """Hidden states after the last layer: [tokens, hidden]."""
        hidden = self.embed()
        for index in range(self.config.layers):
            weights = layer_weights(index) if layer_weights else read_layer(self.source, index)
            hidden = self.layer(hidden, weights)
        return hidden


def head_name(source: WeightSource) -> str:
    """Tensor of the output head: the embedding itself when tied."""
    return "model.embed_tokens.weight" if source.config.tie_embeddings else "lm_head.weight"


def head_rows(source: WeightSource) -> Iterable[npt.NDArray[np.float32]]:
    """The output head in row chunks."""
    name = head_name(source)
    total = source.shape(name)[0]
    for start in range(0, total, HEAD_ROWS):
        yield source.read(name, start, min(start + HEAD_ROWS, total))
