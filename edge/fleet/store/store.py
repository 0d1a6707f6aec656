"""Opening the fleet's database: SQLite in a file (the default) or PostgreSQL by URL, brought to this edge's schema.

Transactions. `Store.writing()` and `Store.reading()` give a connection in one transaction, committed at the end.
SQLite has one writer: a transaction of `writing()`, which is `Store.engine.begin()`, takes the writer's place at its
start (BEGIN IMMEDIATE) and waits its turn, so that none that reads before it writes is refused half way. `reading()`,
which is `Store.engine.connect()`, takes no place and sees one state of the data. Keep both short.

A password of the URL is never shown: messages here name host and database alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from edge.errors import EdgeError, OfflineError, ResourceError, SpecError
from edge.fleet.store.migrate import migrate

Clock = Callable[[], datetime]
BUSY_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5
_WRITES = "edge_writes"
# The log is carried over every 16 MB instead of 4, and indexes stay in memory: fewer waits for the disk in a commit.
_PRAGMAS = (
    "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY", "wal_autocheckpoint=4000",
    "cache_size=-16384",
)  # fmt: skip


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


def time_text(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as every time column holds it."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class Store:
    """An open database of this edge's schema. url: without its password, fit to be shown."""

    engine: Engine
    url: str
    clock: Clock

    @property
    def is_sqlite(self) -> bool:
        """Whether it is the embedded kind, with one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write. Errors: SQLAlchemyError; see `store_error`."""
        with self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads and holds up no writer. Errors: SQLAlchemyError; see `store_error`."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def now(self) -> str:
        """The clock's time as the columns hold it."""
        return time_text(self.clock())

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_store(url: str, *, clock: Clock = utc_now) -> Store:
    """Open the database and bring its schema up to date.

    `url` is `sqlite:///FILE`, the path of a file, or `postgresql://USER:PASSWORD@HOST/NAME`. Two processes may open it
    at once: one migrates, the other waits. Errors: SpecError for a URL that is none; OfflineError when PostgreSQL does
    not answer; ResourceError for disk and permission, or a database of a newer edge.
    """
    parsed = _parsed(url)
    shown = _shown(parsed)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)
    try:
        migrate(engine, shown)
    except SQLAlchemyError as error:
        engine.dispose()
        raise store_error(error, shown) from error
    except EdgeError:
        engine.dispose()
        raise
    return Store(engine, shown, clock)


def store_error(error: SQLAlchemyError, where: str) -> EdgeError:
    """An error of the database in a user's words, without statement, values, or password."""
    said = str(error.orig).lower() if isinstance(error, DBAPIError) and error.orig is not None else ""
    if "disk is full" in said or "no space left" in said or "could not extend" in said:
        return ResourceError("the database has no space left", where=where, mend="free space; nothing is lost")
    if "readonly" in said or "read-only" in said or "permission denied" in said:
        return ResourceError("the database cannot be written", where=where, mend="let this user write to it")
    if "unable to open" in said:
        return ResourceError("the database cannot be opened", where=where, mend="check the folder and who may write it")
    if "locked" in said:
        return ResourceError("another process holds the database", where=where, mend="stop it, or try again")
    if "not a database" in said or "malformed" in said:
        return ResourceError("the file is no database", where=where, mend="restore it, or name another file")
    if "password authentication" in said or "does not exist" in said or "no password supplied" in said:
        return SpecError("the database refuses this user or has no such name", where=where, mend="check the URL")
    if isinstance(error, DBAPIError) and type(error.orig).__name__ == "OperationalError":
        return OfflineError("the database does not answer", where=where, mend="start it; the work goes on by itself")
    return ResourceError(f"the database refused ({type(error).__name__})", where=where, mend="look at its log")


def _parsed(url: str) -> URL:
    mend = "give sqlite:///FILE or postgresql://USER@HOST/NAME"
    if "://" not in url:
        return URL.create("sqlite", database=url)
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise SpecError("the database's URL cannot be read", mend=mend) from None  # the cause would quote it
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite")
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise SpecError(f"a database of kind '{kind[:20]}' is not known, or it has no file", mend=mend)


def _shown(url: URL) -> str:
    """Kind, host and name: a query may hold a password too."""
    host = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    return f"{url.get_backend_name()}://{host}/{url.database or ''}"


class _OneWriter(Engine):
    """SQLite's engine: `begin` is for writers."""

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that holds the writer's place from its start."""
        with self.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection


def _sqlite(url: URL) -> Engine:
    file = Path(str(url.database))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError("the folder cannot be made", where=str(file.parent), mend="choose another") from error
    plain = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    engine = _OneWriter(plain.pool, plain.dialect, plain.url, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # this module says BEGIN; the driver's own comes late and only for writes
        for pragma in _PRAGMAS:
            _set(connection, pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _set(connection: Any, pragma: str) -> None:
    """One PRAGMA. A new file becomes WAL once: SQLite refuses whoever comes in that moment, without waiting for it."""
    end_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end_s:
                raise
            time.sleep(0.01)
        else:
            return


def _postgresql(url: URL) -> Engine:
    # A peer that went without a word is noticed in about half a minute.
    patience = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
    engine = create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "edge", **patience},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        """A commit that was acknowledged is on disk, whatever the server's default; a stricter one stays."""
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone()[0] in ("off", "local"):
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    return engine
