"""One event: a CloudEvent in MQTT 5 binary mode, signed by the device.

The attributes are user properties of the message and the data is its payload, byte for byte what was signed: nothing is
written anew between the device's signature and its check. The id is device, epoch and sequence. An epoch is made with
an outbox, so that a device that was set up again, and counts from 1 again, collides with nothing it said before.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from edge.bundle.signing import PublicKey, SignatureFile, SigningKey, Trust
from edge.errors import InputError
from edge.fleet.wire import topics

EVENT_PURPOSE = b"edge fleet event 1\n"
RESULT = "org.edge-kit.result.v1"
INSTALL = "org.edge-kit.install.v1"
TELEMETRY = "org.edge-kit.telemetry.v1"
KIND_OF: dict[str, topics.EventKind] = {RESULT: "result", INSTALL: "install", TELEMETRY: "telemetry"}
CONTENT_TYPE = "application/json"
MAX_EVENT_BYTES = 64 << 10
MAX_SEQUENCE = (1 << 63) - 1
_TYPE = re.compile(r"org\.edge-kit\.[a-z]+\.v[1-9][0-9]{0,3}")
_EPOCH = re.compile(r"[0-9a-f]{8}")
_SEQUENCE = re.compile(r"[1-9][0-9]{0,18}")
_KEY = re.compile(r"[0-9a-f]{16}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z")
_SIGNATURE_BYTES = 64
_KNOWN = ("specversion", "id", "source", "type", "time", "edgesig", "edgekey")
_NEEDED = ("specversion", "id", "source", "type", "edgesig", "edgekey")


@dataclass(frozen=True)
class Event:
    """data: JSON as signed. key: 16 hex digits of the device key. time: RFC 3339 UTC, None where the device's clock is
    not believed."""

    device: str
    epoch: str
    seq: int
    type: str
    data: bytes
    signature: bytes
    key: str
    time: str | None = None

    @property
    def id(self) -> str:
        """The CloudEvents id."""
        return f"{self.device}/{self.epoch}/{self.seq}"


def signed_bytes(event_id: str, event_type: str, data: bytes) -> bytes:
    """What the signature is over, after the purpose: who, which, what kind, and the data."""
    return f"{event_id}\n{event_type}\n".encode() + data


def sign_event(
    key: SigningKey, *, device: str, epoch: str, seq: int, type: str, data: bytes, time: str | None = None
) -> Event:
    """Make an event. `key` is a device key. Errors: InputError for data over MAX_EVENT_BYTES."""
    if len(data) > MAX_EVENT_BYTES:
        raise InputError(
            f"an event of {len(data)} bytes is larger than {MAX_EVENT_BYTES}", mend="report it; it stays on the device"
        )
    signature = key.sign(EVENT_PURPOSE, signed_bytes(f"{device}/{epoch}/{seq}", type, data))
    return Event(device, epoch, seq, type, data, signature.value, key.fingerprint, time)


def verify_event(event: Event, public_raw: bytes) -> None:
    """Check the signature by the 32 bytes of the device's public key. Errors: UntrustedError."""
    key = PublicKey(event.device, "device", public_raw)
    Trust((key,)).verify(
        EVENT_PURPOSE,
        signed_bytes(event.id, event.type, event.data),
        SignatureFile(event.key, event.signature),
        role="device",
        where=f"event {event.id}",
    )


def to_mqtt(event: Event) -> tuple[str, bytes, list[tuple[str, str]]]:
    """Topic, payload and user properties. Errors: InputError for a type of another edge."""
    kind = KIND_OF.get(event.type)
    if kind is None:
        raise InputError("an event has a type that this edge does not send", mend="update edge")
    properties = [
        ("specversion", "1.0"),
        ("id", event.id),
        ("source", f"{topics.ROOT}/{event.device}"),
        ("type", event.type),
        ("edgekey", event.key),
        ("edgesig", base64.b64encode(event.signature).decode()),
    ]
    if event.time is not None:
        properties.append(("time", event.time))
    return topics.up(event.device, kind), event.data, properties


def _wrong(what: str) -> InputError:
    return InputError(what, where="event", mend="look at the device's edge version")


def from_mqtt(topic: str, payload: bytes, properties: Iterable[tuple[str, str]]) -> Event:
    """Inverse of to_mqtt; the signature is not checked here.

    Attributes that are not known are passed over, as CloudEvents asks. Errors: InputError when one is missing, stands
    twice or is malformed, when id, source and topic do not name one device, or the payload is too large.
    """
    found: dict[str, str] = {}
    for name, value in properties:
        if name in _KNOWN and found.setdefault(name, value) is not value:
            raise _wrong(f"attribute '{name}' stands there twice")
    for name in _NEEDED:
        if name not in found:
            raise _wrong(f"attribute '{name}' is missing")
    if found["specversion"] != "1.0":
        raise _wrong("the CloudEvents version is not 1.0")
    if len(payload) > MAX_EVENT_BYTES:
        raise _wrong(f"the payload is larger than {MAX_EVENT_BYTES} bytes")
    device, _, rest = found["id"].partition("/")
    epoch, _, seq = rest.partition("/")
    if not (_EPOCH.fullmatch(epoch) and _SEQUENCE.fullmatch(seq)) or int(seq) > MAX_SEQUENCE:
        raise _wrong("the id is not device, epoch and sequence")
    if not _TYPE.fullmatch(found["type"]) or not _KEY.fullmatch(found["edgekey"]):
        raise _wrong("the type or the key is malformed")
    kind = KIND_OF.get(found["type"])
    address = topics.parse_topic(topic)
    if address.device != device or found["source"] != f"{topics.ROOT}/{device}":
        raise _wrong("id, source and topic name different devices")
    if address.kind not in topics.EVENT_KINDS or (kind is not None and kind != address.kind):
        raise _wrong("the type does not belong on this topic")
    time = found.get("time")
    if time is not None and not _TIME.fullmatch(time):
        raise _wrong("the time is not RFC 3339 in UTC")
    try:
        signature = base64.b64decode(found["edgesig"], validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != _SIGNATURE_BYTES:
        raise _wrong("the signature is malformed")
    return Event(device, epoch, int(seq), found["type"], payload, signature, found["edgekey"], time)
