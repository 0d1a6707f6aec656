"""Read bandwidth of this machine, and whether a decode speed is possible with it.

Every decode step reads every weight once, so decode tok/s x bytes read per token cannot exceed what the
machine reads per second. A result above that is wrong (a stub, a cache of answers, a clock that stands
still). Where the last-level cache is larger than the model, weights come from the cache: bandwidth is then
measured with a buffer of the model's size as well, and the larger figure is the limit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.device.facts import read_text

# The measurement of both sides has an error; a correct result must not fail for it.
TOLERANCE = 1.1
LARGEST_BUFFER_BYTES = 1 << 30
SMALLEST_BUFFER_BYTES = 32 << 20
REPETITIONS = 5


@dataclass(frozen=True)
class BandwidthReading:
    """One measured figure. level: "memory" when the buffer is larger than the last-level cache, else
    "cache".
    """

    buffer_bytes: int
    threads: int
    bytes_per_s: float
    level: Literal["memory", "cache"]


@dataclass(frozen=True)
class BandwidthCheck:
    """The rule and its outcome.

    demand_bytes_per_s: decode tok/s x bytes_read_per_token; limit_bytes_per_s: the largest reading; share:
    demand / limit; plausible: share <= tolerance; decided_by: the level of the largest reading.
    """

    readings: tuple[BandwidthReading, ...]
    bytes_read_per_token: int
    decode_context_tokens: int
    decode_tokens_per_s: float
    demand_bytes_per_s: float
    limit_bytes_per_s: float
    share: float
    tolerance: float
    plausible: bool
    decided_by: Literal["memory", "cache"]


def last_level_cache_bytes(root: Path = Path("/")) -> int | None:
    """Size of the largest CPU cache; None where the kernel does not tell."""
    sizes = []
    for path in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KMG]?)", read_text(path) or "")
        if found:
            sizes.append(int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]])
    return max(sizes, default=None)


def buffer_sizes(model_bytes: int, cache_bytes: int | None, available_bytes: int) -> tuple[int, ...]:
    """Buffers to read: the model's size, and twice the cache or 256 MiB, each within a quarter of free
    memory.
    """
    most = max(SMALLEST_BUFFER_BYTES, min(LARGEST_BUFFER_BYTES, available_bytes // 4))
    large = min(most, max(256 << 20, 2 * (cache_bytes or 0)))
    small = min(most, max(SMALLEST_BUFFER_BYTES, model_bytes))
    return tuple(sorted({small, large}))


def read_bandwidth(buffer_bytes: int, threads: int, *, repetitions: int = REPETITIONS) -> float:
    """Bytes per second that `threads` threads read from a buffer, the best of `repetitions`.

    The best, because the figure is a ceiling: other work on the machine can only lower it.
    """
    words = np.ones(max(threads, buffer_bytes // 8), dtype=np.int64)  # written, so that pages exist
    parts = np.array_split(words, threads)
    best_s = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repetitions):
            start_s = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))  # vectorised, and without the interpreter's lock
            best_s = min(best_s, time.perf_counter() - start_s)
    return words.nbytes / best_s


def measure_bandwidth(
    model_bytes: int, threads: int, available_bytes: int, *, root: Path = Path("/")
) -> tuple[BandwidthReading, ...]:
    """Measure at the model's size and beyond the cache; a few seconds."""
    cache_bytes = last_level_cache_bytes(root)
    readings = []
    for size in buffer_sizes(model_bytes, cache_bytes, available_bytes):
        level: Literal["memory", "cache"] = "cache" if cache_bytes and size <= cache_bytes else "memory"
        readings.append(BandwidthReading(size, threads, read_bandwidth(size, threads), level))
    return tuple(readings)


def best_of(*rounds: Sequence[BandwidthReading]) -> tuple[BandwidthReading, ...]:
    """The best reading of each buffer size over several rounds (before and after a run)."""
    best: dict[int, BandwidthReading] = {}
    for reading in (one for readings in rounds for one in readings):
        known = best.get(reading.buffer_bytes)
        if known is None or reading.bytes_per_s > known.bytes_per_s:
            best[reading.buffer_bytes] = reading
    return tuple(best[size] for size in sorted(best))


def weight_bytes_read(model_bytes: int, decoder: Mapping[str, Any]) -> int:
    """Bytes of weights that one decode step reads, from DecoderConfig.to_json().

    An untied embedding table (float32 in our files) is looked up, not read; of the experts only the chosen
    ones are read. Rounded down where the file's layout is not known, because a right result must not fail.
    """
    hidden = decoder["hidden_size"]
    table = 0 if decoder["tie_embeddings"] else decoder["vocab_size"] * hidden * 4
    read = max(0, model_bytes - table)
    experts = decoder.get("experts", 0)
    if experts:
        expert = 3 * hidden * decoder["intermediate_size"]
        attention = 2 * hidden * decoder["head_dim"] * (decoder["heads"] + decoder["kv_heads"])
        active = attention + expert * decoder.get("experts_per_token", 0)
        read = read * active // (attention + expert * experts)
    return int(read)


def kv_bytes_per_token(decoder: Mapping[str, Any]) -> int:
    """Bytes of keys and values of one position over all layers, float32."""
    return int(2 * decoder["layers"] * decoder["kv_heads"] * decoder["head_dim"] * 4)


def kv_bytes_read(decoder: Mapping[str, Any], context_tokens: int) -> int:
    """Bytes of keys and values that one step reads at a context, float32; sliding layers read their window."""
    layers = decoder["layers"]
    window = decoder.get("sliding_window")
    sliding = len(range(0, layers, decoder.get("sliding_every", 1))) if window else 0
    positions = (layers - sliding) * context_tokens + sliding * min(context_tokens, window or 0)
    return int(positions * kv_bytes_per_token(decoder) // layers)


def bytes_read_per_token(model_bytes: int, decoder: Mapping[str, Any], context_tokens: int) -> int:
    """Bytes of weights and cache that one decode step must read."""
    return weight_bytes_read(model_bytes, decoder) + kv_bytes_read(decoder, context_tokens)


def check_bandwidth(
    readings: tuple[BandwidthReading, ...],
    bytes_per_token: int,
    decode_tokens_per_s: float,
    context_tokens: int,
) -> BandwidthCheck:
    """Apply the plausibility rule. Pure. Errors: ValueError when there is no reading."""
    if not readings:
        raise ValueError("no bandwidth reading")
    largest = max(readings, key=lambda one: one.bytes_per_s)
    demand = decode_tokens_per_s * bytes_per_token
    share = demand / largest.bytes_per_s
    return BandwidthCheck(
        readings=readings,
        bytes_read_per_token=bytes_per_token,
        decode_context_tokens=context_tokens,
        decode_tokens_per_s=decode_tokens_per_s,
        demand_bytes_per_s=demand,
        limit_bytes_per_s=largest.bytes_per_s,
        share=share,
        tolerance=TOLERANCE,
        plausible=share <= TOLERANCE,
        decided_by=largest.level,
    )
