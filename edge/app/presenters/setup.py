"""First start, or after a wipe: a new PIN typed twice, or a backup under a new PIN.

Rules
- The second typing must be the same as the first; if not, both are forgotten and it begins anew.
- A PIN that is guessed first is refused before it is used (edge.app.vault.pins).
- A backup never goes over data that is there: restoring is offered only here, where there is none.
- A wrong passphrase leaves nothing behind and asks for the passphrase again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app.i18n import tr
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import words
from edge.app.presenters.folders import FolderBrowser
from edge.app.presenters.pin_entry import PinEntry, PinView
from edge.app.vault.pins import LEAST_BACKUP_CHARACTERS
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

BACKUP_ENDING = ".edgebackup"
STEPS = ("create", "repeat", "passphrase")


@dataclass(frozen=True)
class SetupView:
    """step: create or repeat (pin is shown), or passphrase. file: name of the chosen backup, '' for none."""

    step: str
    pin: PinView
    wiped: bool = False
    file: str = field(default="", repr=False)
    message: str = ""


class SetupPresenter(Presenter[SetupView]):
    """See the module's docstring. start: the folder that the search for a backup begins in."""

    def __init__(self, workspace: Workspace, *, start: Path | None = None) -> None:
        self._workspace = workspace
        self._start = start or Path.home()
        self._entry = PinEntry()
        self._step = "create"
        self._first = ""
        self._passphrase = ""
        self._file: Path | None = None
        self._busy = False
        self._message = ""
        self.language_wanted = ""
        super().__init__(self.make_view())

    def make_view(self) -> SetupView:
        """The step as it is now."""
        repeat = self._step == "repeat"
        level, strong = (-1, "") if repeat else self._entry.strength()
        pin = PinView(
            title=tr("lock.repeat_title" if repeat else "lock.create_title"),
            text=tr("lock.repeat_text" if repeat else "lock.create_text"),
            typed=len(self._entry),
            message=self._message,
            tone="danger" if self._message else "",
            strength=strong,
            level=level,
            busy=tr("lock.restoring" if self._file else "lock.making") if self._busy else "",
            keyboard=self._entry.keyboard,
            enter=tr("lock.set_pin" if repeat else "lock.next"),
        )
        return SetupView(
            step=self._step,
            pin=pin,
            wiped=str(self._workspace.vault_state) == "wiped",
            file=self._file.name if self._file else "",
            message=self._message,
        )

    # ---- the PIN --------------------------------------------------------------------------------------------

    def digit(self, digit: str) -> None:
        """A digit was typed."""
        if not self._busy:
            self._message = ""
            self._entry.digit(digit)
            self.refresh()

    def back(self) -> None:
        """The last digit is taken back."""
        self._entry.back()
        self.refresh()

    def type(self, text: str) -> None:
        """The keyboard field changed."""
        if not self._busy:
            self._message = ""
            self._entry.type(text)
            self.refresh()

    def use_keyboard(self, wanted: bool) -> None:
        """Pad or keyboard; what was typed is forgotten."""
        self._entry.clear()
        self._entry.keyboard = wanted
        self.refresh()

    def enter(self) -> None:
        """The PIN was typed: ask for it again, or compare and begin."""
        if self._busy or not self.view.pin.can_enter:
            return
        if self._step == "create":
            level, why = self._entry.strength()
            if level <= 0:
                self._message = why
                self._entry.clear()
            else:
                self._first, self._step, self._message = self._entry.take(), "repeat", ""
        elif self._step == "repeat":
            again, first = self._entry.take(), self._first
            self._first = ""
            if hmac.compare_digest(again.encode(), first.encode()):
                self._begin(again)
            else:
                self._step, self._message = "create", tr("lock.not_the_same")
        self.refresh()

    def start_again(self) -> None:
        """Forget what was typed; choose the PIN anew."""
        self._forget_pin()
        self.refresh()

    # ---- a backup -------------------------------------------------------------------------------------------

    def folders(self) -> FolderBrowser:
        """What a backup file is chosen with."""
        return FolderBrowser(self._start, (BACKUP_ENDING,))

    def choose_file(self, path: Path) -> None:
        """A backup was chosen: ask for its passphrase."""
        self._forget_pin()
        self._file, self._step = path, "passphrase"
        self.refresh()

    def passphrase(self, text: str) -> None:
        """The passphrase of the backup was entered."""
        if len(text) < LEAST_BACKUP_CHARACTERS:
            self._message = tr("errors.passphrase_length")
        else:
            self._passphrase, self._step, self._message = text, "create", ""
        self.refresh()

    def no_restore(self) -> None:
        """Begin without a backup after all."""
        self._forget_pin()
        self._file, self._passphrase = None, ""
        self.refresh()

    def clear(self) -> None:
        """Forget everything that was typed."""
        self._entry.clear()
        self._first, self._passphrase, self._file = "", "", None
        self._step = "create"
        self.refresh()

    # ---- inside ---------------------------------------------------------------------------------------------

    def _forget_pin(self) -> None:
        self._entry.clear()
        self._first, self._step, self._message = "", "create", ""

    def _begin(self, pin: str) -> None:
        self._busy = True
        done: Callable[[EdgeError | None], None] = self._ended
        if self._file is not None:
            passphrase, self._passphrase = self._passphrase, ""
            self._workspace.restore_vault(self._file, passphrase, pin, done)
        else:
            self._workspace.create_vault(pin, done)

    def _ended(self, error: EdgeError | None) -> None:
        self._busy = False
        if error is None:
            self._file, self._step = None, "create"
            if self.language_wanted:
                self._workspace.set_setting("language", self.language_wanted)
        else:
            self._message = words(error)
            self._step = "passphrase" if self._file is not None else "create"
        self.refresh()
