"""The uplink against a scripted broker. When these fail, an acknowledgement deletes the wrong row, or none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edge.errors import ResourceError
from edge.fleet.agent.outbox import Outbox
from edge.fleet.agent.uplink import Uplink, UplinkLimits
from edge.fleet.wire.event import RESULT, TELEMETRY, from_mqtt, verify_event
from edge.fleet.wire.messages import Ack
from tests.fleet.agent.makers import KEY, Clock, make_outbox

BODY = b'{"version":1}'


class Field:
    """An outbox, an uplink, and what it said."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.clock, self.said = Clock(), list[str]()
        self.outbox: Outbox = make_outbox(folder / "outbox.db", clock=self.clock, say=self.said.append)
        self.uplink = Uplink(
            self.outbox,
            clock=self.clock.monotonic,
            chance=lambda: 0.5,
            say=self.said.append,
            limits=UplinkLimits(**limits),
        )

    def sent(self) -> list[int]:
        return [one.key[1] for one in self.uplink.due()]

    def ack(self, *accepted: int, quarantined: tuple[tuple[int, str], ...] = (), epoch: str = "") -> None:
        document = Ack(epoch=epoch or self.outbox.epoch, accepted=accepted, quarantined=quarantined)  # type: ignore[arg-type]
        self.uplink.acknowledge(document.to_bytes())
        self.uplink.flush()


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path)


def test_what_is_published_is_what_was_signed(field: Field) -> None:
    """If not: the collector cannot check it."""
    field.outbox.queue(RESULT, BODY)
    assert field.uplink.due() == []
    field.uplink.connected()
    (one,) = field.uplink.due()
    event = from_mqtt(one.topic, one.payload, one.properties)
    verify_event(event, KEY.raw_public)
    assert (event.seq, event.data, one.topic) == (1, BODY, "edge/v1/tablet-07/up/result")


def test_a_puback_deletes_nothing(field: Field) -> None:
    """If not: a broker that is killed takes 180 of 5,000 results with it."""
    field.outbox.queue(RESULT, BODY)
    field.uplink.connected()
    field.uplink.settled(field.uplink.due()[0].key)
    assert field.outbox.counts().rows == 1
    field.ack(1)
    assert field.outbox.counts().rows == 0
    field.ack(1)
    assert field.said == []


def test_bad_acknowledgements(field: Field) -> None:
    """If not: another epoch's, a replayed or a newer edge's acknowledgement deletes or stops something."""
    for _ in range(3):
        field.outbox.queue(RESULT, BODY)
    field.uplink.connected()
    assert field.sent() == [1, 2, 3]
    field.ack(1, 2, 3, epoch="0badc0de")
    field.uplink.acknowledge(b'{"version":2,"epoch":"00000000","accepted":[],"quarantined":[],"later":1}')
    field.uplink.acknowledge(b"\xff{")
    field.uplink.acknowledge(b"")
    assert field.outbox.counts().rows == 3
    assert "newer edge" in field.said[0]
    field.ack(3, 1)
    field.ack(3, 1)
    field.ack(2, quarantined=((2, "schema"),))
    assert field.outbox.counts().rows == 0


def test_quarantined_is_kept_there_and_gone_here(field: Field) -> None:
    """If not: an event that the collector set aside is sent for ever, or nobody on the device hears of it."""
    field.outbox.queue(RESULT, BODY)
    field.uplink.connected()
    field.sent()
    field.ack(quarantined=((1, "implausible"),))
    assert field.outbox.counts().quarantined == 1
    field.ack(quarantined=((2, "implausible"), (3, "implausible")))
    assert field.said == ["the collector keeps events of this device apart (implausible)"], "a line for each event"


def test_not_authorised(field: Field) -> None:
    """If not: a refusal, which comes only as a reason code, loses the event without a word."""
    field.outbox.queue(RESULT, BODY)
    field.uplink.connected()
    for _ in range(3):
        (one,) = field.uplink.due()
        field.uplink.refused(one.key, 0x87)
        assert field.uplink.due() == []
        field.clock.forward(3600.0)
    assert field.outbox.counts().rows == 1
    assert field.said == [
        "the broker refuses this device's events (not authorised); they stay here and are tried again later"
    ]
    (one,) = field.uplink.due()
    field.uplink.refused(one.key, 0x10)  # no subscriber: not a refusal
    assert field.said[1:] == ["the broker takes events again"]


def test_larger_than_the_broker_takes(field: Field) -> None:
    """If not: one event makes the broker end the connection, for ever."""
    field.outbox.queue(RESULT, b"x" * 3000)
    field.outbox.queue(RESULT, BODY)
    field.uplink.connected(max_packet_bytes=2500)
    assert field.sent() == [2]
    field.clock.forward(4000.0)
    assert field.sent() == [2]
    assert len(field.said) == 1
    assert "put aside" in field.said[0]
    with pytest.raises(Exception, match="larger than"):
        field.outbox.queue(RESULT, b"x" * 3000)
    assert field.outbox.counts().aside == 1


