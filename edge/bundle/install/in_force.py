"""Which folder a path of slots means now: what an app opens, and what it compares to see that a build was exchanged.

Between switch and commit `current` shows a build that has not passed here yet; what is in force is still the build
before, and on a first install nothing: a visit may be opened at that time. Only looks; the bundle's own checks come
when it is opened.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edge.bundle.install.disk import CURRENT
from edge.bundle.install.memory import MAX_STATE_BYTES, STATE_NAME, BrokenStateError, FutureStateError, from_bytes
from edge.bundle.keys import default_home

SLOTS_FOLDER = "slots"
NOTHING_YET = "nothing-in-force"  # no installer makes it: opening it says that there is no bundle


def default_slots() -> Path:
    """Where builds are installed: `EDGE_SLOTS`, else `slots` below the home of the keys."""
    chosen = os.environ.get("EDGE_SLOTS")
    return Path(chosen) if chosen else default_home() / SLOTS_FOLDER


def in_force(path: Path) -> Path:
    """The folder that `path` means: for SLOTS/PROFILE/current the confirmed slot, for every other path itself.

    During a first install, when nothing is confirmed yet, it is a folder that is not there.
    """
    if path.name != CURRENT or not path.is_symlink():
        return path
    return confirmed(path) or path.parent / NOTHING_YET


def confirmed(current: Path) -> Path | None:
    """The slot of SLOTS/PROFILE/current that passed here; None while nothing has, as during a first install.

    Where the memory cannot be read it is what `current` shows.
    """
    if not current.is_symlink():
        return None
    with contextlib.suppress(OSError, BrokenStateError, FutureStateError):
        with (current.parent / STATE_NAME).open("rb") as file:
            state = from_bytes(file.read(MAX_STATE_BYTES))
        if state.phase != "idle":
            return None if state.slot is None else current.parent / state.slot
    return _shown(current)


def _shown(current: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return current.parent / current.readlink()
    return None
