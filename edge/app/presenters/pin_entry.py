"""A PIN while it is typed, on the pad or a keyboard, and words for how good a new one is. Nothing of it in a repr."""

from __future__ import annotations

from dataclasses import dataclass

from edge.app.i18n import tr
from edge.app.vault.pins import LEAST_DIGITS, MOST_CHARACTERS, MOST_DIGITS, check_pin_rules
from edge.errors import InputError

GOOD_DIGITS = 8
LONG_PASSPHRASE = 14


@dataclass(frozen=True)
class PinView:
    """One step of typing a PIN: what is asked, how much is typed, what was wrong with the last try.

    tone: of the message ('' plain, danger, support). level: 0 refused, 1 taken, 2 good, 3 very good; -1 too short yet.
    busy: words while a key is derived, '' else. wait_s: seconds until the next try is taken.
    """

    title: str
    text: str
    typed: int = 0
    message: str = ""
    tone: str = ""
    strength: str = ""
    level: int = -1
    busy: str = ""
    wait_s: int = 0
    keyboard: bool = False
    enter: str = ""

    @property
    def can_enter(self) -> bool:
        """Whether Enter does something."""
        return self.typed >= LEAST_DIGITS and not self.busy and self.wait_s == 0

    @property
    def can_type(self) -> bool:
        """Whether the pad takes digits."""
        return not self.busy and self.wait_s == 0


class PinEntry:
    """What is typed now. `take` hands it over and forgets it."""

    def __init__(self) -> None:
        self._typed = ""
        self.keyboard = False

    def __len__(self) -> int:
        return len(self._typed)

    def digit(self, digit: str) -> None:
        """A key of the pad, or a digit of a keyboard."""
        if digit.isascii() and digit.isdigit() and len(digit) == 1 and len(self._typed) < MOST_DIGITS:
            self._typed += digit

    def back(self) -> None:
        """Take the last one back."""
        self._typed = self._typed[:-1]

    def type(self, text: str) -> None:
        """The keyboard field holds this now."""
        self._typed = text[:MOST_CHARACTERS]

    def clear(self) -> None:
        """Forget it."""
        self._typed = ""

    def take(self) -> str:
        """What was typed; forgotten here."""
        typed, self._typed = self._typed, ""
        return typed

    def strength(self) -> tuple[int, str]:
        """(level, words) for a new PIN as typed so far, as `strength`."""
        return strength(self._typed)


def strength(pin: str) -> tuple[int, str]:
    """How good a new PIN is: -1 too short yet (no words for none), 0 refused, 1 taken, 2 good, 3 very good."""
    if not pin:
        return -1, ""
    digits = pin.isascii() and pin.isdigit()
    if digits and len(pin) < LEAST_DIGITS:
        return -1, tr("lock.strength_short", count=len(pin), least=LEAST_DIGITS)
    try:
        check_pin_rules(pin)
    except InputError:
        return 0, tr("lock.strength_easy" if digits else "lock.strength_words")
    if digits:
        return (2, tr("lock.strength_good")) if len(pin) >= GOOD_DIGITS else (1, tr("lock.strength_fair"))
    return (3, tr("lock.strength_best")) if len(pin) >= LONG_PASSPHRASE else (2, tr("lock.strength_good"))
