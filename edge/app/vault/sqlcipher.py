"""The vault over SQLCipher: every page of the database and of its journal is encrypted and authenticated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.app.vault.cells import Cells, OpenCells
from edge.app.vault.folder import FolderVault
from edge.app.vault.keys import Keys
from edge.app.vault.sql import set_up
from edge.errors import MissingToolError


class _NotInstalled(Exception):  # noqa: N818 - never raised
    """Stands for the library's errors where there is no library."""


try:
    import sqlcipher3.dbapi2 as library

    LIBRARY_ERROR: type[Exception] = library.Error
except ImportError:
    library = None
    LIBRARY_ERROR = _NotInstalled


class SqlCipherVault(FolderVault):
    """One database file under a raw 256-bit key (AES-256-CBC with HMAC-SHA512 for each page)."""

    kind = "sqlcipher"
    errors = LIBRARY_ERROR

    def _connect(self, path: Path, keys: Keys) -> tuple[Any, Cells]:
        if library is None:
            raise MissingToolError("sqlcipher3 is not installed", mend="install edge-kit[app]")
        connection: Any = library.connect(str(path), isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA cipher_log_level = NONE").fetchall()  # it would write to stderr
            connection.execute("PRAGMA cipher_memory_security = ON").fetchall()
            # Not by PRAGMA key: that statement would stay in the connection's cache of statements.
            connection.set_key(f"x'{keys.child('database').hex()}'")
            set_up(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection, OpenCells()


def available() -> bool:
    """Whether the library is installed and encrypts: a plain SQLite under its name would ignore the key."""
    if library is None:
        return False
    connection: Any = library.connect(":memory:")
    try:
        return bool(connection.execute("PRAGMA cipher_version").fetchone())
    finally:
        connection.close()
