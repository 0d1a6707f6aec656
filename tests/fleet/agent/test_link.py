"""The link to a real mosquitto with the shipped configuration. When these fail, a device in the field stays silent."""

from __future__ import annotations

import itertools
import random
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from edge.fleet.agent.link import Link
from edge.fleet.agent.link_loop import LinkLoop
from edge.fleet.agent.outbox import Outbox
from edge.fleet.agent.uplink import Uplink
from edge.fleet.wire import topics
from edge.fleet.wire.connection import Credentials, Will, connect_client
from edge.fleet.wire.event import RESULT, TELEMETRY, from_mqtt
from edge.fleet.wire.messages import Presence
from tests.fleet.agent.listener import listen
from tests.fleet.agent.makers import DEVICE, Clock, make_outbox
from tests.fleet.real_broker import Broker

BODY = b'{"version":1}'
WAIT_S = 15.0


class Device:
    """Outbox, uplink and link of one device, and the loop around them."""

    def __init__(self, folder: Path, broker: Broker, credentials: Credentials, name: str = DEVICE) -> None:
        self.said: list[str] = []
        self.heard: list[tuple[topics.Address, bytes]] = []
        self.outbox: Outbox = make_outbox(folder / "outbox.db", device=name, say=self.said.append)
        chance = random.Random(1).random
        self.uplink = Uplink(self.outbox, clock=time.monotonic, chance=chance, say=self.said.append)
        will = Will(topics.up(name, "presence"), Presence(online=False).to_bytes(), delay_s=1)

        def connect() -> mqtt.Client:
            return connect_client(name, credentials, broker.host, broker.port, session_expiry_s=600, will=will)

        self.link = Link(
            name, self.uplink, connect, clock=time.monotonic, chance=chance, say=self.said.append,
            on_message=lambda address, payload: self.heard.append((address, payload)),
        )  # fmt: skip

    def step(self, seconds: float = 0.05) -> None:
        self.link.tick()
        sock = self.link.socket()
        if sock is None:
            time.sleep(min(seconds, self.link.wait_s()))
            return
        wait_s = min(seconds, self.link.wait_s())
        read, write, _ = select.select([sock], [sock] if self.link.wants_write() else [], [], wait_s)
        if read:
            self.link.readable()
        if write:
            self.link.writable()

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < deadline, f"{what}; said: {self.said}"
            self.step()


@pytest.fixture
def device(tmp_path: Path, broker: Broker) -> Iterator[Device]:
    made = Device(tmp_path, broker, broker.pki.issue_device(DEVICE))
    yield made
    made.link.close()


def test_events_go_up_and_acknowledgements_come_down(device: Device, broker: Broker) -> None:
    """If not: nothing of a device ever arrives, or its outbox never empties."""
    collector = listen(broker, answer=True)
    for number in range(100):
        device.outbox.queue(TELEMETRY if number % 2 else RESULT, BODY)
    device.until(lambda: device.outbox.counts().rows == 0, "the outbox does not empty")
    events = [from_mqtt(topic, payload, props) for topic, payload, props, _ in collector.got if "presence" not in topic]
    assert sorted({event.seq for event in events}) == list(range(1, 101))
    assert len(events) == 100, "events came twice"
    collector.client.loop_stop()


@pytest.mark.slow
def test_a_broker_killed_in_the_middle(device: Device, broker: Broker) -> None:
    """If not: what the broker had confirmed and forgot is lost."""
    for _ in range(40):
        device.outbox.queue(RESULT, BODY)
    device.until(lambda: any(sent.settled for sent in device.uplink.state.window.values()), "nothing is confirmed")
    device.link.retain(topics.up(DEVICE, "state"), b"the state", each_time=True)
    device.until(lambda: not device.link._retained, "the state is not confirmed")
    broker.kill9()  # before it wrote anything down
    device.until(lambda: not device.link.online, "the loss is not seen")
    broker.restart()
    collector = listen(broker, answer=True)
    device.until(lambda: any(one[1] == b"the state" for one in collector.got), "the state is forgotten")
    device.until(lambda: device.outbox.counts().rows == 0, "the outbox does not empty")
    assert any("nobody answers" in line or "connection ended" in line for line in device.said)
    assert len(device.said) <= 3
    collector.client.loop_stop()


def test_presence_and_its_will(device: Device, broker: Broker) -> None:
    """If not: a tablet that lost its battery is shown as online for ever."""
    collector = listen(broker)
    presence = topics.up(DEVICE, "presence")

    def last() -> bytes:
        return next((payload for topic, payload, *_ in reversed(collector.got) if topic == presence), b"")

    device.until(lambda: last() == Presence(online=True).to_bytes(), "it does not say that it is here")
    device.link._drop()  # as when the battery is empty: no goodbye
    deadline = time.monotonic() + WAIT_S
    while last() != Presence(online=False).to_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    device.link._next_s = 0.0
    device.until(lambda: last() == Presence(online=True).to_bytes(), "it does not come back")
    device.link.close()
    deadline = time.monotonic() + WAIT_S
    while last() != Presence(online=False).to_bytes():
        assert time.monotonic() < deadline, "no goodbye"
        time.sleep(0.05)
    collector.client.loop_stop()


