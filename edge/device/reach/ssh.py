"""A device over the system's own `ssh`, with the user's own configuration, keys and known hosts.

Nothing is asked at a prompt (BatchMode), the host key must be known unless its first use is allowed, and a dead
connection is noticed within a minute. What ssh says is put into one line with the way to mend it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

from edge.device.reach.base import Address
from edge.device.reach.session import BoardSession
from edge.errors import EdgeError, InputError, MissingToolError, ResourceError, UntrustedError

CONNECT_S = 15
ALIVE_S = 15
ALIVE_COUNT = 4
# ssh's own words (OpenSSH 8 to 10), in the order in which they decide.
SAYINGS: tuple[tuple[str, type[EdgeError], str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        UntrustedError,
        "its host key is another than the known one",
        "if the device was set up anew, remove the old key with `ssh-keygen -R {host}`, else do not trust it",
    ),
    (
        r"No \S+ host key is known for|Host key verification failed",
        UntrustedError,
        "its host key is not known here",
        "compare it and log in once with `ssh {host}`, or add --accept-new-host-key",
    ),
    (
        r"Permission denied|Too many authentication failures|No more authentication methods",
        ResourceError,
        "the login was refused",
        "put your public key there with `ssh-copy-id {host}`; no password is asked here",
    ),
    (
        r"Could not resolve hostname|Name or service not known",
        InputError,
        "there is no such host",
        "check the name, or give its address",
    ),
    (r"Connection refused", ResourceError, "no ssh server answers there", "start sshd on the device, check the port"),
    (
        r"Connection timed out|Operation timed out|No route to host|Network is unreachable|Host is down",
        ResourceError,
        "cannot be reached",
        "check power, cable and address",
    ),
    (
        r"Bad owner or permissions|Bad configuration option|terminating, \d+ bad configuration|"
        r"no argument after keyword",
        InputError,
        "ssh refuses its configuration",
        "run `ssh {host}` and mend what it says",
    ),
    (
        r"This account is currently not available|/bin/sh: (not found|No such file)",
        ResourceError,
        "the user has no shell there",
        "use a user that may log in",
    ),
)


class SshDevice(BoardSession):
    """A device reached by ssh.

    Parameters
    ----------
    where: kind "ssh".
    folder: edge's folder there, "" for its default.
    accept_new_host_key: trust the host key on first use; a changed one is refused all the same.
    ssh_command: replaces `ssh`.
    """

    def __init__(
        self,
        where: Address,
        *,
        folder: str = "",
        accept_new_host_key: bool = False,
        ssh_command: Sequence[str] = ("ssh",),
    ) -> None:
        self.address = str(where)
        if shutil.which(ssh_command[0]) is None:
            raise MissingToolError(f"'{ssh_command[0]}' is not installed", mend="install openssh-client")
        command = [*ssh_command, *options(where, accept_new_host_key), "--", where.name]
        super().__init__(command, self.address, lambda text, code: ssh_failure(text, code, where), folder=folder)


def options(where: Address, accept_new_host_key: bool) -> list[str]:
    """ssh's options; they win over the user's configuration."""
    pairs = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "accept-new" if accept_new_host_key else "yes",
        "ConnectTimeout": CONNECT_S,
        "ServerAliveInterval": ALIVE_S,
        "ServerAliveCountMax": ALIVE_COUNT,
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
    }
    told = ["-T"]
    for name, value in pairs.items():
        told += ["-o", f"{name}={value}"]
    if where.user:
        told += ["-l", where.user]
    if where.port is not None:
        told += ["-p", str(where.port)]
    return told


def ssh_failure(stderr: str, code: int, where: Address) -> EdgeError:
    """Why ssh ended, in one line."""
    host = f"{where.user}@{where.name}" if where.user else where.name
    for pattern, kind, what, mend in SAYINGS:
        if re.search(pattern, stderr):
            return kind(what, where=str(where), mend=mend.replace("{host}", host))
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = f" ({lines[-1][:160]})" if lines else ""
    if code == 255 or code < 0:
        return ResourceError(
            f"the connection was cut{said}",
            where=str(where),
            mend="run the same command again, it goes on where it was",
        )
    return ResourceError(f"the program on the device ended with {code}{said}", where=str(where), mend="run it again")
