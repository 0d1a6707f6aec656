"""Put an agent together from its settings and run it until it is told to stop."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import paho.mqtt.client as mqtt

from edge.fleet.agent.agent import Agent, Parts, StartChild
from edge.fleet.agent.children import Child
from edge.fleet.agent.clock import utc_now
from edge.fleet.agent.config import AgentConfig
from edge.fleet.agent.enrolled import UPDATES, device_key, read_enrolled
from edge.fleet.agent.job_files import BenchJob, ChangeJob
from edge.fleet.agent.link import SESSION_EXPIRY_S, Link
from edge.fleet.agent.outbox import Outbox
from edge.fleet.agent.readings import Readings
from edge.fleet.agent.uplink import Uplink
from edge.fleet.wire import topics
from edge.fleet.wire.connection import Will, connect_client
from edge.fleet.wire.messages import Presence

OUTBOX = "outbox.db"
RENEW_BEFORE = timedelta(days=30)


def make_agent(
    config: AgentConfig,
    *,
    say: Callable[[str], None],
    root: Path = Path("/"),
    start_child: StartChild | None = None,
) -> Agent:
    """Read identity and key, open the outbox. root: below it sensors are read; start_child: runs jobs (tests).

    Errors: SpecError when this device is not enrolled; those of the key store; ResourceError.
    """
    enrolled = read_enrolled(config.home)
    if enrolled.not_after - utc_now() < RENEW_BEFORE:
        say(f"this device's certificate ends on {enrolled.not_after:%Y-%m-%d}: `edge agent request`, then enrol anew")
    (config.home / UPDATES).mkdir(parents=True, exist_ok=True)
    outbox = Outbox(
        config.home / OUTBOX,
        device=config.device,
        key=device_key(config.keys, say),
        clock=utc_now,
        believe=enrolled.believe,
        limits=config.outbox,
        say=say,
    )
    host, port = config.broker or (enrolled.host, enrolled.port)
    chance = random.SystemRandom().random
    uplink = Uplink(outbox, clock=time.monotonic, chance=chance, say=say)
    will = Will(topics.up(config.device, "presence"), Presence(online=False).to_bytes())

    def connect() -> mqtt.Client:
        return connect_client(
            config.device, enrolled.credentials, host, port, session_expiry_s=SESSION_EXPIRY_S, will=will
        )

    def child(folder: Path, job: BenchJob | ChangeJob) -> Child:
        return Child(folder, job, clock=time.monotonic)

    def heard(address: topics.Address, payload: bytes) -> None:
        agent.heard(address, payload)

    link = Link(
        config.device,
        uplink,
        connect,
        clock=time.monotonic,
        chance=chance,
        on_message=heard,
        say=say,
        where=f"broker {host}:{port}",
    )
    readings = Readings(
        profile=config.profile,
        slots=config.slots,
        bundle=config.bundle,
        lock_folder=config.lock_folder,
        disk=config.home,
        clock=time.monotonic,
        root=root,
    )
    agent = Agent(Parts(config, enrolled, outbox, link, readings, utc_now, time.monotonic, say, start_child or child))
    return agent


def run_agent(config: AgentConfig, say: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT. Errors: as make_agent."""
    agent = make_agent(config, say=say)
    wake, waker = socket.socketpair()
    wake.setblocking(False)
    waker.setblocking(False)
    stopping: list[int] = []
    with wake, waker, contextlib.ExitStack() as undo:
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.signal(number, lambda got, _frame: stopping.append(got))
            undo.callback(signal.signal, number, before)
        undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False))
        say(f"agent of {config.device}, profile {config.profile}")
        try:
            agent.run(wake, lambda: bool(stopping))
        finally:
            agent.close()
    say("agent stopped")
