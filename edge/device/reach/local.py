"""This machine as a device: the same far side as over ssh, without a connection.

`edge verify --device local` measures without a copy and needs none of this; tests and tools do.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.device.reach.session import BoardSession
from edge.errors import EdgeError, ResourceError


class LocalDevice(BoardSession):
    """A BoardSession with a shell of this machine. command: replaces it."""

    address = "local"

    def __init__(self, *, folder: str = "", command: Sequence[str] = ("/bin/sh", "-c")) -> None:
        super().__init__(command, "local", ended, folder=folder)


def ended(stderr: str, code: int) -> EdgeError:
    """The far side is gone."""
    last = stderr.strip().splitlines()[-1:] or [""]
    return ResourceError(f"the program on this machine ended ({code}) {last[0][:200]}", mend="run it again")
