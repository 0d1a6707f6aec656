"""The devices' keys, as the database has them, for a few seconds from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select

from edge.fleet.collector.judge import KnownDevice
from edge.fleet.store.store import Store
from edge.fleet.store.tables import devices

# How long a revoked device may still be believed by a collector. (The broker refuses its certificate by itself.)
FRESH_S = 2.0
_MOST = 200_000
_AT_ONCE = 500


class Registry:
    """Looks devices up. now_s: seconds of a clock that never goes back."""

    def __init__(self, store: Store, now_s: Callable[[], float]) -> None:
        self._store = store
        self._now_s = now_s
        self._held: dict[str, tuple[float, KnownDevice | None]] = {}

    def find(self, names: Iterable[str]) -> dict[str, KnownDevice]:
        """Those of `names` that are registered. Errors: SQLAlchemyError."""
        now = self._now_s()
        wanted = set(names)
        old = sorted(name for name in wanted if (held := self._held.get(name)) is None or held[0] + FRESH_S < now)
        if old:
            self._read(old, now)
        found = {name: self._held[name][1] for name in wanted}
        return {name: device for name, device in found.items() if device is not None}

    def _read(self, names: list[str], now: float) -> None:
        if len(self._held) + len(names) > _MOST:
            self._held = {name: held for name, held in self._held.items() if held[0] + FRESH_S >= now}
        columns = devices.c
        chosen = select(columns.device, columns.public_key, columns.key_fingerprint, columns.revoked_at)
        rows: dict[str, KnownDevice] = {}
        with self._store.reading() as connection:
            for at in range(0, len(names), _AT_ONCE):
                for row in connection.execute(chosen.where(columns.device.in_(names[at : at + _AT_ONCE]))):
                    try:
                        key = Ed25519PublicKey.from_public_bytes(bytes(row.public_key))
                    except ValueError:
                        continue  # no key of ours: as if it were not registered
                    rows[row.device] = KnownDevice(row.device, key, row.key_fingerprint, row.revoked_at is not None)
        for name in names:
            self._held[name] = (now, rows.get(name))
