"""Which PINs and passphrases are taken. Nothing of a PIN is ever in a message."""

from __future__ import annotations

import unicodedata

from edge.errors import InputError

LEAST_DIGITS, MOST_DIGITS = 6, 12
LEAST_CHARACTERS = 8  # of a passphrase in place of a PIN
LEAST_BACKUP_CHARACTERS = 12  # a backup can be tried on any machine, as often as one likes
MOST_CHARACTERS = 128
LEAST_DISTINCT = 4  # different characters of a passphrase
RUNS = ("01234567890123456789", "98765432109876543210")
KEYPAD_WALKS = ("147258369", "159753", "258456", "147852", "369258", "741852", "852456", "112233", "332211")


def normalised(pin: str) -> bytearray:
    """What the key is derived from: NFKC, so that the same letters typed on another keyboard are the same."""
    return bytearray(unicodedata.normalize("NFKC", pin).encode("utf-8", "surrogatepass"))


def check_pin_rules(pin: str) -> None:
    """Refuse a PIN that is guessed first. Errors: InputError, without the PIN."""
    if not pin.isascii() or not pin.isdigit():
        _check_passphrase(pin, LEAST_CHARACTERS, "the PIN")
        return
    if not LEAST_DIGITS <= len(pin) <= MOST_DIGITS:
        raise InputError(
            f"the PIN has {len(pin)} digits",
            mend=f"choose {LEAST_DIGITS} to {MOST_DIGITS} digits, or a passphrase of {LEAST_CHARACTERS} characters",
        )
    if _easy(pin):
        raise InputError("this PIN is easy to guess", mend="choose digits that do not repeat or run")


def check_backup_rules(passphrase: str) -> None:
    """Refuse a weak passphrase of a backup. Errors: InputError, without the passphrase."""
    _check_passphrase(passphrase, LEAST_BACKUP_CHARACTERS, "the passphrase")


def _check_passphrase(text: str, least: int, what: str) -> None:
    if not least <= len(text) <= MOST_CHARACTERS:
        raise InputError(
            f"{what} has {len(text)} characters",
            mend=f"choose {least} to {MOST_CHARACTERS} characters",
        )
    if len(set(text.casefold())) < LEAST_DISTINCT:
        raise InputError(f"{what} is easy to guess", mend="use more different characters")


def _easy(digits: str) -> bool:
    if any(digits in run for run in RUNS) or digits in KEYPAD_WALKS:
        return True
    return any(
        len(digits) % width == 0 and digits == digits[:width] * (len(digits) // width)
        for width in range(1, len(digits) // 2 + 1)
    )
