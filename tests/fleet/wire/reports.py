"""A whole result and its report, for the tests of the fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from bench_dummies import make_result as make_result

from edge.bench.gates import check_all
from edge.bench.result import BenchResult
from edge.fleet.wire.report import FieldReport, field_report

BUDGETS = {"peak_rss_bytes_max": 1_000_000_000, "decode_tokens_per_s_min": 10}


def make_report(result: BenchResult | None = None, **changes: Any) -> FieldReport:
    """The report of a passing result; keywords replace its fields."""
    found = result or make_result()
    report = field_report(
        found, check_all(BUDGETS, found, None), device_class="x86_64-test", release="notes-1", attestation_sequence=1
    )
    return report.model_copy(update=changes)
