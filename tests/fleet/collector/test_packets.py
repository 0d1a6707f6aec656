"""The packets that do not go through paho must mean the same as if they did."""

from __future__ import annotations

import contextlib
import socket
import types
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.fleet.collector.client import CollectorClient, Frame
from edge.fleet.collector.packets import (
    MalformedError,
    parse_publish,
    pubacks,
    publish,
    read_length,
    write_length,
)

# What MQTT allows in a text: no control characters' NUL, no halves of a surrogate pair.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0#+"), max_size=40)
TOPIC = TEXT.filter(bool)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=8)


class Wire(mqtt.Client):
    """paho, unchanged, whose packets are kept instead of sent, and handed in instead of received."""

    def __init__(self) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id="x", protocol=MQTTProtocolVersion.MQTTv5)
        self._sock = types.SimpleNamespace(close=lambda: None)  # it writes only when it believes to be connected
        self.sent: list[bytes] = []
        self.got: list[mqtt.MQTTMessage] = []
        self.on_message = lambda _client, _data, message: self.got.append(message)

    def _packet_queue(self, command: int, packet: Any, *_: Any, **__: Any) -> MQTTErrorCode:
        self.sent.append(bytes(packet))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def written(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> bytes:
        """A PUBLISH as paho writes it."""
        self._send_publish(7, topic.encode(), payload, qos, retain, properties=properties)
        return self.sent.pop()

    def read(self, packet: bytes) -> mqtt.MQTTMessage:
        """A PUBLISH as paho reads it."""
        _, start = read_length(packet, 1)
        self._in_packet["command"] = packet[0]
        self._in_packet["packet"] = bytearray(packet[start:])
        self._handle_publish()
        return self.got.pop()


def body(packet: bytes) -> bytes:
    """What follows the length."""
    length, start = read_length(packet, 1)
    assert start + length == len(packet)
    return packet[start:]


@given(TOPIC, st.binary(max_size=300), st.integers(0, 1), st.booleans(), PAIRS, st.data())
def test_reads_as_paho_does(
    topic: str, payload: bytes, qos: int, retain: bool, pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    """If not: an event's attribute reads otherwise than its device wrote it, and its signature fails or, worse, not."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = pairs
    if data.draw(st.booleans()):
        properties.PayloadFormatIndicator = 1
        properties.MessageExpiryInterval = data.draw(st.integers(0, 2**32 - 1))
        properties.ContentType = data.draw(TEXT)
    if data.draw(st.booleans()):
        properties.ResponseTopic = data.draw(TEXT)
        properties.CorrelationData = data.draw(st.binary(max_size=30))
        properties.TopicAlias = data.draw(st.integers(1, 65535))
        properties.SubscriptionIdentifier = data.draw(st.integers(1, 268_435_455))
    wire = Wire()
    packet = wire.written(topic, payload, qos, retain, properties)
    theirs, ours = wire.read(packet), parse_publish(packet[0], body(packet))
    assert ours.topic == theirs.topic == topic
    assert ours.payload == theirs.payload == payload
    assert ours.properties == getattr(theirs.properties, "UserProperty", []) == pairs
    assert (ours.qos, ours.retain, ours.duplicate) == (theirs.qos, theirs.retain, theirs.dup)
    assert ours.mid == theirs.mid
    stated = getattr(theirs.properties, "SubscriptionIdentifier", [0])
    assert ours.subscription == stated[-1]


@given(st.binary(max_size=80), st.sampled_from([0x30, 0x32, 0x33, 0x34, 0x3A, 0x3F]))
def test_any_bytes_are_read_or_malformed(data: bytes, first: int) -> None:
    """If not: a packet of nonsense ends the thread that owns the database."""
    with contextlib.suppress(MalformedError):
        parse_publish(first, data)


@given(TOPIC, st.binary(max_size=300), PAIRS, st.integers(0, 400))
def test_cut_packets_are_malformed(topic: str, payload: bytes, pairs: list[tuple[str, str]], cut: int) -> None:
    """If not: a packet whose properties were cut counts as one with fewer."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = pairs
    whole = body(Wire().written(topic, b"", 1, False, properties))
    if cut < len(whole):
        with pytest.raises(MalformedError):
            parse_publish(0x32, whole[:cut])


@given(TOPIC, st.binary(max_size=300), st.booleans())
def test_publish_is_what_paho_writes(topic: str, payload: bytes, retain: bool) -> None:
    """If not: acknowledgements cannot be read by devices."""
    assert publish(topic, payload, 7, retain=retain) == Wire().written(topic, payload, 1, retain, None)


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=5))
def test_pubacks_are_what_paho_writes(mids: list[int]) -> None:
    """If not: the broker sends again what was acknowledged, for ever."""
    wire = Wire()
    for mid in mids:
        wire._send_puback(mid)
    assert pubacks(mids) == b"".join(wire.sent)


