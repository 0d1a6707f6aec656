"""What the app sees of a vault: two protocols, the states, the audit log's values and the errors.

No message, repr or file name of a vault holds a patient's words; an encounter is named by its opaque id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from edge.errors import InputError, ResourceError


class VaultState(StrEnum):
    """absent: nothing is there. locked: needs the PIN. open: in use by this process. wiped: destroyed on purpose."""

    ABSENT = "absent"
    LOCKED = "locked"
    OPEN = "open"
    WIPED = "wiped"


class WrongPinError(InputError):
    """The PIN does not open this vault. wait_s: seconds until the next try is taken; failures: wrong ones in a row."""

    def __init__(self, wait_s: int, failures: int) -> None:
        self.wait_s, self.failures = wait_s, failures
        super().__init__("wrong PIN", mend=f"try again in {wait_s} s" if wait_s else "try again")


class MustWaitError(InputError):
    """A try before the back-off is over; it was not looked at and does not count. wait_s: seconds that are left."""

    def __init__(self, wait_s: int) -> None:
        self.wait_s = wait_s
        super().__init__("too many wrong PINs", mend=f"try again in {wait_s} s")


class WipedError(InputError):
    """The vault was wiped: too many wrong PINs, where that is switched on, or by a person before."""

    def __init__(self) -> None:
        super().__init__("the data on this device was wiped", mend="set a new PIN, or restore a backup")


class LockedError(InputError):
    """Used while locked."""

    def __init__(self) -> None:
        super().__init__("the vault is locked", mend="enter the PIN")


class DamagedError(ResourceError):
    """Stored bytes do not hold what was stored: changed outside the app, or the disk failed."""


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log. at: UTC ISO 8601. detail: closed keys (edge.app.vault.audit). hash: hex SHA-256 of this
    entry with the one before it; previous: that of the entry before ("0" * 64 for the first).
    """

    sequence: int
    at: str
    action: str
    encounter_id: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    previous: str = "0" * 64
    hash: str = ""


@dataclass(frozen=True)
class AuditState:
    """What `check_audit` found.

    first_broken: sequence of the first entry that is missing or not as written, 0 when all are. reason: '', altered,
    missing (a gap), tail-missing (the log ends before its own head), rolled-back (before the head that is kept beside
    the database), head-missing. entries: how many there are. rows_altered: since unlocking, records were seen that
    were changed, removed or put back outside the app.
    """

    whole: bool
    entries: int
    first_broken: int = 0
    reason: str = ""
    rows_altered: bool = False


class OpenVault(Protocol):
    """A vault while it is open. Every method raises LockedError once it is locked, ResourceError for disk troubles
    (then what was stored before is unharmed), DamagedError for what cannot be trusted.
    """

    def save(self, encounter_id: str, data: bytes, summary: bytes) -> None:
        """Store both, durable when it returns. encounter_id: 1 to 64 of A-Z a-z 0-9 _ -. Errors: InputError."""
        ...

    def load(self, encounter_id: str) -> bytes:
        """What was saved last. Errors: InputError for an id that is not there."""
        ...

    def summaries(self) -> tuple[tuple[str, bytes], ...]:
        """(id, summary), the last saved first. Damaged ones are left out and counted by `damaged_records`."""
        ...

    def damaged_records(self) -> tuple[str, ...]:
        """Store keys (hex, of no meaning to a person) of records that cannot be read."""
        ...

    def delete(self, encounter_id: str) -> None:
        """Delete for ever. An id that is not there is no error."""
        ...

    def setting(self, name: str) -> str | None:
        """A setting, None when never set."""
        ...

    def set_setting(self, name: str, value: str) -> None:
        """Keep a setting, durable when it returns."""
        ...

    def audit(self, action: str, encounter_id: str = "", detail: Mapping[str, str] | None = None) -> None:
        """Append to the log. Errors: InputError for an action, key or value outside the closed sets."""
        ...

    def audit_entries(self, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The newest `limit` entries, newest first."""
        ...

    def audit_head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry; (0, zeros) of an empty log. Print it elsewhere to anchor the log."""
        ...

    def check_audit(self) -> AuditState:
        """Check every entry, the chain, and both heads."""
        ...

    def backup(self, path: Path, passphrase: str) -> None:
        """Write everything to one encrypted file; it appears whole or not at all. Errors: InputError when `path`
        exists, is inside the vault, or the passphrase is too weak.
        """
        ...


class Vault(Protocol):
    """The vault of one folder. One process holds it at a time: a second gets a ResourceError.

    Errors of all methods that take a PIN: WrongPinError, MustWaitError, WipedError (InputErrors).
    """

    @property
    def state(self) -> VaultState:
        """absent, locked, open or wiped."""
        ...

    @property
    def wait_s(self) -> int:
        """Seconds until the next PIN is looked at; survives restarts, and a clock set back does not shorten it."""
        ...

    def create(self, pin: str) -> OpenVault:
        """Make it and open it. Errors: InputError when there is one already or the PIN is too weak."""
        ...

    def unlock(self, pin: str) -> OpenVault:
        """Open it; takes the time of Argon2id, so call it off the drawing thread."""
        ...

    def check_pin(self, pin: str) -> None:
        """Return when the PIN is right. Wrong ones count as for `unlock`, also while open."""
        ...

    def change_pin(self, old: str, new: str) -> None:
        """Wrap the same key under another PIN; the old or the new one holds, at every moment exactly one."""
        ...

    def set_wipe_after(self, pin: str, failures: int) -> None:
        """Wipe after so many wrong PINs in a row (at least 5); 0 (as made) never."""
        ...

    def lock(self) -> None:
        """Close it and overwrite the keys. Idempotent."""
        ...

    def wipe(self) -> None:
        """Destroy the key, then the data. Cannot be undone; if interrupted, the next start finishes it."""
        ...

    def restore(self, path: Path, passphrase: str, pin: str) -> OpenVault:
        """Make this vault from a backup, under a new PIN, and open it. Never over a vault that is there; a wrong
        passphrase or a damaged file leaves nothing.
        """
        ...
