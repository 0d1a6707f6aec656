"""Jobs of verification as the app sees them: where one lies, whether one runs, how a second one is refused."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge.app.android.places import Places
from edge.app.vault.disk import FolderLock
from edge.errors import ResourceError
from edge.files import write_atomic

ACTION: Final = "org.edgekit.VERIFY"
FOLDER: Final = "edge"
RUN: Final = re.compile(r"[0-9a-f]{16}")


def job_folder(external: Path, run: str) -> Path | None:
    """The folder of a job; None for a name that is none."""
    return external / FOLDER / "verify" / run if RUN.fullmatch(run) else None


@contextlib.contextmanager
def held(places: Places) -> Iterator[None]:
    """Be the one that verifies. Errors: ResourceError while another is."""
    lock = FolderLock(places.verify_lock)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def busy(places: Places) -> bool:
    """Whether a verification runs."""
    try:
        with held(places):
            return False
    except ResourceError:
        return True


def refuse(folder: Path) -> None:
    """Answer a second job while one runs."""
    from edge.bench.on_device import DONE, Done  # not in the process that draws, but for this

    error = ResourceError("a verification runs on this device already", mend="wait until it has ended")
    write_atomic(folder / DONE, Done(int(error.status), error.what, error.where, error.mend).to_bytes())
