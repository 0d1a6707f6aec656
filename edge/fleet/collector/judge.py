"""What a collector believes: pure, one message at a time.

Rules, in this order; the first that does not hold decides.

1. The topic names the device: the broker lets a certificate write below its own name only. A name that no device may
   have is nobody's.
2. The payload has at most 64 KiB (`oversize`).
3. The attributes are whole and well formed (`malformed`); id, source and topic name one device (`wrong_device`).
4. That device is registered (`unknown_device`) and not revoked (`revoked`).
5. The event is signed (`forged`) by the registered key (`wrong_key`) over id, type and data.
6. The type is known (`unknown_type`; a later version of a known one is `future_schema`).
7. The data is a document of that type (`schema`), of a version that this edge knows (`future_schema`).
8. A result's speeds can be (`implausible`).

What is refused is kept as bytes with its signature, so that it can be judged again by a later edge or after the device
was registered. A clock that is off decides nothing: a time more than a year back or a day ahead of the collector's is
left out and told; `received_at` orders what devices say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.bundle.canonical import SLUG
from edge.errors import InputError
from edge.fleet.collector.packets import Incoming
from edge.fleet.store.store import time_text
from edge.fleet.wire.documents import FutureVersionError
from edge.fleet.wire.event import (
    EVENT_PURPOSE,
    INSTALL,
    KIND_OF,
    MAX_EVENT_BYTES,
    MAX_SEQUENCE,
    RESULT,
    Event,
    from_mqtt,
    signed_bytes,
)
from edge.fleet.wire.messages import InstallReport, QuarantineReason, Telemetry
from edge.fleet.wire.report import FieldReport, plausible
from edge.fleet.wire.topics import ROOT

CLOCK_BACK, CLOCK_AHEAD = timedelta(days=366), timedelta(days=1)
NOBODY = "-"  # no device can have this name
_ID = re.compile(r"([^/]{1,100})/([0-9a-f]{8})/([1-9][0-9]{0,18})")
_LATER = re.compile(r"org\.edge-kit\.(?:result|install|telemetry)\.v[1-9][0-9]{0,3}")
_PLAIN_TYPE = re.compile(r"[a-zA-Z0-9.-]{1,60}")
_PLACE = "event"

Document = FieldReport | InstallReport | Telemetry


class KnownDevice(NamedTuple):
    """A row of `devices`, ready to check with."""

    device: str
    key: Ed25519PublicKey
    fingerprint: str
    revoked: bool


class Accepted(NamedTuple):
    """A message that is believed. event_time: None where its clock is not."""

    event: Event
    document: Document
    data_sha256: str
    event_time: str | None
    clock_wrong: bool


class Quarantined(NamedTuple):
    """A message that is not. reason: for the database, with a detail behind a colon; code: for the device.

    epoch, seq: None where the id cannot be read, so that nothing can be acknowledged. event: where it could be read.
    """

    device: str
    epoch: str | None
    seq: int | None
    type: str | None
    reason: str
    code: QuarantineReason
    data: bytes
    data_sha256: str
    event: Event | None


@dataclass(frozen=True)
class Moment:
    """Now, and what a device's clock may say now. All RFC 3339 text."""

    now: str
    earliest: str
    latest: str

    @staticmethod
    def at(now: datetime) -> Moment:
        """The moment of a clock."""
        return Moment(time_text(now), time_text(now - CLOCK_BACK), time_text(now + CLOCK_AHEAD))

    def believes(self, time: str) -> bool:
        """Whether a device's time can be."""
        if not self.earliest <= time <= self.latest:
            return False
        try:
            datetime.fromisoformat(time)
        except ValueError:
            return False
        return True


def topic_device(topic: str) -> str:
    """The device of a topic `edge/v1/<device>/...`; NOBODY for a name that no device may have."""
    name = topic[len(ROOT) + 1 :].partition("/")[0]
    return name if SLUG.fullmatch(name) else NOBODY


@dataclass(frozen=True)
class Judge:
    """The rules above. bandwidths: target -> published bytes a second, where it is known."""

    bandwidths: Mapping[str, float]

    def message(self, message: Incoming, known: Mapping[str, KnownDevice], moment: Moment) -> Accepted | Quarantined:
        """Judge what came on an event's topic."""
        try:
            event = from_mqtt(message.topic, message.payload, message.properties)
        except InputError:
            return _unreadable(message)
        return self.event(event, known.get(event.device), moment)

    def event(self, event: Event, device: KnownDevice | None, moment: Moment) -> Accepted | Quarantined:
        """Judge an event whose attributes are well formed."""
        if device is None:
            return refused(event, "unknown_device")
        if device.revoked:
            return refused(event, "revoked")
        if event.key != device.fingerprint:
            return refused(event, "wrong_key")
        try:
            device.key.verify(event.signature, EVENT_PURPOSE + signed_bytes(event.id, event.type, event.data))
        except InvalidSignature:
            return refused(event, "forged")
        if event.type not in KIND_OF:
            return refused(event, "future_schema" if _LATER.fullmatch(event.type) else "unknown_type")
        try:
            document = _read(event)
        except FutureVersionError:
            return refused(event, "future_schema")
        except InputError:
            return refused(event, "schema")
        if isinstance(document, FieldReport) and (why := plausible(document, self.bandwidths.get(document.target))):
            return refused(event, "implausible", f"implausible:{why}")
        wrong = event.time is not None and not moment.believes(event.time)
        return Accepted(
            event, document, hashlib.sha256(event.data).hexdigest(), None if wrong else event.time, clock_wrong=wrong
        )


def reused(verdict: Accepted) -> Quarantined:
    """The same id was committed with other bytes: neither is dropped, the first one counts."""
    return refused(verdict.event, "sequence_reused")


def _read(event: Event) -> Document:
    if event.type == RESULT:
        return FieldReport.from_bytes(event.data, _PLACE)
    if event.type == INSTALL:
        return InstallReport.from_bytes(event.data, _PLACE)
    return Telemetry.from_bytes(event.data, _PLACE)


def refused(event: Event, code: QuarantineReason, reason: str = "") -> Quarantined:
    """An event that is not believed. reason: what the database shows, where it is more than the code."""
    digest = hashlib.sha256(event.data).hexdigest()
    return Quarantined(
        event.device, event.epoch, event.seq, event.type, reason or code, code, event.data, digest, event
    )


def _unreadable(message: Incoming) -> Quarantined:
    """Which rule it broke, and as much of its id as lets the device forget it."""
    device = topic_device(message.topic)
    attributes = dict(message.properties)
    stated = _ID.fullmatch(attributes.get("id", ""))
    seq = int(stated[3]) if stated is not None else 0
    epoch = stated[2] if stated is not None and seq <= MAX_SEQUENCE else None
    of_another = (stated is not None and stated[1] != device) or attributes.get("source", "") != f"{ROOT}/{device}"
    code: QuarantineReason = "malformed"
    if len(message.payload) > MAX_EVENT_BYTES:
        code = "oversize"
    elif stated is not None and "source" in attributes and of_another:
        code = "wrong_device"
    elif _PLAIN_TYPE.fullmatch(attributes.get("type", "")) and attributes["type"] not in KIND_OF:
        code = "unknown_type"
    kind = attributes.get("type", "")
    return Quarantined(
        device,
        epoch,
        seq if epoch is not None else None,
        kind if _PLAIN_TYPE.fullmatch(kind) else None,
        code,
        code,
        message.payload,
        hashlib.sha256(message.payload).hexdigest(),
        None,
    )
