"""Side by side, each test process keeps to a core of its own: engines that spin at barriers would share one else."""

from __future__ import annotations

import os

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_CORES = sorted(os.sched_getaffinity(0))
if _WORKER.startswith("gw") and len(_CORES) > 1:
    os.sched_setaffinity(0, {_CORES[int(_WORKER[2:]) % len(_CORES)]})
