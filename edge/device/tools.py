"""Programs of this machine that edge calls (apt-get, dpkg, pip, a C compiler), with one line where one is missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from edge.errors import MissingToolError, OfflineError


class Run(Protocol):
    """Runs a program to its end; `run_tool` is the real one, tests script another."""

    def __call__(
        self, command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


def run_tool(
    command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program without a terminal; its output as text.

    environment: added to this process's. Errors: MissingToolError when it is not installed, OfflineError when it
    takes longer than timeout_s (what is called here waits for the network, if for anything).
    """
    try:
        return subprocess.run(
            list(command),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            close_fds=False,  # it holds the caller's lock: see edge.device.kept_folders.locked
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
    except (FileNotFoundError, PermissionError) as error:
        raise MissingToolError(
            f"the program '{command[0]}' is not installed", mend="install it, see docs/emulation.md"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise OfflineError(
            f"'{command[0]}' took over {timeout_s:g} s", mend="check the network and try again"
        ) from error
