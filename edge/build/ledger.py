"""The memory ledger: what the device's process holds for a model at a full context, line by line.

Weights are exact (sizes.py). What the runtime makes of them rests on the constants below, measured with
onnxruntime 1.31.1 on x86-64 (AVX512-VNNI) and Python 3.11; other CPUs pack a few per cent differently, and
`edge verify` compares the prediction with what it measures. For backend mlc (engine tvm) the bytes of the weights
are the same; they are used as they lie in the file, so nothing is packed a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.build import sizes
from edge.build.lora import AdapterShape
from edge.build.sizes import FLOAT_BYTES, Storage, WeightBytes
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import Profile
from edge.specs.target import Target

RUNTIME_BYTES = 70_000_000  # interpreter, numpy, onnxruntime, tokenizers and the session's graph
# Interpreter, numpy, tvm_ffi and the runtime library are 47 MB, with tokenizers and the session's own modules 52.
TVM_RUNTIME_BYTES = 55_000_000
TVM_LIBRARY_BYTES = 3_400_000  # libtvm_runtime, which a bundle of backend mlc carries
BROWSER_RUNTIME_BYTES = 250_000_000  # renderer with the page and onnxruntime-web, without the model
TOKENIZER_BYTES_PER_TOKEN = 600  # tokenizers' BPE holds 28 MB for 49,152 tokens
UI_BYTES = 200_000_000  # the bedside app's own budget
# MatMulNBits keeps, beside the packed codes, a copy of the scales and one float32 sum for each block.
PACKED_SCALE_COPIES = 2
# The allocator's arena grows by powers of two.
ARENA_FACTOR = 2
# Rows of logits held at once: the verification of a draft asks for several.
LOGIT_ROWS = 16

KV_ELEMENT_BYTES = {"onnx": 4, "mlc": 4}  # of the kit's own engines; the tvm kernels keep float32 too
KV_DTYPE = {4: "float32"}
# Our own runtime keeps one buffer for the whole context; only the runtimes of these families cut it.
WINDOWED_CACHE_FAMILIES = ("gpt_oss",)


@dataclass(frozen=True)
class LedgerItem:
    """One line of the ledger. low_bytes differs from size_bytes while the layers of mixed are not chosen.

    reclaimable: clean pages of the weight file. A sampler of resident memory sees them, yet the system may drop
    them at any time, so they do not decide whether the model fits.
    """

    name: str
    size_bytes: int
    low_bytes: int
    note: str
    reclaimable: bool = False


def memory_ledger(
    profile: Profile,
    target: Target,
    config: DecoderConfig,
    low: Storage,
    high: Storage,
    adapter: AdapterShape | None = None,
) -> tuple[LedgerItem, ...]:
    """All that the process holds at a full context, for the smallest and the largest storage of the weights.

    adapter: one that stays unmerged; without one the ledger has no line for it.
    """
    context = profile.context_tokens
    weights = [(sizes.model_bytes(config, storage, context), storage) for storage in (low, high)]
    element = KV_ELEMENT_BYTES[profile.backend]
    windowed = config.family in WINDOWED_CACHE_FAMILIES and config.sliding_window is not None
    cache = sizes.kv_cache_bytes(config, context, element, windowed=windowed)
    window = f", sliding layers only {config.sliding_window}" if windowed else ""
    chunk = min(profile.prefill_chunk_tokens, context)
    browser = target.os == "browser"
    mlc = profile.backend == "mlc"
    runtime = BROWSER_RUNTIME_BYTES if browser else TVM_RUNTIME_BYTES if mlc else RUNTIME_BYTES
    runtime += TOKENIZER_BYTES_PER_TOKEN * config.vocab_size
    ui = UI_BYTES if target.screen and not browser else 0

    def ranged(
        name: str, note: str, part: Callable[[WeightBytes, Storage], int], reclaimable: bool = False
    ) -> LedgerItem:
        small, large = (part(parts, storage) for parts, storage in weights)
        return LedgerItem(name, large, small, note, reclaimable)

    def fixed(name: str, size_bytes: int, note: str) -> LedgerItem:
        return LedgerItem(name, size_bytes, size_bytes, note)

    def scales(parts: WeightBytes, _: Storage) -> int:
        return parts.scales + parts.zero_points if mlc else parts.scales * PACKED_SCALE_COPIES

    def mapped(parts: WeightBytes, storage: Storage) -> int:
        """Pages that stay mapped after packing: scales, and the tied table that is also gathered from."""
        table = sizes.head_bytes(config, storage) if config.tie_embeddings else WeightBytes()
        return parts.scales + parts.zero_points + table.codes + table.matrices

    return (
        ranged(
            "weights",
            "packed codes and float32 tensors",
            lambda parts, _: parts.codes + parts.matrices + parts.plain,
        ),
        ranged(
            "scales",
            "scales, float32, and zero points" if mlc else "packed scales and block sums, float32",
            scales,
        ),
        *([] if adapter is None else [fixed("adapter", FLOAT_BYTES * adapter.values, _adapter_note(adapter))]),
        fixed("kv_cache", cache, f"{context} tokens in {KV_DTYPE[element]}{window}"),
        fixed("activations", activation_bytes(config, chunk), f"a prefill chunk of {chunk} tokens, and logits"),
        fixed("runtime", runtime, _runtime_note(profile, target)),
        fixed("ui", ui, "the bedside app" if ui else "none of ours beside it"),
        ranged("file_pages", "the downloaded file, held by the page", lambda parts, _: parts.total)
        if browser
        else fixed("file_pages", 0, "the weights are used where they lie")
        if mlc
        else ranged(
            "file_pages",
            "onnxruntime packs a copy of the weights; the mapped file can be dropped",
            mapped,
            reclaimable=True,
        ),
    )


def _adapter_note(adapter: AdapterShape) -> str:
    return f"unmerged, rank {adapter.rank_text}, float32 of a file of {adapter.file_bytes / 1e6:.1f} MB"


def _runtime_note(profile: Profile, target: Target) -> str:
    if target.os == "browser":
        return "page, runtime, tokenizer"
    return f"Python, {'TVM runtime' if profile.backend == 'mlc' else 'onnxruntime'}, tokenizer"


def activation_bytes(config: DecoderConfig, rows: int) -> int:
    """Float32 activations of `rows` tokens and the logits.

    Attention is computed in tiles (onnxruntime 1.31 holds no [heads, rows, context] scores on the CPU).
    """
    inner = config.intermediate_size * max(1, config.experts_per_token)
    attention = 2 * config.query_size + 2 * config.kv_size
    row = 3 * config.hidden_size + attention + 3 * inner
    return ARENA_FACTOR * FLOAT_BYTES * (rows * row + LOGIT_ROWS * config.vocab_size)


def load_pages_bytes(target: Target, config: DecoderConfig, storage: Storage) -> int:
    """File pages of the one matrix that is being packed, on top of all that stays."""
    return 0 if target.os == "browser" else sizes.largest_matrix_bytes(config, storage)


def peak_rss_bytes(parts: Mapping[str, int], load_pages: int) -> int:
    """The highest resident memory: while loading, or later with cache and activations.

    parts: bytes by ledger item; load_pages: see load_pages_bytes. Loading ends before the first token is read.
    """
    running = parts["kv_cache"] + parts["activations"]
    return sum(parts.values()) - running + max(running, load_pages)
