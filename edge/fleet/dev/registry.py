"""The fleet's list of devices, as enrolment and revocation write it.

(1) A name that is not known is entered with the device's public key.
(2) A known name with the same key is a renewal: a new certificate, the rest stays.
(3) A known name with another key, or a revoked one, is refused: somebody else wants to be that device. Only who says
    so expressly (`replace`) puts the new one in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from edge.errors import SpecError, UntrustedError
from edge.fleet.pki.enrolment import Request
from edge.fleet.store.store import Store, store_error
from edge.fleet.store.tables import devices


@dataclass(frozen=True)
class Registered:
    """A device as the fleet knows it. Times: RFC 3339 or None."""

    device: str
    key_fingerprint: str
    ring: str | None
    profile: str | None
    target: str | None
    certificate_serial: str | None
    enrolled_at: str
    revoked_at: str | None
    last_seen_at: str | None


@dataclass(frozen=True)
class Placing:
    """What the fleet decides about a device; None leaves what was there."""

    ring: str | None = None
    profile: str | None = None
    target: str | None = None


def database_url(folder: Path) -> str:
    """The SQLite database in a fleet's folder."""
    return f"sqlite:///{(folder / 'fleet.db').absolute()}"


def find(store: Store, device: str) -> Registered | None:
    """One device. Errors: those of the database."""
    with _said(store), store.reading() as connection:
        return _find(connection, device)


def registered(store: Store) -> tuple[Registered, ...]:
    """All devices, by name. Errors: those of the database."""
    with _said(store), store.reading() as connection:
        rows = connection.execute(select(*_COLUMNS).order_by(devices.c.device))
        return tuple(Registered(*row) for row in rows)


def check_may_enrol(store: Store, request: Request, *, replace: bool) -> bool:
    """Whether this is a renewal (rule 2). Errors: UntrustedError by rule 3, when not `replace`."""
    known = find(store, request.device)
    if known is None:
        return False
    same = known.key_fingerprint == request.fingerprint and known.revoked_at is None
    if not same and not replace:
        why = "is revoked" if known.revoked_at else "is enrolled with another key"
        raise UntrustedError(
            f"{request.device} {why}", mend="if this device shall take its place, enrol it with --replace"
        )
    return same


def enter(store: Store, request: Request, serial: str, placing: Placing) -> None:
    """Enter or change a device whose certificate was issued. Errors: those of the database."""
    values: dict[str, object] = {
        "public_key": request.public_raw,
        "key_fingerprint": request.fingerprint,
        "certificate_serial": serial,
        "revoked_at": None,
        **{name: value for name, value in vars(placing).items() if value is not None},
    }
    with _said(store), store.writing() as connection:
        changed = connection.execute(update(devices).where(devices.c.device == request.device).values(values))
        if changed.rowcount == 0:
            connection.execute(insert(devices).values(device=request.device, enrolled_at=store.now(), **values))


def mark_revoked(store: Store, device: str) -> None:
    """Write when a device was revoked; the first time stays. Errors: SpecError when it is not known."""
    with _said(store), store.writing() as connection:
        if _find(connection, device) is None:
            raise SpecError(f"no device {device[:60]!r} is enrolled", mend="see `edge fleet devices`")
        mine = (devices.c.device == device) & (devices.c.revoked_at.is_(None))
        connection.execute(update(devices).where(mine).values(revoked_at=store.now(), online=False))


_COLUMNS = (
    devices.c.device, devices.c.key_fingerprint, devices.c.ring, devices.c.profile, devices.c.target,
    devices.c.certificate_serial, devices.c.enrolled_at, devices.c.revoked_at, devices.c.last_seen_at,
)  # fmt: skip


def _find(connection: Connection, device: str) -> Registered | None:
    row = connection.execute(select(*_COLUMNS).where(devices.c.device == device)).first()
    return None if row is None else Registered(*row)


@contextmanager
def _said(store: Store) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise store_error(error, store.url) from None
