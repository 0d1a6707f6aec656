"""Devices with keys, events as they send them, and a device's connection, for the tests of the collector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import func, insert, select

from edge.bundle.signing import SigningKey
from edge.fleet.collector.packets import Incoming
from edge.fleet.store.store import Store
from edge.fleet.store.tables import devices, messages
from edge.fleet.wire.connection import Credentials, connect_client
from edge.fleet.wire.event import RESULT, TELEMETRY, Event, sign_event, to_mqtt
from edge.fleet.wire.messages import Ack, Telemetry
from edge.fleet.wire.report import FieldReport
from edge.fleet.wire.topics import device_subscriptions
from tests.fleet.wire.reports import make_report

EPOCH = "0a1b2c3d"
REPORT: FieldReport = make_report()
REPORT_BYTES = REPORT.to_bytes()


def new_key(name: str) -> SigningKey:
    """A device's key."""
    private = Ed25519PrivateKey.generate()
    return SigningKey(name, "device", private.public_key().public_bytes_raw(), private)


def register(store: Store, *keys: SigningKey, **columns: Any) -> None:
    """Enter devices."""
    rows = [
        {"device": key.name, "public_key": key.raw_public, "key_fingerprint": key.fingerprint, **columns}
        for key in keys
    ]
    with store.writing() as connection:
        connection.execute(insert(devices), [{"enrolled_at": store.now(), **row} for row in rows])


def result(key: SigningKey, seq: int, data: bytes = REPORT_BYTES, **changes: Any) -> Event:
    """A signed result."""
    values = {"device": key.name, "epoch": EPOCH, "type": RESULT} | changes
    return sign_event(key, seq=seq, data=data, **values)


def telemetry(key: SigningKey, seq: int, percent: float = 50.0) -> Event:
    """A signed telemetry."""
    document = Telemetry(
        battery_percent=percent, charging=None, hottest_celsius=None, memory_available_bytes=1, disk_free_bytes=1,
        outbox_rows=0, outbox_bytes=0, dropped=0, agent_version="0.1.0",
    )  # fmt: skip
    return sign_event(key, device=key.name, epoch=EPOCH, seq=seq, type=TELEMETRY, data=document.to_bytes())


def incoming(event: Event, **changes: Any) -> Incoming:
    """An event as a packet that was read."""
    topic, payload, properties = to_mqtt(event)
    return Incoming(topic, payload, properties, 1, 1, False, False, 0)._replace(**changes)


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Poll, and give what the condition gave. Fails the test when it stays false."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def count(store: Store, table: Any = messages, *where: Any) -> int:
    """Rows of a table."""
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


class SimDevice:
    """A device on a real connection: sends events, collects acknowledgements."""

    def __init__(self, key: SigningKey, credentials: Credentials, host: str, port: int) -> None:
        self.key = key
        self.accepted: list[int] = []
        self.quarantined: list[tuple[int, str]] = []
        self.refused: list[str] = []
        self._ready = threading.Event()
        self.client = connect_client(key.name, credentials, host, port, session_expiry_s=600)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_message
        self.client.on_publish = self._on_publish
        self.client.loop_start()
        assert self._ready.wait(10)

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([(one, 1) for one in device_subscriptions(self.key.name)])

    def _on_publish(self, _client: Any, _data: Any, _mid: int, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self.refused.append(str(code))

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/down/ack"):
            ack = Ack.from_bytes(message.payload, "ack")
            self.accepted += ack.accepted
            self.quarantined += ack.quarantined

    def send(self, *events: Event) -> None:
        """Publish events as an agent does."""
        for event in events:
            topic, payload, pairs = to_mqtt(event)
            self.send_raw(topic, payload, pairs)

    def send_raw(self, topic: str, payload: bytes, pairs: list[tuple[str, str]] | None = None) -> None:
        """Publish anything."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = pairs or []
        self.client.publish(topic, payload, qos=1, properties=properties)

    def close(self) -> None:
        """Go in order."""
        self.client.disconnect()
        self.client.loop_stop()
