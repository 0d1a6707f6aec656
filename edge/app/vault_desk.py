"""The desk's vault: unlocking, settings, the audit log. edge.app.workspace is built on it. No Kivy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.background import Worker
from edge.app.engine.client import EngineClient
from edge.app.i18n import translator
from edge.app.presenters.base import Observable
from edge.app.settings import Settings
from edge.app.vault.protocol import LockedError, OpenVault, Vault, VaultState
from edge.bundle.update_lock import NO_LOCK, UpdateLock
from edge.clinical.encounter.summary import Summary
from edge.errors import EdgeError, ResourceError

if TYPE_CHECKING:
    from edge.app.speech.protocol import SpeechClient

Done = Callable[[EdgeError | None], None]
WIPE_AFTER = "wipe_after"  # name of the setting; the vault's own key file decides


@dataclass(frozen=True)
class Services:
    """What the desk works with; all of it is injected, so that tests hold the clock and the engines.

    engines: task -> client; two tasks may share one. profiles: task -> the name to show where its model is missing.
    places: task -> where its build lies now; a task without one has a build that is never exchanged.
    background: the thread that the vault is used from. data_folder: where patients' data lies, to tell its disk.
    """

    vault: Vault
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    engines: Mapping[str, EngineClient] = field(default_factory=dict)
    profiles: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    speech: Callable[[], SpeechClient] | None = None
    background: Worker = field(default_factory=Worker)
    update_lock: UpdateLock = NO_LOCK
    data_folder: Path | None = None


class VaultDesk(Observable):
    """What a desk can do before anybody's data is seen, and with the vault behind it."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.settings = Settings()
        self.locked = True
        self.save_error: EdgeError | None = None
        self._open: OpenVault | None = None
        self._worklist: tuple[Summary, ...] = ()
        self.damaged_records = 0  # stored visits that cannot be read
        self.wipe_after = 0  # wrong PINs in a row after which the vault wipes itself; 0 never
        self._touched_s = services.monotonic()

    def entered(self) -> None:
        """The vault was opened; a subclass goes on from here."""

    @property
    def vault_state(self) -> VaultState:
        """absent, locked, open or wiped."""
        return self.services.vault.state

    def now(self) -> str:
        """UTC, ISO 8601, seconds."""
        return self.services.clock().isoformat(timespec="seconds")

    def touch(self) -> None:
        """Somebody is there: the auto-lock begins anew."""
        self._touched_s = self.services.monotonic()

    def create_vault(self, pin: str, done: Done) -> None:
        """First start: make the vault under a PIN and open it."""
        self._enter(lambda: self.services.vault.create(pin), "vault-create", done)

    def restore_vault(self, path: Path, passphrase: str, pin: str, done: Done) -> None:
        """First start: make the vault from a backup, under a new PIN, and open it."""

        def restore() -> OpenVault:
            opened = self.services.vault.restore(path, passphrase, pin)
            opened.set_setting(WIPE_AFTER, "0")  # the backup tells of another device's key; this one never wipes itself
            return opened

        self._enter(restore, "unlock", done)

    def unlock(self, pin: str, done: Done) -> None:
        """Open the vault; `done` is told by a later tick, since the key takes the best part of a second."""
        self._enter(lambda: self.services.vault.unlock(pin), "unlock", done)

    def _enter(self, work: Callable[[], OpenVault], action: str, done: Done) -> None:
        def enter() -> tuple[OpenVault, Settings, tuple[Summary, ...], int, int]:
            opened = work()
            with contextlib.suppress(ResourceError):  # a full disk must not keep anybody out; a save will say it
                opened.audit(action)
            kept = {name: text for name in vars(Settings()) if (text := opened.setting(name)) is not None}
            after = opened.setting(WIPE_AFTER) or "0"
            number = int(after) if after.isascii() and after.isdigit() else 0
            return opened, Settings.from_text(kept), read_summaries(opened), len(opened.damaged_records()), number

        def entered(answer: Any, error: BaseException | None) -> None:
            if error is None:
                self._open, self.settings, self._worklist, self.damaged_records, self.wipe_after = answer
                self.locked = False
                self.touch()
                translator.language = self.settings.language
                self.entered()
            elif not isinstance(error, EdgeError):
                raise error
            self.changed()
            done(error)

        self.services.background.post(enter, done=entered)

    def check_pin(self, pin: str) -> None:
        """The person at the screen knows the PIN. Errors: EdgeError when not; wrong ones count for the back-off."""
        self.services.background.call(self.services.vault.check_pin, pin)

    def change_pin(self, old: str, new: str, done: Done) -> None:
        """Wrap the key under another PIN."""

        def told(_: Any, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, EdgeError):
                raise error
            if error is None:
                self.audit("pin-change")
            done(error)

        self.services.background.post(self.services.vault.change_pin, old, new, done=told)

    def set_wipe_after(self, pin: str, failures: int, done: Done) -> None:
        """Wipe after so many wrong PINs in a row, 0 never; a later tick tells. Errors: of the PIN, of the disk."""
        opened, before = self.vault, self.wipe_after

        def change() -> None:
            self.services.vault.set_wipe_after(pin, failures)
            try:
                opened.set_setting(WIPE_AFTER, str(failures))
            except EdgeError:
                self.services.vault.set_wipe_after(pin, before)  # what is shown and what happens must agree
                raise

        def told(_: Any, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, EdgeError):
                raise error
            if error is None:
                self.wipe_after = failures
                self.audit("wipe-after-set", count=str(failures))
            done(error)

        self.services.background.post(change, done=told)

    @property
    def vault(self) -> OpenVault:
        """The open vault; use it through services.background. Errors: LockedError."""
        if self._open is None:
            raise LockedError
        return self._open

    def audit(self, action: str, encounter_id: str = "", **detail: str) -> None:
        """Append to the log, in the order of the calls; nobody waits for it. A failure is kept in `save_error`."""
        if self._open is None:
            return

        def told(_: Any, error: BaseException | None) -> None:
            if isinstance(error, EdgeError):
                self.save_error = error
                self.changed()
            elif error is not None:
                raise error

        self.services.background.post(self._open.audit, action, encounter_id, detail, done=told)

    def set_setting(self, name: str, value: Any) -> None:
        """Change a setting and keep it; one that the disk does not take holds until the app ends."""
        changed = self.settings.with_value(name, value)
        if changed == self.settings:
            return
        self.settings = changed
        translator.language = changed.language
        if self._open is not None:
            try:
                self.services.background.call(self._open.set_setting, name, changed.to_text()[name])
            except EdgeError as error:
                self.save_error = error
        self.changed()

    def list_again(self) -> None:
        """Read the worklist from the vault."""
        self._worklist = self.services.background.call(read_summaries, self.vault)
        self.changed()


def read_summaries(vault: OpenVault) -> tuple[Summary, ...]:
    """The worklist, the last saved first."""
    return tuple(Summary.from_json(json.loads(data)) for _, data in vault.summaries())
