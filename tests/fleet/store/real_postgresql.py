"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, reached by a unix socket only.

PostgreSQL refuses to run as root: there it runs as `postgres` or `nobody`. Skips the test where it cannot be had.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

READY_S = 20.0
_NAMES = itertools.count(1)


def _program(name: str) -> str:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    return found


def _user() -> dict[str, Any]:
    """Arguments of Popen that leave root."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


class Postgresql:
    """A running server. `url()` makes an empty place in it. durable: it waits for the disk; where only the
    server is killed and not its machine, nothing is lost without."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder, self._durable = folder, durable
        self._as = _user()
        self._log = folder / "log"
        self._start_log()
        command = [_program("initdb"), "-D", str(folder / "data"), "-U", "fleet", "-A", "trust", "-E", "UTF8",
                   "--locale=C", "--no-sync"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **self._as)
        self.process = self._launch()

    def _start_log(self) -> None:
        self.folder.chmod(0o755)
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])

    def _launch(self) -> subprocess.Popen[bytes]:
        options = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "max_connections": "40",
                   "shared_buffers": "32MB", "fsync": "on" if self._durable else "off"}  # fmt: skip
        command = [_program("postgres"), "-D", str(self.folder / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._as)
        end = time.monotonic() + READY_S
        while subprocess.run([_program("pg_isready"), "-h", str(self.folder), "-q"], check=False).returncode:
            assert process.poll() is None and time.monotonic() < end, self._log.read_text()
            time.sleep(0.05)
        return process

    def url(self) -> str:
        """The URL of a new, empty schema of one database: a database each costs 300 files."""
        import psycopg

        name = f"fleet{next(_NAMES)}"
        with psycopg.connect(f"host={self.folder} user=fleet dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"postgresql://fleet@/postgres?host={self.folder}&options=-csearch_path%3D{name}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"fleet{next(_NAMES)}"
        with psycopg.connect(f"host={self.folder} user=fleet dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://fleet@/{name}?host={self.folder}"

    def kill9(self) -> None:
        """As a power cut does to the server: itself and its children."""
        self.process.send_signal(signal.SIGSTOP)  # so that it makes no further child
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        self.process.wait()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.05)

    def restart(self) -> None:
        """Start it again where it was."""
        end = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(AssertionError):
                self.process = self._launch()
                return
            assert time.monotonic() < end
            time.sleep(0.1)

    def stop(self) -> None:
        """End it for good."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(10)


@functools.cache
def shared_postgresql() -> Postgresql:
    """One server for all tests of a process, ended with it."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_postgresql(durable=False))


@contextlib.contextmanager
def running_postgresql(*, durable: bool = True) -> Iterator[Postgresql]:
    """A server that ends with the block. Its socket's path must be short: it lies in the system's temporary folder."""
    with tempfile.TemporaryDirectory(prefix="edge-pg-") as name:
        server = Postgresql(Path(name), durable=durable)
        try:
            yield server
        finally:
            server.stop()
