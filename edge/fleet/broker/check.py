"""Look at a running broker from outside, as an operator and as somebody without a right to be there.

What can be seen: the broker's certificate, TLS versions, that nobody gets in without a certificate of this fleet,
limits that CONNACK states, one rule of the ACL, that the certificate's name is the client's id, and by a mark that is
looked at again after a restart whether it keeps what it was told. What cannot: revocation (without a revoked key),
how often it writes its database, queue limits.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as mqtt

from edge.errors import EdgeError
from edge.fleet.broker.configuration import MARKER_TOPIC
from edge.fleet.broker.marker import Mark, judge, read_mark
from edge.fleet.pki import certificates as make
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.files import write_private, write_public
from edge.fleet.wire.connection import MAX_PACKET_BYTES, Credentials, connect_properties, make_client, tls_context

Verdict = Literal["good", "bad", "unknown"]
PATIENCE_S = 5.0
UPTIME_TOPIC = "$SYS/broker/uptime"
NO_DEVICE = "edge/v1/nobody.check/down/ack"  # no device has it, so that a broken ACL does no harm
_CONNECT = bytes.fromhex("101000044d5154540502003c000003") + b"abc"


@dataclass(frozen=True)
class Finding:
    """One line: good, bad, or unknown."""

    verdict: Verdict
    text: str


@dataclass
class _Seen:
    """What an operator's connection has shown so far; filled by the client's thread."""

    code: int | None = None
    limits: Any = None
    there: Mark | None = None
    uptime_s: int | None = None
    refusal: int | None = None
    subscribed: threading.Event = field(default_factory=threading.Event)
    published: threading.Event = field(default_factory=threading.Event)
    uptime: threading.Event = field(default_factory=threading.Event)
    connected: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)


def check_broker(
    pki: Pki, host: str, port: int, marker_file: Path, patience_s: float = PATIENCE_S
) -> tuple[Finding, ...]:
    """All that can be seen of the broker there. marker_file: where the mark that was set is kept.

    patience_s: how long to wait for each answer.

    Errors: ResourceError for that file; SpecError when the PKI has no operator certificate. A broker that does not
    answer is a finding.
    """
    operator = pki.credentials("operator")
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE_S) as plain,
            tls_context(operator).wrap_socket(plain, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        return (Finding("bad", f"shows no certificate of this fleet for {host} ({error.verify_message})"),)
    except OSError as error:
        return (Finding("bad", f"no broker answers at {host}:{port} ({type(error).__name__})"),)
    return (
        Finding("good", f"shows a certificate of this fleet for {host}"),
        _without_certificate(pki, host, port),
        _stranger(pki, host, port),
        _old_tls(pki, host, port),
        *_as_operator(pki, operator, host, port, marker_file, patience_s),
    )


def _let_in(context: ssl.SSLContext, host: str, port: int) -> bool:
    """Whether CONNECT is answered by a CONNACK of success."""
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(_CONNECT)
            answer = connection.recv(64)
    except OSError:
        return False
    return len(answer) >= 4 and answer[0] == 0x20 and answer[3] == 0


def _without_certificate(pki: Pki, host: str, port: int) -> Finding:
    context = ssl.create_default_context(cafile=str(pki.ca))
    if _let_in(context, host, port):
        return Finding("bad", "lets in whoever comes without a certificate: require_certificate, allow_anonymous")
    return Finding("good", "lets nobody in without a certificate")


def _stranger(pki: Pki, host: str, port: int) -> Finding:
    """With the right names and a root of our own invention."""
    now = pki.now()
    with tempfile.TemporaryDirectory(prefix="edge-check-") as name:
        folder = Path(name)
        root_key, key = make.new_key(), make.new_key()
        root = make.new_root(root_key, pki.fleet, pki.hosts, now)
        leaf = make.new_leaf(root, root_key, key.public_key(), "collector", now)
        write_public(folder / "certificate.pem", make.certificate_pem(leaf))
        write_private(folder / "key.pem", make.key_pem(key))
        context = tls_context(Credentials(pki.ca, folder / "certificate.pem", folder / "key.pem"))
        if _let_in(context, host, port):
            return Finding("bad", "lets in a certificate that another root signed: cafile")
    return Finding("good", "refuses a certificate that another root signed")


def _old_tls(pki: Pki, host: str, port: int) -> Finding:
    context = tls_context(pki.credentials("operator"))
    try:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with _quiet():
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    except (ssl.SSLError, ValueError):
        return Finding("unknown", "whether it refuses TLS 1.1: this machine cannot speak that")
    if _let_in(context, host, port):
        return Finding("bad", "speaks TLS 1.1: tls_version")
    return Finding("good", "speaks TLS 1.2 or newer only")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old TLS is asked for on purpose here
        yield


def _as_operator(
    pki: Pki, operator: Credentials, host: str, port: int, marker_file: Path, patience_s: float
) -> Iterator[Finding]:
    with _connected(operator, host, port, patience_s) as (client, seen):
        if seen.code != 0:
            yield Finding("bad", "refuses the operator's certificate: crlfile, acl_file, or its clock")
            return
        stated = getattr(seen.limits, "MaximumPacketSize", None)
        if stated == MAX_PACKET_BYTES:
            yield Finding("good", f"takes packets up to {stated} bytes")
        else:
            yield Finding(
                "bad", f"states a largest packet of {stated or 'any'}, not {MAX_PACKET_BYTES}: max_packet_size"
            )
        client.publish(NO_DEVICE, b"", qos=1)
        seen.published.wait(patience_s)
        if seen.refusal == 0x87:
            yield Finding("good", "refuses an operator who writes to a device: the ACL holds")
        else:
            yield Finding("bad", "lets an operator write to a device: acl_file")
        yield _persistence(pki, client, seen, marker_file, patience_s)
        with _connected(operator, host, port, patience_s):
            if seen.gone.wait(patience_s):
                yield Finding("good", "takes the certificate's name for the client's id")
            else:
                yield Finding("bad", "lets a client choose its id, and so throw out another: use_username_as_clientid")


def _persistence(pki: Pki, client: mqtt.Client, seen: _Seen, marker_file: Path, patience_s: float) -> Finding:
    client.subscribe([(MARKER_TOPIC, 1), (UPTIME_TOPIC, 0)])
    seen.subscribed.wait(patience_s)
    seen.uptime.wait(patience_s)
    now = pki.now()
    was_set = read_mark(marker_file.read_bytes()) if marker_file.is_file() else None
    started = None if seen.uptime_s is None else now - timedelta(seconds=seen.uptime_s)
    kept = judge(was_set, seen.there, started)
    if was_set is None or seen.there != was_set:
        _set_mark(client, seen, Mark(secrets.token_hex(8), now), marker_file, patience_s)
    if kept == "kept":
        return Finding("good", f"kept what it was told over its restart {_ago(started, now)}")
    if kept == "lost":
        return Finding("bad", f"lost what it was told at its restart {_ago(started, now)}: persistence")
    return Finding("unknown", "whether it keeps what it is told: restart it, then check again")


def _ago(started: datetime | None, now: datetime) -> str:
    return "" if started is None else f"{(now - started) // timedelta(minutes=1)} minutes ago"


def _set_mark(client: mqtt.Client, seen: _Seen, mark: Mark, marker_file: Path, patience_s: float) -> None:
    seen.published.clear()
    client.publish(MARKER_TOPIC, mark.to_bytes(), qos=1, retain=True)
    if seen.published.wait(patience_s) and (seen.refusal or 0) < 0x80:
        write_public(marker_file, mark.to_bytes())


@contextlib.contextmanager
def _connected(operator: Credentials, host: str, port: int, patience_s: float) -> Iterator[tuple[mqtt.Client, _Seen]]:
    client, seen = make_client(f"check-{secrets.token_hex(4)}", operator), _Seen()

    def on_connect(_client: Any, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        seen.code, seen.limits = code.value, properties
        seen.connected.set()

    def on_message(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == MARKER_TOPIC:
            seen.there = read_mark(bytes(message.payload))
        elif message.payload.split(b" ")[0].isdigit():
            seen.uptime_s = int(message.payload.split(b" ")[0])
            seen.uptime.set()

    def on_publish(_client: Any, _data: Any, _number: Any, code: Any, _properties: Any) -> None:
        seen.refusal = code.value
        seen.published.set()

    client.on_connect, client.on_message, client.on_publish = on_connect, on_message, on_publish
    client.on_subscribe = lambda *_said: seen.subscribed.set()
    client.on_disconnect = lambda *_said: seen.gone.set()
    try:
        with contextlib.suppress(OSError):
            client.connect(host, port, clean_start=True, properties=connect_properties(0))
            client.loop_start()
            seen.connected.wait(patience_s)
        yield client, seen
    finally:
        with contextlib.suppress(OSError, EdgeError):
            client.disconnect()
        client.loop_stop()
