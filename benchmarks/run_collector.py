"""How many signed results a second one collector commits: python -m benchmarks.run_collector [--json FILE]

A real mosquitto with the shipped configuration, the certificates of a real PKI, results of 1,000 devices with a key
each, about 2.3 KB, signed, none equal to another. The only line that is not shipped: one name may publish for all
devices, so that the load costs little (`collector_load.py`). Ways:

    queued   all messages wait at the broker when the collector starts; the load's own work is over
    live     they come while it works, as fast as the broker takes them; load, broker and collector share the cores

    edge       `edge collector` as it ships, in one process
    batches    peer: paho as it is, the same checks and rows, 500 a commit (`collector_peer.py`)
    message    peer: the same, one commit a message

Rate: from the first row committed to the last. CPU: seconds of a core in a second. Each way is run --rounds times, the
ways in turn; the median is printed, and the ratio to `message` of the same database. Needs a quiet machine.
"""

from __future__ import annotations

import edge.privacy  # isort: skip  # noqa: F401  telemetry off before anything else is imported

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from sqlalchemy import func, insert, select

from benchmarks.collector_load import events, new_keys, write_packets
from edge.bundle.signing import SigningKey
from edge.fleet.broker.child import BrokerChild, start_broker
from edge.fleet.collector.service import RECEIVE_MAXIMUM
from edge.fleet.pki.authority import Pki
from edge.fleet.store.store import Store, open_store
from edge.fleet.store.tables import devices, messages, results
from edge.fleet.wire.connection import connect_client
from edge.fleet.wire.topics import SHARED_UP

REPO = Path(__file__).parent.parent
COLLECTOR = "from edge.fleet.collector.command import collector; collector()"
LOADER_ACL = "\nuser loader\ntopic write edge/v1/+/up/+\n"
LIMIT_S = 120.0


@dataclass(frozen=True)
class Way:
    """One thing to measure. share: of the messages, because a slow way needs fewer."""

    program: str  # edge, batches, message
    database: str  # sqlite, postgresql
    load: str  # queued, live
    share: float

    @property
    def name(self) -> str:
        """As printed."""
        return f"{self.program}, {self.database}, {self.load}"


@dataclass(frozen=True)
class Round:
    """One run's figures."""

    messages_per_s: float
    collector_cpu: float
    broker_cpu: float
    cpu_us_per_message: float


WAYS = (
    Way("edge", "sqlite", "queued", 1.0),
    Way("edge", "sqlite", "live", 1.0),
    Way("batches", "sqlite", "queued", 0.4),
    Way("message", "sqlite", "queued", 0.1),
    Way("edge", "postgresql", "queued", 1.0),
    Way("batches", "postgresql", "queued", 0.4),
    Way("message", "postgresql", "queued", 0.1),
)


def prepare_database(url: str, keys: list[SigningKey]) -> Store:
    """A new database that knows the devices."""
    store = open_store(url)
    rows = [{"device": key.name, "public_key": key.raw_public, "key_fingerprint": key.fingerprint} for key in keys]
    with store.writing() as connection:
        connection.execute(insert(devices), [row | {"enrolled_at": store.now()} for row in rows])
    return store


def count(store: Store) -> int:
    """Messages committed."""
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(messages)).scalar_one())


