"""The vault of one folder: made, opened, locked, its PIN changed, wiped, restored. The store inside is the subclass's.

    folder/lock                     held (flock) by the process that uses the vault
    folder/vault/                   key.json, attempts.json, vault.db (and its journal), audit.head
    folder/new-XXXXXXXX/            being made; renamed to vault/ when whole, so a half-made vault is not there
    folder/wiped                    the order to wipe: whoever starts next finishes it

Every step may be the last before the power goes: the order of steps is the rule, tests/fault/test_vault_kill.py
kills at each.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from edge.app.vault import disk, migrations
from edge.app.vault.attempts import AttemptCounter
from edge.app.vault.backoff import Attempts, Moment
from edge.app.vault.backup import read_backup
from edge.app.vault.cells import Cells
from edge.app.vault.keys import LEAST_WIPE_AFTER, MOST_WIPE_AFTER, Cost, KeyFile, Keys, new_key, zero
from edge.app.vault.pins import check_pin_rules
from edge.app.vault.protocol import DamagedError, MustWaitError, OpenVault, VaultState, WipedError, WrongPinError
from edge.app.vault.sql import sql_errors
from edge.app.vault.store import Store
from edge.errors import EdgeError, InputError, ResourceError
from edge.files import fsync_directory

KEY_FILE, DATABASE = "key.json", "vault.db"
LEAST_SECRET_BYTES = 16


def system_moment() -> Moment:
    """Both clocks of this machine; Linux also tells which start it is and counts through sleep."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot)
    except (OSError, AttributeError):
        return Moment(time.time())


def utc_now() -> datetime:
    """Now."""
    return datetime.now(UTC)


