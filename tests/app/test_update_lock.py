"""The update lock: without it an installer exchanges the model in the middle of a visit."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app.update_lock import LOCK_NAME, FileUpdateLock, swap_allowed
from edge.errors import ResourceError


def test_an_open_encounter_holds_installers_off(tmp_path: Path) -> None:
    """Two apps may hold it; only when the last lets go may a bundle be exchanged."""
    assert swap_allowed(tmp_path)
    one, two = FileUpdateLock(tmp_path), FileUpdateLock(tmp_path)
    one.acquire()
    one.acquire()
    two.acquire()
    assert not swap_allowed(tmp_path)
    one.release()
    assert not swap_allowed(tmp_path)
    two.release()
    two.release()
    assert swap_allowed(tmp_path)


def test_an_installer_at_work_is_told_at_once(tmp_path: Path) -> None:
    """A wait here would freeze the screen; opening the visit a minute later is no harm."""
    descriptor = os.open(tmp_path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ResourceError):
        FileUpdateLock(tmp_path).acquire()
    os.close(descriptor)
    FileUpdateLock(tmp_path).acquire()


def test_a_killed_app_lets_go(tmp_path: Path) -> None:
    """A lock that outlives its app would keep a device from updates for ever."""
    code = (
        "import sys, time; from pathlib import Path; from edge.app.update_lock import FileUpdateLock\n"
        "FileUpdateLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    assert not swap_allowed(tmp_path)
    child.kill()
    child.wait()
    assert swap_allowed(tmp_path)


def test_a_folder_that_cannot_be_written_holds_nothing(tmp_path: Path) -> None:
    """A read-only image has no bundle that could be swapped: the app must open there all the same."""
    place = tmp_path / "file"
    place.write_text("no folder")
    FileUpdateLock(place).acquire()
