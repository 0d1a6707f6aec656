"""Leases: one holder at a time for a name, until it lets go or its time is over.

The times are those of the holders' own clocks, so machines that share a database keep their clocks within a fraction
of the lease's length (NTP does). What a holder does under a lease must be right even when two do it for a moment.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from edge.fleet.store.store import Store, time_text
from edge.fleet.store.tables import leases


def take_lease(store: Store, name: str, holder: str, length_s: float) -> bool:
    """Take or keep the lease; False while another holds it. Errors: SQLAlchemyError."""
    now = store.clock()
    expires = time_text(now + timedelta(seconds=length_s))
    try:
        with store.writing() as connection:
            taken = connection.execute(
                update(leases)
                .where(leases.c.name == name, or_(leases.c.holder == holder, leases.c.expires_at < time_text(now)))
                .values(holder=holder, expires_at=expires)
            )
            if taken.rowcount:
                return True
            if _holder(connection, name) is not None:
                return False
            connection.execute(insert(leases).values(name=name, holder=holder, expires_at=expires))
            return True
    except IntegrityError:  # another was first, in the same moment
        return False


def release_lease(store: Store, name: str, holder: str) -> None:
    """Let go, so that another need not wait. Errors: SQLAlchemyError."""
    with store.writing() as connection:
        connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def _holder(connection: Connection, name: str) -> str | None:
    return connection.execute(select(leases.c.holder).where(leases.c.name == name)).scalar_one_or_none()
