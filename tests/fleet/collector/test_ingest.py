"""From what arrived to what is answered, without a broker."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy import select, text

from benchmarks.collector_load import pack
from edge.errors import OfflineError
from edge.fleet.collector.budget import Budget
from edge.fleet.collector.client import CollectorClient
from edge.fleet.collector.inbox import Arrived, Inbox
from edge.fleet.collector.ingest import Ingest
from edge.fleet.collector.judge import Judge
from edge.fleet.collector.metrics import Metrics
from edge.fleet.collector.packets import read_length
from edge.fleet.collector.patience import LONGEST_WAIT_S, Patience, once_a_minute
from edge.fleet.store.store import Store, open_store
from edge.fleet.store.tables import messages, quarantine, results, telemetry
from edge.fleet.wire.event import Event
from edge.fleet.wire.messages import Ack
from tests.fleet.collector import parts
from tests.fleet.collector.parts import count, new_key, register, result, until

KEY = new_key("tablet-1")


class Recorder(CollectorClient):
    """The collector's client, whose answers are kept instead of sent."""

    def __init__(self) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id="x", protocol=MQTTProtocolVersion.MQTTv5)
        self.mids: list[int] = []
        self.acks: list[Ack] = []

    def acknowledge(self, mids: Iterable[int]) -> None:
        self.mids += mids

    def tell(self, messages: Iterable[tuple[str, bytes]]) -> None:
        self.acks += [Ack.from_bytes(payload, "ack") for _, payload in messages]

    @property
    def accepted(self) -> list[int]:
        return sorted(seq for ack in self.acks for seq in ack.accepted)

    @property
    def quarantined(self) -> list[tuple[int, str]]:
        return sorted(pair for ack in self.acks for pair in ack.quarantined)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """A database that knows the device."""
    opened = open_store(str(tmp_path / "fleet.db"))
    register(opened, KEY)
    yield opened
    opened.close()


def make(store: Store, said: list[str] | None = None, budget: Budget | None = None) -> Ingest:
    return Ingest(
        store, Inbox(100), Judge({}), budget or Budget(), Metrics(),
        say=said.append if said is not None else lambda _text: None,
    )  # fmt: skip


def arrive(client: CollectorClient, *events: Event) -> list[Arrived]:
    packets = [pack(event, number + 1) for number, event in enumerate(events)]
    return [(client, (packet[0], packet[read_length(packet, 1)[1] :])) for packet in packets]


def test_answered_after_the_commit(store: Store) -> None:
    """If not: broker or device are told of messages that are not committed."""
    client, seen = Recorder(), []
    ingest = make(store)

    def step(name: str) -> None:
        seen.append((name, count(store), len(client.mids), len(client.acks)))

    ingest._step = step
    ingest.handle(arrive(client, result(KEY, 1), result(KEY, 2, b"{}")))
    assert seen == [
        ("received", 0, 0, 0), ("judged", 0, 0, 0), ("begun", 0, 0, 0), ("written", 0, 0, 0),
        ("committed", 1, 0, 0), ("acknowledged", 1, 2, 0), ("told", 1, 2, 1),
    ]  # fmt: skip
    assert client.accepted == [1]
    assert client.quarantined == [(2, "schema")]


def test_one_message_that_the_database_refuses(store: Store) -> None:
    """If not: one message that nobody thought of stops all others for ever."""
    with store.writing() as connection:
        connection.execute(
            text("CREATE TRIGGER no BEFORE INSERT ON results WHEN NEW.seq = 13 BEGIN SELECT RAISE(ABORT, 'no'); END")
        )
    client = Recorder()
    make(store).handle(arrive(client, *(result(KEY, seq) for seq in range(1, 31))))
    assert client.accepted == [seq for seq in range(1, 31) if seq != 13]
    assert client.quarantined == [(13, "schema")]
    with store.reading() as connection:
        assert connection.execute(select(quarantine.c.reason)).scalars().all() == ["schema:database"]
    assert count(store, results) == count(store, messages) == 29


