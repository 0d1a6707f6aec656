"""Whether a broker keeps what it was told: a retained mark, looked at again after the broker has started anew.

That a broker has no persistence cannot be seen while it runs, so nothing is claimed before it has restarted. Rules,
from the mark that was set (what, when), the one that is there now, and since when the broker runs:
(1) No mark was set from here: one is set now, nothing is known.
(2) The broker did not start at least GRACE_S after the mark was set, or nobody can say when it started: nothing is
    known yet. Within that time a mark may not have been written, and a broker says only every few seconds how old it
    is.
(3) It started later than that, and the mark is there: it keeps what it was told.
(4) It started later than that, and the mark is not there: what is retained was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from edge.bundle.canonical import canonical_json, parse_canonical
from edge.errors import BundleError

Kept = Literal["kept", "lost", "unknown"]
VERSION = 1
GRACE_S = 15.0  # three times the interval in which the broker writes


@dataclass(frozen=True)
class Mark:
    """name: 16 hex digits; at: when it was set."""

    name: str
    at: datetime

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json({"version": VERSION, "mark": self.name, "at": self.at.isoformat()})


def read_mark(data: bytes) -> Mark | None:
    """Inverse of to_bytes; None for anything else: a mark that cannot be read is no mark."""
    try:
        value = parse_canonical(data, "mark")
        if value.keys() != {"version", "mark", "at"} or value["version"] != VERSION:
            return None
        at = datetime.fromisoformat(value["at"])
    except (BundleError, ValueError, TypeError):
        return None
    return Mark(value["mark"], at) if isinstance(value["mark"], str) and at.tzinfo is not None else None


def judge(was_set: Mark | None, there: Mark | None, started: datetime | None) -> Kept:
    """By the rules above. started: when the broker started, None when that is not known."""
    if was_set is None or started is None or started - was_set.at < timedelta(seconds=GRACE_S):
        return "unknown"
    return "kept" if there == was_set else "lost"