class FolderVault:
    """See edge.app.vault.protocol.Vault.

    clock: for the audit log. moment: for the back-off. cost: of new vaults and backups (a vault that is there keeps its
    own). device_secret: bytes from a platform's keystore, mixed into the key; without them the PIN opens nothing.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        moment: Callable[[], Moment] = system_moment,
        cost: Cost = Cost(),  # noqa: B008 - frozen
        device_secret: bytes = b"",
    ) -> None:
        if 0 < len(device_secret) < LEAST_SECRET_BYTES:
            raise InputError("the device secret is too short", mend=f"give {LEAST_SECRET_BYTES} random bytes or more")
        self._root, self._inside, self._marker = folder, folder / "vault", folder / "wiped"
        self._clock, self._moment, self._cost, self._secret = clock, moment, cost, device_secret
        self._lock = disk.FolderLock(folder / "lock")
        self._turn = threading.RLock()
        self._store: Store | None = None
        if self._left():
            with contextlib.suppress(EdgeError, OSError), self._holding():
                pass

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.state})"

    # ---- what a subclass gives ------------------------------------------------------------------------------

    errors: ClassVar[type[Exception]]

    def _connect(self, path: Path, keys: Keys) -> tuple[Any, Cells]:
        raise NotImplementedError

    # ---- state ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> VaultState:
        """absent, locked, open or wiped."""
        if self._store is not None:
            return VaultState.OPEN
        if self._marker.exists():
            return VaultState.WIPED
        return VaultState.LOCKED if self._inside.exists() else VaultState.ABSENT

    @property
    def wait_s(self) -> int:
        """Seconds until the next PIN is looked at."""
        if self.state not in (VaultState.LOCKED, VaultState.OPEN):
            return 0
        with self._turn, disk.disk_errors(KEY_FILE):
            file = self._key_file()
            counter = self._counter(file)
            try:
                with self._holding():
                    return counter.left_s(file.wipe_after)
            except ResourceError:  # another process holds it, or the disk takes nothing: look without writing
                return counter.look_s()

    # ---- making ---------------------------------------------------------------------------------------------

    def create(self, pin: str) -> OpenVault:
        """Make it and open it."""
        return self._make(pin, lambda store: None)

    def restore(self, path: Path, passphrase: str, pin: str) -> OpenVault:
        """Make it from a backup and open it."""

        def fill(store: Store) -> None:
            store.fill(read_backup(path, passphrase))
            store.audit("vault-restore", detail={"count": str(len(store.summaries()))})

        return self._make(pin, fill)

    def _make(self, pin: str, fill: Callable[[Store], None]) -> OpenVault:
        check_pin_rules(pin)
        with self._turn, disk.disk_errors(self._root.name):
            if self.state in (VaultState.OPEN, VaultState.LOCKED):
                raise InputError("there is a vault already", mend="unlock it, or wipe it first")
            disk.private_folder(self._root)
            with self._holding(keep=True):
                if self._inside.exists():  # made by another process since
                    raise InputError("there is a vault already", mend="unlock it, or wipe it first")
                new = self._root / f"new-{secrets.token_hex(4)}"
                try:
                    keys = self._make_inside(new, pin, fill)
                    self._marker.unlink(missing_ok=True)
                    fsync_directory(self._root)
                    new.rename(self._inside)
                    fsync_directory(self._root)
                except BaseException:
                    shutil.rmtree(new, ignore_errors=True)
                    raise
                return self._open(keys)

    def _make_inside(self, new: Path, pin: str, fill: Callable[[Store], None]) -> Keys:
        new.mkdir(mode=disk.FOLDER_MODE)
        file, keys = new_key(self.kind, pin, self._cost, self._secret)
        store = self._store_at(new, keys.copy(), make=True)
        try:
            fill(store)
        finally:
            store.close()
        AttemptCounter(new, file.vault_id, self._secret, self._moment).reset()
        disk.write_private(new / KEY_FILE, file.to_bytes())
        return keys

    # ---- opening --------------------------------------------------------------------------------------------

    def unlock(self, pin: str) -> OpenVault:
        """Open it."""
        with self._turn, disk.disk_errors(self._root.name):
            if self._store is not None:
                self.check_pin(pin)
                return self._store
            self._must_be_there()
            with self._holding(keep=True):
                master, vault_id, before = self._try(pin)
                try:
                    store = self._open(Keys(master, vault_id))
                finally:
                    zero(master)
                # The log is told when it can be: a full disk must not keep a clinician from reading.
                with contextlib.suppress(ResourceError):
                    if before.doubtful:
                        store.audit("attempts-doubtful")
                    elif before.failures:
                        store.audit("pin-wrong", detail={"failures": str(before.failures)})
                return store

    def check_pin(self, pin: str) -> None:
        """Return when the PIN is right; wrong ones count."""
        with self._turn, disk.disk_errors(self._root.name):
            self._must_be_there()
            with self._holding():
                zero(self._try(pin)[0])

    def change_pin(self, old: str, new: str) -> None:
        """Wrap the key under another PIN."""
        check_pin_rules(new)
        self._rewrap(old, new, None)

    def set_wipe_after(self, pin: str, failures: int) -> None:
        """Wipe after so many wrong PINs in a row, 0 never."""
        if failures and not LEAST_WIPE_AFTER <= failures <= MOST_WIPE_AFTER:
            raise InputError(
                f"cannot wipe after {failures} wrong PINs", mend=f"choose {LEAST_WIPE_AFTER} to {MOST_WIPE_AFTER}, or 0"
            )
        self._rewrap(pin, pin, failures)

    def _rewrap(self, old: str, new: str, wipe_after: int | None) -> None:
        with self._turn, disk.disk_errors(self._root.name):
            self._must_be_there()
            with self._holding():
                master = self._try(old)[0]
                try:
                    file = self._key_file()
                    if wipe_after is not None:
                        file = replace(file, wipe_after=wipe_after)
                    data = file.with_key(master, new, self._secret).to_bytes()
                finally:
                    zero(master)
                disk.replace_and_shred(self._inside / KEY_FILE, data)

    def lock(self) -> None:
        """Close it and overwrite the keys."""
        with self._turn:
            if self._store is not None:
                self._store.close()
            self._store = None
            self._lock.release()

    # ---- wiping ---------------------------------------------------------------------------------------------

    def wipe(self) -> None:
        """Destroy the key, then the data."""
        with self._turn, disk.disk_errors(self._root.name):
            if self.state == VaultState.ABSENT:
                return
            with self._holding():
                self._wipe_now()
            self.lock()

    def _wipe_now(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None
        # From here on it is wiped: a marker, not the missing key, says so, so that a kill cannot leave a vault that
        # is neither usable nor known to be gone.
        disk.write_private(self._marker, b"wiped\n")
        self._finish()
        self._lock.release()

    def _left(self) -> list[Path]:
        """Folders that are to be removed."""
        ordered = [self._inside] if self._marker.exists() and self._inside.is_dir() else []
        return ordered + [path for path in self._root.glob("new-????????") if path.is_dir()]

    def _finish(self) -> None:
        """What a killed process left: an ordered wipe, a vault half made, a file half written."""
        for folder in self._left():
            for path in (folder / KEY_FILE, *folder.glob(f".{KEY_FILE}.*")):
                disk.shred(path)
            disk.remove_tree(folder)
        for path in (*self._root.glob(f".{self._marker.name}.*.part"), *self._inside.glob(".*.part")):
            disk.shred(path)

    # ---- inside ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _holding(self, *, keep: bool = False) -> Iterator[None]:
        """Hold the folder; it is let go afterwards unless it was held before, or `keep` and nothing went wrong."""
        before = self._lock.held
        self._lock.acquire()
        try:
            if not before:
                self._finish()
            yield
        except BaseException:
            if not before:
                self._lock.release()
            raise
        if not before and not keep:
            self._lock.release()

    def _must_be_there(self) -> None:
        if self.state == VaultState.WIPED:
            raise WipedError
        if self.state == VaultState.ABSENT:
            raise InputError("there is no vault yet", mend="set a PIN first")

    def _key_file(self) -> KeyFile:
        try:
            data = (self._inside / KEY_FILE).read_bytes()
        except FileNotFoundError as error:
            raise DamagedError("the key file is missing", where=KEY_FILE, mend="restore a backup") from error
        file = KeyFile.from_bytes(data)
        if file.kind != self.kind:
            raise ResourceError(f"the vault is of another kind ({file.kind})", mend="open it with the app that made it")
        if file.bound and not self._secret:
            raise ResourceError("the vault is bound to a device key that is not here", mend="restore a backup")
        return file

    def _counter(self, file: KeyFile) -> AttemptCounter:
        return AttemptCounter(self._inside, file.vault_id, self._secret if file.bound else b"", self._moment)

    def _try(self, pin: str) -> tuple[bytearray, bytes, Attempts]:
        """The key, the vault's id, and the attempts before this one. Errors: the PIN's."""
        file = self._key_file()
        counter = self._counter(file)
        before = counter.read(file.wipe_after)
        if file.wipe_after and before.failures >= file.wipe_after:  # killed before the last one was looked at
            self._wipe_now()
            raise WipedError
        left = counter.left_s(file.wipe_after)
        if left:
            raise MustWaitError(left)
        failures = counter.count(file.wipe_after).failures
        master = file.unwrap(pin, self._secret if file.bound else b"")
        if master is None:
            if file.wipe_after and failures >= file.wipe_after:
                self._wipe_now()
                raise WipedError
            raise WrongPinError(counter.left_s(file.wipe_after), failures)
        counter.reset()
        return master, bytes.fromhex(file.vault_id), before

    def _open(self, keys: Keys) -> Store:
        store = self._store_at(self._inside, keys, make=False)
        self._store = store
        return store

    def _store_at(self, folder: Path, keys: Keys, *, make: bool) -> Store:
        path = folder / DATABASE
        if make:
            disk.new_file(path)
        elif not path.exists():
            raise DamagedError("the database is missing", where=DATABASE, mend="restore a backup")
        connection: Any = None
        try:
            with sql_errors(self.errors):
                connection, cells = self._connect(path, keys)
                migrations.migrate(connection)
            store = Store(
                connection,
                cells,
                keys,
                folder=folder,
                errors=self.errors,
                clock=self._clock,
                cost=self._cost,
            )
            store.settle(new=make)
        except BaseException:
            if connection is not None:
                connection.close()
            keys.forget()
            raise
        return store
