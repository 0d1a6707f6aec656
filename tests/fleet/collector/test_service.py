"""A whole collector with a real broker: what the fleet's bad days do to it."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from edge.bundle.signing import SigningKey
from edge.errors import ResourceError
from edge.fleet.collector.service import Collector
from edge.fleet.collector.settings import Settings
from edge.fleet.store.share import share_group
from edge.fleet.store.store import Store, open_store, time_text
from edge.fleet.store.tables import desired, devices, leases, messages, quarantine, results
from edge.fleet.wire.connection import tls_context
from edge.fleet.wire.event import RESULT, TELEMETRY
from edge.fleet.wire.messages import Command, Presence, Publish, ReportedState
from edge.fleet.wire.topics import SHARE_GROUP
from tests.fleet.collector import parts
from tests.fleet.collector.parts import SimDevice, count, new_key, register, result, until
from tests.fleet.real_broker import Broker, running_broker

CHILD = Path(__file__).parent / "killed_child.py"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One real broker for the tests of this file that do not harm it."""
    with running_broker(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def broker_of_two(tmp_path: Path) -> Iterator[Broker]:
    """A broker for two collectors. Not the one of all tests: of what comes it keeps a share for one that is away."""
    with running_broker(tmp_path / "two") as running:
        running.pki.issue_collector("collector-1")
        yield running


class Fleet:
    """A database, devices, collectors."""

    def __init__(self, broker: Broker, url: str) -> None:
        self.broker, self.url = broker, url
        self.store: Store = open_store(url)
        share_group(self.store, SHARE_GROUP)  # the broker outlives many databases, and sessions remember their groups
        self.said: list[str] = []
        self._ends: list[Callable[[], None]] = [self.store.close]

    def device(self, name: str, key: SigningKey | None = None, *, registered: bool = True) -> SimDevice:
        """A connected device."""
        key = key or new_key(name)
        if registered:
            register(self.store, key)
        pki = self.broker.pki
        made = pki.certificate_of(name).is_file()
        found = SimDevice(
            key, pki.credentials(name) if made else pki.issue_device(name), self.broker.host, self.broker.port
        )
        self._ends.append(found.close)
        return found

    def collector(self, name: str = "collector", **options: Any) -> Collector:
        """A running collector, connected."""
        given = {key: options.pop(key) for key in ("rollouts", "clock", "step") if key in options}
        settings = Settings(
            name, self.broker.host, self.broker.port, self.broker.pki.credentials(name), self.url, **options
        )
        running = Collector(settings, say=self.said.append, **given)
        running.start()
        self._ends.append(running.stop)
        until(lambda: running.link is not None and running.link.client)
        return running

    def child(self, step: str = "never", nth: int = 1, name: str = "collector") -> subprocess.Popen[bytes]:
        """A collector in a process of its own."""
        ready = self.broker.pki.folder / f"{name}.ready"
        ready.unlink(missing_ok=True)
        address = f"{self.broker.host}:{self.broker.port}"
        command = [sys.executable, str(CHILD), step, str(nth), name, address, str(self.broker.pki.folder), self.url]
        child = subprocess.Popen(command, cwd=Path(__file__).parents[3], stderr=subprocess.DEVNULL)
        until(lambda: ready.exists() or child.poll() is not None, 30)

        def end() -> None:
            child.kill()
            child.wait()

        self._ends.append(end)
        return child

    def close(self) -> None:
        for end in reversed(self._ends):
            end()


@contextmanager
def fleet_of(broker: Broker, url: str) -> Iterator[Fleet]:
    fleet = Fleet(broker, url)
    try:
        yield fleet
    finally:
        fleet.close()


@pytest.fixture
def fleet(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet with a database of its own."""
    with fleet_of(broker, f"sqlite:///{tmp_path}/fleet.db") as found:
        yield found


def deliver(device: SimDevice, wanted: int, seconds: float = 30.0, every_s: float = 1.0) -> None:
    """As an outbox does: send what was not answered again, until `wanted` results are accepted."""
    sent_at = 0.0

    def answered() -> bool:
        nonlocal sent_at
        done = set(device.accepted)
        if time.monotonic() - sent_at > every_s:
            sent_at = time.monotonic()
            device.send(*(result(device.key, seq) for seq in range(1, wanted + 1) if seq not in done))
        return len(done) == wanted

    until(answered, seconds)


def test_good_and_bad_side_by_side(fleet: Fleet) -> None:
    """If not: a bad message stops good ones, or is sent again for ever, or a stranger's or a thief's counts."""
    collector = fleet.collector(page=("127.0.0.1", 0))
    good, stranger, thief = (
        fleet.device("good-1"),
        fleet.device("stranger-1", registered=False),
        fleet.device("thief-1"),
    )
    with fleet.store.writing() as connection:
        connection.execute(update(devices).where(devices.c.device == "thief-1").values(revoked_at=fleet.store.now()))
    good.send(result(good.key, 3), result(good.key, 1), parts.telemetry(good.key, 2))
    good.send(result(good.key, 4, b'{"version":7,"later":1}'), result(good.key, 5, b'{"patient":"A"}'))
    good.send(result(good.key, 1))  # replayed
    good.send(result(new_key("good-1"), 6))
    stranger.send(result(stranger.key, 1))
    thief.send(result(thief.key, 1))
    topic, payload, pairs = parts.to_mqtt(result(stranger.key, 9))
    good.send_raw(topic.replace("stranger-1", "good-1"), payload, pairs)  # a result for another device
    until(lambda: sorted(good.accepted) == [1, 1, 2, 3] and len(good.quarantined) == 4)
    assert dict(good.quarantined) == {4: "future_schema", 5: "schema", 6: "wrong_key", 9: "wrong_device"}
    until(lambda: stranger.quarantined and thief.quarantined)
    assert stranger.quarantined == [(1, "unknown_device")]
    assert thief.quarantined == [(1, "revoked")]
    assert count(fleet.store) == 3
    assert count(fleet.store, results) == 2
    assert count(fleet.store, quarantine) == 6
    address = collector.page_address
    assert address is not None
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/metrics").read().decode()
    assert "edge_collector_accepted_total 3.0" in metrics
    assert 'reason="forged"' not in metrics
    assert fleet.said == []


def test_another_devices_topic_is_refused(fleet: Fleet) -> None:
    """If not: a device can fill another's budget, or answer in its name."""
    fleet.collector()
    good, other = fleet.device("good-2"), fleet.device("other-2")
    good.send(result(other.key, 1))
    until(lambda: good.refused)
    assert count(fleet.store) == count(fleet.store, quarantine) == 0


def test_ten_thousand_of_one_device(fleet: Fleet) -> None:
    """If not: one device gone mad starves the others, or fills the database, or its results are lost."""
    fleet.collector(device_burst=300.0, device_per_s=0.01)
    mad, calm = fleet.device("mad-1"), fleet.device("calm-1")
    events = [result(mad.key, seq, b'{"version":2}') for seq in range(1, 301)]
    mad.send(*events)
    for _ in range(33):
        mad.send(*events)
    calm.send(*(result(calm.key, seq) for seq in range(1, 4)))
    until(lambda: sorted(calm.accepted) == [1, 2, 3], 20)
    until(lambda: len(mad.quarantined) == 300, 20)
    with fleet.store.reading() as connection:
        noisy = connection.execute(select(devices.c.device).where(devices.c.noisy_at.is_not(None))).scalars().all()
    assert noisy == ["mad-1"]
    assert count(fleet.store, quarantine) == 300
    mad.send(result(mad.key, 9999))
    time.sleep(0.3)
    assert 9999 not in mad.accepted  # later


def test_states_presence_and_commands(fleet: Fleet) -> None:
    """If not: the page shows a device as it was, or one that is gone as here."""
    device = fleet.device("state-1")
    say = device.client.publish
    state = ReportedState(
        state_version=4, agent_version="0.1.0", profile="notes", release=None, bundle_digest="a" * 64,
        previous_digest=None, slot="a", phase="idle", desired_version=0, last_result_seq=0, paused_reason="none",
    )  # fmt: skip
    say("edge/v1/state-1/up/state", state.to_bytes(), qos=1, retain=True)  # before any collector runs
    say("edge/v1/state-1/up/presence", Presence(online=True).to_bytes(), qos=1, retain=True).wait_for_publish(5)
    collector = fleet.collector()

    def row() -> Any:
        with fleet.store.reading() as connection:
            return connection.execute(select(devices).where(devices.c.device == "state-1")).one()

    until(lambda: row().reported_version == 4 and row().online)
    say("edge/v1/state-1/up/presence", Presence(online=False).to_bytes(), qos=1, retain=True)
    say("edge/v1/state-1/cmd/bench/c1", Command(status="executing").to_bytes(), qos=1, retain=True)
    say("edge/v1/state-1/up/state", b"no state at all", qos=1)
    until(lambda: row().online is False and row().last_command)
    assert '"status":"executing"' in row().last_command
    assert row().reported == state.to_bytes().decode()
    assert collector.metrics.states.labels(kind="unreadable")._value.get() == 1
    for topic in ("up/state", "up/presence", "cmd/bench/c1"):
        say(f"edge/v1/state-1/{topic}", b"", qos=1, retain=True).wait_for_publish(5)


class Once:
    """Rollouts that want one desired state published."""

    def __init__(self) -> None:
        self.done: list[Publish] = []
        self.wanted = Publish("edge/v1/roll-1/down/desired", b'{"x":1}', True, 1, "roll-1", 1)

    def tick(self, _store: Store, _now: Any) -> tuple[Publish, ...]:
        return () if self.done else (self.wanted,)

    def published(self, _store: Store, *found: Publish) -> None:
        self.done += found


@pytest.mark.slow
def test_one_leads_and_another_follows(broker_of_two: Broker, tmp_path: Path) -> None:
    """If not: two collectors run the rollouts, or none does when the leader stopped."""
    with fleet_of(broker_of_two, f"sqlite:///{tmp_path}/fleet.db") as fleet:
        first, second = Once(), Once()
        one = fleet.collector(rollouts=first)
        until(lambda: first.done)
        assert first.done == [first.wanted]
        fleet.collector("collector-1", rollouts=second)
        time.sleep(1.5)
        assert second.done == []
        one.stop()
        until(lambda: second.done)
        heard: list[bytes] = []
        device = fleet.device("roll-1")
        device.client.on_message = lambda _client, _data, message: heard.append(message.payload)
        device.client.subscribe("edge/v1/roll-1/down/+", 1)
        until(lambda: b'{"x":1}' in heard)  # retained
        assert count(fleet.store, leases, leases.c.holder.startswith("collector-1@")) == 1
        assert count(fleet.store, leases, leases.c.holder.startswith("collector@")) == 0
        assert count(fleet.store, desired) == 0


def test_same_certificate_twice_is_said(fleet: Fleet) -> None:
    """If not: two collectors with one certificate throw each other out without a word about why."""
    fleet.collector()
    fleet.collector()
    until(lambda: any("same certificate" in line for line in fleet.said))
    assert len(fleet.said) <= 4


@pytest.mark.slow
def test_kill_9_at_every_step(fleet: Fleet) -> None:
    """If not: there is a moment at which a killed collector loses a result or counts it twice."""
    device = fleet.device("kill-1")
    wanted = 0
    for step in ("received", "judged", "begun", "written", "committed", "acknowledged", "told"):
        child = fleet.child(step)
        wanted += 20
        device.send(*(result(device.key, seq) for seq in range(wanted - 19, wanted + 1)))
        assert child.wait(20) == -signal.SIGKILL, step
    fleet.child()
    deliver(device, wanted)
    assert count(fleet.store) == count(fleet.store, results) == wanted
    assert count(fleet.store, quarantine) == 0


@pytest.mark.slow
def test_broker_is_killed_and_has_forgotten(tmp_path: Path) -> None:
    """If not: a broker without persistence, or killed with what it had not written, loses results."""
    with running_broker(tmp_path / "b") as broker, fleet_of(broker, f"sqlite:///{tmp_path}/fleet.db") as fleet:
        collector = fleet.collector()
        device = fleet.device("gone-1")
        deliver(device, 10)
        broker.kill9()
        for file in (broker.folder / "data").iterdir():
            file.unlink()  # as if it had none
        device.close()
        broker.restart()
        until(lambda: collector.link is not None and collector.link.client, 30)
        again = SimDevice(device.key, broker.pki.credentials("gone-1"), broker.host, broker.port)
        deliver(again, 25)
        again.close()
        assert count(fleet.store) == 25
        assert any("broker" in line for line in fleet.said)
        assert len(fleet.said) <= 3


@pytest.mark.slow
def test_postgresql_is_killed(broker: Broker, postgresql: Any) -> None:
    """If not: while PostgreSQL is down something is acknowledged that is not committed, or the log fills."""
    with fleet_of(broker, postgresql.url()) as fleet:
        fleet.collector()
        device = fleet.device("pg-1")
        deliver(device, 10)
        postgresql.kill9()
        device.send(*(result(device.key, seq) for seq in range(11, 41)))
        time.sleep(1)
        assert len(set(device.accepted)) == 10
        postgresql.restart()
        deliver(device, 40)
        assert count(fleet.store) == 40
        down = [line for line in fleet.said if "does not answer" in line]
        assert len(down) == 1  # although two threads met it


@pytest.mark.slow
def test_two_collectors_share_and_one_is_killed(broker_of_two: Broker, postgresql: Any) -> None:
    """If not: what a killed collector held is lost although another runs."""
    with fleet_of(broker_of_two, postgresql.url()) as fleet:
        one, two = fleet.child(name="collector"), fleet.child(name="collector-1")
        device = fleet.device("two-1")
        deliver(device, 100)
        two.kill()
        deliver(device, 200, every_s=0.5)
        assert one.poll() is None
        assert count(fleet.store) == count(fleet.store, results) == 200


@pytest.mark.slow
def test_disk_full(fleet: Fleet) -> None:
    """If not: with a full disk results are acknowledged and lost, or the collector ends."""
    device = fleet.device("full-1")
    collector = fleet.collector()
    deliver(device, 3)
    assert collector.store is not None
    with collector.store.engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    # SQLite's own limit gives the same error as a full disk. It counts for a connection: all of the pool get it.
    held = [collector.store.engine.connect() for _ in range(5)]
    for connection in held:
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    for connection in held:
        connection.close()
    device.send(*(result(device.key, seq) for seq in range(4, 60)))
    until(lambda: any("no space left" in line for line in fleet.said))
    before = len(set(device.accepted))
    time.sleep(0.5)
    assert len(set(device.accepted)) == before < 59
    collector.store.engine.dispose()  # room again
    deliver(device, 59)
    assert count(fleet.store, messages) == 59
    assert len([line for line in fleet.said if "no space" in line]) == 1


def test_page_for_others_needs_a_certificate(fleet: Fleet) -> None:
    """If not: who reaches the machine reads the fleet."""
    pki = fleet.broker.pki
    tls = (pki.certificate_of("page"), pki.key_of("page"))
    address = fleet.collector(page=("127.0.0.1", 0), page_tls=tls, page_crl=pki.crl).page_address
    assert address is not None
    url = f"https://127.0.0.1:{address[1]}/metrics"
    with urllib.request.urlopen(url, context=tls_context(pki.credentials("operator"))) as answer:
        assert b"edge_collector_broker_up 1.0" in answer.read()
    stranger = ssl.create_default_context(cafile=str(pki.ca))
    with pytest.raises(OSError, match=r"(?i)certificate|reset|eof|ssl|closed"):
        urllib.request.urlopen(url, context=stranger).read()


def test_address_that_is_taken(fleet: Fleet) -> None:
    """If not: a port that is in use is a traceback in a thread, and the page is missing without a word."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ResourceError, match="cannot be served"):
            fleet.collector(page=("127.0.0.1", port))


def test_database_is_down_at_the_start(broker: Broker) -> None:
    """If not: after a power cut the collector, quicker than PostgreSQL, ends for good; or cannot be ended."""
    url = "postgresql://fleet:verysecret@127.0.0.1:1/fleet"
    settings = Settings("collector", broker.host, broker.port, broker.pki.credentials("collector"), url)
    said: list[str] = []
    ended = threading.Event()
    running = Collector(settings, say=said.append)
    thread = threading.Thread(target=running.start, args=(ended,))
    thread.start()
    until(lambda: said)
    assert "does not answer" in said[0]
    assert "verysecret" not in said[0]
    ended.set()
    thread.join(10)
    assert not thread.is_alive()
    running.stop()


def test_old_telemetry_goes(fleet: Fleet) -> None:
    """If not: telemetry fills the disk over the years; or results go with it."""
    device = fleet.device("old-1")
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    with fleet.store.writing() as connection:
        for seq, kind in ((1, TELEMETRY), (2, RESULT)):
            row = {"device": "old-1", "epoch": parts.EPOCH, "seq": seq, "type": kind, "data": b"", "data_sha256": ""}
            connection.execute(insert(messages).values(row | {"received_at": time_text(long_ago)}))
    fleet.collector()
    device.send(parts.telemetry(device.key, 3))
    until(lambda: device.accepted == [3])

    def left() -> list[int]:
        with fleet.store.reading() as connection:
            return sorted(connection.execute(select(messages.c.seq)).scalars())

    until(lambda: left() == [2, 3])


class Broken(Once):
    """Rollouts with a bug."""

    def tick(self, _store: Store, _now: Any) -> tuple[Publish, ...]:
        raise KeyError("tablet-1")


def test_bug_in_a_rollout(fleet: Fleet) -> None:
    """If not: a bug of the rollouts stops the taking in, or is said each second, or says what it was about."""
    fleet.collector(rollouts=Broken())
    device = fleet.device("calm-9")
    until(lambda: fleet.said)
    deliver(device, 3)
    assert len(fleet.said) == 1
    assert "a bug in edge (KeyError) stops the rollouts" in fleet.said[0]
    assert "tablet-1" not in fleet.said[0]


def test_bug_in_the_taking_in(fleet: Fleet) -> None:
    """If not: a collector whose thread died looks alive and takes nothing."""

    def step(name: str) -> None:
        if name == "judged":
            raise KeyError(name)

    collector = fleet.collector(step=step)
    device = fleet.device("calm-10")
    device.send(result(device.key, 1))
    assert collector.failed.wait(10)
    assert isinstance(collector.failure, KeyError)
