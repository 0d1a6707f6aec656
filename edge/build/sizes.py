"""How many parameters a decoder has and how many bytes they take, from its config alone.

Nothing here is estimated: counts follow the tensors of the Hugging Face checkpoint, bytes follow the layout
that quantise.py writes (codes, one float32 scale a block, zero points when not symmetric).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edge.build.quantise import QuantFormat
from edge.specs.decoder import DecoderConfig

FLOAT_BYTES = 4  # float32: everything that is not quantised
FLOAT_BITS = 32

# Families whose attention output has a bias too when `attention_bias` is set (Qwen2 has none there).
OUTPUT_BIAS_FAMILIES = ("llama", "gpt_oss")


@dataclass(frozen=True)
class Matrix:
    """Matrices of one shape in one layer. count: how many the layer has; active: how many a token reads."""

    group: str
    rows: int
    cols: int
    count: int = 1
    active: int = 1

    @property
    def parameters(self) -> int:
        return self.rows * self.cols * self.count

    @property
    def active_parameters(self) -> int:
        return self.rows * self.cols * self.active


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model by group. head is 0 when it is the embedding; biases include attention sinks."""

    embedding: int
    head: int
    attention: int
    mlp: int
    experts: int
    router: int
    norms: int
    biases: int
    total: int
    active: int  # read for one token: top-k experts, the head, no embedding table unless it is the head

    def to_json(self) -> dict[str, int]:
        """Plain JSON types."""
        return asdict(self)


def layer_matrices(config: DecoderConfig) -> tuple[Matrix, ...]:
    """The weight matrices of one decoder layer."""
    hidden, inner = config.hidden_size, config.intermediate_size
    attention = (
        Matrix("attention", config.query_size, hidden),
        Matrix("attention", config.kv_size, hidden, count=2, active=2),
        Matrix("attention", hidden, config.query_size),
    )
    if not config.experts:
        return (*attention, Matrix("mlp", inner, hidden, count=2, active=2), Matrix("mlp", hidden, inner))
    experts, active = config.experts, config.experts_per_token
    return (
        *attention,
        Matrix("router", experts, hidden),
        Matrix("experts", inner, hidden, count=2 * experts, active=2 * active),
        Matrix("experts", hidden, inner, count=experts, active=active),
    )


def layer_biases(config: DecoderConfig) -> tuple[int, int]:
    """Biases and attention sinks of one layer: all, and those that one token reads."""
    total = active = 0
    if config.attention_bias:
        total = config.query_size + 2 * config.kv_size
        total += config.hidden_size if config.family in OUTPUT_BIAS_FAMILIES else 0
        active = total
    if config.family == "gpt_oss":
        per_expert = 2 * config.intermediate_size + config.hidden_size
        always = config.heads + config.experts  # sinks, router bias
        total += always + config.experts * per_expert
        active += always + config.experts_per_token * per_expert
    return total, active


def layer_norms(config: DecoderConfig) -> int:
    """Norm weights of one layer."""
    return 2 * config.hidden_size + (2 * config.head_dim if config.qk_norm else 0)


def count_parameters(config: DecoderConfig) -> ParameterCount:
    """Exact parameter counts by group."""
    groups = dict.fromkeys(("attention", "mlp", "experts", "router"), 0)
    active = 0
    for matrix in layer_matrices(config):
        groups[matrix.group] += config.layers * matrix.parameters
        active += config.layers * matrix.active_parameters
    table = config.vocab_size * config.hidden_size
    head = 0 if config.tie_embeddings else table
    norms = config.layers * layer_norms(config) + config.hidden_size
    biases, active_biases = (config.layers * number for number in layer_biases(config))
    return ParameterCount(
        embedding=table,
        head=head,
        **groups,
        norms=norms,
        biases=biases,
        total=table + head + sum(groups.values()) + norms + biases,
        active=table + active + norms + active_biases,
    )


@dataclass(frozen=True)
class WeightBytes:
    """Bytes of weights in a bundle's file.

    codes: quantised weights; scales: their float32 scales; zero_points: packed, 0 when symmetric; plain:
    float32 tensors read in place (norms, biases, rotary caches, an untied embedding table); matrices: float32
    matrices, which are not quantised (the router, or all of them).
    """

    codes: int = 0
    scales: int = 0
    zero_points: int = 0
    plain: int = 0
    matrices: int = 0

    @property
    def total(self) -> int:
        return self.codes + self.scales + self.zero_points + self.plain + self.matrices

    def __add__(self, other: WeightBytes) -> WeightBytes:
        return WeightBytes(
            self.codes + other.codes,
            self.scales + other.scales,
            self.zero_points + other.zero_points,
            self.plain + other.plain,
            self.matrices + other.matrices,
        )

    def times(self, count: int) -> WeightBytes:
        """The bytes of `count` of these."""
        return WeightBytes(
            self.codes * count,
            self.scales * count,
            self.zero_points * count,
            self.plain * count,
            self.matrices * count,
        )


@dataclass(frozen=True)
class Storage:
    """How matrices are stored. layer_bits: 4, 8 or 32 (not quantised) for each layer; head_bits likewise."""

    layer_bits: tuple[int, ...]
    head_bits: int
    block_size: int
    symmetric: bool


