"""Events. When these fail, results are forged, mixed up between devices, or lost as unreadable."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle.keys import KeyStore
from edge.bundle.signing import SigningKey
from edge.errors import InputError, UntrustedError
from edge.fleet.wire import event as wire
from tests.fleet.wire.test_topics import NAMES


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """A device key."""
    store = KeyStore(tmp_path_factory.mktemp("home"))
    store.create("tablet", "device")
    return store.load_signing_key("tablet", "device")


def made(key: SigningKey, data: bytes = b'{"version":1}', **changes: object) -> wire.Event:
    """A signed event of tablet-1."""
    given: dict[str, object] = {"device": "tablet-1", "epoch": "0a1b2c3d", "seq": 7, "type": wire.RESULT}
    return wire.sign_event(key, data=data, **(given | changes))  # type: ignore[arg-type]


@given(NAMES, st.integers(1, wire.MAX_SEQUENCE), st.sampled_from(sorted(wire.KIND_OF)), st.binary(max_size=200))
@settings(max_examples=50)
def test_over_the_wire_and_back(key: SigningKey, device: str, seq: int, type: str, data: bytes) -> None:
    """If not: what a collector checks is not what the device signed."""
    sent = made(key, data, device=device, seq=seq, type=type, time="2026-11-22T12:00:00Z")
    read = wire.from_mqtt(*wire.to_mqtt(sent))
    assert read == sent
    wire.verify_event(read, key.raw_public)


@pytest.mark.parametrize(
    "change",
    [{"data": b'{"version":2}'}, {"seq": 8}, {"epoch": "ffffffff"}, {"device": "tablet-2"}, {"type": wire.TELEMETRY},
     {"signature": bytes(64)}],
)  # fmt: skip
def test_nothing_signed_can_be_changed(key: SigningKey, change: dict[str, object]) -> None:
    """If not: a result is moved to another device, another sequence or another meaning."""
    sent = made(key)
    with pytest.raises(UntrustedError):
        wire.verify_event(wire.Event(**(vars(sent) | change)), key.raw_public)  # type: ignore[arg-type]


def test_another_devices_key(key: SigningKey, tmp_path: Path) -> None:
    """If not: one stolen tablet speaks for all."""
    store = KeyStore(tmp_path)
    store.create("other", "device")
    with pytest.raises(UntrustedError):
        wire.verify_event(made(key), store.load_signing_key("other", "device").raw_public)


SPOILT = {
    "another device's topic": lambda t, p, u: ("edge/v1/tablet-2/up/result", p, u),
    "the type of another topic": lambda t, p, u: ("edge/v1/tablet-1/up/telemetry", p, u),
    "a topic that is no event's": lambda t, p, u: ("edge/v1/tablet-1/up/state", p, u),
    "no signature": lambda t, p, u: (t, p, [pair for pair in u if pair[0] != "edgesig"]),
    "no id": lambda t, p, u: (t, p, [pair for pair in u if pair[0] != "id"]),
    "two ids": lambda t, p, u: (t, p, [*u, ("id", "tablet-1/0a1b2c3d/8")]),
    "sequence 0": lambda t, p, u: (t, p, [("id", "tablet-1/0a1b2c3d/0"), *u[2:], u[0]]),
    "sequence beyond 63 bits": lambda t, p, u: (t, p, [("id", f"tablet-1/0a1b2c3d/{1 << 63}"), *u[2:], u[0]]),
    "no base64": lambda t, p, u: (t, p, [(n, "?" if n == "edgesig" else v) for n, v in u]),
    "another version": lambda t, p, u: (t, p, [(n, "2.0" if n == "specversion" else v) for n, v in u]),
    "too large": lambda t, p, u: (t, bytes(wire.MAX_EVENT_BYTES + 1), u),
    "an odd time": lambda t, p, u: (t, p, [*u, ("time", "yesterday")]),
}


@pytest.mark.parametrize("name", SPOILT)
def test_malformed_is_one_line(key: SigningKey, name: str) -> None:
    """If not: a device gone mad stops the collector."""
    with pytest.raises(InputError):
        wire.from_mqtt(*SPOILT[name](*wire.to_mqtt(made(key))))


def test_an_attribute_more_is_no_error(key: SigningKey) -> None:
    """If not: a broker or a newer device that adds a trace id is cut off."""
    topic, payload, properties = wire.to_mqtt(made(key))
    assert wire.from_mqtt(topic, payload, [*properties, ("traceparent", "00-1")]) == made(key)


def test_a_type_of_a_newer_edge_is_read(key: SigningKey) -> None:
    """If not: it could not even be set aside with its name."""
    topic, payload, properties = wire.to_mqtt(made(key))
    newer = [(n, "org.edge-kit.result.v2" if n == "type" else v) for n, v in properties]
    assert wire.from_mqtt(topic, payload, newer).type == "org.edge-kit.result.v2"


def test_an_oversize_event_is_refused_when_it_is_made(key: SigningKey) -> None:
    """If not: one large result makes the device reconnect for ever."""
    with pytest.raises(InputError):
        made(key, bytes(wire.MAX_EVENT_BYTES + 1))
