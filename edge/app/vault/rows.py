"""The vault over Python's own sqlite3, for platforms without SQLCipher: AES-GCM in every cell that holds anything.

Who has the file sees how many records there are, how long each is, and in which order they were written; no name, no
id, no word.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from edge.app.vault.cells import Cells, SealedCells
from edge.app.vault.folder import FolderVault
from edge.app.vault.keys import Keys
from edge.app.vault.sql import set_up


class RowVault(FolderVault):
    """One plain database file with encrypted rows."""

    kind = "rows"
    errors = sqlite3.Error

    def _connect(self, path: Path, keys: Keys) -> tuple[Any, Cells]:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            set_up(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection, SealedCells(keys)