def test_a_broker_that_takes_more(field: Field) -> None:
    """If not: a result that a wrong limit of a broker put aside is never sent, though the limit was mended."""
    field.outbox.queue(RESULT, b"x" * 3000)
    field.uplink.connected(max_packet_bytes=2500)
    assert field.sent() == []
    for most, sent in ((2500, []), (2400, []), (2600, []), (70_000, [1])):
        field.uplink.disconnected()
        field.uplink.connected(max_packet_bytes=most)
        assert field.sent() == sent
    assert field.outbox.counts().aside == 0


def test_aside_before_this_life(tmp_path: Path) -> None:
    """If not: the same after a restart of the agent."""
    outbox = make_outbox(tmp_path / "outbox.db")
    outbox.queue(RESULT, BODY)
    outbox.put_aside(outbox.epoch, 1, "oversize")
    outbox.close()
    field = Field(tmp_path)
    field.uplink.connected(max_packet_bytes=70_000)
    assert field.sent() == [1]


def test_a_row_that_cannot_be_put_aside(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: on a full disk one event too large holds up all others, so that nothing is acknowledged or deleted."""
    field.outbox.queue(RESULT, b"x" * 3000)
    for _ in range(100):
        field.outbox.queue(RESULT, BODY)

    def full(*_: object) -> None:
        raise ResourceError("no space left for the outbox")

    with monkeypatch.context() as patch:
        patch.setattr(field.outbox, "put_aside", full)
        field.uplink.connected(max_packet_bytes=2500)
        assert field.sent() == list(range(2, 17))
        field.ack(*range(2, 17))
        assert field.sent() == list(range(17, 33))
    assert field.said == ["no space left for the outbox."]
    assert field.outbox.counts().rows == 86


def test_a_full_disk_delays_the_delete(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: what was acknowledged while the disk was full is sent again, or the agent ends."""
    field.outbox.queue(RESULT, BODY)
    field.outbox.queue(RESULT, BODY)
    field.uplink.connected()
    assert field.sent() == [1, 2]

    def full(*_: object) -> int:
        raise ResourceError("no space left for the outbox")

    with monkeypatch.context() as patch:
        patch.setattr(field.outbox, "acknowledge", full)
        field.ack(1)
        field.ack(1)
        field.clock.forward(100.0)
        assert field.sent() == [2]
    assert field.said == ["no space left for the outbox."]
    field.clock.forward(100.0)
    assert field.sent() == [2]
    assert field.outbox.counts().rows == 1


def test_ten_thousand_rows_go_out_in_windows(tmp_path: Path) -> None:
    """If not: after months offline a device sends all at once, or never finishes."""
    field = Field(tmp_path, window=64, telemetry=32, unsettled=64)
    field.outbox._database.execute("PRAGMA synchronous=OFF")
    for number in range(2_000):
        field.outbox.queue(TELEMETRY if number % 4 else RESULT, BODY)
    field.uplink.connected()
    order: list[int] = []
    while sent := field.sent():
        assert len(sent) <= 64
        order += sent
        field.ack(*sent)
    assert sorted(order) == list(range(1, 2001))
    results = [seq for seq in order if seq % 4 == 1]
    assert results == sorted(results)
    assert max(order.index(seq) for seq in results) < 700


@pytest.mark.parametrize("seed", range(6))
def test_through_a_world_that_loses_things(tmp_path: Path, seed: int) -> None:
    """If not: some order of lost messages, lost acknowledgements and restarts loses a result."""
    chance = random.Random(seed)
    field = Field(tmp_path, window=8, telemetry=4, unsettled=6)
    field.outbox._database.execute("PRAGMA synchronous=OFF")
    made, stored, broker, acks = 0, set[tuple[str, int]](), list[tuple[str, int]](), list[tuple[str, int]]()
    for round_ in range(600):
        field.clock.forward(chance.uniform(0, 20))
        if round_ < 300 and chance.random() < 0.5:
            field.outbox.queue(RESULT, BODY)
            made += 1
        calm = round_ > 400
        if chance.random() < (0.0 if calm else 0.1):
            field.uplink.disconnected()
            broker.clear()  # killed: what it had confirmed is gone as well
            acks.clear()
        if not field.uplink.state.online and chance.random() < 0.5:
            field.uplink.connected()
        for one in field.uplink.due():
            if calm or chance.random() < 0.7:
                broker.append(one.key)
                if calm or chance.random() < 0.8:
                    field.uplink.settled(one.key)
        for key in broker:
            stored.add(key)
            if calm or chance.random() < 0.6:
                acks.append(key)
        broker.clear()
        chance.shuffle(acks)
        for key in acks:
            field.ack(key[1], epoch=key[0])
        acks.clear()
        if chance.random() < 0.02:  # the agent is killed
            field.outbox.close()
            field = Field(tmp_path, window=8, telemetry=4, unsettled=6)
            field.outbox._database.execute("PRAGMA synchronous=OFF")
            field.clock.forward(round_ * 20.0)
    for _ in range(100):
        field.clock.forward(1000.0)
        if not field.uplink.state.online:
            field.uplink.connected()
        for one in field.uplink.due():
            stored.add(one.key)
            field.uplink.settled(one.key)
            field.ack(one.key[1], epoch=one.key[0])
    assert {seq for _, seq in stored} == set(range(1, made + 1))
    assert field.outbox.counts().rows == 0
