"""One reading of the fleet for all who look at once: kept for a moment, read again when it is older.

A reading of 1,000 devices with 100 results each takes some 0.3 s; a page asks for several parts of it at once, and
several people have it open. All get the same reading, which says when it was made. A database that did not answer is
not asked again for the same moment: who waits for its time-out would make all others wait behind them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from edge.fleet.page.devices import DeviceView, device_views, quarantine_since
from edge.fleet.page.queries import FleetRows, read_fleet
from edge.fleet.page.speeds import changes, targets
from edge.fleet.store.store import Store

KEPT_S = 3.0


@dataclass(frozen=True)
class Reading:
    """Rows, the devices as they are judged from them, and when they were read; speeds are worked out when asked for."""

    at: datetime
    rows: FleetRows
    views: list[DeviceView]

    @cached_property
    def targets(self) -> list[dict[str, Any]]:
        """Distributions by target and build."""
        return targets(self.rows)

    @cached_property
    def changes(self) -> list[dict[str, Any]]:
        """Of each newest build from the one before."""
        return changes(self.rows)


class FleetCache:
    """Readings by `stale_days`. clock: aware UTC; steady: seconds that only go forward."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime], steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._clock, self._steady = store, clock, steady
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, Reading]] = {}
        self._failed: tuple[float, SQLAlchemyError] | None = None

    def reading(self, stale_days: int) -> Reading:
        """The newest reading, at most KEPT_S old. Errors: SQLAlchemyError."""
        with self._lock:
            kept = self._kept.get(stale_days)
            if kept is not None and self._steady() - kept[0] < KEPT_S:
                return kept[1]
            if self._failed is not None and self._steady() - self._failed[0] < KEPT_S:
                raise self._failed[1]
            now = self._clock()
            try:
                rows = read_fleet(self._store, quarantine_since(now, stale_days))
            except SQLAlchemyError as error:
                self._failed = (self._steady(), error)
                raise
            self._failed = None
            reading = Reading(now, rows, device_views(rows, now, stale_days))
            # The moment after the reading: a slow database is not asked again while it still answers.
            self._kept = {stale_days: (self._steady(), reading)}
            return reading
