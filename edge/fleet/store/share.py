"""The name under which this fleet's collectors share the devices' messages: a secret of the database.

A broker lets any client join any shared subscription. A device that joins the collectors' hears nothing, for the ACL
stops that, but the broker gives it its share of the messages and drops them. It cannot join what it cannot name.
"""

from __future__ import annotations

import secrets

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from edge.fleet.store.store import Store
from edge.fleet.store.tables import leases
from edge.fleet.wire.topics import SHARE_GROUP

_NAME = "share-group"  # a lease that ends never: `holder` is the group
_FOREVER = "9999-12-31T23:59:59.000Z"


def share_group(store: Store, new: str | None = None) -> str:
    """The group of this database, made by whoever asks first. Errors: SQLAlchemyError.

    new: instead of a random one. A broker keeps a collector's subscription to the group of another database for as long
    as its session lives, and sends it each message once for each group: harmless, and twice the work.
    """
    asked = select(leases.c.holder).where(leases.c.name == _NAME)
    with store.reading() as connection:
        found = connection.execute(asked).scalar_one_or_none()
    if found is not None:
        return str(found)
    made = new or f"{SHARE_GROUP}-{secrets.token_hex(8)}"
    try:
        with store.writing() as connection:
            connection.execute(insert(leases).values(name=_NAME, holder=made, expires_at=_FOREVER))
    except IntegrityError:  # another collector was first, in the same moment
        return share_group(store, new)
    return made
