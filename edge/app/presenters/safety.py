"""Settings that touch the data itself: another PIN, a backup, the wipe. Each is a small state of its own.

Rules
- Another PIN: the present one, the new one, the new one again; the vault looks at the present one last, so that a
  wrong one counts for its back-off.
- A backup is written to a folder that the person chose, under a passphrase typed twice; its name holds only the date.
- The wipe needs a word typed and then the PIN. What is lost is said in numbers before the first of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.i18n import tr, tr_n
from edge.app.presenters.errors import wait_words, words
from edge.app.presenters.folders import FolderBrowser
from edge.app.presenters.pin_entry import PinEntry, PinView
from edge.app.presenters.setup import BACKUP_ENDING
from edge.app.vault.pins import LEAST_BACKUP_CHARACTERS, check_backup_rules
from edge.clinical.encounter.model import EncounterState
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

Changed = Callable[[], None]


class PinChange:
    """Three times a PIN: present, new, new again."""

    STEPS = ("old", "new", "repeat")

    def __init__(self, workspace: Workspace, changed: Changed) -> None:
        self._workspace, self._changed = workspace, changed
        self.entry = PinEntry()
        self.clear()

    def clear(self) -> None:
        """Forget what was typed and begin at the first step."""
        self.entry.clear()
        self.step, self.busy, self.message, self.tone = "old", False, "", ""
        self._old = self._new = ""

    def view(self) -> PinView:
        """The step in words."""
        level, strong = self.entry.strength() if self.step == "new" else (-1, "")
        number = self.STEPS.index(self.step) + 1
        return PinView(
            title=tr(f"settings.pin_{self.step}"),
            text=tr("settings.pin_step", number=number, of=len(self.STEPS)),
            typed=len(self.entry),
            message=self.message,
            tone=self.tone,
            strength=strong,
            level=level,
            busy=tr("settings.pin_changing") if self.busy else "",
            keyboard=self.entry.keyboard,
            enter=tr("settings.pin_set" if self.step == "repeat" else "lock.next"),
        )

    def enter(self) -> None:
        """The PIN of this step was typed."""
        if not self.view().can_enter:
            return
        self.message = self.tone = ""
        if self.step == "old":
            self._old, self.step = self.entry.take(), "new"
        elif self.step == "new":
            level, why = self.entry.strength()
            if level <= 0:
                self.message, self.tone = why, "danger"
                self.entry.clear()
            else:
                self._new, self.step = self.entry.take(), "repeat"
        else:
            again = self.entry.take()
            if hmac.compare_digest(again.encode(), self._new.encode()):
                self._begin(again)
            else:
                self._new, self.step = "", "new"
                self.message, self.tone = tr("lock.not_the_same"), "danger"
        self._changed()

    def _begin(self, new: str) -> None:
        old = self._old
        self._old = self._new = ""
        self.busy = True

        def done(error: EdgeError | None) -> None:
            self.clear()
            if error is None:
                self.message, self.tone = tr("settings.pin_changed"), "support"
            else:
                self.message, self.tone = words(error), "danger"
            self._changed()

        self._workspace.change_pin(old, new, done)


@dataclass(frozen=True)
class WipeAfterView:
    """value: wrong PINs in a row, 0 never. wanted: the value that the PIN is asked for; pin: None while none is."""

    value: int
    options: tuple[tuple[int, str], ...]
    wanted: int
    pin: PinView | None = None
    message: str = ""
    tone: str = ""


class WipeAfter:
    """After how many wrong PINs the data is destroyed. Another value needs the PIN."""

    VALUES = (0, 10, 20)

    def __init__(self, workspace: Workspace, changed: Changed) -> None:
        self._workspace, self._changed = workspace, changed
        self.entry = PinEntry()
        self.clear()

    def clear(self) -> None:
        """Nothing is asked; what was typed is forgotten."""
        self.entry.clear()
        self.wanted: int | None = None
        self.busy, self.message, self.tone = False, "", ""

    def view(self) -> WipeAfterView:
        """As it is now."""
        value = self._workspace.wipe_after
        wanted = value if self.wanted is None else self.wanted
        options = tuple((one, self._words(one)) for one in sorted({*self.VALUES, value}))
        if self.wanted is None:
            return WipeAfterView(value, options, wanted, None, self.message, self.tone)
        text = tr("settings.wipe_after_ask", count=wanted) if wanted else tr("settings.wipe_after_ask_off")
        pin = PinView(
            title=tr("settings.wipe_after_pin"),
            text=text,
            typed=len(self.entry),
            message=self.message,
            tone=self.tone,
            busy=tr("worklist.checking_pin") if self.busy else "",
            keyboard=self.entry.keyboard,
            enter=tr("settings.wipe_after_set"),
        )
        return WipeAfterView(value, options, wanted, pin)

    def choose(self, value: int) -> None:
        """A value was tapped: ask for the PIN, unless it is the one that holds."""
        if self.busy or value not in self.VALUES:
            return
        self.clear()
        self.wanted = value if value != self._workspace.wipe_after else None
        self._changed()

    def enter(self) -> None:
        """The PIN was typed: check it and keep the value. A later tick tells."""
        wanted, pin = self.wanted, self.view().pin
        if wanted is None or pin is None or not pin.can_enter:
            return
        self.busy, self.message, self.tone = True, "", ""

        def done(error: EdgeError | None) -> None:
            self.busy = False
            if error is None:
                self.clear()
                self.message, self.tone = tr("settings.wipe_after_done", value=self._words(wanted)), "support"
            elif self.wanted is not None:
                self.message, self.tone = words(error), "danger"
            self._changed()

        try:
            self._workspace.set_wipe_after(self.entry.take(), wanted, done)
        except EdgeError as error:
            done(error)
        self._changed()

    @staticmethod
    def _words(value: int) -> str:
        return tr("settings.wipe_after_count", count=value) if value else tr("settings.wipe_after_off")


@dataclass(frozen=True)
class BackupView:
    """folder: where the file goes. tone: of the message ('' plain, danger, support)."""

    folder: str = field(repr=False)
    message: str = ""
    tone: str = ""
    busy: bool = False


class Backup:
    """Folder, passphrase twice, one encrypted file."""

    def __init__(self, workspace: Workspace, changed: Changed, start: Path) -> None:
        self._workspace, self._changed = workspace, changed
        self.browser = FolderBrowser(start)
        self.message, self.tone, self.busy = "", "", False

    def clear(self) -> None:
        """Forget the last outcome; a backup that is being written goes on."""
        self.message = self.tone = ""

    def view(self) -> BackupView:
        """As it is now."""
        return BackupView(str(self.browser.path), self.message, self.tone, self.busy)

    def write(self, passphrase: str, again: str) -> None:
        """Write the file into the folder that is shown. The outcome comes by a later tick."""
        if self.busy:
            return
        try:
            check_backup_rules(passphrase)
        except EdgeError as error:
            self._said(words(error), "danger")
            return
        if not hmac.compare_digest(passphrase.encode(), again.encode()):
            self._said(tr("settings.backup_not_same"), "danger")
            return
        at = self._workspace.services.clock().astimezone()
        path = self.browser.path / f"edge-{at:%Y%m%d-%H%M%S}{BACKUP_ENDING}"
        self.busy = True

        def done(_: Any, error: BaseException | None) -> None:
            self.busy = False
            if error is not None and not isinstance(error, EdgeError):
                raise error
            self.browser.refresh()
            if error is None:
                self._said(tr("settings.backup_done", file=path.name, folder=str(path.parent)), "support")
            else:
                self._said(words(error), "danger")

        try:
            vault = self._workspace.vault
        except EdgeError as error:
            self.busy = False
            self._said(words(error), "danger")
            return
        self._workspace.save_now()  # what is half a second old belongs into it
        self._workspace.services.background.post(vault.backup, path, passphrase, done=done)
        self._said("", "")

    def _said(self, message: str, tone: str) -> None:
        self.message, self.tone = message, tone
        self._changed()


@dataclass(frozen=True)
class WipeView:
    """step: word (to be typed) or pin. lost: what goes; stays: what does not. right: the word was typed."""

    step: str
    lost: tuple[str, ...]
    stays: str
    word: str
    right: bool = False
    pin: PinView | None = None
    typed: str = field(default="", repr=False)


class Wipe:
    """The word, then the PIN, then nothing is left."""

    def __init__(self, workspace: Workspace, changed: Changed) -> None:
        self._workspace, self._changed = workspace, changed
        self.entry = PinEntry()
        self.clear()

    def clear(self) -> None:
        """Back to the first step."""
        self.entry.clear()
        self.step, self.typed, self.message, self.busy = "word", "", "", False

    def view(self) -> WipeView:
        """As it is now."""
        listed = self._workspace.worklist()
        signed = sum(str(one.state) == EncounterState.SIGNED.value for one in listed)
        lost = (
            tr_n("settings.wipe_visits", len(listed)),
            tr("settings.wipe_signed", count=signed),
            tr("settings.wipe_log"),
        )
        pin = None
        if self.step == "pin":
            pin = PinView(
                title=tr("settings.wipe_pin"),
                text=tr("settings.wipe_last"),
                typed=len(self.entry),
                message=self.message,
                tone="danger" if self.message else "",
                busy=tr("worklist.checking_pin") if self.busy else "",
                keyboard=self.entry.keyboard,
                enter=tr("settings.wipe_now"),
            )
        return WipeView(
            self.step, lost, tr("settings.wipe_stays"), tr("settings.wipe_word"), self._right(), pin, self.typed
        )

    def type(self, text: str) -> None:
        """What stands in the field of the word."""
        self.typed = text
        self._changed()

    def go_on(self) -> None:
        """The word was typed: ask for the PIN."""
        if self._right():
            self.step, self.typed = "pin", ""
            self._changed()

    def enter(self) -> None:
        """The PIN was typed: check it, then wipe. A later tick tells."""
        pin = self.view().pin
        if pin is None or not pin.can_enter:
            return
        self.busy, self.message = True, ""
        services = self._workspace.services

        def done(_: Any, error: BaseException | None) -> None:
            self.busy = False
            if self.step != "pin" or self._workspace.locked:
                return  # left, or locked meanwhile
            if error is None:
                self.clear()
                self._workspace.wipe()
            elif isinstance(error, EdgeError):
                self.message = words(error)
            else:
                raise error
            self._changed()

        services.background.post(services.vault.check_pin, self.entry.take(), done=done)
        self._changed()

    def _right(self) -> bool:
        return self.typed.strip() == tr("settings.wipe_word")


def autolock_words(seconds: int) -> str:
    """'2 min'."""
    return wait_words(seconds) if seconds >= 120 else tr("errors.minutes", count=seconds // 60)


__all__ = [
    "LEAST_BACKUP_CHARACTERS",
    "Backup",
    "BackupView",
    "PinChange",
    "Wipe",
    "WipeAfter",
    "WipeAfterView",
    "WipeView",
    "autolock_words",
]