def test_retained_state_and_commands(device: Device, broker: Broker) -> None:
    """If not: a state that was told offline never arrives, or a command given meanwhile is not heard."""
    fleet = listen(broker, filters=(topics.ALL_UP, topics.ALL_COMMANDS))
    topic = topics.command(DEVICE, "bench", "c1")
    fleet.client.publish(topic, b"one", qos=1, retain=True).wait_for_publish(WAIT_S)
    fleet.client.publish(topics.down(DEVICE, "desired"), b"two", qos=1, retain=True).wait_for_publish(WAIT_S)
    device.link.retain(topics.up(DEVICE, "state"), b"old")
    device.link.retain(topics.up(DEVICE, "state"), b"new")
    device.until(lambda: len(device.heard) == 2, "commands and desired state do not come")
    assert {(address.kind, address.operation, payload) for address, payload in device.heard} == {
        ("command", "bench", b"one"),
        ("desired", "", b"two"),
    }
    device.link.retain(topic, b"answer")
    device.until(lambda: any(payload == b"answer" for _, payload, *_ in fleet.got), "no answer")
    device.until(lambda: not device.link._retained, "the broker's confirmation is not counted")
    states = [payload for name, payload, *_ in fleet.got if name.endswith("state")]
    assert states == [b"new"]
    assert len(device.heard) == 2, "it hears its own answers"
    fleet.client.loop_stop()


def test_refused_by_the_acl(tmp_path: Path, broker: Broker) -> None:
    """If not: 'not authorised', which is only a reason code, loses events without a word."""
    credentials = broker.pki.issue_device("tablet-08")
    device = Device(tmp_path, broker, credentials, name="tablet-08")
    device.outbox.device = "tablet-09"  # writes where it may not
    device.outbox._key = device.outbox._key
    device.outbox.queue(RESULT, BODY)
    device.until(lambda: any("not authorised" in line for line in device.said), "the refusal is not said")
    assert device.outbox.counts().rows == 1
    assert device.link.online
    for _ in range(10):
        device.step()
    assert sum("not authorised" in line for line in device.said) == 1
    device.link.close()


def test_revoked(tmp_path: Path, broker: Broker) -> None:
    """If not: a revoked device tries every second, or says nothing that a person could act upon."""
    credentials = broker.pki.issue_device(DEVICE)
    broker.pki.revoke(DEVICE)
    broker.reload()
    device = Device(tmp_path, broker, credentials)

    def refused() -> bool:
        if device.link.online:  # the broker has not read the list yet
            device.link._drop()
            device.link._next_s = 0.0
        return bool(device.said)

    device.until(refused, "nothing is said")
    device.outbox.queue(RESULT, BODY)
    for _ in range(6):
        device.link._next_s = 0.0
        for _ in range(10):
            device.step()
    assert all("certificate" in line for line in device.said)
    assert len(device.said) == len(set(device.said)) <= 3, "each attempt is a line"

    def waits_long() -> bool:
        """Between two attempts; one whose alert was lost on the way is an attempt of a bad line."""
        between = device.link._client is None
        if between and device.link.wait_s(1e6) <= 5:
            device.link._next_s = 0.0
        return between and device.link.wait_s(1e6) > 5

    device.until(waits_long, "it tries every second")
    assert device.outbox.counts().rows == 1


def test_a_connection_that_ends_while_it_is_made(tmp_path: Path, broker: Broker) -> None:
    """If not: a refusal that comes before the client can tell it leaves the device waiting."""
    device = Device(tmp_path, broker, broker.pki.issue_device(DEVICE))
    make = device.link._connect

    def connect() -> mqtt.Client:
        client = make()
        client._sock_close()
        return client

    device.link._connect = connect
    device.until(lambda: bool(device.said), "nothing is said")
    assert "ended the connection at once" in device.said[0]
    device.link._connect = make
    device.until(lambda: device.link.online, "it does not come back")
    device.link.close()


def test_another_fleet_s_broker(tmp_path: Path, broker: Broker) -> None:
    """If not: a device hands its events to whoever answers at the address."""
    from edge.fleet.pki.authority import Pki

    strange = Pki.create(tmp_path / "strange").issue_device(DEVICE)
    device = Device(tmp_path, broker, strange)
    device.until(lambda: bool(device.said), "nothing is said")
    assert "not of the fleet's CA" in device.said[0]


