"""Side by side, each test process keeps to a core of its own: engines that spin at barriers would share one else.

What runs together: the tests of a file, since they share what is dear to make, and all of the app's, since Kivy's state
is the process's and the order of its tests is part of what they hold.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_CORES = sorted(os.sched_getaffinity(0))
if _WORKER.startswith("gw") and len(_CORES) > 1:
    os.sched_setaffinity(0, {_CORES[int(_WORKER[2:]) % len(_CORES)]})

# A shell that starts something in the background has it ignore Ctrl-C, and so would every program that a test stops.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of each test, for `--dist loadgroup`."""
    if not _WORKER:
        return
    for item in items:
        parts = item.path.relative_to(_TESTS).parts
        group = "app" if parts[0] == "app" and item.get_closest_marker("slow") is None else "/".join(parts)
        item.add_marker(pytest.mark.xdist_group(group))
