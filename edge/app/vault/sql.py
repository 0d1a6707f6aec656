"""One way to speak to both SQLite libraries: how a connection is set up, and their errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from edge.app.vault.protocol import DamagedError
from edge.errors import EdgeError, ResourceError

# A rollback journal that is truncated and synced at each commit: with FULL a commit that returned is durable, and no
# old page stays in a side file, as one would in a write-ahead log. In SQLCipher the journal's pages are encrypted too.
PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 0",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)
_FULL, _CORRUPT, _NOTADB, _NOMEM = 13, 11, 26, 7
_NOT_WRITABLE, _BUSY = (3, 8, 14, 23), (5, 6)


def blob(value: object) -> bytes:
    """Bytes of a column. Who changed the file may have put anything there: what is no blob is empty."""
    return value if isinstance(value, bytes) else b""


def set_up(connection: Any) -> None:
    """The pragmas of every vault database."""
    for pragma in PRAGMAS:
        connection.execute(pragma).fetchall()


def sql_error(error: Exception) -> EdgeError:
    """A database error in the words of a person; the library's own words are not repeated."""
    code = int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    where = "vault.db"
    if code == _FULL:
        return ResourceError("no space left", where=where, mend="free space and try again")
    if code in _NOT_WRITABLE:
        return ResourceError("cannot be written", where=where, mend="check the folder's owner and the disk")
    if code in _BUSY:
        return ResourceError("the vault is in use by another process", mend="close the other one first")
    if code in (_CORRUPT, _NOTADB):
        return DamagedError("the database is damaged", where=where, mend="restore a backup")
    if code == _NOMEM:
        return ResourceError("not enough memory", where=where, mend="close other apps and try again")
    return ResourceError(f"the database cannot be used (code {code})", where=where, mend="check the disk")


@contextlib.contextmanager
def sql_errors(kind: type[Exception]) -> Iterator[None]:
    """Say the errors of one library (its `Error`) in one line."""
    try:
        yield
    except kind as error:
        raise sql_error(error) from error


@contextlib.contextmanager
def transaction(connection: Any) -> Iterator[None]:
    """All or nothing; durable when it ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors SQLite has rolled back by itself; what it says then hides what happened.
        with contextlib.suppress(Exception):
            connection.execute("ROLLBACK")
        raise
