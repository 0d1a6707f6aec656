"""The verdict's lines as a person reads them: a report carries names and numbers only. Pure.

Titles and units are those of the harness (edge.bench.gates). A check that this page does not know keeps its name and
its outcome; its numbers are shown without a unit, never left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OUTCOMES = ("passed", "failed", "not_measured")
# name: title, unit, whether the limit is a least value
KNOWN: dict[str, tuple[str, str, bool]] = {
    "golden": ("Golden cases, same top token", "share", True),
    "clinical_golden": ("Clinical self-test", "", True),
    "clinical": ("Clinical suite against its source, lower bound", "points", True),
    "bandwidth": ("Bandwidth that decode needs", "bytes/s", False),
    "predicted_memory": ("Memory against its prediction", "bytes", False),
    "disk_bytes_max": ("Size on disk", "bytes", False),
    "load_ms_max": ("Load", "ms", False),
    "peak_rss_bytes_max": ("Peak memory", "bytes", False),
    "ttft_ms_max": ("Time to first token", "ms", False),
    "decode_tokens_per_s_min": ("Decode", "tok/s", True),
    "prefill_tokens_per_s_min": ("Prefill", "tok/s", True),
    "sustained": ("Speed kept when sustained", "share", True),
    "fidelity.mean_kl_max": ("Mean KL divergence", "", False),
    "fidelity.top1_min": ("Same top token as the source", "share", True),
    "fidelity.perplexity_ratio_max": ("Perplexity ratio", "", False),
    "fidelity.greedy_agreement_min": ("Greedy agreement", "share", True),
}


@dataclass(frozen=True)
class CheckLine:
    """One check of a result. measured, limit: in `unit`; None where there is no number. least: a lower limit."""

    name: str
    title: str
    measured: float | None
    limit: float | None
    unit: str
    least: bool | None
    outcome: str


def check_lines(text: str | None) -> list[CheckLine]:
    """The checks of a result's JSON column, failed ones first; none where the column is no list of checks."""
    lines = []
    for item in parsed(text) or []:
        if isinstance(item, dict) and isinstance(item.get("name"), str) and item.get("outcome") in OUTCOMES:
            name = item["name"]
            title, unit, least = KNOWN.get(name, (name, "", None))
            measured, limit = number(item.get("measured")), number(item.get("limit"))
            lines.append(CheckLine(name, title, measured, limit, unit, least, item["outcome"]))
    return sorted(lines, key=lambda line: line.outcome != "failed")


def limit_of(lines: list[CheckLine], name: str) -> float | None:
    """The limit of one check; None when the profile sets none."""
    return next((line.limit for line in lines if line.name == name), None)


def parsed(text: str | None) -> Any:
    """JSON of a text column; None when there is none that can be read."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def number(value: Any) -> float | None:
    """A JSON number, else None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
