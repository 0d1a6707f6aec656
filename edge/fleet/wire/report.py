"""What a device tells of a benchmark: the numbers of its result and the outcome of each check, and nothing it read.

The full result with its series stays on the device; the report carries its digest. Titles, reasons and other words of
a result are left out.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edge import __version__
from edge.fleet.wire.documents import (
    Celsius,
    Count,
    Digest,
    Document,
    Number,
    Part,
    Positive,
    Sequence,
    Share,
    Slug,
    Time,
    Version,
)

if TYPE_CHECKING:
    from edge.bench.gates import Check
    from edge.bench.result import BenchResult

CheckName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,59}$")]
TOLERANCE = 1.1  # as the bandwidth rule of the harness
# What a data sheet says is the bus; a cache that holds the model reads faster. Beyond this a reading is no memory's.
CACHE_FACTOR = 8.0
# bytes_read_per_token is of the context that the rule was judged at; at none the KV cache's share is not read.
WITHOUT_CACHE = 0.75


class CheckReport(Part):
    """One check. measured, limit: in the unit that its name says."""

    name: CheckName
    outcome: Literal["passed", "failed", "not_measured"]
    measured: Number | None
    limit: Number | None


class PrefillReport(Part):
    """One prompt length; medians."""

    prompt_tokens: Count
    ttft_ms: Positive
    tokens_per_s: Positive


class DecodeReport(Part):
    """One context length; tokens_per_s: median, tpot: percentiles of all steps."""

    context_tokens: Count
    tokens_per_s: Positive
    tpot_p50_ms: Positive
    tpot_p95_ms: Positive


class SustainedReport(Part):
    """Decode without pause."""

    seconds: Positive
    first_tokens_per_s: Positive
    floor_tokens_per_s: Positive
    floor_ratio: Positive


class BandwidthReport(Part):
    """The rule's numbers. limit_bytes_per_s: the largest reading; level: where it was read from."""

    bytes_read_per_token: Count
    decode_tokens_per_s: Positive
    demand_bytes_per_s: Positive
    limit_bytes_per_s: Positive
    level: Literal["memory", "cache"]


class GoldenReport(Part):
    """The golden cases. self_test_passed: of the clinical cases, None where the bundle has none."""

    cases: Count
    top1_agreement: Share
    passed: bool
    self_test_passed: bool | None


class FieldReport(Document):
    """One benchmark of one bundle on one device, for the fleet. See BenchResult for the meaning of the numbers."""

    measured_at: Time | None
    duration_s: Positive
    edge_version: Version
    profile: Slug
    target: Slug
    release: Slug | None
    bundle_digest: Digest
    behaviour_digest: Digest
    model_bytes: Count
    disk_bytes: Count
    device_class: Slug
    emulated: bool
    threads: Count
    context_tokens: Count
    passed: bool
    checks: Annotated[tuple[CheckReport, ...], Field(max_length=60)]
    golden: GoldenReport | None
    load_ms: Positive
    prefill: Annotated[tuple[PrefillReport, ...], Field(max_length=16)]
    decode: Annotated[tuple[DecodeReport, ...], Field(max_length=16)]
    sustained: SustainedReport | None
    peak_rss_bytes: Count
    energy_j_per_token: Positive | None
    temperature_start_celsius: Celsius | None
    temperature_highest_celsius: Celsius | None
    bandwidth: BandwidthReport | None
    result_sha256: Digest
    attestation_sequence: Sequence | None


