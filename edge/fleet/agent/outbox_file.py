"""The SQLite file of an outbox: made, opened, checked, set aside when it is broken. No rules of what is sent.

A file that cannot be read whole is renamed beside itself, `outbox.db.broken-1`, and the newest KEPT_BROKEN are kept.
What can still be read in it and carries the device's signature is handed to the new file, so that a flipped page costs
the rows of that page and no others.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ResourceError, UntrustedError
from edge.files import fsync_directory, resource_error
from edge.fleet.wire.event import Event, verify_event

SCHEMA_VERSION = 1
KEPT_BROKEN = 3
# Written beside the outbox: given up when the disk is full, so that acknowledged rows can still be deleted.
RESERVE_BYTES = 256 << 10
CACHE_KIB = 1024
MOST_FAILED_READS = 2000
_SCHEMA = """
CREATE TABLE head(
    one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, device TEXT NOT NULL, epoch TEXT NOT NULL,
    last_seq INTEGER NOT NULL, dropped INTEGER NOT NULL, quarantined INTEGER NOT NULL
);
CREATE TABLE rows(
    id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL,
    priority INTEGER NOT NULL, data BLOB NOT NULL, signature BLOB NOT NULL, key TEXT NOT NULL, time TEXT,
    bytes INTEGER NOT NULL, queued_at TEXT NOT NULL, aside TEXT NOT NULL, crc INTEGER NOT NULL, UNIQUE (epoch, seq)
);
CREATE TABLE origins(number INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL);
CREATE INDEX rows_order ON rows(aside, priority, id);
"""
INSERT = (
    "INSERT OR IGNORE INTO rows(epoch, seq, type, priority, data, signature, key, time, bytes, queued_at, aside, crc) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)"
)
COLUMNS = "epoch, seq, type, data, signature, key, time, crc"


Restore = Callable[[sqlite3.Connection, Event], None]


@dataclass(frozen=True)
class Opened:
    """database: ready. epoch: of new rows. said: one line when an older file was set aside, else ""."""

    database: sqlite3.Connection
    epoch: str
    said: str


def crc_of(event: Event) -> int:
    """Over all that leaves the device: a page whose bits flipped is found when its row is read."""
    head = f"{event.epoch}\n{event.seq}\n{event.type}\n{event.key}\n{event.time or ''}\n".encode()
    return zlib.crc32(event.data, zlib.crc32(event.signature, zlib.crc32(head)))


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite could not write for lack of space; a limit on a file's size shows as an I/O error."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the file is no database any more."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def said_error(error: sqlite3.Error, path: Path) -> ResourceError:
    """An error of SQLite in one line, without its SQL."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return ResourceError("no space left for the outbox", where=str(path), mend="free space on this device")
    if is_broken(error):
        return ResourceError("the outbox file is broken", where=str(path), mend="it is set aside and begun anew")
    name = str(getattr(error, "sqlite_errorname", type(error).__name__))
    return ResourceError(f"the outbox cannot be used ({name})", where=str(path), mend="check the disk and its rights")


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    database.execute("PRAGMA temp_store=MEMORY")
    return database


def _check(database: sqlite3.Connection, path: Path, device: str) -> str | None:
    """The epoch; None for a file without tables. Errors: sqlite3.DatabaseError when broken; ResourceError."""
    if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("quick_check")
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        return None
    head = database.execute("SELECT version, device, epoch FROM head WHERE one = 1").fetchone()
    if head is None:
        raise sqlite3.DatabaseError("no head")
    version, owner, epoch = head
    if version > SCHEMA_VERSION:
        raise ResourceError("the outbox is of a newer edge", where=str(path), mend="update edge on this device")
    if owner != device:
        raise ResourceError(
            "the outbox is of a device with another name",
            where=str(path),
            mend="give the old name back or move it away",
        )
    return str(epoch)


def _create(database: sqlite3.Connection, device: str, saved: Iterable[Event], restore: Restore) -> tuple[str, int]:
    """Tables, a new epoch, and what was saved from an older file, in one transaction."""
    epoch, count = os.urandom(4).hex(), 0
    database.execute("BEGIN IMMEDIATE")
    for statement in filter(None, map(str.strip, _SCHEMA.split(";"))):
        database.execute(statement)
    database.execute("INSERT INTO head VALUES (1, ?, ?, ?, 0, 0, 0)", (SCHEMA_VERSION, device, epoch))
    for event in saved:
        restore(database, event)
        count += 1
    database.execute("COMMIT")
    return epoch, count


