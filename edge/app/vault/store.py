"""The open vault over any SQLite connection: encounters, settings, audit, backup.

Each record has a seal (HMAC over its place and its stored bytes), and the database holds a code over all seals. So a
record that was changed, removed, added or put back to an older copy outside the app is noticed at the next unlock and
written into the audit log, also where the disk's encryption alone would not show it.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.app.vault.audit import ALTERED, ENCOUNTER_ID, HEAD_FILE, AuditLog, entry_of
from edge.app.vault.backup import Record, write_backup
from edge.app.vault.cells import DAMAGED, Cells
from edge.app.vault.keys import Cost, Keys
from edge.app.vault.pins import check_backup_rules
from edge.app.vault.protocol import AuditEntry, AuditState, DamagedError, LockedError
from edge.app.vault.sql import blob, sql_errors, transaction
from edge.errors import EdgeError, InputError, ResourceError

SETTING_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MOST_RECORD_BYTES = 1 << 26
COLUMNS: Mapping[str, tuple[str, ...]] = {"encounters": ("summary", "data"), "settings": ("value",)}
Seals = dict[tuple[str, bytes], bytes]


class Store:
    """See edge.app.vault.protocol.OpenVault. folder: of the database. errors: the library's base exception."""

    def __init__(
        self,
        connection: Any,
        cells: Cells,
        keys: Keys,
        *,
        folder: Path,
        errors: type[Exception],
        clock: Callable[[], datetime],
        cost: Cost,
    ) -> None:
        self._connection, self._cells, self._keys = connection, cells, keys
        self._folder, self._errors, self._clock, self._cost = folder, errors, clock, cost
        self._log = AuditLog(connection, cells, keys, folder / HEAD_FILE)
        self._turn = threading.RLock()
        self._closed = False
        self._rows_altered = False
        with sql_errors(errors):
            self._seals = self._read_seals()
            self._counter = self._read_counter()

    def __repr__(self) -> str:
        return f"Store({'locked' if self._closed else 'open'})"

    # ---- encounters and settings ----------------------------------------------------------------------------

    def save(self, encounter_id: str, data: bytes, summary: bytes) -> None:
        """Store both, durable when it returns."""
        _check_id(encounter_id)
        if len(data) + len(summary) > MOST_RECORD_BYTES:
            raise InputError("the encounter is too large to be stored", mend="shorten its transcript")
        with self._writing() as seals:
            self._put(seals, "encounters", encounter_id, (summary, data))

    def load(self, encounter_id: str) -> bytes:
        """What was saved last."""
        _check_id(encounter_id)
        with self._using():
            found = self._get("encounters", encounter_id)
        if found is None:
            raise InputError("no such encounter", mend="choose one of the worklist")
        return found[1]

    def summaries(self) -> tuple[tuple[str, bytes], ...]:
        """(id, summary), the last saved first."""
        return tuple(item for item, _ in self._summaries() if item is not None)

    def damaged_records(self) -> tuple[str, ...]:
        """Keys of records that cannot be read, hex."""
        return tuple(key.hex() for item, key in self._summaries() if item is None)

    def delete(self, encounter_id: str) -> None:
        """Delete for ever."""
        _check_id(encounter_id)
        with self._using():
            key = self._cells.name("encounters", encounter_id)
            if ("encounters", key) not in self._seals:
                return
        with self._writing() as seals:
            self._connection.execute("DELETE FROM encounters WHERE key = ?", (key,))
            del seals["encounters", key]

    def setting(self, name: str) -> str | None:
        """A setting, None when never set."""
        _check_setting(name)
        with self._using():
            found = self._get("settings", name)
        return None if found is None else found[0].decode()

    def set_setting(self, name: str, value: str) -> None:
        """Keep a setting."""
        _check_setting(name)
        with self._writing() as seals:
            self._put(seals, "settings", name, (value.encode(),))

    # ---- audit ----------------------------------------------------------------------------------------------

    def audit(self, action: str, encounter_id: str = "", detail: Mapping[str, str] | None = None) -> None:
        """Append to the log."""
        with self._writing():
            self._log.append(self._clock().isoformat(timespec="seconds"), action, encounter_id, detail or {})
        # The entry is durable already. A head that stays behind (a full disk) is brought up by the next entry.
        with contextlib.suppress(EdgeError), self._using():
            self._log.keep_head()

    def audit_entries(self, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The newest, newest first."""
        with self._using():
            return self._log.entries(limit)

    def audit_head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry."""
        with self._using():
            return self._log.head()

    def check_audit(self) -> AuditState:
        """Check every entry, the chain, and both heads."""
        with self._using():
            return replace(self._log.check(), rows_altered=self._rows_altered)

    # ---- backup ---------------------------------------------------------------------------------------------

    def backup(self, path: Path, passphrase: str) -> None:
        """Write everything to one encrypted file."""
        check_backup_rules(passphrase)
        inside = path.resolve().is_relative_to(self._folder.parent.resolve())
        if path.exists() or inside:
            what = "a backup cannot be inside the vault" if inside else "a file of this name exists already"
            raise InputError(what, where=path.name, mend="choose another place or name")
        damaged: list[bytes] = []
        with self._using():
            count = write_backup(path, passphrase, self._cost, self._records(damaged))
            log = "whole" if self._log.check().whole else "broken"
        self.audit("backup", detail={"count": str(count), "damaged": str(len(damaged)), "log": log})

    def fill(self, records: Iterable[Record]) -> None:
        """Take in the records of a backup, in one transaction. Errors: those of the reader, DamagedError."""
        with self._writing() as seals:
            for record in records:
                try:
                    self._take(seals, record)
                except (ValueError, UnicodeDecodeError) as error:
                    raise DamagedError("the backup file is damaged", mend="use another copy") from error

    def _take(self, seals: Seals, record: Record) -> None:
        kind, *fields = record
        if kind == b"encounter":
            encounter_id, summary, data = fields
            _check_id(encounter_id.decode())
            self._put(seals, "encounters", encounter_id.decode(), (summary, data))
        elif kind == b"setting":
            name, value = fields
            self._put(seals, "settings", name.decode(), (value,))
        elif kind == b"audit":
            self._log.append_payload(entry_of(fields[0]).sequence, fields[0])
        else:
            raise ValueError("kind")

    def _records(self, damaged: list[bytes]) -> Iterator[Record]:
        """Everything; the keys of what cannot be read are put into `damaged`, so that the rest is saved."""
        for table, kind in (("encounters", b"encounter"), ("settings", b"setting")):
            for (key,) in self._connection.execute(f"SELECT key FROM {table} ORDER BY changed").fetchall():  # noqa: S608
                try:
                    name, values = self._row(table, key)
                    yield (kind, name.encode(), *values)
                except DamagedError:
                    damaged.append(blob(key))
        for data in self._log.payloads():
            yield b"audit", data

    # ---- life -----------------------------------------------------------------------------------------------

    def settle(self, *, new: bool) -> None:
        """Once, after opening: compare all records with the code over them; note in the log what was altered."""
        if new:
            with self._writing():
                pass
            self._log.keep_head()
            return
        with self._using():
            row = self._connection.execute("SELECT value FROM meta WHERE key = 'records'").fetchone()
            whole = hmac.compare_digest(blob(row[0]) if row else b"", self._code_over(self._seals, self._counter))
            agrees = self._log.agrees_with_kept_head()
        self._rows_altered = not whole
        if not whole or not agrees:
            # On a full disk it is told by check_audit, and again at the next unlock.
            with contextlib.suppress(ResourceError):
                self.audit(ALTERED, detail={} if agrees else {"log": "broken"})

    def close(self) -> None:
        """Close the database and overwrite the keys."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self._seals = {}
            with contextlib.suppress(self._errors):
                self._connection.close()
            self._keys.forget()

    # ---- inside ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        with self._turn:
            if self._closed:
                raise LockedError
            with sql_errors(self._errors):
                yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Seals]:
        """A transaction over the tables and their seals; nothing is changed in memory unless it is on disk."""
        with self._using():
            seals, counter = dict(self._seals), self._counter
            try:
                with transaction(self._connection):
                    yield seals
                    code = self._code_over(seals, self._counter)
                    put = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
                    self._connection.execute(put, ("counter", self._counter.to_bytes(8, "big")))
                    self._connection.execute(put, ("records", code))
            except BaseException:
                self._counter = counter
                raise
            self._seals = seals

    def _put(self, seals: Seals, table: str, name: str, values: tuple[bytes, ...]) -> None:
        self._counter += 1
        key, changed = self._cells.name(table, name), self._counter
        # The name goes into the first cell: the key column may be a hash of it.
        clear = (name.encode() + b"\x00" + values[0], *values[1:])
        stored = tuple(
            self._cells.pack((table, key, changed, column), value)
            for column, value in zip(COLUMNS[table], clear, strict=True)
        )
        seal = self._seal(table, key, changed, dict(zip(COLUMNS[table], stored, strict=True)))
        marks = ", ".join("?" * (3 + len(stored)))
        row = (key, changed, seal, *stored)
        self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608
        seals[table, key] = seal

    def _get(self, table: str, name: str) -> tuple[bytes, ...] | None:
        key = self._cells.name(table, name)
        if (table, key) not in self._seals:
            return None
        found, values = self._row(table, key)
        if found != name:
            raise DamagedError(DAMAGED, where="vault.db", mend="restore a backup")
        return values

    def _row(self, table: str, key: bytes) -> tuple[str, tuple[bytes, ...]]:
        columns = COLUMNS[table]
        query = f"SELECT key, changed, seal, {', '.join(columns)} FROM {table} WHERE key = ?"  # noqa: S608
        return self._trusted(table, columns, self._connection.execute(query, (key,)).fetchone())

    def _trusted(self, table: str, columns: tuple[str, ...], row: Any) -> tuple[str, tuple[bytes, ...]]:
        """Name and values of a row; columns: its first ones, or all. Errors: DamagedError."""
        damaged = DamagedError(DAMAGED, where="vault.db", mend="restore a backup")
        if row is None or not isinstance(row[0], bytes) or not isinstance(row[1], int) or row[1] < 0:
            raise damaged
        key, changed, seal, *cells = row
        stored = {column: blob(cell) for column, cell in zip(columns, cells, strict=True)}
        expected = self._seal(table, key, changed, stored)
        if not hmac.compare_digest(blob(seal)[: len(expected)], expected):
            raise damaged
        values = [self._cells.unpack((table, key, changed, column), value) for column, value in stored.items()]
        name, _, first = values[0].partition(b"\x00")
        return name.decode(), (first, *values[1:])

    def _summaries(self) -> list[tuple[tuple[str, bytes] | None, bytes]]:
        """(id, summary), or None for a damaged one, with the key; the last saved first. Does not read the data."""
        found: list[tuple[tuple[str, bytes] | None, bytes]] = []
        with self._using():
            query = "SELECT key, changed, seal, summary FROM encounters ORDER BY changed DESC"
            for row in self._connection.execute(query).fetchall():
                try:
                    name, values = self._trusted("encounters", ("summary",), row)
                    found.append(((name, values[0]), row[0]))
                except DamagedError:
                    found.append((None, blob(row[0])))
        return found

    def _seal(self, table: str, key: bytes, changed: int, stored: Mapping[str, bytes]) -> bytes:
        """One code for each column, so that the list can be read without the data."""
        place = (table.encode(), key, changed.to_bytes(8, "big"))
        return b"".join(
            self._keys.mac("seals", b"record", *place, column.encode(), value) for column, value in stored.items()
        )

    def _code_over(self, seals: Seals, counter: int) -> bytes:
        parts = [b"all", counter.to_bytes(8, "big")]
        for (table, key), seal in sorted(seals.items()):
            parts += [table.encode(), key, seal]
        return self._keys.mac("seals", *parts)

    def _read_seals(self) -> Seals:
        found: Seals = {}
        for table in COLUMNS:
            for key, seal in self._connection.execute(f"SELECT key, seal FROM {table}"):  # noqa: S608
                found[table, blob(key)] = blob(seal)
        return found

    def _read_counter(self) -> int:
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'counter'").fetchone()
        # A number far beyond what writing makes was put there by somebody: not followed, or no save would work again.
        kept = int.from_bytes(blob(row[0])[:8], "big") if row else 0
        used = self._connection.execute("SELECT max(changed) FROM encounters WHERE changed < (1 << 60)").fetchone()[0]
        return max(min(kept, 1 << 60), used or 0)


def _check_id(encounter_id: str) -> None:
    if not ENCOUNTER_ID.fullmatch(encounter_id):
        raise InputError("this is no encounter id", mend="use letters, digits, _ and -")


def _check_setting(name: str) -> None:
    if not SETTING_NAME.fullmatch(name):
        raise InputError("this is no name of a setting", mend="use letters, digits, _, . and -")
