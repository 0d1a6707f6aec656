"""What the engine's process does to itself, seen from outside."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge.app.engine.host_process import resident_bytes

REPO = Path(__file__).resolve().parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
SETTLED = """
import os, resource, signal
from edge.app.engine.host_process import settle
settle(os.getppid())
print(os.getpriority(os.PRIO_PROCESS, 0), open("/proc/self/oom_score_adj").read().strip(),
      resource.getrlimit(resource.RLIMIT_CORE)[0], signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""
# A parent that starts a settled child, tells its id, and waits.
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SETTLED + 'print("up", flush=True); signal.pause()'!r}],
                         stdout=subprocess.PIPE)
child.stdout.readline(), child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
NOISY = """
import os, sys, subprocess
from edge.app.engine.host_link import take_stdio
from edge.app.engine.messages import Loading
link = take_stdio()
print("a library prints")
print("and complains", file=sys.stderr)
os.write(1, b"from C")
os.write(2, b"from C")
subprocess.run([sys.executable, "-c", "print('a child prints')"])
assert os.read(0, 1) == b""
link.send(Loading(0.5))
assert [type(one).__name__ for one in link.messages()] == ["Close"]
link.send(Loading(1.0))
"""


def run(code: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=60,
        check=True,
        **options,  # type: ignore[call-overload]
    )


def test_it_yields_and_goes_first() -> None:
    """If not: the screen stutters while the model writes, or the kernel ends the app with the unsaved entries."""
    nice, oom, core, deaf = run(SETTLED).stdout.split()
    assert int(nice) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 15)
    assert int(oom) == 800
    assert int(core) == 0
    assert deaf == b"True"


def test_it_dies_with_its_parent() -> None:
    """A killed app must not leave half a gigabyte of model behind."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    ends_s = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_a_parent_that_has_gone_already() -> None:
    """It died between the start and the prctl: the child ends by itself."""
    code = "from edge.app.engine.host_process import settle\nsettle(1 << 22)\nprint('still here')"
    assert run(code).stdout == b""


def test_nothing_that_a_library_prints_reaches_the_line() -> None:
    """One printed word would break the protocol; on standard error it could end in a log."""
    done = run(NOISY, input=b'{"v":1,"type":"Close"}\n')
    assert done.stderr == b""
    assert [line[:22] for line in done.stdout.splitlines()] == [b'{"v":1,"type":"Loading', b'{"v":1,"type":"Loading']


def test_resident_memory(tmp_path: Path) -> None:
    """In bytes; 0 where it cannot be read."""
    assert 0.2 < resident_bytes() / (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) < 1.2
    assert resident_bytes(tmp_path) == 0
