"""An error in the words of the person at the screen: by its class or by what it says, from the catalogue.

An EdgeError is one English line for whoever reads a log. Here it becomes a sentence in the language in use: what
happened, what is kept, what to do. What no rule knows is said as it is, which is better than nothing.
"""

from __future__ import annotations

import re

from edge.app.i18n import tr
from edge.app.vault.protocol import DamagedError, LockedError, MustWaitError, WipedError, WrongPinError
from edge.errors import EdgeError

# First match wins: (pattern in `what`, key of area "errors"). Patterns are of messages of ours and of edge.files.
RULES: tuple[tuple[str, str], ...] = (
    (r"no space left", "no_space"),
    (r"cannot be written|read-only", "read_only"),
    (r"in use by another process", "in_use"),
    (r"newer edge|unknown version|lacks a key or has an unknown one|unknown keys", "future"),
    (r"not enough memory", "no_memory"),
    (r"the PIN has \d+ (digits|characters)", "pin_length"),
    (r"PIN is easy to guess", "pin_easy"),
    (r"the passphrase has \d+ characters", "passphrase_length"),
    (r"the passphrase is easy to guess", "passphrase_easy"),
    (r"wrong passphrase", "passphrase_wrong"),
    (r"the backup file is damaged", "backup_damaged"),
    (r"no backup of edge", "not_a_backup"),
    (r"changed while the PIN was checked", "changed_meanwhile"),
    (r"already (there|exists)|exists already|there is (one|a vault) already|is there already", "exists"),
    (r"(inside|in the folder of) the vault", "inside_vault"),
    (r"no patient is open", "nobody_open"),
    (r"an encounter is open", "somebody_open"),
    (r"still writing", "still_writing"),
    (r"there is no transcript", "no_transcript"),
    (r"nothing was found yet", "nothing_found"),
    (r"no model on this device", "no_model"),
    (r"answer could not be read", "unreadable"),
    (r"open items keep", "open_items"),
    (r"a signature needs a name", "no_signer"),
    (r"a signed encounter|the encounter is signed", "signed"),
    (r"^(the vault is )?locked$", "locked"),
    (r"not valid JSON|value of the wrong kind", "damaged"),
    (r"[Nn]o such file or directory|[Nn]ot a directory|no such folder", "bad_folder"),
    (r"no such encounter|encounter .*not there", "not_there"),
)
_RULES = tuple((re.compile(pattern), key) for pattern, key in RULES)


def wait_words(seconds: int) -> str:
    """'30 s', '5 min', '1 h': rounded up, so that waiting as long as it says is enough."""
    if seconds < 120:
        return tr("errors.seconds", count=seconds)
    if seconds < 7200:
        return tr("errors.minutes", count=-(-seconds // 60))
    return tr("errors.hours", count=-(-seconds // 3600))


def key_of(error: EdgeError) -> str:
    """The catalogue key (area "errors", without it) for an error; '' when no rule knows it."""
    if isinstance(error, WrongPinError):
        return "wrong_pin_wait" if error.wait_s else "wrong_pin"
    if isinstance(error, MustWaitError):
        return "must_wait"
    for kind, key in ((WipedError, "wiped"), (LockedError, "locked")):
        if isinstance(error, kind):
            return key
    known = next((key for pattern, key in _RULES if pattern.search(error.what)), "")
    return known or ("damaged" if isinstance(error, DamagedError) else "")


def words(error: EdgeError) -> str:
    """What to show for an error. A key that the error carries itself (`key`) is taken first."""
    own = getattr(error, "key", "")
    if isinstance(own, str) and "." in own:
        return tr(own)
    key = key_of(error)
    if not key:
        return str(error)
    wait = getattr(error, "wait_s", 0)
    return tr(f"errors.{key}", wait=wait_words(wait))
