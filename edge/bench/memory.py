"""The memory of one process, watched from outside: RSS every 10 ms, PSS and anonymous pages more seldom.

RSS is what the kernel counts against the process; PSS shares the pages that others map too. `VmHWM`, the
kernel's own high-water mark, catches peaks between two samples; unlike `ru_maxrss` it starts afresh at exec.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.bench.statistics import thin

RSS_INTERVAL_S = 0.010
# smaps_rollup walks the page tables under the process's own lock, so it is read 50 times less often.
ROLLUP_INTERVAL_S = 0.5
SERIES_POINTS = 600


@dataclass(frozen=True)
class MemorySample:
    """time_s: monotonic clock; the rest bytes."""

    time_s: float
    rss_bytes: int


@dataclass(frozen=True)
class Rollup:
    """Proportional and anonymous bytes of a process."""

    time_s: float
    pss_bytes: int
    anonymous_bytes: int


def parse_statm(text: str, page_bytes: int) -> int:
    """Resident bytes of /proc/PID/statm."""
    return int(text.split()[1]) * page_bytes


def _kilobytes(text: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def parse_rollup(text: str, time_s: float) -> Rollup | None:
    """PSS and anonymous bytes of /proc/PID/smaps_rollup; None when it lacks them (old kernels)."""
    pss, anonymous = _kilobytes(text, "Pss"), _kilobytes(text, "Anonymous")
    return None if pss is None or anonymous is None else Rollup(time_s, pss, anonymous)


def high_water_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """The kernel's peak RSS of a process since its exec; None where it is not told."""
    try:
        return _kilobytes(status.read_text(encoding="ascii", errors="replace"), "VmHWM")
    except OSError:
        return None


class MemorySampler:
    """A thread that samples the memory of process `pid` until it ends or the context closes.

    Parameters
    ----------
    pid: the process.
    proc: where procfs is, injectable.
    clock: monotonic seconds. On Linux this clock is one for all processes, so samples can be laid beside the
        times that the process itself reports.
    """

    def __init__(self, pid: int, *, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = proc / str(pid)
        self._clock = clock
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-memory", daemon=True)
        self.samples: list[MemorySample] = []
        self.rollups: list[Rollup] = []

    def sample(self) -> bool:
        """Take one RSS sample; False when the process is gone (a zombie has no memory either)."""
        try:
            rss = parse_statm((self._folder / "statm").read_text(encoding="ascii"), self._page_bytes)
        except (OSError, ValueError, IndexError):
            return False
        if rss:
            self.samples.append(MemorySample(self._clock(), rss))
        return bool(rss)

    def sample_rollup(self) -> None:
        """Take one PSS sample, if the kernel gives it."""
        try:
            text = (self._folder / "smaps_rollup").read_text(encoding="ascii", errors="replace")
        except OSError:
            return
        rollup = parse_rollup(text, self._clock())
        if rollup is not None:
            self.rollups.append(rollup)

    def _run(self) -> None:
        next_rollup_s = self._clock()
        while self.sample():
            if self._clock() >= next_rollup_s:
                self.sample_rollup()
                next_rollup_s = self._clock() + ROLLUP_INTERVAL_S
            if self._stop.wait(RSS_INTERVAL_S):
                return

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@dataclass(frozen=True)
class MemoryUse:
    """What one measuring process took, in bytes.

    baseline: after its imports, before the model; loaded: after the model was loaded; peak: the highest of
    samples and high-water mark; growth_after_load: peak - loaded; growth_sustained: end - start of the
    sustained run (a leak shows here); series: at most 600 points, and phases_s: when a phase began, both from
    the first sample. None: not sampled there (no such phase, or the kernel does not tell).
    """

    baseline_rss_bytes: int
    loaded_rss_bytes: int
    peak_rss_bytes: int
    growth_after_load_bytes: int
    growth_sustained_bytes: int | None
    peak_pss_bytes: int | None
    peak_anonymous_bytes: int | None
    samples: int
    phases_s: dict[str, float]
    series_times_s: tuple[float, ...]
    series_rss_bytes: tuple[int, ...]


def rss_at(samples: list[MemorySample], time_s: float) -> int:
    """The RSS of the sample nearest to `time_s`. Errors: ValueError when there is no sample."""
    if not samples:
        raise ValueError("no memory sample")
    return min(samples, key=lambda sample: abs(sample.time_s - time_s)).rss_bytes


def memory_use(
    samples: list[MemorySample],
    rollups: list[Rollup],
    *,
    started_s: float,
    loaded_s: float,
    measured_s: float,
    sustained: tuple[float, float] | None,
    high_water: int | None,
) -> MemoryUse:
    """Judge the samples between `started_s` (imports done) and `measured_s` (before the golden cases).

    The golden cases ask for the logits of every token, which no task does; their memory is left out.
    """
    within = [one for one in samples if one.time_s <= measured_s] or samples[:1]
    loaded = rss_at(within, loaded_s)
    peak = max([one.rss_bytes for one in within] + ([high_water] if high_water else []))
    rolled = [one for one in rollups if one.time_s <= measured_s]
    growth = rss_at(within, sustained[1]) - rss_at(within, sustained[0]) if sustained else None
    phases = {"loaded": loaded_s} | ({"sustained": sustained[0]} if sustained else {})
    times, values = thin([one.time_s for one in within], [one.rss_bytes for one in within], SERIES_POINTS)
    return MemoryUse(
        baseline_rss_bytes=rss_at(within, started_s),
        loaded_rss_bytes=loaded,
        peak_rss_bytes=peak,
        growth_after_load_bytes=peak - loaded,
        growth_sustained_bytes=growth,
        peak_pss_bytes=max((one.pss_bytes for one in rolled), default=None),
        peak_anonymous_bytes=max((one.anonymous_bytes for one in rolled), default=None),
        samples=len(within),
        phases_s={name: round(max(0.0, time_s - within[0].time_s), 3) for name, time_s in phases.items()},
        series_times_s=tuple(round(time_s - within[0].time_s, 3) for time_s in times),
        series_rss_bytes=tuple(int(value) for value in values),
    )