def wait(condition: Callable[[], bool], what: str) -> None:
    """Poll. Errors: SystemExit after LIMIT_S."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited too long: {what}")
        time.sleep(0.02)


def make_session(broker: BrokerChild) -> None:
    """The collector's session, so that the broker keeps what comes while it is away."""
    ready = threading.Event()
    client = connect_client(
        "collector", broker.pki.credentials("collector"), broker.host, broker.port, session_expiry_s=3600,
        receive_maximum=RECEIVE_MAXIMUM,
    )  # fmt: skip
    client.on_connect = lambda found, *_: found.subscribe(SHARED_UP, qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.loop_start()
    if not ready.wait(10):
        raise SystemExit("the broker does not let the collector subscribe")
    client.disconnect()
    client.loop_stop()


def cpu_s(process: psutil.Process) -> float:
    """Seconds of CPU so far, children included."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found = [process, *process.children(recursive=True)]
        return float(sum(one.cpu_times().user + one.cpu_times().system for one in found))
    return 0.0


def command(way: Way, broker: BrokerChild, url: str) -> list[str]:
    """The collector's or the peer's."""
    folder = str(broker.pki.folder)
    if way.program == "edge":
        options = ["--broker", f"{broker.host}:{broker.port}", "--credentials", folder, "--database", url]
        return [sys.executable, "-c", COLLECTOR, *options]
    peer = [sys.executable, "-m", "benchmarks.collector_peer", way.program]
    return [*peer, broker.host, str(broker.port), folder, url]


def measure(way: Way, folder: Path, pki: Pki, packets: Path, total: int, url: str, keys: list[SigningKey]) -> Round:
    """One run with a fresh broker and a fresh database. Errors: SystemExit when anything is lost or double."""
    store = prepare_database(url, keys)
    broker = start_broker(folder / "broker", pki)
    acl = broker.folder / "acl"
    acl.write_text(acl.read_text() + LOADER_ACL)
    broker.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    send = [sys.executable, "-m", "benchmarks.collector_load", "send", str(packets), broker.host, str(broker.port),
            str(pki.folder), "loader"]  # fmt: skip
    make_session(broker)
    running: list[subprocess.Popen[bytes]] = []
    try:
        if way.load == "queued":
            subprocess.run(send, check=True, cwd=REPO, stdout=subprocess.DEVNULL)
        child = subprocess.Popen(command(way, broker, url), cwd=REPO, stderr=subprocess.DEVNULL)
        running.append(child)
        if way.load == "live":
            running.append(subprocess.Popen(send, cwd=REPO, stdout=subprocess.DEVNULL))
        wait(lambda: count(store) > 0, f"{way.name}: the first row")
        watched = (psutil.Process(child.pid), psutil.Process(broker.process.pid))
        first, started, before = count(store), time.monotonic(), [cpu_s(one) for one in watched]
        wait(lambda: count(store) >= total, f"{way.name}: {total} rows")
        took = time.monotonic() - started
        used = [cpu_s(one) - then for one, then in zip(watched, before, strict=True)]
        with store.reading() as connection:
            judged = connection.execute(select(func.count()).select_from(results)).scalar_one()
        if count(store) != total or judged != total:
            raise SystemExit(f"{way.name}: {count(store)} messages, {judged} results, {total} were sent")
        done = total - first
        return Round(done / took, used[0] / took, used[1] / took, used[0] / done * 1e6)
    finally:
        for process in running:
            process.terminate()
            process.wait()
        broker.stop()
        store.close()


@contextlib.contextmanager
def databases(folder: Path, given: str | None) -> Iterator[dict[str, Callable[[int], str]]]:
    """Kind -> a function that makes a new database. PostgreSQL where it is installed, or of a URL with {n} in it."""
    found: dict[str, Callable[[int], str]] = {"sqlite": lambda number: f"sqlite:///{folder}/fleet{number}.db"}
    if given is not None:
        yield found | {"postgresql": lambda number: given.format(n=number)}
        return
    from tests.fleet.store.real_postgresql import running_postgresql

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_postgresql())
            found["postgresql"] = lambda _number: server.url()
        except BaseException as error:
            if type(error).__name__ != "Skipped":
                raise
            print(f"PostgreSQL is not measured: {error}")
        yield found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="Part of a way's name, as 'edge, sqlite'.")
    parser.add_argument("--postgresql", help="URL of an empty database, {n} in it counts the runs.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    ways = [way for way in WAYS if arguments.only in way.name]
    found: dict[Way, list[Round]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="edge-collector-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # mosquitto leaves root
        pki = Pki.create(folder / "pki")
        pki.issue_device("loader")
        keys = new_keys(arguments.devices)
        loads: dict[int, Path] = {}
        for way in ways:
            total = int(arguments.messages * way.share)
            if total not in loads:
                loads[total] = folder / f"load{total}"
                largest = write_packets(loads[total], events(keys, total))
        print(f"{arguments.messages} results of {arguments.devices} devices, up to {largest} bytes; "
              f"{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
        number = 0
        with databases(folder, arguments.postgresql) as kinds:
            for _ in range(arguments.rounds):
                for way in ways:
                    if way.database not in kinds:
                        continue
                    number += 1
                    place, total = folder / f"run{number}", int(arguments.messages * way.share)
                    place.mkdir(mode=0o755)
                    figures = measure(way, place, pki, loads[total], total, kinds[way.database](number), keys)
                    found[way].append(figures)
                    print(f"  {way.name:28} {figures.messages_per_s:7.0f} msg/s")
    table(found)
    if arguments.json:
        told = {way.name: [asdict(one) for one in rounds] for way, rounds in found.items()}
        arguments.json.write_text(json.dumps(told, indent=1))


def table(found: dict[Way, list[Round]]) -> None:
    """Medians, and the ratio to a commit a message."""

    def median(way: Way, field: str) -> float:
        return statistics.median(getattr(one, field) for one in found[way])

    print(f"\n{'way':28} {'msg/s':>8} {'ratio':>6} {'CPU us/msg':>11} {'collector':>10} {'broker':>7}")
    for way in (one for one in found if found[one]):
        slow = next((one for one in found if one.program == "message" and one.database == way.database), None)
        rate = median(way, "messages_per_s")
        ratio = f"{rate / median(slow, 'messages_per_s'):.1f}" if slow is not None and found[slow] else "-"
        print(
            f"{way.name:28} {rate:8.0f} {ratio:>6} {median(way, 'cpu_us_per_message'):11.0f}"
            f" {median(way, 'collector_cpu'):10.2f} {median(way, 'broker_cpu'):7.2f}"
        )


if __name__ == "__main__":
    main()