def matrix_bytes(rows: int, cols: int, bits: int, storage: Storage) -> WeightBytes:
    """One matrix [rows, cols] with blocks along cols, at 4, 8 or 32 bits."""
    if bits == FLOAT_BITS:
        return WeightBytes(matrices=rows * cols * FLOAT_BYTES)
    quantised = QuantFormat(bits, storage.block_size, storage.symmetric)
    blocks = quantised.blocks(cols)
    scales = blocks * FLOAT_BYTES
    codes = blocks * storage.block_size * bits // 8
    zero_points = quantised.bytes_per_row(cols) - codes - scales
    return WeightBytes(codes=rows * codes, scales=rows * scales, zero_points=rows * zero_points)


def layer_bytes(config: DecoderConfig, bits: int, storage: Storage, *, active: bool = False) -> WeightBytes:
    """One layer; active: only what one token reads (top-k experts)."""
    total = WeightBytes(plain=FLOAT_BYTES * (layer_norms(config) + layer_biases(config)[1 if active else 0]))
    for matrix in layer_matrices(config):
        count = matrix.active if active else matrix.count
        # The router is a few thousand numbers that choose between experts: it stays float32.
        kept = FLOAT_BITS if matrix.group == "router" else bits
        total += matrix_bytes(matrix.rows, matrix.cols, kept, storage).times(count)
    return total


def head_bytes(config: DecoderConfig, storage: Storage) -> WeightBytes:
    """The output head; it is also the embedding table when the two are tied."""
    return matrix_bytes(config.vocab_size, config.hidden_size, storage.head_bits, storage)


def rotary_bytes(config: DecoderConfig, positions: int) -> int:
    """Two float32 caches [positions, head_dim / 2]."""
    return 2 * positions * (config.head_dim // 2) * FLOAT_BYTES


def model_bytes(config: DecoderConfig, storage: Storage, positions: int) -> WeightBytes:
    """Everything in the weight file. positions: rows of the rotary caches.

    An untied embedding table stays float32 and is gathered from; a tied one is the quantised head.
    """
    if len(storage.layer_bits) != config.layers:
        raise ValueError(f"{len(storage.layer_bits)} entries for {config.layers} layers")
    total = head_bytes(config, storage)
    plain = FLOAT_BYTES * config.hidden_size + rotary_bytes(config, positions)
    if not config.tie_embeddings:
        plain += config.vocab_size * config.hidden_size * FLOAT_BYTES
    total += WeightBytes(plain=plain)
    for bits in sorted(set(storage.layer_bits)):
        total += layer_bytes(config, bits, storage).times(storage.layer_bits.count(bits))
    return total


def active_weight_bytes(config: DecoderConfig, storage: Storage) -> int:
    """Bytes of weights read to produce one token: every layer with its top-k experts, and the head."""
    total = head_bytes(config, storage).total + FLOAT_BYTES * config.hidden_size
    for bits in sorted(set(storage.layer_bits)):
        total += layer_bytes(config, bits, storage, active=True).total * storage.layer_bits.count(bits)
    return total


def largest_matrix_bytes(config: DecoderConfig, storage: Storage) -> int:
    """The largest single tensor group that is repacked at once: the head or a layer's largest matrix."""
    sizes = [head_bytes(config, storage).total]
    for bits in set(storage.layer_bits):
        sizes += [matrix_bytes(m.rows, m.cols, bits, storage).total for m in layer_matrices(config)]
    return max(sizes)


def sliding_layers(config: DecoderConfig) -> int:
    """Layers whose attention sees only the sliding window."""
    return 0 if config.sliding_window is None else -(-config.layers // config.sliding_every)


def kv_cache_bytes(config: DecoderConfig, tokens: int, element_bytes: int, *, windowed: bool) -> int:
    """Keys and values of `tokens` positions in every layer.

    windowed: sliding layers hold (or are read over) their window only.
    """
    per_token = 2 * config.kv_size * element_bytes
    sliding = sliding_layers(config) if windowed else 0
    window = min(tokens, config.sliding_window or tokens)
    return per_token * (sliding * window + (config.layers - sliding) * tokens)


def prefill_operations(config: DecoderConfig, tokens: int) -> float:
    """Floating point operations to read a prompt of `tokens` and give the logits of its last position.

    2 for each weight and token, attention scores and sums over half the prompt on average, the head once.
    """
    layer_parameters = sum(matrix.active_parameters for matrix in layer_matrices(config))
    dense = 2.0 * tokens * config.layers * layer_parameters
    attended = tokens * tokens / 2
    attention = 4.0 * config.layers * config.query_size * attended
    head = 2.0 * config.vocab_size * config.hidden_size
    return dense + attention + head


def checkpoint_bytes(config: DecoderConfig) -> int:
    """Size of the published checkpoint: bfloat16, and MXFP4 experts for gpt-oss."""
    counts = count_parameters(config)
    if config.family == "gpt_oss":
        experts = counts.experts * 17 // 32  # 4 bits a weight and one 8-bit scale for 32 of them
        return experts + 2 * (counts.total - counts.experts)
    return 2 * counts.total


def layer_bits(config: DecoderConfig, bits: int, kept: Sequence[int] = ()) -> tuple[int, ...]:
    """Bits of every layer: `bits`, and 8 for the layers in `kept`."""
    chosen = set(kept)
    return tuple(8 if layer in chosen else bits for layer in range(config.layers))