def test_waits_for_the_database(store: Store) -> None:
    """If not: while the database is away something is answered, lost, or said a hundred times."""
    said: list[str] = []
    client, ingest = Recorder(), make(store, said)
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE messages RENAME TO away"))
    thread = threading.Thread(target=ingest.handle, args=(arrive(client, result(KEY, 1)),))
    thread.start()
    until(lambda: said)
    assert (client.mids, client.acks) == ([], [])
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO messages"))
    thread.join(20)
    assert client.accepted == [1]
    assert len(said) == 2
    assert "again" in said[1]


def test_stopped_while_the_database_is_away(store: Store) -> None:
    """If not: a collector cannot be stopped during an outage, or answers as it stops."""
    said: list[str] = []
    client, ingest = Recorder(), make(store, said)
    with store.writing() as connection:
        connection.execute(text("DROP TABLE telemetry"))
    thread = threading.Thread(target=ingest.handle, args=(arrive(client, parts.telemetry(KEY, 1)),))
    thread.start()
    until(lambda: said)
    ingest.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert (client.mids, client.acks) == ([], [])


def test_noisy_device(store: Store) -> None:
    """If not: what is over a device's budget blocks the broker, is answered as if kept, or fills the database."""
    client = Recorder()
    ingest = make(store, budget=Budget(burst=10, per_s=0.001))
    told = [parts.telemetry(KEY, seq) for seq in range(1, 21)]
    ingest.handle(arrive(client, *told, *(result(KEY, seq) for seq in range(100, 120))))
    assert len(client.mids) == 40  # the broker is rid of all
    assert [seq for seq in client.accepted if seq >= 100] == [100, 101, 102, 103]  # the rest comes later
    assert [seq for seq in client.accepted if seq < 100] == list(range(1, 21))  # superseded
    assert client.quarantined == []
    with store.reading() as connection:
        assert connection.execute(select(telemetry.c.seq)).scalar_one() == 20
    assert count(store) == 10


def test_packets_that_cannot_be_read(store: Store) -> None:
    """If not: a broken packet ends the thread, or is waited for."""
    client = Recorder()
    ingest = make(store)
    ingest.handle([(client, (0x32, b"\x00")), *arrive(client, result(KEY, 1))])
    assert client.accepted == [1]


def test_inbox_is_bounded() -> None:
    """If not: memory grows while the database is away; or a message that the broker counts on is dropped."""
    inbox, client, other = Inbox(3), Recorder(), Recorder()
    inbox.put(client, [(0x32, b"a")] * 3)
    assert inbox.full()
    inbox.put(other, [(0x30, b"qos 0"), (0x32, b"b")])
    assert (len(inbox), inbox.dropped) == (4, 1)
    inbox.forget(client)
    assert inbox.take(10, 0.0) == [(other, (0x32, b"b"))]
    inbox.close()
    assert inbox.take(10, 1.0) == []


def test_patience() -> None:
    """If not: an outage of an hour fills the log, or its end is noticed late."""
    now_s, said = [0.0], []
    patience = Patience(said.append, lambda: now_s[0])
    for _ in range(720):
        assert patience.failed(OfflineError("away")) <= LONGEST_WAIT_S
        now_s[0] += 5
    assert len(said) == 60
    patience.worked("back")
    patience.worked("back")
    assert said[60:] == ["back"]


def test_the_same_line_once_a_minute() -> None:
    """If not: each thread of a collector says the same."""
    now_s, said = [0.0], []
    say = once_a_minute(said.append, lambda: now_s[0])
    for at_s, line in ((0.0, "a"), (1.0, "a"), (2.0, "b"), (59.0, "a"), (60.0, "a"), (61.0, "b")):
        now_s[0] = at_s
        say(line)
    assert said == ["a", "b", "a"]
