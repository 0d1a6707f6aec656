"""The desk of the bedside app: who is open, what changed, what must be saved, what the engines say. No Kivy.

Rules
- An edit is a pure function of edge.clinical.encounter.edits; the desk pushes it on the undo history, runs the
  red-flag rules, marks it dirty. What is dirty is on disk within a second, written by a thread of its own.
- Locking saves, cancels what is being written, and lets go of every word of a patient. Unlocking opens what was open.
- While an encounter is open its builds are pinned: an engine that comes back with another behaviour digest is refused,
  and the update lock (edge.bundle.update_lock) keeps an installer from swapping the bundle.
- Results are applied by edge.app.runs only when their run and their encounter are still the ones that are open.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from edge.app.engine.messages import BundleFacts, DeviceReading
from edge.app.runs import Runs, Streaming
from edge.app.vault.protocol import LockedError, OpenVault
from edge.app.vault_desk import Done, Services, VaultDesk, read_summaries
from edge.clinical.encounter import edits
from edge.clinical.encounter.codec import from_bytes, to_bytes
from edge.clinical.encounter.flags import Flag, flags
from edge.clinical.encounter.flags import forget as forget_flags
from edge.clinical.encounter.model import Encounter, Patient
from edge.clinical.encounter.summary import Summary, summary
from edge.clinical.encounter.undo import History
from edge.errors import EdgeError, InputError

AUTOSAVE_AFTER_S = 0.4
WRITING_LOCK_S = 600
FOLLOW_EVERY_S = 1.0
READINGS_KEPT = 300  # ten minutes at one reading every two seconds


class Workspace(VaultDesk):
    """See the module's docstring. Every method may raise EdgeError with a person's mistake; nothing is lost then."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.encounter: Encounter | None = None
        self.flags: tuple[Flag, ...] = ()
        self.readings: deque[DeviceReading] = deque(maxlen=READINGS_KEPT)
        self.runs = Runs(self)
        # Called while the encounter is still open: who holds words that are half typed puts them into it.
        self.before_lock: list[Callable[[], None]] = []
        self._history: History[Encounter] | None = None
        self._reopen = ""
        self._held: Encounter | None = None
        self._dirty_since: float | None = None
        self._stored: tuple[str, int] = ("", -1)  # id and revision that are on disk
        self._saving = False
        self._followed_s = services.monotonic()

    def entered(self) -> None:
        """Open what was open when the screen locked; what could not be saved then is still there."""
        reopen, held = self._reopen, self._held
        self._reopen, self._held = "", None
        if held is not None:
            self._adopt(held)
            self._stored = ("", -1)
        elif reopen:
            try:
                self.open(reopen)
            except EdgeError as error:
                self.save_error = error

    # ---- lock -----------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Save, stop, and let go of every patient's words.

        Where the disk refuses, the open encounter alone stays in memory, off the screen, until the PIN comes back:
        losing what a clinician typed would be worse.
        """
        if self._open is None:
            return
        for told in tuple(self.before_lock):
            with contextlib.suppress(EdgeError):  # what cannot be kept must not keep the screen open
                told()
        self.runs.stop_all()
        self.save_now()
        self.audit("lock", self.encounter.id if self.encounter else "")
        self._reopen = self.encounter.id if self.encounter else ""
        self._held = self.encounter if self.dirty else None
        self._forget()
        self._worklist = ()
        self._open = None
        self.locked = True
        self.services.background.call(self.services.vault.lock)
        self.changed()

    def wipe(self) -> None:
        """Destroy the key and the data of all patients on this device."""
        self.runs.stop_all()
        self._forget()
        self._worklist, self._open, self._reopen, self._held, self.locked = (), None, "", None, True
        self.services.background.call(self.services.vault.wipe)
        self.changed()

    # ---- encounters -----------------------------------------------------------------------------------------

    def worklist(self) -> tuple[Summary, ...]:
        """All encounters, the last changed first."""
        return self._worklist

    def new_encounter(self, patient: Patient) -> str:
        """Make and open one. Returns its id."""
        now = self.now()
        made = Encounter(self.services.new_id(), created_at=now, updated_at=now)
        made = edits.set_patient(made, patient, now=now)
        self.close()
        self.services.background.call(self._store, self.vault, made)
        self.audit("encounter-new", made.id)
        self._adopt(made)
        self.list_again()
        return made.id

    def add(self, encounter: Encounter) -> None:
        """Put an encounter into the worklist without opening it."""
        self.services.background.call(self._store, self.vault, encounter)
        self.audit("encounter-new", encounter.id)
        self.list_again()

    def open(self, encounter_id: str) -> None:
        """Open one; the one that was open is saved and closed."""
        if self.encounter is not None and self.encounter.id == encounter_id:
            return
        self.close()
        data = self.services.background.call(self.vault.load, encounter_id)
        self._adopt(from_bytes(data))
        self.audit("encounter-open", encounter_id)
        self.changed()

    def close(self) -> None:
        """Save and close what is open; what an engine writes for it is cancelled.

        Errors: ResourceError when it cannot be saved; then it stays open.
        """
        if self.encounter is None:
            return
        self.runs.stop_all()
        self.save_now()
        if self.dirty and self.save_error is not None:
            raise self.save_error
        self.audit("encounter-close", self.encounter.id)
        self._forget()
        self.changed()

    def delete(self, encounter_id: str, reason: str) -> None:
        """Delete one for ever. reason: one of the closed set that the audit log knows."""
        if self.encounter is not None and self.encounter.id == encounter_id:
            self.runs.stop_all()
            self._forget()
        self.services.background.call(self.vault.delete, encounter_id)
        self.audit("encounter-delete", encounter_id, reason=reason)
        self.list_again()

    def _adopt(self, encounter: Encounter) -> None:
        self.services.update_lock.acquire()
        self.runs.follow_builds()  # with the lock held nothing is exchanged any more until the visit is closed
        self.encounter = encounter
        self._stored = (encounter.id, encounter.revision)
        self._history = History(encounter)
        self.flags = flags(encounter)
        self.runs.encounter_opened()

    def _forget(self) -> None:
        self.encounter, self._history, self.flags = None, None, ()
        self._dirty_since = None
        forget_flags()
        self.runs.encounter_closed()
        self.services.update_lock.release()

    # ---- edits ----------------------------------------------------------------------------------------------

    def edit(self, function: Callable[..., Encounter], *args: Any, undoable: bool = True, **options: Any) -> Encounter:
        """Apply a pure edit to the open encounter. Errors: InputError from the edit; then nothing changed."""
        if self.encounter is None or self._history is None:
            raise InputError("no patient is open", mend="open one in the worklist")
        after = function(self.encounter, *args, now=self.now(), **options)
        if after == self.encounter:
            return after
        self._history = self._history.push(after) if undoable else History(after)
        self._changed_to(after)
        return after

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return self._history is not None and self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return self._history is not None and self._history.can_redo

    def undo(self) -> None:
        """Back by one edit."""
        if self._history is not None and self._history.can_undo:
            self._history = self._history.undo()
            self._restored()

    def redo(self) -> None:
        """Forward by one edit."""
        if self._history is not None and self._history.can_redo:
            self._history = self._history.redo()
            self._restored()

    def _restored(self) -> None:
        if self._history is not None and self.encounter is not None:
            self._changed_to(edits.as_edit(self._history.present, self.encounter, self.now()))

    def _changed_to(self, after: Encounter) -> None:
        self.encounter = after
        self.flags = flags(after)
        self.touch()
        self.changed()

    def sign(self, pin: str, by: str) -> None:
        """Close the encounter for ever. Errors: InputError while something blocks; EdgeError for a wrong PIN."""
        self.check_pin(pin)
        self._sign(by)

    def sign_soon(self, pin: str, by: str, done: Done) -> Callable[[], None]:
        """The same without waiting for the key: `done` is told by a later tick. Returns what calls it off.

        What is signed is what was open when the PIN was entered: a change meanwhile is an error, and so is a lock.
        """
        seen, wanted = self.encounter, [True]

        def call_off() -> None:
            wanted.clear()

        def checked(_: Any, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, EdgeError):
                raise error
            if not wanted:
                return
            try:
                if error is not None:
                    raise error
                if self.locked:
                    raise LockedError
                if self.encounter is not seen:
                    raise InputError("the encounter was changed while the PIN was checked", mend="look at it again")
                self._sign(by)
            except EdgeError as why:
                done(why)
            else:
                done(None)

        self.services.background.post(self.services.vault.check_pin, pin, done=checked)
        return call_off

    def _sign(self, by: str) -> None:
        if self.runs.streaming is not None:
            raise InputError("the model is still writing", mend="wait, or stop it first")
        before, history = self.encounter, self._history
        signed = self.edit(edits.sign, by=by, digests=self.runs.digests_used(), undoable=False)
        self.save_now()
        if self.save_error is not None:
            # What is not on disk is not signed: else it would be later, without the person and without the log.
            failure, self.encounter, self._history = self.save_error, before, history
            self.save_error = failure if self.dirty else None
            self.changed()
            raise failure
        digest = signed.signature.content_sha256 if signed.signature else ""
        self.audit("sign", signed.id, content_sha256=digest)
        self.set_setting("signer", by)

    # ---- saving ---------------------------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether something is not on disk yet."""
        return self.encounter is not None and self._stored != (self.encounter.id, self.encounter.revision)

    @staticmethod
    def _store(vault: OpenVault, encounter: Encounter) -> None:
        data = to_bytes(encounter)  # first: it says in words what cannot be written
        listed = json.dumps(summary(encounter, flags(encounter)).to_json(), ensure_ascii=False).encode()
        vault.save(encounter.id, data, listed)

    def save_now(self) -> None:
        """Write what is dirty and wait for it. A failure is kept in `save_error`, and the work stays dirty."""
        if self.encounter is None or self._open is None:
            return
        if self.dirty:
            try:
                self.services.background.call(self._store, self._open, self.encounter)
                self._stored = (self.encounter.id, self.encounter.revision)
                self._dirty_since, self.save_error = None, None
            except EdgeError as error:
                self.save_error = error
                self.changed()
                return
        self.list_again()

    def _autosave(self) -> None:
        if self._saving or not self.dirty or self.encounter is None or self._open is None:
            return
        now_s = self.services.monotonic()
        if self._dirty_since is None:
            self._dirty_since = now_s
        if now_s - self._dirty_since < AUTOSAVE_AFTER_S:
            return
        self._saving, self._dirty_since = True, None
        stored = (self.encounter.id, self.encounter.revision)

        def saved(_: Any, error: BaseException | None) -> None:
            self._saving = False
            if error is None:
                self.save_error = None
                if self.encounter is not None and self.encounter.id == stored[0]:
                    self._stored = max(self._stored, stored) if self._stored[0] == stored[0] else stored
                self._list_later()
            elif isinstance(error, EdgeError):
                self.save_error = error  # it is still dirty: the next tick tries again after a while
                self.changed()
            else:
                raise error

        self.services.background.post(self._store, self._open, self.encounter, done=saved)

    def _list_later(self) -> None:
        if self._open is None:
            return

        def listed(answer: Any, error: BaseException | None) -> None:
            if error is None and self._open is not None and answer != self._worklist:
                self._worklist = answer
                self.changed()

        self.services.background.post(read_summaries, self._open, done=listed)

    # ---- engines --------------------------------------------------------------------------------------------

    @property
    def streaming(self) -> Streaming | None:
        """What an engine is writing now."""
        return self.runs.streaming

    def facts(self, task: str) -> BundleFacts | None:
        """The bundle that serves a task, once its engine is ready."""
        return self.runs.facts(task)

    @property
    def device(self) -> DeviceReading | None:
        """The last reading of the device's sensors."""
        return self.readings[-1] if self.readings else None

    def tick(self) -> None:
        """Once a frame: what engines and threads have said, autosave, auto-lock. Never waits."""
        self.services.background.poll()
        self.runs.poll()
        self._follow_builds()
        if self.locked:
            return
        self._autosave()
        idle_s = self.services.monotonic() - self._touched_s
        # A draft that is being written keeps the screen open a while longer: locking would throw it away.
        limit_s = max(self.settings.autolock_s, WRITING_LOCK_S) if self.runs.streaming else self.settings.autolock_s
        if idle_s >= limit_s:
            self.lock()

    def _follow_builds(self) -> None:
        """Once a second, between two visits."""
        now_s = self.services.monotonic()
        if self.encounter is None and abs(now_s - self._followed_s) >= FOLLOW_EVERY_S:
            self._followed_s = now_s
            self.runs.follow_builds()

    def quit(self) -> None:
        """The app ends: save, lock, end the engines."""
        self.lock()
        self.runs.close()
        self.services.background.close()


__all__ = ["Services", "Workspace"]
