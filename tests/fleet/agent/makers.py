"""Small things that the agent's tests share: a key, a clock, an outbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle.signing import SigningKey
from edge.fleet.agent.outbox import Outbox

DEVICE = "tablet-07"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = SigningKey("my-device", "device", _PRIVATE.public_key().public_bytes_raw(), _PRIVATE)


class Clock:
    """Stands until it is moved; seconds for the monotonic one, a date for the other."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now, self.seconds = now, 1000.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


def make_outbox(path: Path, **options: Any) -> Outbox:
    return Outbox(path, **({"device": DEVICE, "key": KEY, "clock": Clock()} | options))
