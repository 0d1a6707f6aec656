"""The schema, by numbered steps forward. Each step and its number are one transaction: done, or not begun.

The same tables hold in both stores. What a cell holds is up to the store: plain in SQLCipher (the page is encrypted),
AES-GCM in the row store. `key` is the id, or a keyed hash of it; `changed` counts writes and orders the list.
"""

from __future__ import annotations

from typing import Any

from edge.app.vault.sql import transaction
from edge.errors import ResourceError

Step = tuple[str, ...]

STEPS: tuple[Step, ...] = (
    (
        "CREATE TABLE encounters (key BLOB PRIMARY KEY NOT NULL, changed INTEGER NOT NULL, "
        "seal BLOB NOT NULL, summary BLOB NOT NULL, data BLOB NOT NULL)",
        "CREATE TABLE settings (key BLOB PRIMARY KEY NOT NULL, changed INTEGER NOT NULL, seal BLOB NOT NULL, "
        "value BLOB NOT NULL)",
        "CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL)",
    ),
    ("CREATE TABLE audit (sequence INTEGER PRIMARY KEY, value BLOB NOT NULL, mac BLOB NOT NULL)",),
)


def version(connection: Any) -> int:
    """Number of the last step that was made; 0 for an empty database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_not_newer(connection: Any, steps: tuple[Step, ...] = STEPS) -> None:
    """Refuse a database of a newer edge before anything is touched. Errors: ResourceError."""
    if version(connection) > len(steps):
        raise ResourceError("the vault was made by a newer edge", where="vault.db", mend="update edge")


def migrate(connection: Any, steps: tuple[Step, ...] = STEPS) -> int:
    """Make the steps that are missing. Returns how many. The connection must be in autocommit mode."""
    check_not_newer(connection, steps)
    made = 0
    for number in range(version(connection) + 1, len(steps) + 1):
        with transaction(connection):
            for statement in steps[number - 1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        made += 1
    return made
