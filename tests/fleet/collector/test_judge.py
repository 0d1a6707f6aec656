"""Every kind of message that is not to be believed, and that the rest is."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.signing import SigningKey
from edge.errors import EdgeError
from edge.fleet.collector.judge import NOBODY, Accepted, Judge, KnownDevice, Moment, Quarantined, topic_device
from edge.fleet.collector.packets import Incoming
from edge.fleet.wire.event import MAX_EVENT_BYTES, Event, sign_event, verify_event
from edge.fleet.wire.report import BandwidthReport, FieldReport
from tests.fleet.collector.parts import EPOCH, REPORT, REPORT_BYTES, incoming, new_key, result, telemetry

NOW = Moment.at(datetime(2026, 11, 22, 12, tzinfo=UTC))
KEY, OTHER = new_key("tablet-1"), new_key("tablet-2")


def known(key: SigningKey, *, revoked: bool = False) -> KnownDevice:
    return KnownDevice(key.name, Ed25519PublicKey.from_public_bytes(key.raw_public), key.fingerprint, revoked)


KNOWN = {KEY.name: known(KEY), OTHER.name: known(OTHER)}
JUDGE = Judge({})


def judged(message: Incoming, devices: dict[str, KnownDevice] = KNOWN, judge: Judge = JUDGE) -> Any:
    return judge.message(message, devices, NOW)


def with_attribute(message: Incoming, name: str, value: str | None) -> Incoming:
    pairs = [(found, text) for found, text in message.properties if found != name]
    return message._replace(properties=pairs + ([(name, value)] if value is not None else []))


def report_bytes(**changes: Any) -> bytes:
    return REPORT.model_copy(update=changes).to_bytes()


def test_good_messages_are_accepted() -> None:
    """If not: nothing that a device sends is ever believed."""
    for event in (result(KEY, 1), telemetry(KEY, 2), result(OTHER, 1, time="2026-11-22T11:59:00Z")):
        verdict = judged(incoming(event))
        assert isinstance(verdict, Accepted)
        assert verdict.event == event
        assert not verdict.clock_wrong
    assert verdict.event_time == "2026-11-22T11:59:00Z"


def typed(kind: str) -> Incoming:
    """A rightly signed message of another type."""
    message = incoming(result(KEY, 1))
    event = sign_event(KEY, device=KEY.name, epoch=EPOCH, seq=1, type=kind, data=REPORT_BYTES)
    signed = with_attribute(message, "edgesig", base64.b64encode(event.signature).decode())
    return with_attribute(signed, "type", kind)


FORGED = sign_event(OTHER, device=KEY.name, epoch=EPOCH, seq=1, type=result(KEY, 1).type, data=REPORT_BYTES)
BAD: dict[str, tuple[Incoming, str]] = {
    "unknown device": (incoming(result(new_key("stranger"), 1)), "unknown_device"),
    "another's signature": (incoming(FORGED), "wrong_key"),
    "another's signature under this key's name": (
        with_attribute(incoming(FORGED), "edgekey", KEY.fingerprint), "forged"),
    "data changed": (incoming(result(KEY, 1), payload=REPORT_BYTES.replace(b"true", b"null", 1)), "forged"),
    "replayed under the next number": (
        with_attribute(incoming(result(KEY, 1)), "id", f"{KEY.name}/{EPOCH}/2"), "forged"),
    "another type": (
        with_attribute(incoming(telemetry(KEY, 1)), "type", "org.edge-kit.telemetry.v2"), "forged"),
    "result for another device": (incoming(result(OTHER, 1), topic=f"edge/v1/{KEY.name}/up/result"), "wrong_device"),
    "source of another": (with_attribute(incoming(result(KEY, 1)), "source", "edge/v1/tablet-2"), "wrong_device"),
    "no id": (with_attribute(incoming(result(KEY, 1)), "id", None), "malformed"),
    "no signature": (with_attribute(incoming(result(KEY, 1)), "edgesig", None), "malformed"),
    "number too large": (with_attribute(incoming(result(KEY, 1)), "id", f"{KEY.name}/{EPOCH}/{2**63}"), "malformed"),
    "no attributes": (incoming(result(KEY, 1), properties=[]), "malformed"),
    "oversize": (incoming(result(KEY, 1), payload=b"x" * (MAX_EVENT_BYTES + 1)), "oversize"),
    "not JSON": (incoming(result(KEY, 1, b"\xff\xfe{")), "schema"),
    "a field that is not known": (incoming(result(KEY, 1, b'{"patient":"x",' + REPORT_BYTES[1:])), "schema"),
    "schema from the future": (incoming(result(KEY, 1, b'{"version":2,"new":1}')), "future_schema"),
    "type from the future": (typed("org.edge-kit.result.v2"), "future_schema"),
    "type of nobody": (typed("org.edge-kit.weather.v1"), "unknown_type"),
    "type of another maker": (typed("com.example.thing"), "unknown_type"),
    "too fast": (incoming(result(KEY, 1, report_bytes(decode=tuple(
        one.model_copy(update={"tokens_per_s": 1e6}) for one in REPORT.decode)))), "implausible"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_is_quarantined(name: str) -> None:
    """If not: this kind of message counts as a result, or is dropped without a word."""
    message, code = BAD[name]
    verdict = judged(message)
    assert isinstance(verdict, Quarantined)
    assert verdict.code == code
    assert verdict.reason.split(":")[0] == code
    assert verdict.data == message.payload


def test_revoked_device() -> None:
    """If not: a device that was stolen still has a say."""
    verdict = judged(incoming(result(KEY, 1)), {KEY.name: known(KEY, revoked=True)})
    assert verdict.code == "revoked"


def test_what_can_be_acknowledged_is() -> None:
    """If not: a device sends a message that is refused again and again, for ever."""
    for name, (message, _) in BAD.items():
        if name not in ("no id", "number too large", "no attributes"):
            verdict = judged(message)
            assert (verdict.epoch, type(verdict.seq)) == (EPOCH, int), name
    for name in ("no id", "number too large", "no attributes"):
        assert judged(BAD[name][0]).seq is None


def test_published_bandwidth_counts() -> None:
    """If not: a device that claims a memory ten times its data sheet's is believed."""
    rule = REPORT.bandwidth
    assert isinstance(rule, BandwidthReport)
    published = rule.limit_bytes_per_s / 20
    verdict = judged(incoming(result(KEY, 1)), judge=Judge({REPORT.target: published}))
    assert verdict.reason == "implausible:bandwidth_of_no_such_device"
    assert isinstance(judged(incoming(result(KEY, 1)), judge=Judge({REPORT.target: published * 20})), Accepted)


