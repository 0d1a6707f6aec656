"""A collector's certificate on a real broker: keeps what comes, and may acknowledge it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt

from edge.fleet.wire import topics
from edge.fleet.wire.connection import connect_client
from edge.fleet.wire.event import from_mqtt
from edge.fleet.wire.messages import Ack
from tests.fleet.real_broker import Broker

WAIT_S = 15.0


@dataclass
class Listener:
    """A collector's certificate that keeps what comes; with `answer`, it acknowledges."""

    client: mqtt.Client
    answer: bool = False
    got: list[tuple[str, bytes, list[tuple[str, str]], bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client.on_message = self._take
        self.client.loop_start()

    def _take(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        properties = list(getattr(message.properties, "UserProperty", []))
        self.got.append((message.topic, message.payload, properties, message.retain))
        if self.answer and message.topic.endswith(("result", "install", "telemetry")):
            event = from_mqtt(message.topic, message.payload, properties)
            ack = Ack(epoch=event.epoch, accepted=(event.seq,), quarantined=())
            client.publish(topics.down(event.device, "ack"), ack.to_bytes(), qos=1)

    def topics(self) -> list[str]:
        return [topic for topic, *_ in self.got]


def listen(broker: Broker, *, answer: bool = False, filters: tuple[str, ...] = (topics.ALL_UP,)) -> Listener:
    subscribed: list[int] = []
    client = connect_client(
        "collector", broker.pki.credentials("collector"), broker.host, broker.port, session_expiry_s=0
    )
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.on_connect = lambda c, *_: c.subscribe([(one, mqtt.SubscribeOptions(qos=1)) for one in filters])
    listener = Listener(client, answer)
    deadline = time.monotonic() + WAIT_S
    while not subscribed and time.monotonic() < deadline:
        time.sleep(0.02)
    assert subscribed
    return listener
