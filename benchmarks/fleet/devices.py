"""A process of simulated devices: real outboxes on the disk, real uplinks, one MQTT connection each.

    python -m benchmarks.fleet.devices JOB.json

It makes results at random times, writes each one that the outbox has taken into its ledger, and prints a line a second:
how many it made and how many wait. Killed and started again it goes on where it was.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.fleet.world import LEDGER, device_key, digest, read_ledger, simulated_report
from edge.errors import EdgeError
from edge.fleet.agent.link import SESSION_EXPIRY_S, Link
from edge.fleet.agent.link_loop import LinkLoop
from edge.fleet.agent.outbox import Outbox
from edge.fleet.agent.uplink import Uplink
from edge.fleet.agent.uplink_rules import UplinkLimits
from edge.fleet.wire import topics
from edge.fleet.wire.connection import Credentials, Will, connect_client
from edge.fleet.wire.event import RESULT
from edge.fleet.wire.messages import Presence

TICK_S = 0.05
# A simulated day is short: what waits minutes on a device in the field waits seconds here.
LIMITS = UplinkLimits(resend_s=10.0, resend_most_s=20.0, grace_s=2.0)
RETRY_S = (1.0, 8.0)


class Device:
    """One device of the process."""

    def __init__(self, job: dict[str, object], name: str, folder: Path, chance: random.Random) -> None:
        self.name, self.made = name, 0
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        self.outbox = Outbox(
            own / "outbox.sqlite",
            device=name,
            key=device_key(int(str(job["seed"])), name),
            clock=lambda: datetime.now(UTC),
        )
        self.uplink = Uplink(self.outbox, clock=time.monotonic, chance=chance.random, limits=LIMITS)
        credentials = Credentials(*(Path(str(job["credentials"])) / f"{name}.{end}" for end in ("ca", "crt", "key")))
        host, port = str(job["host"]), int(str(job["port"]))
        self.link = Link(
            name,
            self.uplink,
            lambda: connect_client(
                name,
                credentials,
                host,
                port,
                session_expiry_s=SESSION_EXPIRY_S,
                will=Will(topics.up(name, "presence"), Presence(online=False).to_bytes()),
            ),
            clock=time.monotonic,
            chance=chance.random,
            retry_s=RETRY_S,
        )


def make_one(device: Device, chance: random.Random, ledger: int, incarnation: str) -> None:
    """One result into the outbox, then into the ledger: what the ledger has must arrive."""
    sha256 = digest(device.name, device.made, incarnation)
    try:
        device.outbox.queue(RESULT, simulated_report(chance, sha256).to_bytes())
    except EdgeError:
        return
    os.write(ledger, f"{device.name} {sha256}\n".encode())
    device.made += 1
    device.uplink.queued()


def main(job_path: Path) -> None:
    """Run until told otherwise."""
    job = json.loads(job_path.read_text(encoding="utf-8"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, max(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    folder = job_path.parent
    chance = random.Random(f"{job['seed']}/{folder.name}/{os.getpid()}")
    made = Counter(name for name, _ in read_ledger(folder))
    ledger = os.open(folder / LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(ledger, b"\n")  # ends a line that a kill cut short
    devices = [Device(job, name, folder, chance) for name in job["devices"]]
    for device in devices:
        device.made = made[device.name]
    loop = LinkLoop(time.monotonic)
    for device in devices:
        loop.add(device.link)
    per_device = int(job["messages"])
    until = float(job["until"])  # wall clock: all are made by then, however often this process died
    said_s, before_s = 0.0, time.monotonic()
    while True:
        loop.step(TICK_S)
        step_s, before_s = time.monotonic() - before_s, time.monotonic()
        left_s = max(0.5, until - time.time())
        missing = sum(per_device - device.made for device in devices)
        todo = [device for device in devices if device.made < per_device]
        rate = missing / left_s * step_s * 1.3
        for _ in range(int(rate) + (chance.random() < rate % 1)):
            if todo:
                picked = chance.choice(todo)
                make_one(picked, chance, ledger, str(os.getpid()))
                loop.wake(picked.link)
                todo = [device for device in todo if device.made < per_device]
        now_s = time.monotonic()
        if now_s - said_s >= 1.0:
            said_s = now_s
            waiting = sum(device.outbox.counts().rows for device in devices)
            online = sum(device.link.online for device in devices)
            total = sum(device.made for device in devices)
            print(json.dumps({"made": total, "waiting": waiting, "online": online}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
