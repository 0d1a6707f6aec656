"""The device's durable queue of events: what was queued stays until a collector says that it has committed it.

Rules
1. A sequence number is taken and its row written in one transaction, on disk before `queue` returns. Numbers of an
   epoch only go up and are never used twice, also after rows were deleted and after a kill -9. The epoch is made with
   the file.
2. A row is deleted by `acknowledge` alone, which means the collector's own acknowledgement; a broker's is none.
3. Sizes are checked before anything is written. When it is full, telemetry gives way, the oldest first, and is counted;
   then telemetry is refused and counted; a result or an install is never dropped: `queue` says ResourceError, and the
   caller keeps its file and comes again.
4. A row that cannot be sent (too large for this broker, damaged) is put aside: kept, not sent, said by the caller
   once. `take_back` puts those of one reason into their place again.
5. A broken file is set aside and a new epoch begun (edge.fleet.agent.outbox_file). Where that fails (no space), each
   later call tries it again.
One thread owns an outbox; SQLite refuses any other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from edge.bundle.signing import SigningKey
from edge.errors import InputError, ResourceError
from edge.files import resource_error
from edge.fleet.agent.clock import Believe, believable, rfc3339
from edge.fleet.agent.outbox_file import (
    COLUMNS,
    INSERT,
    RESERVE_BYTES,
    crc_of,
    event_of,
    is_broken,
    is_full,
    open_file,
    said_error,
)
from edge.fleet.wire.event import KIND_OF, MAX_EVENT_BYTES, TELEMETRY, Event, sign_event

FIRST, LAST = 0, 1  # priorities: results and installs, telemetry
# A row's own columns and its share of the index.
ROW_BYTES = 400
KEPT_ORIGINS = 200


@dataclass(frozen=True)
class OutboxLimits:
    """How much may wait. Telemetry gives way to the rest."""

    rows: int = 20_000
    bytes: int = 64 << 20


@dataclass(frozen=True)
class Waiting:
    """A row that may be sent. bytes: as counted against the limit."""

    epoch: str
    seq: int
    type: str
    priority: int
    bytes: int

    @property
    def key(self) -> tuple[str, int]:
        """What an acknowledgement names."""
        return self.epoch, self.seq


@dataclass(frozen=True)
class OutboxCounts:
    """rows, bytes: waiting, aside included. dropped: telemetry that had no room; quarantined: refused by a collector
    after it was kept there; both since the epoch began."""

    rows: int
    bytes: int
    aside: int
    dropped: int
    quarantined: int
    last_seq: int


def priority_of(event_type: str) -> int:
    """Results and installs before telemetry."""
    return LAST if event_type == TELEMETRY else FIRST


class Outbox:
    """One file, one thread, one device.

    Parameters
    ----------
    path: of the database; `-wal`, `-shm`, `.lock` and `.reserve` lie beside it.
    device, key: whose events; `key` is its device key and signs each of them.
    clock: UTC. believe: whether a time may be written down; an event without one has no time.
    say: one line for the journal.
    step: called with the name of each point at which a kill could strike (tests).

    Errors: ResourceError when another process has it, or it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        key: SigningKey,
        clock: Callable[[], datetime],
        believe: Believe = believable,
        limits: OutboxLimits | None = None,
        say: Callable[[str], None] = lambda _line: None,
        step: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self.path, self.device, self.limits = path, device, limits or OutboxLimits()
        self.most_bytes = MAX_EVENT_BYTES  # of one event's data; less where the broker takes less
        self._key, self._clock, self._believe, self._say, self._step = key, clock, believe, say, step
        self._lock = self._take_lock()
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise

    def _take_lock(self) -> IO[bytes]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self.path.with_name(self.path.name + ".lock").open("ab")
        except OSError as error:
            raise resource_error(error, str(self.path)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ResourceError(
                "another agent has this outbox", where=str(self.path), mend="stop the other one"
            ) from error
        return lock

    def _open(self) -> None:
        opened = open_file(self.path, self.device, self._key.raw_public, self._restore)
        self._database, self.epoch = opened.database, opened.epoch
        self._count()
        self._keep_reserve()
        if opened.said:
            self._say(opened.said)

    def _restore(self, database: sqlite3.Connection, event: Event) -> None:
        database.execute(INSERT, self._row(event))

    def _row(self, event: Event) -> tuple[object, ...]:
        size = len(event.data) + ROW_BYTES
        at = rfc3339(self._clock())
        return (
            event.epoch, event.seq, event.type, priority_of(event.type), event.data, event.signature, event.key,
            event.time, size, at, crc_of(event),
        )  # fmt: skip

    def _count(self) -> None:
        self._rows, self._bytes, self._telemetry_bytes = self._database.execute(
            "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(bytes) FILTER (WHERE priority = ?), 0) FROM rows",
            (LAST,),
        ).fetchone()

    # Disk full

    def _reserve_path(self) -> Path:
        return self.path.with_name(self.path.name + ".reserve")

    def _keep_reserve(self) -> None:
        """Space that is given up when the disk is full. None is fine: then deletes wait for space."""
        path = self._reserve_path()
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size == RESERVE_BYTES:
                return
            try:
                path.write_bytes(os.urandom(RESERVE_BYTES))
            except OSError:
                path.unlink(missing_ok=True)

    def _give_up_reserve(self) -> bool:
        try:
            self._reserve_path().unlink()
        except OSError:
            return False
        return True

    # Transactions

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Errors: ResourceError; a broken file is set aside first, and the next call goes on."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._step("begun")
            try:
                yield
                self._step("written")
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
            self._step("committed")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._count()
            raise self._mended(error) from error

    def _mended(self, error: sqlite3.Error) -> ResourceError:
        said = said_error(error, self.path)
        # Closed: it was broken before, and could not be begun anew then.
        if is_broken(error) or isinstance(error, sqlite3.ProgrammingError):
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._open()
        return said

    # Queue

    def check_size(self, event_type: str, data: bytes) -> None:
        """Errors: InputError for an event that no outbox takes."""
        if event_type not in KIND_OF:
            raise InputError("an event has a type that this edge does not send", mend="update edge")
        if len(data) > self.most_bytes:
            raise InputError(
                f"an event of {len(data)} bytes is larger than {self.most_bytes}", mend="it stays on the device"
            )

    def _room(self, size: int) -> int:
        """How many of the oldest telemetry rows must go so that `size` bytes fit; -1: it never fits. Rule 3."""
        rows = self._rows + 1 - self.limits.rows
        over = self._bytes + size - self.limits.bytes
        if rows <= 0 and over <= 0:
            return 0
        if over > self._telemetry_bytes:
            return -1
        gone = freed = 0
        for (one,) in self._database.execute("SELECT bytes FROM rows WHERE priority = ? ORDER BY id", (LAST,)):
            gone, freed = gone + 1, freed + one
            if gone >= rows and freed >= over:
                return gone
        return -1

    def queue(self, event_type: str, data: bytes, *, origin: str = "") -> int | None:
        """Sign and store an event; returns its sequence number, None for telemetry that found no room.

        origin: names what it was made from, so that the same file is queued once: the second time the first number is
        returned and nothing is stored (the last KEPT_ORIGINS are remembered).
        Errors: InputError for an event that is too large or of an unknown type; ResourceError when a result or an
        install finds no room, here or on the disk: nothing was queued, the caller keeps it and comes again.
        """
        self.check_size(event_type, data)
        size = len(data) + ROW_BYTES
        try:
            known = self._database.execute("SELECT seq FROM origins WHERE origin = ?", (origin,)).fetchone()
            if known is not None:
                return int(known[0])
            gone = self._room(size)
            if gone < 0 and event_type == TELEMETRY:
                self._database.execute("UPDATE head SET dropped = dropped + 1")
                return None
        except sqlite3.Error as error:
            raise self._mended(error) from error
        if gone < 0:
            raise ResourceError(
                f"the outbox is full ({self._rows} events wait)", where=str(self.path), mend="bring the device online"
            )
        with self._transaction():
            if gone:
                self._database.execute(
                    "DELETE FROM rows WHERE id IN (SELECT id FROM rows WHERE priority = ? ORDER BY id LIMIT ?)",
                    (LAST, gone),
                )
                self._database.execute("UPDATE head SET dropped = dropped + ?", (gone,))
            (last,) = self._database.execute("UPDATE head SET last_seq = last_seq + 1 RETURNING last_seq").fetchone()
            event = self._sign(event_type, data, int(last))
            self._database.execute(INSERT, self._row(event))
            if origin:
                self._database.execute("INSERT INTO origins(origin, seq) VALUES (?, ?)", (origin, event.seq))
                self._database.execute(
                    "DELETE FROM origins WHERE number <= (SELECT max(number) FROM origins) - ?", (KEPT_ORIGINS,)
                )
        if gone:
            self._count()
        else:
            self._rows, self._bytes = self._rows + 1, self._bytes + size
            self._telemetry_bytes += size if event_type == TELEMETRY else 0
        return event.seq

    def _sign(self, event_type: str, data: bytes, seq: int) -> Event:
        now = self._clock()
        time = rfc3339(now) if self._believe(now) else None
        return sign_event(
            self._key, device=self.device, epoch=self.epoch, seq=seq, type=event_type, data=data, time=time
        )

    # Send

    def waiting(self, limit: int) -> list[Waiting]:
        """The rows to send next: results and installs first, then telemetry, each the oldest first."""
        try:
            found = self._database.execute(
                "SELECT epoch, seq, type, priority, bytes FROM rows WHERE aside = '' ORDER BY priority, id LIMIT ?",
                (limit,),
            ).fetchall()
        except sqlite3.Error as error:
            raise self._mended(error) from error
        return [Waiting(*row) for row in found]

    def event(self, epoch: str, seq: int) -> Event | None:
        """A row as it is sent; None when it is gone. A row whose bits flipped is put aside and said."""
        try:
            found = self._database.execute(
                f"SELECT {COLUMNS} FROM rows WHERE epoch = ? AND seq = ?",  # noqa: S608  our own column names
                (epoch, seq),
            ).fetchone()
        except sqlite3.Error as error:
            raise self._mended(error) from error
        if found is None:
            return None
        try:
            event, crc = event_of(self.device, found)
            if crc == crc_of(event):
                return event
        except (TypeError, ValueError):
            pass
        self.put_aside(epoch, seq, "damaged")
        self._say(f"event {epoch}/{seq} is damaged on the disk and is put aside")
        return None

    def put_aside(self, epoch: str, seq: int, reason: str) -> None:
        """Rule 4. reason: a word. Errors: ResourceError."""
        with self._transaction():
            self._database.execute("UPDATE rows SET aside = ? WHERE epoch = ? AND seq = ?", (reason, epoch, seq))

    def take_back(self, reason: str) -> int:
        """Send again what was put aside for `reason`; returns how many rows. Errors: ResourceError."""
        with self._transaction():
            cursor = self._database.execute("UPDATE rows SET aside = '' WHERE aside = ?", (reason,))
        return cursor.rowcount

    def acknowledge(self, epoch: str, accepted: Sequence[int], quarantined: Sequence[int] = ()) -> int:
        """Delete what a collector has committed; unknown numbers are nothing. Returns how many rows went.

        Errors: ResourceError when the disk is so full that not even a delete fits; the rows stay, come again.
        """
        try:
            return self._delete(epoch, accepted, quarantined)
        except ResourceError as error:
            cause = error.__cause__
            if not isinstance(cause, sqlite3.Error) or not is_full(cause) or not self._give_up_reserve():
                raise
        gone = self._delete(epoch, accepted, quarantined)
        self._keep_reserve()
        return gone

    def _delete(self, epoch: str, accepted: Sequence[int], quarantined: Sequence[int]) -> int:
        statement = "DELETE FROM rows WHERE epoch = ? AND seq = ? RETURNING bytes, priority"
        gone, counted = [], 0
        with self._transaction():
            for seq in accepted:
                gone += self._database.execute(statement, (epoch, seq)).fetchall()
            for seq in quarantined:
                found = self._database.execute(statement, (epoch, seq)).fetchall()
                gone, counted = gone + found, counted + len(found)
            if counted:
                self._database.execute("UPDATE head SET quarantined = quarantined + ?", (counted,))
        self._rows -= len(gone)
        self._bytes -= sum(size for size, _ in gone)
        self._telemetry_bytes -= sum(size for size, priority in gone if priority == LAST)
        return len(gone)

    def counts(self) -> OutboxCounts:
        """Errors: ResourceError."""
        try:
            (aside,) = self._database.execute("SELECT count(*) FROM rows WHERE aside > ''").fetchone()
            dropped, quarantined, last = self._database.execute(
                "SELECT dropped, quarantined, last_seq FROM head"
            ).fetchone()
        except sqlite3.Error as error:
            raise self._mended(error) from error
        return OutboxCounts(self._rows, self._bytes, aside, dropped, quarantined, last)

    def close(self) -> None:
        """Let the file go."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._lock.close()
