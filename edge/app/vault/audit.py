"""The audit log: who did what when, each entry bound to the one before it.

An entry's hash is SHA-256 over its canonical JSON, which holds the hash before it; so a hash that was printed
elsewhere (in an export, on a delivery) vouches for all entries up to it, also after a backup was restored under
another key. Beside it stands an HMAC under the audit key, so that nobody without the key can write a chain of his own.
The head (number and hash of the last entry) is kept in the database and once more in a file beside it: a database that
was put back to an older copy ends before that head. Who puts back the whole folder is not seen (docs/vault.md).

Nothing of a patient can be in it: actions, keys and the form of values are closed sets.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge.app.vault.cells import Cells
from edge.app.vault.disk import write_private
from edge.app.vault.keys import Keys
from edge.app.vault.protocol import AuditEntry, AuditState, DamagedError
from edge.app.vault.sql import blob
from edge.errors import InputError

HEAD_FILE = "audit.head"
ALTERED = "store-altered"
START = "0" * 64
# fmt: off
ACTIONS = frozenset({
    "vault-create", "vault-restore", "unlock", "lock", "pin-wrong", "pin-change", "wipe-after-set",
    "attempts-doubtful", "store-altered", "backup", "encounter-new", "encounter-open", "encounter-close",
    "encounter-delete", "patient-change", "transcript-set", "speech-start", "speech-stop", "eye-copy",
    "confirm", "run-start", "run-done", "run-stop", "run-fail", "run-refused", "bundle-refused", "note-set",
    "differential-set", "row-pin", "row-dismiss", "row-restore", "line-remove", "sign", "export-fhir",
    "export-pdf", "benchmark", "setting-change", "app-start", "app-stop",
})
# fmt: on
_NUMBER, _DIGEST, _RUN = r"\d{1,9}", r"(sha256:)?[0-9a-f]{64}", r"(?=[a-z-]*\d)[0-9a-z-]{1,64}"
DETAIL: Mapping[str, re.Pattern[str]] = {
    key: re.compile(form)
    for key, form in {
        **dict.fromkeys(("count", "failures", "revision", "entry", "damaged", "lines", "version"), _NUMBER),
        **dict.fromkeys(("content_sha256", "file_sha256", "behaviour_digest", "bundle_digest"), _DIGEST),
        "run_id": _RUN,
        "task": "note|differential|ophthalmology|speech",
        "reason": "duplicate|wrong-patient|entered-in-error|test|patient-request|retention|other",
        "outcome": "done|stopped|failed|refused|died|stale|too-long|unreadable|low-memory|mismatch|missing|unverified",
        "kind": "finding|history|vital|eye|line|mark|row|patient|transcript",
        "eye": "OD|OS|OU",
        "log": "whole|broken",
        "setting": "language|night|font_scale|autolock_s|temperature_unit|va_notation|paper|signer|wipe_after",
    }.items()
}
ENCOUNTER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_entry(action: str, encounter_id: str, detail: Mapping[str, str]) -> None:
    """Refuse what is not in the closed sets. Errors: InputError, which does not repeat the value."""
    if action not in ACTIONS:
        raise InputError("the audit log does not know this action", mend="use one of its actions")
    if encounter_id and not ENCOUNTER_ID.fullmatch(encounter_id):
        raise InputError("this is no encounter id", mend="use letters, digits, _ and -")
    for key, value in detail.items():
        if key not in DETAIL:
            raise InputError("the audit log does not know this detail", mend="use one of its keys")
        if not isinstance(value, str) or not DETAIL[key].fullmatch(value):
            raise InputError("the audit log does not take this value", where=key, mend="use a value of its closed form")


def payload(entry: AuditEntry) -> bytes:
    """Canonical JSON of an entry without its own hash."""
    value = [entry.sequence, entry.at, entry.action, entry.encounter_id, dict(entry.detail), entry.previous]
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def payload_hash(data: bytes) -> str:
    """The hash that the next entry holds."""
    return hashlib.sha256(b"edge audit entry v1\x00" + data).hexdigest()


def entry_of(data: bytes) -> AuditEntry:
    """Read a payload. Errors: DamagedError."""
    try:
        sequence, at, action, encounter_id, detail, previous = json.loads(data)
        return AuditEntry(sequence, at, action, encounter_id, dict(detail), previous, payload_hash(data))
    except (ValueError, TypeError) as error:
        raise DamagedError("an audit entry is damaged", where="vault.db", mend="restore a backup") from error


class AuditLog:
    """The log in an open database. It begins no transaction: `append` is called within one, `keep_head` after it."""

    def __init__(self, connection: Any, cells: Cells, keys: Keys, head_file: Path) -> None:
        self._connection, self._cells, self._keys, self._head_file = connection, cells, keys, head_file

    def append(self, at: str, action: str, encounter_id: str, detail: Mapping[str, str]) -> AuditEntry:
        """Add one after the head. Errors: InputError outside the closed sets."""
        check_entry(action, encounter_id, detail)
        sequence, previous = self._last()
        data = payload(AuditEntry(sequence + 1, at, action, encounter_id, detail, previous))
        self.append_payload(sequence + 1, data)
        return entry_of(data)

    def append_payload(self, sequence: int, data: bytes) -> None:
        """Store an entry as it was written before (restoring keeps the chain); a new code is made over it."""
        stored = self._cells.pack(_place(sequence), data)
        self._connection.execute(
            "INSERT OR REPLACE INTO audit VALUES (?, ?, ?)", (sequence, stored, self._mac(sequence, data))
        )
        head = self._head_bytes(sequence, payload_hash(data))
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('audit-head', ?)", (head,))

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry. Errors: DamagedError when it is not authentic."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'audit-head'").fetchone()
        if row is None and self._connection.execute("SELECT 1 FROM audit LIMIT 1").fetchone() is None:
            return 0, START
        found = self._read_head(blob(row[0])) if row else None
        if found is None:
            raise DamagedError("the head of the audit log is damaged", where="vault.db", mend="restore a backup")
        return found

    def keep_head(self) -> None:
        """Write the head beside the database. Errors: ResourceError."""
        write_private(self._head_file, self._head_bytes(*self.head()).hex().encode() + b"\n")

    def agrees_with_kept_head(self) -> bool:
        """Whether the entry that the head beside the database names is in the log; quick, for every unlock."""
        kept = self._kept_head()
        if kept is None or kept == (0, START):
            return kept is not None
        row = self._connection.execute("SELECT value, mac FROM audit WHERE sequence = ?", (kept[0],)).fetchone()
        found = self._authentic(kept[0], blob(row[0]), blob(row[1])) if row else None
        return found is not None and found.hash == kept[1]

    def entries(self, limit: int) -> tuple[AuditEntry, ...]:
        """The newest, newest first."""
        query = "SELECT sequence, value FROM audit ORDER BY sequence DESC LIMIT ?"
        rows = self._connection.execute(query, (max(0, limit),)).fetchall()
        return tuple(entry_of(data) for data in self._readable(rows))

    def payloads(self) -> Iterator[bytes]:
        """All entries as written, the first first; one that is damaged leaves a gap."""
        yield from self._readable(self._connection.execute("SELECT sequence, value FROM audit ORDER BY sequence"))

    def _readable(self, rows: Iterable[tuple[int, object]]) -> Iterator[bytes]:
        for sequence, value in rows:
            with contextlib.suppress(DamagedError, OverflowError):  # check() names it
                data = self._cells.unpack(_place(sequence), blob(value))
                entry_of(data)
                yield data

    def _last(self) -> tuple[int, str]:
        """After which the next one goes. A damaged head must not end the log: it goes on, visibly broken there."""
        try:
            return self.head()
        except DamagedError:
            query = "SELECT max(sequence) FROM audit WHERE sequence BETWEEN 0 AND 1099511627776"
            return int(self._connection.execute(query).fetchone()[0] or 0), START

    def check(self) -> AuditState:
        """Walk the chain and compare both heads."""
        count = int(self._connection.execute("SELECT count(*) FROM audit").fetchone()[0])
        beside = self._kept_head()
        expected, previous, at_kept = 1, START, beside == (0, START)
        for sequence, value, mac in self._connection.execute("SELECT * FROM audit ORDER BY sequence"):
            if sequence != expected:
                return AuditState(False, count, expected, "missing")
            found = self._authentic(sequence, blob(value), blob(mac))
            if found is None or found.sequence != sequence or found.previous != previous:
                return AuditState(False, count, sequence, "altered")
            if found.action == ALTERED and found.detail.get("log") == "broken":  # noted when it was unlocked
                return AuditState(False, count, sequence, "rolled-back")
            expected, previous = sequence + 1, found.hash
            at_kept = at_kept or beside == (sequence, previous)
        try:
            head = self.head()
        except DamagedError:
            return AuditState(False, count, expected, "tail-missing")
        if head != (expected - 1, previous):
            return AuditState(False, count, expected, "tail-missing")
        if beside is None:
            return AuditState(False, count, expected, "head-missing")
        if not at_kept:
            return AuditState(False, count, min(beside[0], expected), "rolled-back")
        return AuditState(True, count)

    def _authentic(self, sequence: int, value: bytes, mac: bytes) -> AuditEntry | None:
        try:
            data = self._cells.unpack(_place(sequence), value)
            return entry_of(data) if hmac.compare_digest(mac, self._mac(sequence, data)) else None
        except (DamagedError, OverflowError):
            return None

    def _mac(self, sequence: int, data: bytes) -> bytes:
        return self._keys.mac("audit", b"entry", str(sequence).encode(), data)

    def _head_bytes(self, sequence: int, digest: str) -> bytes:
        body = sequence.to_bytes(8, "big") + bytes.fromhex(digest)
        return body + self._keys.mac("audit", b"head", body)

    def _read_head(self, data: bytes) -> tuple[int, str] | None:
        body, mac = data[:40], data[40:]
        if not hmac.compare_digest(mac, self._keys.mac("audit", b"head", body)):
            return None
        return int.from_bytes(body[:8], "big"), body[8:].hex()

    def _kept_head(self) -> tuple[int, str] | None:
        try:
            return self._read_head(bytes.fromhex(self._head_file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return None


def _place(sequence: int) -> tuple[str, bytes, int, str]:
    return "audit", sequence.to_bytes(8, "big"), sequence, "value"
