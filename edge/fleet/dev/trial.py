"""A whole fleet on this machine: broker, collector with page, enrolled devices. For trying out, and for tests.

    FOLDER/pki/, fleet.db, broker/      as everywhere
    FOLDER/devices/NAME/                what would lie on that device: keys, enrolment, agent.yaml
    FOLDER/dev.json                     the ports, so that a second run is found where the first was
    FOLDER/collector.log                what the collector says

Everything listens on loopback only, and ends with this process, however that ends. A second run goes on with what is
there; two at once on one folder do not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edge.bundle.signing import PublicKey
from edge.errors import ResourceError
from edge.files import resource_error
from edge.fleet.broker.child import BrokerChild, die_with_parent, find_mosquitto, free_port, start_broker
from edge.fleet.dev.devices import TrialDevice, TrialPlace, prepare_device
from edge.fleet.dev.registry import database_url, registered
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.files import make_folder, write_public
from edge.fleet.store.store import Store, open_store

HOST = "127.0.0.1"
READY_S = 20.0
STOP_S = 10.0
_STEP_S = 0.2


def device_names(count: int) -> tuple[str, ...]:
    """tablet-1, tablet-2, ..."""
    return tuple(f"tablet-{number}" for number in range(1, count + 1))


def run_trial(
    folder: Path,
    count: int,
    *,
    port: int | None = None,
    page: str | None = None,
    profile: str = "trial",
    repository: Path | None = None,
    builders: tuple[PublicKey, ...] = (),
    say: Callable[[str], None],
    ended: threading.Event | None = None,
    collector: Sequence[str] = (sys.executable, "-m", "edge.cli", "collector"),
) -> None:
    """Start all of it and stay until Ctrl-C, SIGTERM or `ended`. count: of devices.

    repository: of `edge repo`, published; builders: whose bundles the devices shall trust; collector: the command to
    run. Errors: MissingToolError without mosquitto; SpecError for the repository; ResourceError when a part does not
    come up or ends by itself, or another run holds the folder.
    """
    program = find_mosquitto()
    ended = ended if ended is not None else _until_signal()
    folder = folder.absolute()
    make_folder(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(folder))
        pki = Pki.open(folder / "pki") if (folder / "pki").exists() else Pki.create(folder / "pki")
        port, page = _ports(folder, port, page)
        broker = start_broker(folder / "broker", pki, host=HOST, port=port, program=program)
        stack.callback(broker.stop)
        published = None if repository is None else repository.absolute() / "published"
        place = TrialPlace(HOST, port, profile, published, builders)
        store = open_store(database_url(folder))
        try:
            devices = _prepare(folder / "devices", count, pki, store, place)
        finally:
            store.close()
        arguments = ("--broker", f"{HOST}:{port}", "--credentials", str(pki.folder), "--database", database_url(folder),
                     "--page", page, *(("--repository", str(published)) if published else ()))  # fmt: skip
        running = _start_collector((*collector, *arguments), folder / "collector.log")
        stack.callback(_stop, running)
        _wait_for_page(page, running, folder / "collector.log", ended)
        for line in introduction(folder, broker, page, devices):
            say(line)
        _watch(broker, running, folder, ended)
        say("stopped: broker, collector, page; the same command goes on with it")


def _prepare(folder: Path, count: int, pki: Pki, store: Store, place: TrialPlace) -> tuple[TrialDevice, ...]:
    """The first is the canary. A device that was revoked stays so."""
    shut_out = {item.device for item in registered(store) if item.revoked_at is not None}
    return tuple(
        prepare_device(folder / name, name, pki, store, place, ring="clinic" if at else "canary")
        for at, name in enumerate(device_names(count))
        if name not in shut_out
    )


def introduction(folder: Path, broker: BrokerChild, page: str, devices: Sequence[TrialDevice]) -> tuple[str, ...]:
    """What runs, and what to type next."""
    lines = [
        f"broker     {broker.host}:{broker.port}  (mutual TLS, {folder / 'broker' / 'mosquitto.conf'})",
        f"page       http://{page}/",
        f"collector  {folder / 'collector.log'}",
        "",
        "in another terminal:",
        *(f"  {device.command}" for device in devices),
        f"  edge fleet devices --folder {folder}",
        f"  edge fleet check {broker.host}:{broker.port} --folder {folder}",
    ]
    if devices:
        lines.append(f"  edge fleet revoke {devices[-1].name} --folder {folder}")
    return (*lines, "Ctrl-C ends all of it")


def _until_signal() -> threading.Event:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    path = folder / "dev.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise resource_error(error, str(path)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ResourceError("another `edge fleet dev` runs here", where=str(folder), mend="stop it first") from error
    finally:
        os.close(descriptor)


def _ports(folder: Path, port: int | None, page: str | None) -> tuple[int, str]:
    """Given, or those of the last run where they are free, or free ones; remembered."""
    path = folder / "dev.json"
    last: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        last = dict(json.loads(path.read_text(encoding="utf-8")))
    if port is None:
        known = last.get("port")
        port = known if isinstance(known, int) and _free(known) else free_port(HOST)
    if page is None:
        known = last.get("page")
        place = known if isinstance(known, str) and known.startswith(f"{HOST}:") else ""
        number = place.removeprefix(f"{HOST}:")
        page = (
            place if number.isdecimal() and int(number) != port and _free(int(number)) else f"{HOST}:{free_port(HOST)}"
        )
    write_public(path, json.dumps({"port": port, "page": page}).encode())
    return port, page


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _start_collector(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    try:
        with log.open("ab") as file:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, preexec_fn=die_with_parent(os.getpid())
            )
    except OSError as error:
        raise resource_error(error, str(log)) from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_page(page: str, process: subprocess.Popen[bytes], log: Path, ended: threading.Event) -> None:
    host, _, port = page.rpartition(":")
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None and not ended.is_set():
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return
        ended.wait(_STEP_S / 4)
    if not ended.is_set():
        raise ResourceError(f"the collector did not come up{_last_line(log)}", where=str(log), mend="read that file")


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line]
        if lines and lines[-1].startswith("edge: "):
            return f" ({lines[-1].removeprefix('edge: ').rstrip('.')[:200]})"
    return ""


def _watch(broker: BrokerChild, collector: subprocess.Popen[bytes], folder: Path, ended: threading.Event) -> None:
    """Hand the broker each new revocation list. Errors: ResourceError when a part ended by itself."""
    known = _stamp(broker)
    while not ended.wait(_STEP_S):
        if not broker.alive():
            raise ResourceError("the broker ended by itself", where=str(folder / "broker"), mend="read its broker.log")
        if collector.poll() is not None:
            log = folder / "collector.log"
            raise ResourceError(
                f"the collector ended by itself{_last_line(log)}", where=str(log), mend="read that file"
            )
        if (found := _stamp(broker)) != known:
            known = found
            broker.reload()


def _stamp(broker: BrokerChild) -> int:
    with contextlib.suppress(OSError):
        return broker.pki.crl.stat().st_mtime_ns
    return 0