def test_a_port_that_answers_nothing(tmp_path: Path, broker: Broker) -> None:
    """If not: something that takes the connection and is silent holds the agent up for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        device = Device(tmp_path, broker, broker.pki.issue_device(DEVICE))
        port = silent.getsockname()[1]

        def connect() -> mqtt.Client:
            raise TimeoutError(port)

        device.link._connect = connect
        device.until(lambda: bool(device.said), "nothing is said")
        assert "does not answer" in device.said[0]


def test_no_certificate_yet(tmp_path: Path, broker: Broker) -> None:
    """If not: a device that was not enrolled ends with a traceback."""
    nowhere = Credentials(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    device = Device(tmp_path, broker, nowhere)
    device.until(lambda: bool(device.said), "nothing is said")
    assert "there is no such file" in device.said[0]


def test_a_broker_that_is_gone_for_a_week(tmp_path: Path) -> None:
    """If not: the journal is full, the battery empty from trying, or the device comes back hours after the network."""
    clock, said, tries = Clock(), list[str](), list[float]()
    outbox = make_outbox(tmp_path / "outbox.db", clock=clock)
    uplink = Uplink(outbox, clock=clock.monotonic, chance=lambda: 0.9, say=said.append)

    def connect() -> mqtt.Client:
        tries.append(clock.seconds)
        raise ConnectionRefusedError(111, "Connection refused")

    link = Link(DEVICE, uplink, connect, clock=clock.monotonic, chance=lambda: 0.9, say=said.append)
    while clock.seconds < 1000 + 7 * 24 * 3600:
        link.tick()
        clock.forward(max(0.5, link.wait_s(3600.0)))
        if len(outbox.waiting(200)) < 150:
            outbox.queue(TELEMETRY, BODY)
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert max(gaps) <= 180
    assert len(tries) < 5000
    assert 1 <= len(said) <= 7 * 4 + 1
    assert outbox.counts().rows == 150
    assert uplink.state.window == {}


def test_one_refusal_after_many_failures(tmp_path: Path) -> None:
    """If not: after a weekend without Wi-Fi one handshake with a portal makes the device silent for an hour."""
    clock, errors = Clock(), [OSError(113, "No route to host")]
    outbox = make_outbox(tmp_path / "outbox.db", clock=clock)
    uplink = Uplink(outbox, clock=clock.monotonic, chance=lambda: 0.5)

    def connect() -> mqtt.Client:
        raise errors[-1]

    def wait_s() -> float:
        link.tick()
        clock.forward(seconds := link.wait_s(1e6))
        return seconds

    link = Link(DEVICE, uplink, connect, clock=clock.monotonic, chance=lambda: 0.5)
    assert [wait_s() for _ in range(30)][-1] == 120.0
    errors.append(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"))
    assert [wait_s() for _ in range(10)] == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, *[3600.0] * 4]
    errors.append(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    assert [wait_s() for _ in range(3)] == [1.0, 2.0, 4.0]


class Buffered:
    """A client whose TLS layer holds `left` packets that no select sees: one is read at a time."""

    def __init__(self, left: int) -> None:
        self.left = left

    def socket(self) -> Buffered:
        return self

    def pending(self) -> int:
        return self.left

    def loop_read(self) -> None:
        self.left -= 1

    def loop_misc(self) -> None:
        """Nothing to keep alive."""


def test_more_packets_in_a_record_than_are_read_at_once(tmp_path: Path) -> None:
    """If not: behind 64 retained commands the next one waits until the broker happens to say something else."""
    clock, client = Clock(), Buffered(200)
    outbox = make_outbox(tmp_path / "outbox.db")
    uplink = Uplink(outbox, clock=clock.monotonic, chance=lambda: 0.5)
    link = Link(DEVICE, uplink, lambda: client, clock=clock.monotonic, chance=lambda: 0.5)  # type: ignore[arg-type, return-value]
    link.tick()
    link.readable()
    assert 0 < client.left < 200
    for _ in range(10):
        if link.wait_s() == 0:
            link.tick()
    assert client.left == 0
    assert link.wait_s() > 0


def test_many_in_one_loop(tmp_path: Path, broker: Broker) -> None:
    """If not: a simulated fleet needs a thread for each device, or a link in it is forgotten."""
    collector = listen(broker, answer=True)
    loop, devices = LinkLoop(time.monotonic), []
    for number in range(5):
        name = f"tablet-{number}"
        (tmp_path / name).mkdir()
        device = Device(tmp_path / name, broker, broker.pki.issue_device(name), name)
        device.outbox.queue(RESULT, BODY)
        devices.append(device)
        loop.add(device.link)
    deadline = time.monotonic() + WAIT_S

    def until_empty(some: list[Device]) -> None:
        while any(device.outbox.counts().rows for device in some):
            assert time.monotonic() < deadline
            loop.step(0.1)

    until_empty(devices)
    devices[0].link._drop()  # its socket is closed without a word to the loop
    for device in devices:
        device.outbox.queue(RESULT, BODY)
        loop.wake(device.link)
    loop.remove(devices[1].link)
    until_empty([devices[0], *devices[2:]])
    assert devices[1].outbox.counts().rows == 1
    loop.close()
    for device in devices:
        device.link.close()
    assert len({dict(properties)["id"] for _, _, properties, _ in collector.got if properties}) == 9
    collector.client.loop_stop()
