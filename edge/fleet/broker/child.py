"""A mosquitto of one's own, with the shipped configuration: started, waited for, reloaded, ended.

It dies with the process that started it, however that ends. What it says goes to `broker.log` in its folder.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import MissingToolError, ResourceError
from edge.files import resource_error
from edge.fleet.broker.configuration import BrokerFiles, BrokerLimits, acl_text, configuration_text
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.files import make_folder, write_public
from edge.fleet.wire.connection import tls_context

READY_S = 10.0
PORT_ATTEMPTS = 3
TAKEN = "Address already in use"
STOP_S = 5.0
_STEP_S = 0.02
_PR_SET_PDEATHSIG = 1
CONFIGURATION, ACL, LOG, DATA = "mosquitto.conf", "acl", "broker.log", "data"


def find_mosquitto(search: str | None = None) -> Path:
    """The broker's program. search: a PATH. Errors: MissingToolError."""
    places = os.pathsep.join(
        part for part in (search or os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin") if part
    )
    found = shutil.which("mosquitto", path=places if search is None else search)
    if found is None:
        raise MissingToolError("the MQTT broker mosquitto is not installed", mend="run `apt install mosquitto`")
    return Path(found)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclass
class BrokerChild:
    """A running broker in `folder`. host, port: where it listens."""

    folder: Path
    pki: Pki
    host: str
    port: int
    process: subprocess.Popen[bytes]
    program: Path
    limits: BrokerLimits

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def reload(self) -> None:
        """Take in the PKI's revocation list: new connections of revoked devices are refused, old ones do nothing more.

        Errors: ResourceError when it does not run.
        """
        write_public(self.folder / ACL, acl_text(self.pki.revoked_names()).encode())
        if not self.alive():
            raise ResourceError("the broker does not run", where=str(self.folder / LOG), mend="start it again")
        self.process.send_signal(signal.SIGHUP)

    def kill9(self) -> None:
        """As a power cut does to the process (the system's caches stay)."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it in order: it writes its database."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill9()

    def restart(self) -> None:
        """Stop it if it runs, start it on the same port with the same data. Errors: as start_broker."""
        self.stop()
        write_public(self.folder / ACL, acl_text(self.pki.revoked_names()).encode())
        self.process = _launch(self.program, self.folder)
        _wait_until_ready(self)


def start_broker(
    folder: Path,
    pki: Pki,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    program: Path | None = None,
    limits: BrokerLimits | None = None,
) -> BrokerChild:
    """Write the configuration below `folder`, start mosquitto, wait until it answers TLS.

    port: None takes a free one. Errors: MissingToolError; ResourceError when it does not come up.
    """
    program = program if program is not None else find_mosquitto()
    limits = limits if limits is not None else BrokerLimits()
    make_folder(folder)
    make_folder(folder / DATA, 0o700)
    files = BrokerFiles(
        data=(folder / DATA).absolute(),
        ca=pki.ca.absolute(),
        certificate=pki.certificate_of("broker").absolute(),
        key=pki.key_of("broker").absolute(),
        crl=pki.crl.absolute(),
        acl=(folder / ACL).absolute(),
    )
    # As root it would become another user, who cannot read these files and would outlive this process.
    user = "root" if os.geteuid() == 0 else None
    write_public(folder / ACL, acl_text(pki.revoked_names()).encode())
    for attempts_left in reversed(range(1 if port is not None else PORT_ATTEMPTS)):
        chosen = port if port is not None else free_port(host)
        text = configuration_text(files, host=host, port=chosen, user=user, limits=limits)
        write_public(folder / CONFIGURATION, text.encode())
        child = BrokerChild(folder, pki, host, chosen, _launch(program, folder), program, limits)
        try:
            _wait_until_ready(child)
            break
        except ResourceError:
            # Between our looking for a free port and its taking it, somebody else may.
            if attempts_left == 0 or TAKEN not in last_error(folder / LOG):
                raise
    return child


def _launch(program: Path, folder: Path) -> subprocess.Popen[bytes]:
    try:
        with (folder / LOG).open("ab") as log:
            return subprocess.Popen(
                [program, "-c", str((folder / CONFIGURATION).absolute())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent(os.getpid()),
            )  # fmt: skip
    except OSError as error:
        raise resource_error(error, str(program)) from error


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """What the child does first: ask to be killed with its parent, and leave Ctrl-C to it."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)

    def settle() -> None:
        os.setpgrp()  # Ctrl-C reaches the parent, which ends this one in order
        library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return settle


def _wait_until_ready(child: BrokerChild) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if not child.alive():
            break
        if answers(child.host, child.port, child.pki):
            return
        time.sleep(_STEP_S)
    reason = last_error(child.folder / LOG)
    child.stop()
    raise ResourceError(
        f"mosquitto did not come up{f' ({reason})' if reason else ''}",
        where=str(child.folder / LOG),
        mend="read that file",
    )


def answers(host: str, port: int, pki: Pki) -> bool:
    """Whether somebody there shows the fleet's broker certificate."""
    context = tls_context(pki.credentials("operator"))
    try:
        with socket.create_connection((host, port), timeout=2.0) as plain:
            name = host if host in pki.hosts else pki.hosts[0]
            with context.wrap_socket(plain, server_hostname=name):
                return True
    except (OSError, ssl.SSLError):
        return False


def last_error(log: Path) -> str:
    """The last line of a broker's log that says Error, without its time; "" when there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.partition(": Error: ")[2] or line for line in lines[-50:] if "Error" in line]
    return errors[-1][:200].rstrip(".") if errors else ""
