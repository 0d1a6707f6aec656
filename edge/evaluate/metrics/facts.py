"""The deterministic fact check as scores of one note: unsupported and missing facts against the transcript.

A screen, not a verdict: gold notes themselves hold facts that the screen cannot find in the transcript, so a build is
compared with that floor (the suite shows it beside each figure) and with another build, never with zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Finding(Protocol):
    """One fact of the check; major: it could change diagnosis or management if left uncorrected."""

    @property
    def major(self) -> bool: ...


class Report(Protocol):
    """What edge.clinical.facts.check_note returns."""

    @property
    def unsupported(self) -> Sequence[Any]: ...

    @property
    def missing(self) -> Sequence[Any]: ...


class FactChecker:
    """The fact check against one transcript; the transcript is read once for several notes.

    context: age and sex where they are known besides the transcript; section: the heading, for a note that is one
    section.
    """

    def __init__(self, transcript: str, context: Mapping[str, str] | None = None, section: str = "") -> None:
        from edge.clinical.facts import FactSource, check_note

        self._check = check_note
        self._section = section
        told = context or {}
        known = (f"age {told['age']}" if told.get("age") else "", told.get("sex", ""))
        self._source = FactSource.of(transcript, ", ".join(word for word in known if word))

    def report(self, note: str) -> Report:
        """Unsupported and missing facts of a note."""
        return self._check(note, self._source, section=self._section)

    def scores(self, note: str) -> dict[str, float]:
        """fact_scores of a note."""
        return fact_scores(self.report(note))


def fact_scores(report: Report) -> dict[str, float]:
    """Counts of one note and, as 0 or 1, whether it has a major finding of either sort."""
    unsupported_major = sum(1 for finding in report.unsupported if finding.major)
    missing_major = sum(1 for finding in report.missing if finding.major)
    return {
        "unsupported": float(len(report.unsupported)),
        "unsupported_major": float(unsupported_major),
        "missing": float(len(report.missing)),
        "missing_major": float(missing_major),
        "visit_unsupported_major": float(unsupported_major > 0),
        "visit_missing_major": float(missing_major > 0),
    }