@given(st.integers(0, 268_435_455))
def test_lengths_come_back(value: int) -> None:
    """If not: packets of some sizes are cut wrongly."""
    written = write_length(value)
    assert read_length(written, 0) == (value, len(written))
    assert read_length(written[:-1], 0)[0] == -1 or len(written) == 1


def test_length_of_five_bytes() -> None:
    """If not: a hostile length is waited for for ever."""
    with pytest.raises(MalformedError):
        read_length(b"\xff" * 5, 0)


class Ours(CollectorClient):
    """The collector's client on a socket pair."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id="x", protocol=MQTTProtocolVersion.MQTTv5)
        self._sock = link
        self.frames: list[Frame] = []
        self.deliver = lambda _client, frames: self.frames.extend(frames)


@given(st.lists(st.tuples(TOPIC, st.binary(max_size=200)), min_size=1, max_size=6), st.data())
def test_packets_in_any_pieces(messages: list[tuple[str, bytes]], data: st.DataObject) -> None:
    """If not: a packet that arrives in two reads, or three that arrive in one, are lost or mixed."""
    whole = b"".join(publish(topic, payload, at + 1) for at, (topic, payload) in enumerate(messages))
    near, far = socket.socketpair()
    near.setblocking(False)
    client = Ours(near)
    try:
        at = 0
        while at < len(whole):
            size = data.draw(st.integers(1, 60))
            far.sendall(whole[at : at + size])
            at += size
            assert client._packet_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
        read = [parse_publish(*frame) for frame in client.frames]
        assert [(one.topic, one.payload, one.mid) for one in read] == [
            (topic, payload, number + 1) for number, (topic, payload) in enumerate(messages)
        ]
    finally:
        client._sock = None
        near.close()
        far.close()


def test_nothing_is_read_while_full() -> None:
    """If not: a database that is down for an hour fills the collector's memory."""
    near, far = socket.socketpair()
    near.setblocking(False)
    client = Ours(near)
    client.full = lambda: True
    far.sendall(publish("a", b"b", 1))
    assert client._packet_read() == MQTTErrorCode.MQTT_ERR_AGAIN
    assert client.frames == []
    client.full = lambda: False
    client._packet_read()
    assert len(client.frames) == 1
    client._sock = None
    near.close()
    far.close()


def test_no_more_at_once_than_the_broker_allows() -> None:
    """If not: the broker ends the connection (Receive Maximum exceeded) when many devices are answered."""
    near, far = socket.socketpair()
    near.setblocking(False)
    client = Ours(near)
    client.allowed_unconfirmed = 2
    told: list[bool] = []
    client.tell([("a", b"1"), ("a", b"2")])
    client.tell_one("a", b"3", retain=True, confirmed=told.append)
    queued = [packet["packet"] for packet in client._out_packet]
    client.loop_write()
    assert len(queued) <= 1
    mids = [1000, 1001]
    far.sendall(pubacks(mids[:1]))
    client._packet_read()
    client.loop_write()
    sent = far.recv(10_000)
    assert sent.count(b"\x00\x01a") == 3
    far.sendall(b"\x40\x03\x03\xea\x87")  # 1002: not authorised
    client._packet_read()
    assert told == [False]
    client._sock = None
    near.close()
    far.close()