def set_aside(path: Path) -> Path:
    """Rename a broken file with its journal; the oldest of many goes. Errors: ResourceError."""
    try:
        start = f"{path.name}.broken-"
        endings = (one.name.removeprefix(start) for one in path.parent.iterdir() if one.name.startswith(start))
        numbers = sorted(int(ending) for ending in endings if ending.isascii() and ending.isdigit())
        number = numbers[-1] + 1 if numbers else 1
        broken = path.with_name(f"{start}{number}")
        for old in numbers[: max(0, len(numbers) + 1 - KEPT_BROKEN)]:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(f"{start}{old}{suffix}").unlink(missing_ok=True)
        for suffix in ("-wal", "-shm", ""):  # the database last: while it stands there, this is tried again
            here = path.with_name(path.name + suffix)
            if here.exists():
                here.rename(broken.with_name(broken.name + suffix))
        fsync_directory(path.parent)
        return broken
    except OSError as error:
        raise resource_error(error, str(path)) from error


def _salvage(broken: Path, device: str, public_raw: bytes) -> Iterator[Event]:
    """What can still be read and was signed by this device; row by row, past those that cannot be read."""
    with contextlib.suppress(sqlite3.Error, OverflowError), contextlib.closing(sqlite3.connect(broken)) as database:
        low, failed = 0, 0
        while failed < MOST_FAILED_READS:
            try:
                found = database.execute(
                    f"SELECT id, {COLUMNS} FROM rows WHERE id > ? ORDER BY id LIMIT 1",  # noqa: S608
                    (low,),
                ).fetchone()
            except (sqlite3.Error, OverflowError, ValueError):
                low, failed = low + 1, failed + 1
                continue
            if found is None:
                return
            low, failed = max(low + 1, int(found[0])), 0
            with contextlib.suppress(UntrustedError, TypeError, ValueError, AttributeError):
                event, crc = event_of(device, found[1:])
                if crc == crc_of(event):
                    verify_event(event, public_raw)
                    yield event


def event_of(device: str, values: list[object] | tuple[object, ...]) -> tuple[Event, int]:
    """Event and checksum of a row of COLUMNS. Errors: TypeError, ValueError for what no row of ours holds."""
    epoch, seq, kind, data, signature, key, time, crc = values
    if not isinstance(data, bytes) or not isinstance(signature, bytes) or not isinstance(seq, int):
        raise TypeError("no row of an outbox")
    return Event(device, str(epoch), seq, str(kind), data, signature, str(key), None if time is None else str(time)), (
        int(str(crc))
    )


def open_file(path: Path, device: str, public_raw: bytes, restore: Restore) -> Opened:
    """Open or make the file. restore: puts a row of a broken file into the new one.

    Errors: ResourceError when it cannot be written, is of a newer edge or of another device.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if fresh.exists() and not path.exists():  # killed between the two renames below
            fresh.rename(path)
            fsync_directory(path.parent)
    except OSError as error:
        raise resource_error(error, str(path.parent)) from error
    with contextlib.ExitStack() as undo:
        try:
            database = _connect(path)
            undo.callback(database.close)
            epoch = _check(database, path, device)
            if epoch is None:
                epoch, _ = _create(database, device, (), restore)
                fsync_directory(path.parent)
            undo.pop_all()
            return Opened(database, epoch, "")
        except sqlite3.Error as error:
            if not _unreadable(error):
                raise said_error(error, path) from error
    return _begin_anew(path, fresh, device, public_raw, restore)


def _unreadable(error: sqlite3.Error) -> bool:
    """Whether opening failed because of what is in the file, and not for lack of space, rights or time."""
    code = getattr(error, "sqlite_errorcode", None)
    # quick_check's own finding has no code; SQLITE_ERROR: a table or column is not there.
    return code is None or is_broken(error) or code == sqlite3.SQLITE_ERROR


def _begin_anew(path: Path, fresh: Path, device: str, public_raw: bytes, restore: Restore) -> Opened:
    """The new file is whole beside the broken one before either is renamed."""
    try:
        for suffix in ("", "-journal"):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as made:
            made.execute("PRAGMA synchronous=FULL")
            epoch, saved = _create(made, device, _salvage(path, device, public_raw), restore)
        broken = set_aside(path)
        fresh.rename(path)
        fsync_directory(path.parent)
        database = _connect(path)
    except sqlite3.Error as error:
        raise said_error(error, path) from error
    except OSError as error:
        raise resource_error(error, str(path)) from error
    told = f"the outbox was broken and is set aside as {broken.name}; {saved} events were saved from it"
    return Opened(database, epoch, f"{told}, new epoch {epoch}")
