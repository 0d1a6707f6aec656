"""The power-on self-test's child: when these fail, a build that crashes, hangs or fails golden cases is committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.bundle.update_lock import FileUpdateLock, visit_open
from edge.fleet.install.self_test import ChildSelfTest, read_answer


def never() -> bool:
    """No visit is open."""
    return False


def scripted(code: str, timeout_s: float = 20.0) -> ChildSelfTest:
    """A self-test whose child is a few lines of Python."""
    return ChildSelfTest(never, command=(sys.executable, "-I", "-S", "-c", code), timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("code", "passed", "words"),
    [
        ('print(\'noise\'); print(\'{"passed": true, "detail": ""}\')', True, ""),
        ('print(\'{"passed": false, "detail": "golden\\\\ncase"}\')', False, "golden case"),
        ('import os; print(\'{"passed": true, "detail": ""}\', flush=True); os._exit(3)', False, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", False, "signal 9, most likely for lack of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", False, "signal 4, this CPU lacks"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", False, "signal 11"),
        ("pass", False, "stopped with code 0 and said nothing"),
        ("print('[1]')", False, "said nothing"),
        ('print(\'{"passed": 1, "detail": ""}\')', False, ""),
    ],
)
def test_how_a_child_may_end(tmp_path: Path, code: str, passed: bool, words: str) -> None:
    """If not: only a clean failure counts as one."""
    outcome = scripted(code)(tmp_path)
    assert outcome.passed is passed
    assert words in outcome.detail
    assert "\n" not in outcome.detail


def test_a_child_that_hangs(tmp_path: Path) -> None:
    """If not: one build keeps a device from its visits for ever, and its processes stay."""
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    began_s = time.monotonic()
    outcome = scripted(code, timeout_s=1.0)(tmp_path)
    assert (outcome.passed, outcome.detail) == (False, "it took more than 1 s")
    assert time.monotonic() - began_s < 15
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_visit_ends_the_child(tmp_path: Path) -> None:
    """If not: a visit that is opened during a self-test shares memory and cores with it, for up to half an hour."""
    lock = FileUpdateLock(tmp_path / "home")
    code = (
        "import os, subprocess, sys, time\n"
        "helper = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'made')!r}, 'w').write(f'{{os.getpid()}} {{helper.pid}}')\n"
        f"os.rename({str(tmp_path / 'made')!r}, {str(tmp_path / 'pids')!r})\n"
        "time.sleep(600)"
    )
    opened_s: list[float] = []

    def open_one() -> None:
        deadline_s = time.monotonic() + 20
        while not (tmp_path / "pids").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        lock.acquire()
        opened_s.append(time.monotonic())

    clinician = threading.Thread(target=open_one)
    clinician.start()
    self_test = ChildSelfTest(
        lambda: visit_open(tmp_path / "home"), command=(sys.executable, "-I", "-S", "-c", code), timeout_s=60.0
    )
    outcome = self_test(tmp_path)
    ended_s = time.monotonic()
    clinician.join()
    assert (outcome.passed, outcome.stopped) == (False, True)
    assert ended_s - opened_s[0] < 5.0
    child, helper = (Path(f"/proc/{pid}/stat") for pid in (tmp_path / "pids").read_text().split())
    assert not child.exists(), "it lives on"
    # The helper was killed in the same instant; it is for init to bury, and until then its memory is free.
    while helper.exists() and helper.read_text().split()[2] != "Z":
        assert time.monotonic() < ended_s + 5.0, "its helper lives on"
        time.sleep(0.05)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """If not: a broken installation is a traceback."""
    outcome = ChildSelfTest(never, command=(str(tmp_path / "nothing"),))(tmp_path)
    assert not outcome.passed and "could not be started" in outcome.detail


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """If not: the test of an installer that was killed keeps the device busy, and measures beside the next one."""
    code = (
        "import sys, time\n"
        "from edge.fleet.install import self_test_child as child\n"
        "def run(slot, workload):\n"
        "    open(slot / 'pid', 'w').write(str(__import__('os').getpid()))\n"
        "    time.sleep(60)\n"
        "child.run = run\n"
        "child.main()"
    )
    starter = (
        "import sys; from pathlib import Path; from edge.fleet.install.self_test import ChildSelfTest\n"
        f"ChildSelfTest(lambda: False, command=(sys.executable, '-c', {code!r}))(Path(sys.argv[1]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter, str(tmp_path)])
    deadline_s = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline_s and parent.poll() is None
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline_s, "it lives on"
        time.sleep(0.05)


def test_an_answer_is_cut() -> None:
    """If not: a wrong child fills the installer's memory and its log."""
    outcome = read_answer(b'{"passed": false, "detail": "' + b"x" * 5000 + b'"}', 0)
    assert len(outcome.detail) == 400
