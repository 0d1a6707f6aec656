"""What the engine's process does to itself before anything else: it yields, it goes first, it leaves no trace.

nice +15: within the session's group (autogroup) the screen comes first on a busy processor. oom_score_adj 800: when
memory ends, the kernel ends the engine and not the app with the unsaved entries. It dies with its parent. No core
file and no debugger of the same user: memory holds a patient's words.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

NICE = 15
OOM_SCORE = 800
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def settle(parent: int | None) -> None:
    """Do all of it. parent: the process to die with; this one exits at once when that has gone already."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the app's, which then closes this process
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if parent is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        leave(0)


def leave(code: int) -> None:
    """End the process now, whatever its other threads do."""
    os._exit(code)


def resident_bytes(root: Path = Path("/")) -> int:
    """Memory of this process that is in RAM; 0 where it cannot be read."""
    try:
        pages = int((root / "proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
