"""The result of one benchmark of one bundle on one device: a versioned JSON document.

It holds the whole environment, so that two results can be compared or must not be. It holds no text that a
model read or wrote. A reader refuses a version that it does not know; version 2, which knew no emulation, is read
as of a real device and written back as it was, so that the digest in its attestation still holds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.bench.bandwidth import BandwidthCheck
from edge.bench.clinical_gate import SelfTest, SuiteScores
from edge.bench.golden import GoldenOutcome
from edge.bench.memory import MemoryUse
from edge.bench.plain import dataclass_from_plain
from edge.bench.source_fidelity import SourceFidelity
from edge.bench.statistics import Spread
from edge.errors import BundleError

SCHEMA_VERSION = 3  # 2: self_test and suite; 3: environment.emulated, energy of prompt and note
KNOWN_VERSIONS = (2, 3)
# Keys of `energy` that version 3 brought, and what a result of version 2 says of them.
ENERGY_OF_3: dict[str, Any] = {"leaves_out": "", "prompt": None, "note": None}


@dataclass(frozen=True)
class BundleFacts:
    """Which bundle. disk_bytes: all its files; model_bytes: those below model/."""

    name: str
    profile: str
    target: str
    bundle_digest: str
    behaviour_digest: str
    disk_bytes: int
    model_bytes: int


@dataclass(frozen=True)
class Environment:
    """Where and how. device: DeviceFacts.to_json(); load_average_before: 1, 5, 15 minutes; sensors: name to
    "present" or "no sensor: why"; workload: Workload.to_json(); emulated: "" on real hardware, else the emulator in
    words: no time, speed, energy or absolute memory of such a result says anything about the device.
    """

    device: dict[str, Any]
    versions: dict[str, str]
    threads: int
    context_tokens: int
    prefill_chunk_tokens: int
    load_average_before: tuple[float, ...] | None
    governor: str | None
    sensors: dict[str, str]
    workload: dict[str, Any]
    emulated: str = ""


@dataclass(frozen=True)
class LoadTime:
    """import_ms: of the runtime's libraries, once; load_ms: of tokenizer and model, files in the page
    cache.
    """

    import_ms: float
    load_ms: Spread


@dataclass(frozen=True)
class PrefillSpeed:
    """One prompt length. ttft_ms: until the first token is chosen."""

    prompt_tokens: int
    ttft_ms: Spread
    tokens_per_s: Spread


@dataclass(frozen=True)
class DecodeSpeed:
    """One context length. tokens_per_s: over repetitions; tpot: percentiles of all steps; step_ms: all
    steps.
    """

    context_tokens: int
    tokens_per_s: Spread
    tpot_p50_ms: float
    tpot_p95_ms: float
    tpot_p99_ms: float
    step_ms: tuple[float, ...]


@dataclass(frozen=True)
class Sustained:
    """Decode without pause. tokens_per_s: one value for each window; floor_ratio: slowest / first window."""

    seconds: float
    window_s: float
    tokens: int
    tokens_per_s: tuple[float, ...]
    first_tokens_per_s: float
    floor_tokens_per_s: float
    floor_ratio: float


@dataclass(frozen=True)
class WorkEnergy:
    """Joules of one piece of work, idle share included: the mean over `pieces`. None: `reason` says why.

    read_tokens: of its prompt; written_tokens: decoded after it. source: the sensors.
    """

    read_tokens: int
    written_tokens: int
    joules: float | None
    pieces: int
    source: str
    reason: str


@dataclass(frozen=True)
class Energy:
    """Of the whole device over the sustained run, idle share included. j_per_token None: `reason` says why.

    source: the sensors; leaves_out: what of the device they do not measure. prompt: the longest prompt of the
    workload; note: a prompt as long as the longest decode context and what is decoded after it, as a note is
    written. None where the workload has neither.
    """

    j_per_token: float | None
    joules: float | None
    tokens: int
    source: str
    reason: str
    leaves_out: str = ""
    prompt: WorkEnergy | None = None
    note: WorkEnergy | None = None


@dataclass(frozen=True)
class Temperature:
    """start and highest of the hottest sensor in degC. None: `reason` says why."""

    start_celsius: float | None
    highest_celsius: float | None
    source: str
    reason: str


@dataclass(frozen=True)
class SensorSeries:
    """Samples of one sensor; times from the start of the run."""

    name: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Prediction:
    """The manifest's memory ledger against the measured peak. ratio: measured / predicted.

    ledger_bytes: as the manifest has it, at a full context. expected_bytes: the same for what the measuring
    process does: no screen, and only the part of the KV cache that `touched_tokens` fill (the rest is not
    resident). predicted_bytes: the sum of expected_bytes.
    """

    ledger_bytes: dict[str, int]
    expected_bytes: dict[str, int]
    touched_tokens: int
    predicted_bytes: int
    measured_bytes: int
    ratio: float


@dataclass(frozen=True)
class BenchResult:
    """One run; see the classes of its fields. measured_at: RFC 3339, UTC. self_test, suite: None where the bundle has
    no clinical cases, no clinical suite."""

    schema_version: int
    measured_at: str
    duration_s: float
    bundle: BundleFacts
    environment: Environment
    load: LoadTime
    prefill: tuple[PrefillSpeed, ...]
    decode: tuple[DecodeSpeed, ...]
    memory: MemoryUse
    sustained: Sustained | None
    energy: Energy
    temperature: Temperature
    sensor_series: tuple[SensorSeries, ...]
    prediction: Prediction | None
    bandwidth: BandwidthCheck | None
    golden: GoldenOutcome | None
    fidelity: SourceFidelity | None
    self_test: SelfTest | None
    suite: SuiteScores | None
    skipped: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        value = json.loads(json.dumps(asdict(self), allow_nan=False))
        if self.schema_version < 3:
            del value["environment"]["emulated"]
            value["energy"] = {name: item for name, item in value["energy"].items() if name not in ENERGY_OF_3}
        return dict(value)

    def to_bytes(self) -> bytes:
        """Canonical JSON; what an attestation's `result_sha256` is over."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"

    def sha256(self) -> str:
        """Hex digest of to_bytes()."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @staticmethod
    def from_json(value: Any, where: str = "result") -> BenchResult:
        """Inverse of to_json. Errors: BundleError for an unknown version or a wrong key."""
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version not in KNOWN_VERSIONS or isinstance(version, bool):
            raise BundleError(
                f"result schema version {version!r} is not known (known: {', '.join(map(str, KNOWN_VERSIONS))})",
                where=where,
                mend="read it with the edge that wrote it, or measure again",
            )
        if version == 2 and isinstance(value.get("environment"), dict):
            value = value | {"environment": value["environment"] | {"emulated": ""}}
            if isinstance(value.get("energy"), dict):
                value = value | {"energy": value["energy"] | ENERGY_OF_3}
        result = dataclass_from_plain(BenchResult, value, where)
        if not isinstance(result, BenchResult):
            raise BundleError("not a result", where=where, mend="measure again")
        return result


def load_result(path: Path) -> BenchResult:
    """Read a result file. Errors: BundleError."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError("not readable JSON", where=str(path), mend="measure again") from error
    return BenchResult.from_json(value, str(path))
