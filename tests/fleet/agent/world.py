"""A device that is enrolled on a real broker, and the loop around its agent."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge.fleet.agent.agent import Agent
from edge.fleet.agent.children import Child
from edge.fleet.agent.config import AgentConfig
from edge.fleet.agent.job_files import BenchJob, ChangeJob
from edge.fleet.agent.start import make_agent
from edge.fleet.pki.certificates import certificate_pem
from edge.fleet.pki.enrolment import Enrolment, make_enrolment, read_request
from edge.fleet.wire import topics
from edge.fleet.wire.event import Event, from_mqtt
from edge.fleet.wire.messages import Command
from tests.fleet.agent.listener import Listener
from tests.fleet.agent.makers import DEVICE
from tests.fleet.real_broker import Broker

SCRIPT = Path(__file__).with_name("scripted_measure.py")
ROOT = Path(__file__).parents[3]
WAIT_S = 30.0


def settings_file(folder: Path, more: str = "") -> Path:
    path = folder / "agent.yaml"
    path.write_text(
        f"version: 1\ndevice: {DEVICE}\nprofile: small-profile\nhome: {folder}/fleet\nslots: {folder}/slots\n"
        f"bundle: {folder}/bundle\nbenchmark:\n  every_h: null\n  memory_mb_min: 0\n  disk_mb_min: 0\n{more}"
    )
    return path


def enrolment_of(broker: Broker, request: Path, **changes: object) -> bytes:
    found = read_request(request.read_bytes(), request.name)
    certificate = broker.pki.issue(found.device, found.tls_key)
    values: dict[str, object] = {"device": found.device, "broker_host": broker.host, "broker_port": broker.port}
    made = Enrolment(certificate=certificate_pem(certificate), ca=broker.pki.ca.read_bytes(), **(values | changes))  # type: ignore[arg-type]
    return make_enrolment(made, broker.pki.sign)


class Runner:
    """An agent and the loop around it. fault: of the scripted engine."""

    def __init__(self, config: AgentConfig, root: Path, fault: str = "") -> None:
        self.said: list[str] = []
        self.fault = fault
        (root / "proc").mkdir(parents=True, exist_ok=True)
        (root / "proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
        self.agent: Agent = make_agent(config, say=self.said.append, root=root, start_child=self.child)
        self.link = self.agent._parts.link
        self.outbox = self.agent._parts.outbox

    def child(self, folder: Path, job: BenchJob | ChangeJob) -> Child:
        command = (sys.executable, str(SCRIPT), self.fault) if isinstance(job, BenchJob) else None
        environment = {"PYTHONPATH": str(ROOT)}
        return Child(folder, job, clock=time.monotonic, command=command, environment=environment)

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"{what}; said: {self.said}; memory: {self.agent._memory}"
            wait_s = min(0.05, self.agent.step())
            self.agent._next_tick_s = min(self.agent._next_tick_s, time.monotonic() + 0.1)
            self.agent._next_report_s = min(self.agent._next_report_s, time.monotonic())
            sock = self.link.socket()
            readable, writable, _ = select.select(
                [sock] if sock else [], [sock] if sock and self.link.wants_write() else [], [], wait_s
            )
            if readable:
                self.link.readable()
            if writable:
                self.link.writable()


def statuses(listener: Listener, operation: str, command_id: str) -> list[str]:
    topic = topics.command(DEVICE, operation, command_id)
    ours = [payload for name, payload, *_ in listener.got if name == topic and payload and b"colour" not in payload]
    found = [Command.from_bytes(payload, topic) for payload in ours]
    return list(dict.fromkeys(f"{one.status}:{one.reason}" for one in found))


def send(listener: Listener, topic: str, payload: bytes) -> None:
    listener.client.publish(topic, payload, qos=1, retain=True).wait_for_publish(WAIT_S)


def events(listener: Listener) -> list[Event]:
    kinds = tuple(f"/up/{kind}" for kind in topics.EVENT_KINDS)
    return [from_mqtt(topic, payload, props) for topic, payload, props, _ in listener.got if topic.endswith(kinds)]
