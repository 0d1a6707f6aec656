"""Is anything lost or counted twice when broker, collectors and devices are killed with -9 at random points?

    python -m benchmarks.run_fleet_crash                             # 1,000 devices, 8,000 results, two minutes
    python -m benchmarks.run_fleet_crash --database postgresql://... # into PostgreSQL

All parts are real: mosquitto with the shipped configuration and mutual TLS, collectors as `edge collector` runs them,
a SQLite outbox for each device, the agent's own uplink. Simulated are the devices' numbers, and that many devices share
a process. A result counts as made once the outbox has taken it; what is lost is made and not in the database at the
end; what is double stands there twice. The exit code is 8 when either is not 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.fleet.world import device_name, read_ledger, register
from edge.errors import ExitStatus
from edge.fleet.broker.child import BrokerChild, start_broker
from edge.fleet.pki.authority import Pki
from edge.fleet.store import tables
from edge.fleet.store.store import Store, open_store

PER_PROCESS = 250
SETTLE_S = 300.0
STORM_S = 12.0  # a broker that is killed while all reconnect tells nothing new


@dataclass
class Child:
    """A process that is killed and started again; the last line that it printed as JSON."""

    name: str
    command: list[str]
    folder: Path
    process: subprocess.Popen[str] | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, or start it again."""
        log = (self.folder / f"{self.name}.log").open("ab")
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            with contextlib.suppress(ValueError):
                self.said = json.loads(line)

    def kill9(self) -> None:
        """End it as a power cut does to a process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Outcome:
    """Counts of one run. repeated: messages that came again after their commit and changed nothing."""

    devices: int
    made: int
    stored: int
    lost: int
    double: int
    quarantined: int
    unsaid: int
    waiting: int
    kills: dict[str, int]
    seconds: float
    database: str


def make_world(options: argparse.Namespace, folder: Path) -> tuple[BrokerChild, Store, list[Child], list[Child]]:
    """Broker, database, collectors and processes of devices, ready to start."""
    pki = Pki.create(folder / "pki")
    names = [device_name(number) for number in range(options.devices)]
    cards = folder / "cards"
    cards.mkdir()
    for name in names:
        card = pki.issue_device(name)
        for path, end in ((card.ca, "ca"), (card.certificate, "crt"), (card.key, "key")):
            shutil.copy(path, cards / f"{name}.{end}")
    broker = start_broker(folder / "broker", pki)
    url = options.database or f"sqlite:///{folder / 'fleet.sqlite'}"
    store = open_store(url)
    register(store, options.seed, names)
    collectors = []
    for number in range(options.collectors):
        name = "collector" if number == 0 else f"collector-{number}"
        if number:
            pki.issue_collector(name)
        command = [sys.executable, "-m", "edge.cli", "collector", "--name", name, "--database", url]
        command += ["--broker", f"{broker.host}:{broker.port}", "--credentials", str(folder / "pki")]
        collectors.append(Child(name, command, folder))
    processes = []
    until = time.time() + options.seconds
    for at in range(0, len(names), PER_PROCESS):
        own = folder / f"devices-{at}"
        own.mkdir()
        job = {
            "devices": names[at : at + PER_PROCESS],
            "seed": options.seed,
            "messages": options.messages,
            "host": broker.host,
            "port": broker.port,
            "credentials": str(cards),
            "until": until,
        }
        (own / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.fleet.devices", str(own / "job.json")]
        processes.append(Child(own.name, command, folder))
    return broker, store, collectors, processes


def kill_at_random(
    chance: random.Random,
    until: float,
    broker: BrokerChild,
    collectors: list[Child],
    processes: list[Child],
    say: Any,
) -> Counter[str]:
    """Kill one of them every few seconds, for as long as results are made."""
    kills: Counter[str] = Counter()
    broker_free_s = time.time() + STORM_S
    # A thousand devices take longer to come back, and a process that is killed while it starts tells nothing new.
    pause = max(1.0, PER_PROCESS * len(processes) / 500)
    while time.time() < until:
        time.sleep(chance.uniform(1.0, 4.0) * pause)
        choice = chance.choice(("broker", "collector", "collector", "devices", "devices"))
        if choice == "broker":
            if time.time() < broker_free_s:
                continue
            broker.kill9()
            time.sleep(chance.uniform(0.0, 2.0))
            broker.restart()
            broker_free_s = time.time() + STORM_S
        else:
            child = chance.choice(collectors if choice == "collector" else processes)
            child.kill9()
            time.sleep(chance.uniform(0.0, 1.0))
            child.start()
        kills[choice] += 1
        waiting = sum(int(child.said.get("waiting", 0)) for child in processes)
        made = sum(int(child.said.get("made", 0)) for child in processes)
        online = sum(int(child.said.get("online", 0)) for child in processes)
        say(f"kill -9 of {choice:<9}  made {made:>6}  waiting {waiting:>5}  online {online:>5}")
    return kills


def settle(processes: list[Child], made: int, say: Any) -> int:
    """Wait until every outbox is empty; how many rows wait at the end."""
    end = time.monotonic() + SETTLE_S
    waiting = -1
    for child in processes:
        child.said = {}
    while time.monotonic() < end:
        time.sleep(1.0)
        told = [child.said for child in processes]
        if any("waiting" not in one for one in told):
            continue
        waiting = sum(int(one["waiting"]) for one in told)
        say(f"settling: {waiting} wait, {sum(int(one['online']) for one in told)} online")
        if waiting == 0 and sum(int(one["made"]) for one in told) >= made:
            return 0
    return waiting


def count(store: Store, folder: Path) -> dict[str, int]:
    """Ledgers against the database."""
    told = Counter(sha256 for own in folder.glob("devices-*") for _, sha256 in read_ledger(own))
    with store.reading() as connection:
        rows = connection.execute(select(tables.messages.c.data)).scalars().all()
        kept_results = connection.execute(select(func.count()).select_from(tables.results)).scalar_one()
        quarantined = connection.execute(select(func.count()).select_from(tables.quarantine)).scalar_one()
    stored = Counter(str(json.loads(bytes(data))["result_sha256"]) for data in rows)
    return {
        "made": sum(told.values()),
        "stored": int(kept_results),
        "lost": sum((told - stored).values()),
        "double": sum(number - 1 for number in stored.values()) + abs(len(rows) - int(kept_results)),
        "quarantined": int(quarantined),
        "unsaid": len(set(stored) - set(told)),
    }


def run(options: argparse.Namespace, folder: Path, say: Any) -> Outcome:
    """One run from nothing."""
    began_s = time.monotonic()
    broker, store, collectors, processes = make_world(options, folder)
    say(f"{options.devices} devices, {options.collectors} collectors, ready after {time.monotonic() - began_s:.0f} s")
    children = [*collectors, *processes]
    chance = random.Random(options.seed)
    try:
        until = time.time() + options.seconds
        for own in folder.glob("devices-*/job.json"):
            own.write_text(json.dumps(json.loads(own.read_text()) | {"until": until}), encoding="utf-8")
        for child in children:
            child.start()
        kills = kill_at_random(chance, until, broker, collectors, processes, say)
        waiting = settle(processes, options.devices * options.messages, say)
    finally:
        for child in children:
            child.kill9()
        broker.stop()
    counts = count(store, folder)
    database = store.engine.dialect.name
    store.close()
    return Outcome(
        devices=options.devices,
        waiting=waiting,
        kills=dict(kills),
        seconds=time.monotonic() - began_s,
        database=database,
        **counts,
    )


def report(outcome: Outcome) -> str:
    """For a person."""
    kills = ", ".join(f"{name} {number}" for name, number in sorted(outcome.kills.items()))
    return "\n".join(
        (
            f"{outcome.devices} devices into {outcome.database}, {outcome.seconds:.0f} s, kill -9: {kills}",
            f"made         {outcome.made:>7}",
            f"stored       {outcome.stored:>7}  ({outcome.unsaid} by devices that died before they said so)",
            f"lost         {outcome.lost:>7}",
            f"double       {outcome.double:>7}",
            f"quarantined  {outcome.quarantined:>7}",
            f"still waiting{outcome.waiting:>7}",
        )
    )


def main() -> None:
    """Parse, run, print, exit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=8, help="of each device")
    parser.add_argument("--seconds", type=float, default=120.0, help="of making and killing; settling comes after")
    parser.add_argument("--collectors", type=int, default=2)
    parser.add_argument("--database", help="default: SQLite in the run's folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one, deleted")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="edge-fleet-crash-"))
    folder.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        outcome = run(options, folder.absolute(), say)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(report(outcome))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(outcome), indent=1), encoding="utf-8")
    sys.exit(ExitStatus.GATE if outcome.lost or outcome.double or outcome.waiting else ExitStatus.OK)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
