"""Evidence checked by somebody who did not make it: every quote must be the input's characters at its offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def evidence_spans(output: Any) -> Iterator[Mapping[str, Any]]:
    """Every object below `output` that claims a place in the input: it has integer `start` and `end`."""
    if isinstance(output, Mapping):
        if "start" in output and "end" in output:
            yield output
        for key in sorted(output, key=str):
            yield from evidence_spans(output[key])
    elif isinstance(output, list | tuple):
        for item in output:
            yield from evidence_spans(item)


def span_holds(span: Mapping[str, Any], source: str) -> bool:
    """The span lies inside the input, is not empty, and its quote (where it has one) is the text at that place."""
    start, end = span.get("start"), span.get("end")
    if not isinstance(start, int) or not isinstance(end, int) or isinstance(start, bool) or isinstance(end, bool):
        return False
    if not 0 <= start < end <= len(source):
        return False
    quote = span.get("quote", span.get("text"))
    return quote is None or source[start:end] == quote


def evidence_problems(output: Mapping[str, Any], source: str) -> tuple[int, int]:
    """How many spans the output's `evidence` claims, and how many of them are not in the input."""
    spans = list(evidence_spans(output.get("evidence", ())))
    return len(spans), sum(1 for span in spans if not span_holds(span, source))
