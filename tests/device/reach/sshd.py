"""A real sshd on loopback as the current user: own host key, own authorised keys, a high port, own environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.device.reach.base import Address

SERVER = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if Path(path).exists()), None)
NEEDED = pytest.mark.skipif(
    SERVER is None or shutil.which("ssh") is None, reason="openssh-server or openssh-client is not installed"
)
START_S = 10.0


class Board:
    """One board: an sshd whose sessions see their own EDGE_HOME, home folder and Python."""

    def __init__(self, root: Path, *, path: str | None = None) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.home, self.edge_home = root / "user", root / "edge-home"
        self.home.mkdir()
        for name in ("host", "user-key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / name)], check=True
            )
        shutil.copyfile(root / "user-key.pub", root / "authorized_keys")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.path = path or f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        self._process: subprocess.Popen[bytes] | None = None
        self.trust_host_key()
        self.start()

    @property
    def folder(self) -> Path:
        """edge's folder on the board."""
        return self.home / ".local/share/edge"

    @property
    def address(self) -> Address:
        return Address("ssh", "127.0.0.1", "", self.port)

    @property
    def ssh(self) -> tuple[str, ...]:
        """The `ssh` of a user who knows this board and nothing else."""
        config = self.root / "ssh_config"
        config.write_text(
            f"Host *\n  IdentityFile {self.root}/user-key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.root}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
        )
        return ("ssh", "-F", str(config))

    def trust_host_key(self, key: str | None = None) -> None:
        """Write the known host key; key: another one than the board's."""
        line = key or (self.root / "host.pub").read_text()
        (self.root / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {line}")

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.root / "sshd_config"
        environment = f"EDGE_HOME={self.edge_home} HOME={self.home} PATH={self.path} LC_ALL=C.UTF-8 OMP_NUM_THREADS=1"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.root}/host\n"
            f"AuthorizedKeysFile {self.root}/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"SetEnv {environment}\nPrintMotd no\nMaxStartups 50\n"
        )
        self._process = subprocess.Popen(
            [str(SERVER), "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.root / "sshd.log").open("ab"),
        )
        self._wait()

    def _wait(self) -> None:
        """Until the port answers: sshd says its name first."""
        limit = socket.create_connection
        for _ in range(int(START_S * 100)):
            with contextlib.suppress(OSError), limit(("127.0.0.1", self.port), timeout=1) as link:
                if link.recv(4) == b"SSH-":
                    return
            if self._process is not None and self._process.poll() is not None:
                break
            select_pause()
        pytest.skip(f"sshd does not start here: {(self.root / 'sshd.log').read_text()[-300:]}")

    def sessions(self) -> list[int]:
        """Processes of open connections: the children of the server and theirs that are sshd too."""
        found, parents = [], {self._process.pid if self._process else 0}
        for _ in range(3):
            level = set()
            for status in Path("/proc").glob("[0-9]*/stat"):
                with contextlib.suppress(OSError):
                    name, _, rest = status.read_text().partition(") ")
                    if int(rest.split()[1]) in parents and "(sshd" in name:
                        level.add(int(status.parent.name))
            found += sorted(level)
            parents = level
        return found

    def cut(self) -> None:
        """Kill every open connection, the server stays."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self.cut()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def select_pause() -> None:
    """10 ms for another process."""
    import threading

    threading.Event().wait(0.01)