def field_report(
    result: BenchResult,
    checks: Items[Check],
    *,
    device_class: str,
    release: str | None = None,
    attestation_sequence: int | None = None,
    clock_trusted: bool = True,
) -> FieldReport:
    """The report of a result. clock_trusted: False leaves the time out."""
    # Here, because it brings numpy, and an agent that only reads a report needs none.
    from edge.bench.gates import passed as all_pass

    golden = result.golden
    bandwidth = result.bandwidth
    sustained = result.sustained
    environment, bundle = result.environment, result.bundle
    return FieldReport(
        measured_at=result.measured_at if clock_trusted else None,
        duration_s=result.duration_s,
        edge_version=__version__,
        profile=bundle.profile,
        target=bundle.target,
        release=release,
        bundle_digest=bundle.bundle_digest,
        behaviour_digest=bundle.behaviour_digest,
        model_bytes=bundle.model_bytes,
        disk_bytes=bundle.disk_bytes,
        device_class=device_class,
        emulated=bool(environment.emulated),
        threads=environment.threads,
        context_tokens=environment.context_tokens,
        passed=all_pass(tuple(checks)),
        checks=tuple(
            CheckReport(name=one.name, outcome=one.outcome, measured=one.measured, limit=one.limit) for one in checks
        ),
        golden=None
        if golden is None
        else GoldenReport(
            cases=len(golden.cases),
            top1_agreement=golden.top1_agreement,
            passed=golden.passed,
            self_test_passed=None if result.self_test is None else result.self_test.passed,
        ),
        load_ms=result.load.load_ms.median,
        prefill=tuple(
            PrefillReport(
                prompt_tokens=one.prompt_tokens, ttft_ms=one.ttft_ms.median, tokens_per_s=one.tokens_per_s.median
            )
            for one in result.prefill
        ),
        decode=tuple(
            DecodeReport(
                context_tokens=one.context_tokens,
                tokens_per_s=one.tokens_per_s.median,
                tpot_p50_ms=one.tpot_p50_ms,
                tpot_p95_ms=one.tpot_p95_ms,
            )
            for one in result.decode
        ),
        sustained=None
        if sustained is None
        else SustainedReport(
            seconds=sustained.seconds,
            first_tokens_per_s=sustained.first_tokens_per_s,
            floor_tokens_per_s=sustained.floor_tokens_per_s,
            floor_ratio=sustained.floor_ratio,
        ),
        peak_rss_bytes=result.memory.peak_rss_bytes,
        energy_j_per_token=result.energy.j_per_token,
        temperature_start_celsius=result.temperature.start_celsius,
        temperature_highest_celsius=result.temperature.highest_celsius,
        bandwidth=None
        if bandwidth is None
        else BandwidthReport(
            bytes_read_per_token=bandwidth.bytes_read_per_token,
            decode_tokens_per_s=bandwidth.decode_tokens_per_s,
            demand_bytes_per_s=bandwidth.demand_bytes_per_s,
            limit_bytes_per_s=bandwidth.limit_bytes_per_s,
            level=bandwidth.decided_by,
        ),
        result_sha256=result.sha256(),
        attestation_sequence=attestation_sequence,
    )


def plausible(report: FieldReport, target_bandwidth_bytes_per_s: float | None = None) -> str:
    """Why the report's speeds cannot be, as a word for the database; "" when they can.

    Every decode step reads every weight once (edge.bench.bandwidth), so tok/s times bytes a token stays below what the
    machine reads. The device's own readings are its word: they are held against the target's published figure, a cache
    allowed for, and the demand is computed here from the fastest decode that is reported. An emulated device has no
    speeds; one that reports them is wrong.
    """
    if report.emulated:
        return "emulated_speed" if report.decode or report.prefill or report.bandwidth else ""
    if not report.decode:
        return ""
    rule = report.bandwidth
    if rule is None:
        return "no_bandwidth"
    judged = rule.decode_tokens_per_s * rule.bytes_read_per_token
    fastest = max(one.tokens_per_s for one in report.decode) * rule.bytes_read_per_token * WITHOUT_CACHE
    if rule.bytes_read_per_token * 4 < report.model_bytes:  # an embedding is read by row: never three quarters of it
        return "bytes_per_token"
    if max(judged, fastest) > rule.limit_bytes_per_s * TOLERANCE:
        return "faster_than_memory"
    if target_bandwidth_bytes_per_s:
        factor = CACHE_FACTOR if rule.level == "cache" else TOLERANCE * 2
        if rule.limit_bytes_per_s > target_bandwidth_bytes_per_s * factor:
            return "bandwidth_of_no_such_device"
    if any(one.ttft_ms <= 0 for one in report.prefill):
        return "no_time"
    return ""
