"""The update lock: without it an installer exchanges the model in the middle of a visit."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.bundle.update_lock import (
    LOCK_NAME,
    NO_LOCK,
    FileUpdateLock,
    exclusive,
    lock_folder,
    self_test_runs,
    swap_allowed,
    under_test,
    visit_open,
)
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
        "import sys, time; from pathlib import Path; from edge.bundle.update_lock import FileUpdateLock\n"
        "FileUpdateLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    assert not swap_allowed(tmp_path)
    child.kill()
    child.wait()
    assert swap_allowed(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_lock_that_root_made_counts_for_all() -> None:
    """After `sudo edge install` the app's user could else not open the file, and every later visit held nothing."""
    with tempfile.TemporaryDirectory() as name:  # tmp_path may be root's alone
        folder = Path(name)
        folder.chmod(0o755)
        with exclusive(folder):
            pass
        lock = FileUpdateLock(folder)
        os.seteuid(65534)
        try:
            lock.acquire()
            assert not swap_allowed(folder)
        finally:
            os.seteuid(0)
        assert not swap_allowed(folder)
        with pytest.raises(ResourceError, match="a visit is open"), exclusive(folder):
            pass
        lock.release()
        assert swap_allowed(folder)


def test_a_folder_that_cannot_be_written_holds_nothing(tmp_path: Path) -> None:
    """A read-only image has no bundle that could be swapped: the app must open there all the same."""
    place = tmp_path / "file"
    place.write_text("no folder")
    FileUpdateLock(place).acquire()


def test_somebody_who_only_looks_holds_nobody_off(tmp_path: Path) -> None:
    """An agent asks every few seconds: were its look taken for an install, a visit would not open now and then."""
    lock = FileUpdateLock(tmp_path)
    lock.acquire()
    lock.release()
    looks = threading.Event()

    def look() -> None:
        while not looks.wait(0.005):
            swap_allowed(tmp_path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            lock.acquire()
            lock.release()
            with exclusive(tmp_path):
                pass
    finally:
        looks.set()
        thread.join()


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If app and installer look in two places, neither sees the other; and it must not lie among patients' data."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGE_LOCK", raising=False)
    assert lock_folder() == tmp_path / "home"
    monkeypatch.setenv("EDGE_LOCK", str(tmp_path / "elsewhere"))
    assert lock_folder() == tmp_path / "elsewhere"


def test_whether_a_model_is_being_exchanged(tmp_path: Path) -> None:
    """Without it the app keeps its model in memory beside the one that is tested."""
    lock = FileUpdateLock(tmp_path)
    assert not lock.testing and not NO_LOCK.testing and not self_test_runs(tmp_path)
    with exclusive(tmp_path):
        assert not lock.testing, "an exchange is over in an instant: no engine is ended for it"
    with under_test(tmp_path):
        assert lock.testing and self_test_runs(tmp_path)
        with pytest.raises(ResourceError, match="another build is being tested"), under_test(tmp_path):
            pass
        assert swap_allowed(tmp_path) and not visit_open(tmp_path)
        lock.acquire()
        assert not lock.testing, "a visit waits for its model until the self-test has ended"
        assert visit_open(tmp_path)
    lock.release()
    assert not lock.testing


def test_a_visit_waits_for_the_instant_of_an_exchange(tmp_path: Path) -> None:
    """If not: a clinician reads that the model is being exchanged, once in a while, for a few milliseconds' sake."""
    with ExitStack() as held:
        held.enter_context(exclusive(tmp_path))
        timer = threading.Timer(0.1, held.close)
        timer.start()
        FileUpdateLock(tmp_path).acquire()
        timer.join()


def test_a_commit_waits_for_a_visit_and_not_for_ever(tmp_path: Path) -> None:
    """If not: half an hour of self-test is lost to a look at a visit, or an installer hangs for a whole one."""
    visit = FileUpdateLock(tmp_path)
    visit.acquire()
    with pytest.raises(ResourceError, match="a visit is open"), exclusive(tmp_path, 0.1):
        pass
    timer = threading.Timer(0.15, visit.release)
    timer.start()
    with exclusive(tmp_path, 10.0):
        assert not swap_allowed(tmp_path)
    timer.join()


def test_an_app_that_only_looks_is_no_visit(tmp_path: Path) -> None:
    """Once in a while the agent's look meets the app's: a benchmark that was asked for failed without any visit."""
    descriptor = os.open(tmp_path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    timer = threading.Timer(0.02, os.close, (descriptor,))
    timer.start()
    assert swap_allowed(tmp_path)
    timer.join()
