"""Programs of this machine."""

from __future__ import annotations

import sys

import pytest

from edge.device.tools import run_tool
from edge.errors import MissingToolError, OfflineError


def test_a_program_runs_without_a_terminal() -> None:
    """If it fails, apt-get asks a question that nobody sees."""
    code = "import os, sys; print(sys.stdin.read(), os.environ['MORE'], os.environ['LC_ALL'])"
    done = run_tool([sys.executable, "-c", code], timeout_s=30, environment={"MORE": "1"})
    assert (done.returncode, done.stdout) == (0, " 1 C.UTF-8\n")


def test_a_missing_program_is_named() -> None:
    """If it fails, a machine without apt-get shows a traceback."""
    with pytest.raises(MissingToolError, match="'no-such-program' is not installed"):
        run_tool(["no-such-program"], timeout_s=1)


def test_a_program_that_hangs_is_stopped() -> None:
    """If it fails, a dead mirror holds the command for ever."""
    with pytest.raises(OfflineError, match=r"took over 0\.2 s"):
        run_tool(["sleep", "60"], timeout_s=0.2)
