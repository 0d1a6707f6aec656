"""An MQTT 5 client with what the fleet needs set: mutual TLS, a session that survives, no reconnecting of its own.

paho keeps what it has not sent in memory only, so nothing may be queued in it while it is offline: callers publish when
connected, a few at a time, and keep their own durable queue.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.errors import SpecError
from edge.fleet.wire.event import MAX_EVENT_BYTES

KEEPALIVE_S = 30
WILL_DELAY_S = 60
# Event, topic and user properties.
MAX_PACKET_BYTES = MAX_EVENT_BYTES + 8192


@dataclass(frozen=True)
class Credentials:
    """Files of one party: the fleet's CA, its own certificate and key, all PEM."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Will:
    """What the broker publishes, retained, `delay_s` after the connection went without a word."""

    topic: str
    payload: bytes
    delay_s: int = WILL_DELAY_S


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """TLS 1.2 or newer, both sides with certificates of the fleet's CA, the host's name checked. Errors: SpecError."""
    for path in (credentials.ca, credentials.certificate, credentials.key):
        if not path.is_file():
            raise SpecError("there is no such file", where=str(path), mend="enrol this device, see docs/fleet.md")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(credentials.ca)
        context.load_cert_chain(credentials.certificate, credentials.key)
    except (ssl.SSLError, OSError) as error:
        raise SpecError(
            "certificate, key and CA do not fit each other", where=str(credentials.certificate), mend="enrol again"
        ) from error
    return context


def make_client(
    client_id: str,
    credentials: Credentials,
    *,
    will: Will | None = None,
    manual_ack: bool = False,
    client_class: type[mqtt.Client] = mqtt.Client,
    inflight: int = 100,
) -> mqtt.Client:
    """A client that is not connected yet. manual_ack: the caller acknowledges each message."""
    client = client_class(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
        manual_ack=manual_ack,
    )
    client.tls_set_context(tls_context(credentials))
    client.max_inflight_messages_set(inflight)
    if will is not None:
        delayed = _properties(PacketTypes.WILLMESSAGE)
        delayed.WillDelayInterval = will.delay_s
        client.will_set(will.topic, will.payload, qos=1, retain=True, properties=delayed)
    return client


def connect_properties(session_expiry_s: int, receive_maximum: int | None = None) -> Properties:
    """Of CONNECT: how long the broker keeps the session, and what this side takes."""
    wanted = _properties(PacketTypes.CONNECT)
    wanted.SessionExpiryInterval = session_expiry_s
    wanted.MaximumPacketSize = MAX_PACKET_BYTES
    if receive_maximum is not None:
        wanted.ReceiveMaximum = receive_maximum
    return wanted


def connect_client(
    client_id: str,
    credentials: Credentials,
    host: str,
    port: int,
    *,
    session_expiry_s: int,
    will: Will | None = None,
    manual_ack: bool = False,
    receive_maximum: int | None = None,
    client_class: type[mqtt.Client] = mqtt.Client,
) -> mqtt.Client:
    """Make a client and send its CONNECT; the caller runs its loop and looks at CONNACK.

    The session goes on where it was. Errors: SpecError for the credentials, OSError when nobody answers.
    """
    client = make_client(client_id, credentials, will=will, manual_ack=manual_ack, client_class=client_class)
    client.connect(
        host,
        port,
        keepalive=KEEPALIVE_S,
        clean_start=False,
        properties=connect_properties(session_expiry_s, receive_maximum),
    )
    return client
