"""A client of the broker for these tests, which remembers all that it was told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edge.fleet.broker.child import BrokerChild
from edge.fleet.wire.connection import Credentials, make_client
from edge.fleet.wire.connection import connect_properties as properties_of

REFUSED = 0x80


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> bool:
    """Poll until it holds; False when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Party:
    """A connected client. messages: (topic, payload); codes: of PUBACKs; lost: it was thrown out."""

    def __init__(self, broker: BrokerChild, credentials: Credentials, client_id: str, session_s: int) -> None:
        self.connected: int | None = None
        self.session_present = False
        self.lost = False
        self.messages: list[tuple[str, bytes]] = []
        self.codes: list[int] = []
        self.granted: list[int] = []
        self.client = make_client(client_id, credentials)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: setattr(self, "lost", True)
        self.client.on_message = lambda _c, _d, message: self.messages.append((message.topic, bytes(message.payload)))
        self.client.on_publish = lambda _c, _d, _m, code, _p: self.codes.append(code.value)
        self.client.on_subscribe = lambda _c, _d, _m, codes, _p: self.granted.extend(code.value for code in codes)
        self.client.connect(broker.host, broker.port, clean_start=False, properties=properties_of(session_s))
        self.client.loop_start()

    def _on_connect(self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        self.session_present, self.connected = flags.session_present, code.value

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """QoS 1; the code of its PUBACK, 0 for every success (16: nobody listens), None when none came."""
        before = len(self.codes)
        self.client.publish(topic, payload, qos=1, retain=retain)
        until(lambda: len(self.codes) > before or self.lost)
        if len(self.codes) == before:
            return None
        return self.codes[before] if self.codes[before] >= REFUSED else 0

    def subscribe(self, *topics: str) -> list[int]:
        """The codes of its SUBACK."""
        before = len(self.granted)
        self.client.subscribe([(topic, 1) for topic in topics])
        until(lambda: len(self.granted) >= before + len(topics))
        return self.granted[before:]

    def topics(self) -> list[str]:
        """Of the messages that came."""
        return [topic for topic, _ in self.messages]


@contextmanager
def party(
    broker: BrokerChild, credentials: Credentials, client_id: str = "x", *, session_s: int = 600
) -> Iterator[Party]:
    """A party that was let in."""
    made = Party(broker, credentials, client_id, session_s)
    try:
        assert until(lambda: made.connected == 0), "not let in"
        yield made
    finally:
        made.client.disconnect()
        made.client.loop_stop()


def refused(broker: BrokerChild, credentials: Credentials) -> bool:
    """Whether the broker ends the connection of these credentials without a CONNACK."""
    try:
        made = Party(broker, credentials, "x", 0)
    except OSError:
        return True
    try:
        until(lambda: made.lost or made.connected is not None)
        return made.connected is None
    finally:
        made.client.loop_stop()