@pytest.mark.parametrize(
    "time", ["1970-01-01T00:00:00Z", "2019-05-01T00:00:00Z", "2026-11-24T12:00:00Z", "2099-01-01T00:00:00.5Z",
             "2026-13-40T99:99:99Z", "2026-02-30T00:00:00Z"]
)  # fmt: skip
def test_clock_off_by_years(time: str) -> None:
    """If not: a result of 1970 is oldest, or one of 2099 newest, for ever; or the result is lost for its clock."""
    verdict = judged(incoming(result(KEY, 1, time=time)))
    assert isinstance(verdict, Accepted)
    assert verdict.clock_wrong
    assert verdict.event_time is None


@given(
    st.text(max_size=60),
    st.binary(max_size=100),
    st.lists(
        st.tuples(
            st.sampled_from(["specversion", "id", "source", "type", "time", "edgesig", "edgekey", "x"]),
            st.one_of(st.text(max_size=40), st.sampled_from(["1.0", f"{KEY.name}/{EPOCH}/1", KEY.fingerprint])),
        ),
        max_size=9,
    ),
)
def test_any_message_gets_a_verdict(topic: str, payload: bytes, pairs: list[tuple[str, str]]) -> None:
    """If not: a message of nonsense ends the thread that owns the database."""
    message = Incoming(f"edge/v1/{topic}", payload, pairs, 1, 1, False, False, 0)
    verdict = judged(message)
    assert isinstance(verdict, Quarantined)
    assert verdict.device == NOBODY or verdict.device == topic.split("/")[0]


@given(st.binary(max_size=200), st.integers(1, 2**63 - 1), st.integers(0, 63), st.integers(1, 255))
def test_signature_is_checked_as_the_wire_says(data: bytes, seq: int, place: int, change: int) -> None:
    """If not: this check of a signature, written for speed, and `verify_event` do not agree."""
    event = sign_event(KEY, device=KEY.name, epoch=EPOCH, seq=seq, type=result(KEY, 1).type, data=data)
    broken = bytearray(event.signature)
    broken[place] ^= change
    for one in (event, replace(event, signature=bytes(broken)), replace(event, data=data + b" ")):
        verdict = JUDGE.event(one, KNOWN[KEY.name], NOW)
        assert isinstance(verdict, Quarantined)
        assert (verdict.code == "forged") == (not verifies(one))


def verifies(event: Event) -> bool:
    try:
        verify_event(event, KEY.raw_public)
    except EdgeError:
        return False
    return True


@given(st.text(max_size=120))
def test_topic_names_a_device_or_nobody(name: str) -> None:
    """If not: rows appear under names that no device can have."""
    found = topic_device(f"edge/v1/{name}/up/result")
    assert found == NOBODY or name.startswith(found)


def test_a_report_is_two_kilobytes() -> None:
    """If not: benchmarks with these reports measure something else than the field sends."""
    assert 1500 < len(REPORT_BYTES) < 4000
    assert isinstance(FieldReport.from_bytes(REPORT_BYTES, "x"), FieldReport)
