"""Which time may be written down. A device without a battery for its clock begins in 1970, or in its image's year."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from edge.bundle.attestation import EARLIEST_PLAUSIBLE_TIME

Believe = Callable[[datetime], bool]
# No device of this edge is still in use after that; certificates run out long before.
LATEST_PLAUSIBLE_TIME = EARLIEST_PLAUSIBLE_TIME + timedelta(days=20 * 365)
SLACK = timedelta(days=1)


def utc_now() -> datetime:
    """The device's clock."""
    return datetime.now(UTC)


def believable(now: datetime) -> bool:
    """Whether the time is after this edge was made, and before it is long gone."""
    return EARLIEST_PLAUSIBLE_TIME <= now <= LATEST_PLAUSIBLE_TIME


def within(earliest: datetime, latest: datetime) -> Believe:
    """Believable, and in the validity of the device's certificate: outside of it no connection is made anyway.

    SLACK before it: the one who signed it has a clock as well.
    """

    def believe(now: datetime) -> bool:
        return believable(now) and earliest - SLACK <= now <= latest

    return believe


def rfc3339(now: datetime) -> str:
    """UTC with milliseconds: `2026-11-22T12:00:00.123Z`."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
