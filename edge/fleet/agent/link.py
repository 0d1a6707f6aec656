"""One device's connection to the broker: paho, without a thread. The caller waits on its socket and calls it.

Rules
1. Each connection has a client of its own: paho sends again by itself what a client object once took, from memory; here
   the outbox alone decides what is sent again.
2. Callbacks only append to a list; it is worked off after paho has returned.
3. Nothing is published while no connection is accepted. What is retained (state, presence, commands) is kept by topic,
   the newest only, and sent again after each connection until the broker has confirmed it.
4. A connection that fails is tried again after a time that doubles, longer where somebody said no to this device or
   it to him; the two are counted apart. One line says why, once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import EdgeError, InputError
from edge.fleet.agent import link_errors
from edge.fleet.agent.said import Said
from edge.fleet.agent.uplink import Outgoing, Uplink
from edge.fleet.agent.uplink_rules import FIRST_REFUSAL, Key, backoff_s
from edge.fleet.wire import topics
from edge.fleet.wire.event import CONTENT_TYPE
from edge.fleet.wire.messages import Presence

CONNACK_S = 15.0
SESSION_EXPIRY_S = 30 * 24 * 3600
SPREAD = 0.5
READS = 64
Connect = Callable[[], mqtt.Client]
OnMessage = Callable[[topics.Address, bytes], None]


class Link:
    """See the rules.

    Parameters
    ----------
    connect: edge.fleet.wire.connection.connect_client with this device's arguments.
    on_message: a desired state or a command came (acknowledgements go to the uplink).
    clock: monotonic seconds. chance: 0 to 1. say: one line for the journal. where: the broker, for those lines.
    retry_s: the first and the longest time between attempts.
    """

    def __init__(
        self,
        device: str,
        uplink: Uplink,
        connect: Connect,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        on_message: OnMessage = lambda _address, _payload: None,
        on_acknowledged: Callable[[tuple[Key, ...]], None] = lambda _keys: None,
        say: Callable[[str], None] = lambda _line: None,
        where: str = "broker",
        retry_s: tuple[float, float] = (link_errors.FIRST_S, link_errors.MOST_S),
    ) -> None:
        self.device, self.uplink = device, uplink
        self._connect, self._clock, self._chance = connect, clock, chance
        self._on_message, self._on_acknowledged = on_message, on_acknowledged
        self._said, self._where, self._retry_s = Said(say, clock), where, retry_s
        self._client: mqtt.Client | None = None
        self._inbox: list[tuple[Any, ...]] = []
        self._rows: dict[int, Key] = {}
        self._retained: dict[str, bytes] = {}
        self._each_time: dict[str, bytes] = {}
        self._retained_mids: dict[int, tuple[str, bytes]] = {}
        self._failures, self._was_identity = 0, False
        self._next_s = clock()
        self._connack_until_s = 0.0
        self._alert: tuple[str, bool] | None = None
        self.online = False

    # For the caller's loop

    def socket(self) -> socket.socket | None:
        """To wait on for reading; None while there is no connection."""
        return None if self._client is None else self._client.socket()  # type: ignore[return-value]

    def wants_write(self) -> bool:
        """Whether to wait for writing too."""
        return self._client is not None and self._client.want_write()

    def readable(self) -> None:
        """The socket has something."""
        for _ in range(READS):
            client, sock = self._client, self.socket()
            if client is None or sock is None:
                break
            client.loop_read()
            if not self._pending():
                break
        self._work_off()

    def _pending(self) -> bool:
        """One TLS record may hold several packets, which no select sees."""
        return bool(getattr(self.socket(), "pending", lambda: 0)())

    def writable(self) -> None:
        """The socket takes something."""
        if self._client is not None:
            self._client.loop_write()
        self._work_off()

    def tick(self) -> None:
        """Connect when it is time, keep the connection alive, publish what is due."""
        if self._client is None:
            if self._clock() >= self._next_s:
                self._open()
            return
        if self._pending():
            self.readable()  # may end the connection
        if self._client is not None:
            self._client.loop_misc()
        self._work_off()
        if self._client is not None and self._client.socket() is None:
            # It ended while CONNECT was being sent, before there was a callback to tell.
            self._lost(*(self._alert or _ended(0, self.online)))
        if not self.online and self._client is not None and self._clock() >= self._connack_until_s:
            self._lost("the broker does not answer", identity=False)
        self._publish()

    def wait_s(self, most_s: float = 5.0) -> float:
        """How long `tick` need not be called unless the socket has something."""
        if self._client is None:
            return min(most_s, max(0.0, self._next_s - self._clock()))
        if self._pending():
            return 0.0
        due_s = self.uplink.wait_s()
        return most_s if due_s is None else min(most_s, due_s)

    # For the agent

    def retain(self, topic: str, payload: bytes, *, each_time: bool = False) -> None:
        """Publish, retained, at least once; a newer payload of the topic takes its place.

        each_time: at the begin of each connection too, because a broker that died may have forgotten it.
        """
        self._retained[topic] = payload
        if each_time:
            self._each_time[topic] = payload
        if self.online:
            self._publish_retained(topic, payload)

    def close(self) -> None:
        """Say goodbye: the device is offline by its own word, so that the will is not needed."""
        if self._client is not None and self.online:
            self._publish_retained(topics.up(self.device, "presence"), Presence(online=False).to_bytes())
            for _ in range(20):
                if not self._client.want_write():
                    break
                self._client.loop_write()
        if self._client is not None:
            self._client.disconnect()
        self._drop()

    # Connection

    def _open(self) -> None:
        self._alert = None
        try:
            client = self._connect()
        except (OSError, EdgeError, ValueError) as error:
            self._lost(*link_errors.in_words(error))
            return
        inbox: list[tuple[Any, ...]] = []
        client.on_connect = lambda _c, _u, _flags, code, properties: inbox.append(("connect", code.value, properties))
        client.on_disconnect = lambda _c, _u, _flags, code, _p: inbox.append(("disconnect", code.value))
        client.on_publish = lambda _c, _u, mid, code, _p: inbox.append(("publish", mid, code.value))
        client.on_message = lambda _c, _u, message: inbox.append(("message", message.topic, message.payload))
        client.on_log = lambda _c, _u, level, text: (
            inbox.append(("log", text)) if level == LogLevel.MQTT_LOG_ERR else None
        )
        self._client, self._inbox = client, inbox
        self._connack_until_s = self._clock() + CONNACK_S

    def _accepted(self, properties: Properties) -> None:
        self.online, self._failures = True, 0
        self._said.over("connection", f"{self._where}: connected")
        if self._client is not None:
            options = SubscribeOptions(qos=1, noLocal=True)
            self._client.subscribe([(topic, options) for topic in topics.device_subscriptions(self.device)])
        self._retained |= self._each_time | {topics.up(self.device, "presence"): Presence(online=True).to_bytes()}
        self.uplink.connected(
            max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
            receive_maximum=getattr(properties, "ReceiveMaximum", None),
        )
        for topic, payload in list(self._retained.items()):
            self._publish_retained(topic, payload)

    def _lost(self, words: str, identity: bool) -> None:
        """No connection, or no longer: say why once, and come again later."""
        self._drop()
        # A weekend without a network must not make one refusal wait as long as the thousandth.
        self._failures = self._failures + 1 if identity is self._was_identity else 1
        self._was_identity = identity
        first_s, most_s = (link_errors.IDENTITY_FIRST_S, link_errors.IDENTITY_MOST_S) if identity else self._retry_s
        self._next_s = self._clock() + backoff_s(first_s, most_s, self._failures, SPREAD, self._chance())
        self._said("connection", f"{self._where}: {words}; events wait here and it is tried again")

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._inbox = []
        self._rows.clear()
        self._retained_mids.clear()
        self.online = False
        self.uplink.disconnected()
        if client is not None:
            sock = client.socket()
            if sock is not None:
                sock.close()  # type: ignore[union-attr,unused-ignore]
            client.on_disconnect = client.on_log = None

    # Messages

    def _work_off(self) -> None:
        while self._inbox:
            kind, *told = self._inbox.pop(0)
            if kind == "message":
                self._message(*told)
            elif kind == "publish":
                self._published(*told)
            elif kind == "connect":
                code, properties = told
                if code >= FIRST_REFUSAL:
                    self._lost(*link_errors.refusal_in_words(code))
                else:
                    self._accepted(properties)
            elif kind == "log":
                self._alert = link_errors.alert_in_words(told[0]) or self._alert
            elif kind == "disconnect":
                self._lost(*(self._alert or _ended(told[0], self.online)))
        self.uplink.flush()

    def _message(self, topic: str, payload: bytes) -> None:
        try:
            address = topics.parse_topic(topic)
        except InputError as error:
            self._said("topic", str(error))
            return
        if address.device != self.device:
            return
        if address.kind == "ack":
            self._on_acknowledged(self.uplink.acknowledge(payload))
        else:
            self._on_message(address, payload)

    def _published(self, mid: int, code: int) -> None:
        key = self._rows.pop(mid, None)
        if key is not None:
            self.uplink.refused(key, code)
            return
        topic, payload = self._retained_mids.pop(mid, ("", b""))
        if code >= FIRST_REFUSAL:
            self._said("retained", f"the broker refuses this device's state ({code:#04x})")
        elif topic and self._retained.get(topic) == payload:
            del self._retained[topic]

    def _publish(self) -> None:
        """What the uplink wants to send."""
        if not self.online:
            return
        for outgoing in self.uplink.due():
            if not self._publish_one(outgoing):
                self.uplink.not_sent(outgoing.key)
        self._work_off()

    def _publish_one(self, outgoing: Outgoing) -> bool:
        if self._client is None or not self.online:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = outgoing.properties
        properties.ContentType = CONTENT_TYPE
        info = self._client.publish(outgoing.topic, outgoing.payload, qos=1, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._rows[info.mid] = outgoing.key
        return True

    def _publish_retained(self, topic: str, payload: bytes) -> None:
        if self._client is None:
            return
        info = self._client.publish(topic, payload, qos=1, retain=True)
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._retained_mids[info.mid] = (topic, payload)


def _ended(code: int, was_online: bool) -> tuple[str, bool]:
    if code == 0x8E:
        return "another connection uses this device's name", True
    if code == 0x95:
        return "a packet was too large for the broker", True
    if was_online:
        return "the connection ended", False
    return "the broker ended the connection at once (is this device's certificate still good?)", False
