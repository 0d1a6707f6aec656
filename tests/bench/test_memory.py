"""Memory of a process: parsing, sampling a real process, and the figures made of samples."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.bench.memory import (
    MemorySample,
    MemorySampler,
    Rollup,
    high_water_bytes,
    memory_use,
    parse_rollup,
    parse_statm,
    rss_at,
)

ROLLUP = (
    "5607-7ffe ---p 00000000 00:00 0   [rollup]\nRss:   1760 kB\nPss:    452 kB\nPss_Anon: 9 kB\nAnonymous:   108 kB\n"
)


def test_parsing_kernel_text() -> None:
    """If it fails, sizes are off by a factor of 1024 or read from another line."""
    assert parse_statm("1000 250 80 1 0 99 0", 4096) == 250 * 4096
    assert parse_rollup(ROLLUP, 3.0) == Rollup(3.0, 452 * 1024, 108 * 1024)
    assert parse_rollup("Rss: 5 kB\n", 0.0) is None


def test_high_water_mark(tmp_path: Path) -> None:
    """If it fails, a peak between two samples is lost, or a kernel without the line crashes the run."""
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  2048 kB\n")
    assert high_water_bytes(tmp_path / "status") == 2048 * 1024
    assert high_water_bytes(tmp_path / "absent") is None
    assert (high_water_bytes() or 0) > 1 << 20


def test_sampling_a_real_process_that_grows_and_ends() -> None:
    """If it fails, the sampler misses an allocation of 64 MiB or does not survive the end of its process."""
    code = "import sys; sys.stdin.readline(); b = bytearray(64 << 20); print('up', flush=True); sys.stdin.readline()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    with MemorySampler(child.pid) as sampler:
        while not sampler.samples:
            pass
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "up\n"
        sampler.sample()
        child.stdin.write("end\n")
        child.stdin.flush()
        child.wait()
        assert not sampler.sample()
    child.stdin.close()
    child.stdout.close()
    growth = max(one.rss_bytes for one in sampler.samples) - sampler.samples[0].rss_bytes
    assert growth > 60 << 20
    assert all(one.pss_bytes > 0 for one in sampler.rollups)


def test_figures_from_samples() -> None:
    """If it fails, peak, growth or phases of a result are not those of the samples."""
    samples = [MemorySample(float(t), rss) for t, rss in enumerate([10, 30, 50, 70, 70, 75, 900])]
    use = memory_use(
        samples,
        [Rollup(2.0, 40, 20), Rollup(6.0, 999, 999)],
        started_s=0.1,
        loaded_s=2.1,
        measured_s=5.5,
        sustained=(3.0, 5.0),
        high_water=80,
    )
    assert (use.baseline_rss_bytes, use.loaded_rss_bytes, use.peak_rss_bytes) == (10, 50, 80)
    assert use.growth_after_load_bytes == 30
    assert use.growth_sustained_bytes == 5
    assert (use.peak_pss_bytes, use.peak_anonymous_bytes) == (40, 20)
    assert use.samples == 6
    assert use.phases_s == {"loaded": 2.1, "sustained": 3.0}
    assert max(use.series_rss_bytes) == 75


def test_without_rollups_high_water_or_sustained_run() -> None:
    """If it fails, an old kernel's missing figures appear as 0."""
    use = memory_use([MemorySample(0.0, 7)], [], started_s=0, loaded_s=0, measured_s=1, sustained=None, high_water=None)
    assert use.peak_rss_bytes == 7
    assert use.peak_pss_bytes is None
    assert use.growth_sustained_bytes is None
    with pytest.raises(ValueError, match="no memory sample"):
        rss_at([], 0.0)
