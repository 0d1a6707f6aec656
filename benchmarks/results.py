"""What the comparison measured, as plain frozen data; `to_json` is what `--json` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ExportCost:
    """One route of one shape. file_bytes: what it made. reason: why it was not measured, "" if it was.

    cpu_s_max, peak_rss_bytes_max: what must hold; None for a peer.
    """

    shape: str
    route: str
    user_s: float = 0.0
    system_s: float = 0.0
    wall_s: float = 0.0
    peak_rss_bytes: int = 0
    file_bytes: int = 0
    note: str = ""
    cpu_s_max: float | None = None
    peak_rss_bytes_max: int | None = None
    reason: str = ""

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


@dataclass(frozen=True)
class EngineRun:
    """One engine on one shape; lists have one entry a repetition, in the same order for every engine.

    prefill_tokens_per_s, decode_tokens_per_s: by prompt length and by context, as text keys. weight_bytes,
    kv_bytes_per_position: what one decode step reads. others_share: part of the machine's CPU that other processes
    took during each measurement. top_tokens: the token after each prompt, a sign of life.
    """

    engine: str
    holds: str
    file_bytes: int = 0
    weight_bytes: int = 0
    kv_bytes_per_position: int = 0
    import_s: float = 0.0
    load_s: Sequence[float] = ()
    memory: dict[str, int] = field(default_factory=dict)
    prefill_tokens_per_s: dict[str, list[float]] = field(default_factory=dict)
    decode_tokens_per_s: dict[str, list[float]] = field(default_factory=dict)
    others_share: Sequence[float] = ()
    top_tokens: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    def bytes_per_token(self, context_tokens: int) -> int:
        """Bytes that one decode step reads."""
        return self.weight_bytes + self.kv_bytes_per_position * context_tokens


@dataclass(frozen=True)
class ShapeRun:
    """All engines on one shape; edge is the first. bandwidth: EDGE's readings, bytes per second by buffer."""

    shape: str
    title: str
    engines: Sequence[EngineRun]
    bandwidth: Sequence[dict[str, Any]] = ()

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """The largest reading: what a decode step cannot exceed. 0 when none was taken."""
        return max((one["bytes_per_s"] for one in self.bandwidth), default=0.0)


@dataclass(frozen=True)
class StartTime:
    """Seconds from the start of `edge run` to the line that says it reads the prompt."""

    seconds: Sequence[float] = ()
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Everything of one run of run_peers.py."""

    measured_at: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    exports: Sequence[ExportCost]
    shapes: Sequence[ShapeRun]
    start: StartTime

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema_version": SCHEMA_VERSION} | asdict(self)


def middle(values: Sequence[float]) -> float | None:
    """The median; None without values."""
    return median(values) if values else None


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Median of the ratios ours / theirs per repetition; what slows a whole repetition cancels out."""
    pairs = [one / other for one, other in zip(ours, theirs, strict=False) if other > 0]
    return middle(pairs)
