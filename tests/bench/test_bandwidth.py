"""The plausibility rule: no result may be faster than the machine can read."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.bandwidth import (
    TOLERANCE,
    BandwidthReading,
    best_of,
    buffer_sizes,
    bytes_read_per_token,
    check_bandwidth,
    kv_bytes_read,
    last_level_cache_bytes,
    measure_bandwidth,
    read_bandwidth,
    weight_bytes_read,
)
from edge.specs.decoder import DecoderConfig

SMOL = DecoderConfig("llama", 49152, 576, 1536, 30, 9, 3, 64, 1e-5, 1e5, 8192, True)


def decoder(**changes: Any) -> dict[str, Any]:
    return SMOL.to_json() | changes


def test_cache_size_is_the_largest_level(tmp_path: Path) -> None:
    """If it fails, a buffer that fits the cache is taken for memory."""
    for index, text in enumerate(["48K", "2048K", "480M"]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(text)
    assert last_level_cache_bytes(tmp_path) == 480 << 20
    assert last_level_cache_bytes(tmp_path / "none") is None


@given(st.integers(0, 1 << 40), st.none() | st.integers(1, 1 << 33), st.integers(0, 1 << 40))
def test_buffers_stay_within_memory(model: int, cache: int | None, available: int) -> None:
    """If it fails, measuring the bandwidth pushes a small device out of memory."""
    for size in buffer_sizes(model, cache, available):
        assert 0 < size <= max(32 << 20, min(1 << 30, available // 4))


def test_a_buffer_beyond_the_cache_is_measured_too() -> None:
    """If it fails, only the cache is measured where the model fits into it."""
    assert buffer_sizes(100 << 20, 8 << 20, 8 << 30) == (100 << 20, 256 << 20)
    assert buffer_sizes(100 << 20, 480 << 20, 32 << 30) == (100 << 20, 960 << 20)


def test_reading_is_really_timed() -> None:
    """If it fails, the figure is not of this machine: no CPU reads below 0.1 or above 10,000 GB/s."""
    assert 1e8 < read_bandwidth(32 << 20, 2, repetitions=2) < 1e13
    levels = [reading.level for reading in measure_bandwidth(33 << 20, 1, 128 << 20)]
    assert len(levels) == 1


def test_best_of_two_rounds() -> None:
    """If it fails, another program's load during one round lowers the ceiling and fails a right result."""
    slow, fast = BandwidthReading(10, 1, 5.0, "memory"), BandwidthReading(10, 1, 9.0, "memory")
    other = BandwidthReading(20, 1, 4.0, "memory")
    assert best_of((slow, other), (fast,)) == (fast, other)


def test_weights_that_are_read() -> None:
    """If it fails, untied tables or idle experts are counted and right results fail the rule."""
    assert weight_bytes_read(1000, decoder()) == 1000
    table = 49152 * 576 * 4
    assert weight_bytes_read(table + 1000, decoder(tie_embeddings=False)) == 1000
    assert weight_bytes_read(1000, decoder(tie_embeddings=False)) == 0
    sparse = weight_bytes_read(1_000_000, decoder(experts=32, experts_per_token=4))
    assert 1_000_000 * 4 // 32 < sparse < 1_000_000 // 4


def test_cache_bytes_that_are_read() -> None:
    """If it fails, sliding layers are charged for the whole context."""
    whole = kv_bytes_read(decoder(), 1000)
    assert whole == 2 * 30 * 3 * 64 * 4 * 1000
    assert kv_bytes_read(decoder(sliding_window=100, sliding_every=1), 1000) == whole // 10
    assert kv_bytes_read(decoder(sliding_window=100, sliding_every=2), 1000) == whole // 2 + whole // 20
    assert bytes_read_per_token(500, decoder(), 0) == 500


def test_the_rule() -> None:
    """If it fails, an impossible speed passes, or a possible one fails."""
    readings = (BandwidthReading(100, 2, 20e9, "cache"), BandwidthReading(1000, 2, 10e9, "memory"))
    right = check_bandwidth(readings, 100_000_000, 100.0, 0)
    assert right.plausible
    assert right.share == pytest.approx(0.5)
    assert right.decided_by == "cache"
    assert not check_bandwidth(readings, 100_000_000, 200.0 * TOLERANCE * 1.01, 0).plausible
    assert check_bandwidth(readings, 100_000_000, 200.0 * TOLERANCE * 0.99, 0).plausible
    with pytest.raises(ValueError, match="reading"):
        check_bandwidth((), 1, 1.0, 0)
