"""The lock: the PIN opens the data. Nothing of a patient is here, not even how many there are.

Rules
- The key takes the best part of a second and is derived in the vault's thread; the screen says so and stays alive.
- After wrong PINs the vault makes a person wait. The seconds are counted down here, by the clock that nobody can set,
  and the pad takes no digit until they are over; the vault itself decides.
- Where no data is yet, or was wiped, this is where it is set up (edge.app.presenters.setup).
- Data that cannot be trusted is said to be so and is left as it is: no button here deletes anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.i18n import LANGUAGES, tr, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import wait_words, words
from edge.app.presenters.follow import follow
from edge.app.presenters.pin_entry import PinEntry, PinView
from edge.app.presenters.setup import SetupPresenter, SetupView
from edge.app.vault.backoff import wait_after
from edge.app.vault.protocol import DamagedError, MustWaitError, WrongPinError
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

WARN_AFTER = 2  # wrong PINs in a row, from which on the number is said


@dataclass(frozen=True)
class LockView:
    """state: locked, absent, wiped, open or broken. setup: None unless something is to be set up."""

    state: str
    pin: PinView
    setup: SetupView | None = None
    languages: tuple[tuple[str, str], ...] = ()
    language: str = "en"


class LockPresenter(Presenter[LockView]):
    """See the module's docstring. `tick` is called while the screen is shown, some times a second."""

    def __init__(self, workspace: Workspace, *, start: Path | None = None) -> None:
        self.opened: Callable[[], None] = lambda: None
        self._workspace = workspace
        self._entry = PinEntry()
        self._busy = False
        self._broken = ""
        self._why = ""  # key of what the wait or the last wrong PIN is said with
        self._message = ""
        self._until_s: float | None = None
        self.setup = SetupPresenter(workspace, start=start)
        super().__init__(self.make_view())
        self.setup.subscribe(self._again)
        follow(workspace, self._again)

    # ---- what is shown --------------------------------------------------------------------------------------

    def make_view(self) -> LockView:
        """The lock as it is now."""
        state = "broken" if self._broken else str(self._workspace.vault_state)
        wait = self._wait_s()
        message, tone = self._message, "danger" if self._message else ""
        if wait:
            message, tone = tr(f"errors.{self._why or 'must_wait'}", wait=wait_words(wait)), "danger"
        if self._broken:
            message, tone = self._broken, "danger"
        pin = PinView(
            title=tr("lock.broken_title" if self._broken else "lock.title"),
            text=tr("lock.broken_text" if self._broken else "lock.text"),
            typed=len(self._entry),
            message=message,
            tone=tone,
            busy=tr("lock.opening") if self._busy else "",
            wait_s=wait,
            keyboard=self._entry.keyboard,
            enter=tr("lock.unlock"),
        )
        return LockView(
            state=state,
            pin=pin,
            setup=self.setup.view if state in ("absent", "wiped") else None,
            languages=tuple(LANGUAGES.items()),
            language=translator.language,
        )

    def shown(self) -> None:
        """The screen came to the front: is there still a wait from before?"""
        self._entry.clear()
        self.setup.refresh()
        vault = self._workspace.services.vault

        def told(answer: Any, error: BaseException | None) -> None:
            if error is None and answer:
                self._wait(int(answer), "must_wait")
            self.refresh()

        if str(self._workspace.vault_state) == "locked":
            self._workspace.services.background.post(lambda: vault.wait_s, done=told)
        self.refresh()

    def tick(self) -> None:
        """Count the wait down."""
        if self._until_s is not None:
            if self._wait_s() == 0:
                self._until_s, self._why, self._message = None, "", ""
            self.refresh()

    # ---- what a finger does ---------------------------------------------------------------------------------

    def digit(self, digit: str) -> None:
        """A digit was typed, on the pad or on a keyboard."""
        if self._setting_up():
            self.setup.digit(digit)
        elif self.view.pin.can_type:
            self._message = ""
            self._entry.digit(digit)
            self.refresh()

    def back(self) -> None:
        """The last digit is taken back."""
        if self._setting_up():
            self.setup.back()
        else:
            self._entry.back()
            self.refresh()

    def type(self, text: str) -> None:
        """The keyboard field changed."""
        if self._setting_up():
            self.setup.type(text)
        elif self.view.pin.can_type:
            self._message = self._message if not text else ""
            self._entry.type(text)
            self.refresh()

    def use_keyboard(self, wanted: bool) -> None:
        """Pad or keyboard; what was typed is forgotten."""
        if self._setting_up():
            self.setup.use_keyboard(wanted)
        else:
            self._entry.clear()
            self._entry.keyboard = wanted
            self.refresh()

    def enter(self) -> None:
        """Try the PIN; the answer comes by a later tick of the workspace."""
        if self._setting_up():
            self.setup.enter()
            return
        if not self.view.pin.can_enter or self._broken:
            return
        self._busy, self._message = True, ""
        pin = self._entry.take()
        self.refresh()
        self._workspace.unlock(pin, self._answered)

    def language(self, code: str) -> None:
        """Another language for this screen. Unlocking takes the one that is kept; a new vault keeps this one."""
        self.setup.language_wanted = code
        translator.language = code
        self._message = ""
        self.setup.refresh()
        self.refresh()

    def clear(self) -> None:
        """Forget what was typed."""
        self._entry.clear()
        self.setup.clear()
        self.refresh()

    # ---- inside ---------------------------------------------------------------------------------------------

    def _again(self) -> None:
        self.refresh()

    def _setting_up(self) -> bool:
        return self.view.setup is not None

    def _wait_s(self) -> int:
        if self._until_s is None:
            return 0
        return max(0, math.ceil(self._until_s - self._workspace.services.monotonic()))

    def _wait(self, seconds: int, why: str) -> None:
        self._until_s, self._why = self._workspace.services.monotonic() + seconds, why

    def _answered(self, error: EdgeError | None) -> None:
        self._busy = False
        if error is None:
            self._until_s, self._message = None, ""
        elif isinstance(error, WrongPinError | MustWaitError) and error.wait_s:
            self._wait(error.wait_s, "wrong_pin_wait" if isinstance(error, WrongPinError) else "must_wait")
        elif isinstance(error, WrongPinError):
            self._message = self._wrong_words(error)
        elif isinstance(error, DamagedError):
            self._broken = words(error)
        else:
            self._message = words(error)
        self.refresh()
        if error is None:
            self.opened()

    def _wrong_words(self, error: WrongPinError) -> str:
        said = [words(error)]
        if error.failures >= WARN_AFTER:
            said.append(tr("lock.wrong_count", count=error.failures))
        if wait := wait_after(error.failures + 1):
            said.append(tr("lock.next_wait", wait=wait_words(wait)))
        return " ".join(said)
