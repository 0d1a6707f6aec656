"""Deleting a visit: a reason always, the PIN as well when it is signed. Nothing is deleted on the first tap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.app.i18n import tr
from edge.app.presenters.errors import words
from edge.app.presenters.pin_entry import PinEntry, PinView
from edge.app.vault.pins import LEAST_DIGITS
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

REASONS = ("duplicate", "wrong-patient", "entered-in-error", "test", "patient-request", "other")  # the audit log's own


@dataclass(frozen=True)
class DeletionView:
    """reasons: (reason, words). pin: None unless the visit is signed; Enter of its pad deletes."""

    id: str
    title: str
    text: str = field(repr=False)
    warning: str
    reasons: tuple[tuple[str, str], ...]
    reason: str = ""
    pin: PinView | None = None
    message: str = ""
    busy: bool = False


class Deletion:
    """One visit that is about to be deleted. gone: called when it is; changed: after every other change."""

    def __init__(
        self,
        workspace: Workspace,
        encounter_id: str,
        who: str,
        signed: bool,
        changed: Callable[[], None],
        gone: Callable[[], None],
    ) -> None:
        self._workspace, self._changed, self._gone = workspace, changed, gone
        self.id, self.signed = encounter_id, signed
        self.entry = PinEntry()
        self.reason = self.message = ""
        self.busy = self.ended = False
        self._who = who

    def view(self) -> DeletionView:
        """The card in words."""
        pin = None
        if self.signed:
            pin = PinView(
                title=tr("worklist.delete_pin"),
                text="",
                typed=len(self.entry),
                message=self.message,
                tone="danger" if self.message else "",
                busy=tr("worklist.checking_pin") if self.busy else "",
                keyboard=self.entry.keyboard,
                enter=tr("worklist.delete_yes"),
            )
        return DeletionView(
            id=self.id,
            title=tr("worklist.delete_title"),
            text=tr("worklist.delete_text", who=self._who),
            warning=tr("worklist.delete_signed") if self.signed else "",
            reasons=tuple((reason, tr(f"worklist.reason_{reason.replace('-', '_')}")) for reason in REASONS),
            reason=self.reason,
            pin=pin,
            message=self.message,
            busy=self.busy,
        )

    def choose(self, reason: str) -> None:
        """Why it is deleted."""
        if reason in REASONS:
            self.reason, self.message = reason, ""
            self._changed()

    def digit(self, digit: str) -> None:
        """A digit of the PIN."""
        self._typed(lambda: self.entry.digit(digit))

    def back(self) -> None:
        """The last digit is taken back."""
        self._typed(self.entry.back)

    def type(self, text: str) -> None:
        """The keyboard field of the PIN changed."""
        self._typed(lambda: self.entry.type(text))

    def use_keyboard(self, wanted: bool) -> None:
        """Pad or keyboard."""

        def change() -> None:
            self.entry.clear()
            self.entry.keyboard = wanted

        self._typed(change)

    def enter(self) -> None:
        """Delete it for ever. A signed one only after the PIN was checked, which a later tick tells."""
        if self.busy or self.ended:
            return
        if not self.reason:
            self.message = tr("worklist.delete_no_reason")
        elif not self.signed:
            self._delete()
        elif len(self.entry) < LEAST_DIGITS:
            self.message = tr("worklist.delete_no_pin")
        else:
            self.busy, self.message = True, ""
            services = self._workspace.services
            services.background.post(services.vault.check_pin, self.entry.take(), done=self._checked)
        self._changed()

    def cancel(self) -> None:
        """It stays; a check of the PIN that is still going on deletes nothing any more."""
        self.ended = True
        self.entry.clear()

    def _typed(self, change: Callable[[], None]) -> None:
        if not self.busy:
            self.message = ""
            change()
            self._changed()

    def _checked(self, _: Any, error: BaseException | None) -> None:
        self.busy = False
        if self.ended or self._workspace.locked:
            return  # cancelled, or locked meanwhile
        if error is None:
            self._delete()
        elif isinstance(error, EdgeError):
            self.message = words(error)
        else:
            raise error
        self._changed()

    def _delete(self) -> None:
        try:
            self._workspace.delete(self.id, self.reason)
        except EdgeError as error:
            self.message = words(error)
            return
        self.ended = True
        self._gone()
