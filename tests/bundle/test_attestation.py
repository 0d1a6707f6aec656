"""Attestations: when these fail, a device runs what it failed, or claims what it never measured."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle.attestation import (
    EARLIEST_PLAUSIBLE_TIME,
    Attestation,
    Check,
    new_attestation,
    newest,
    read_clock,
    verdict_of,
    write_attestation,
)
from edge.bundle.canonical import canonical_json
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.bundle.signing import ATTESTATION_PURPOSE, SigningKey, Trust
from edge.errors import BundleError, EdgeError, SpecError, UntrustedError

GOOD = (Check("golden", True, 12, 12), Check("energy", None, detail="no sensor"))
BAD = (*GOOD, Check("ttft_ms", False, 900.5, 800.0))
NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)


def attest(bundle: Path, trust: Trust, key: SigningKey, checks: Any = GOOD, device: str = "pi", **more: Any) -> Path:
    """Write the next attestation of a bundle."""
    opened = open_bundle(bundle, trust)
    item = new_attestation(opened, device_class=device, device={"arch": "aarch64"}, checks=checks, result=b"{}", **more)
    return write_attestation(bundle, item, key)


@pytest.fixture
def attested(bundle: Path, trust: Trust, device_key: SigningKey) -> Path:
    """A bundle with one attestation."""
    attest(bundle, trust, device_key, clock=lambda: NOON)
    return bundle


def test_write_and_open(bundle: Path, trust: Trust, device_key: SigningKey) -> None:
    """If not: what a device proved is not there when it starts again."""
    path = attest(bundle, trust, device_key, clock=lambda: NOON)
    opened = open_bundle(bundle, trust)
    found = opened.attestation_for("pi")
    assert found is not None
    assert found.passed
    assert found.measured_at == "2026-12-24T12:00:00Z"
    assert found.clock_trusted
    assert found.checks == GOOD
    assert found.bundle_digest == opened.bundle_digest
    assert opened.attestation_for("other") is None
    assert path.name == f"pi.000001.{device_key.fingerprint[:8]}.json"
    assert path.read_bytes() == canonical_json(json.loads(path.read_bytes()))


def test_newest_decides(bundle: Path, trust: Trust, device_key: SigningKey) -> None:
    """If not: a device that failed today runs because it passed last month, or the other way round."""
    for checks, passed in ((GOOD, True), (BAD, False), (GOOD, True)):
        attest(bundle, trust, device_key, checks)
        found = open_bundle(bundle, trust).attestation_for("pi")
        assert found is not None
        assert found.passed is passed
    attest(bundle, trust, device_key, BAD, "tablet")
    opened = open_bundle(bundle, trust)
    assert [item.sequence for item in opened.attestations] == [1, 2, 3, 1]
    assert opened.attestation_for("pi").passed  # type: ignore[union-attr]
    assert not opened.attestation_for("tablet").passed  # type: ignore[union-attr]


def test_equal_sequence_the_failure_wins(bundle: Path, trust: Trust) -> None:
    """If not: of two tablets of one class the one that failed is not heard."""
    opened = open_bundle(bundle, trust)
    items = [
        new_attestation(opened, device_class="pi", device={}, checks=checks, result=b"", clock=lambda: NOON)
        for checks in (GOOD, BAD)
    ]
    for order in itertools.permutations(items):
        assert newest(order, "pi") == items[1]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), None),
        (EARLIEST_PLAUSIBLE_TIME - timedelta(seconds=1), None),
        (EARLIEST_PLAUSIBLE_TIME, "2026-11-01T00:00:00Z"),
        (datetime(2026, 12, 24, 1, tzinfo=timezone(timedelta(hours=2))), "2026-12-23T23:00:00Z"),
    ],
)
def test_clock_in_the_past(bundle: Path, trust: Trust, device_key: SigningKey, now: datetime, expected: Any) -> None:
    """If not: a tablet with an empty battery signs results of 1970, or cannot sign at all."""
    attest(bundle, trust, device_key, clock=lambda: now)
    found = open_bundle(bundle, trust).attestation_for("pi")
    assert found is not None
    assert found.measured_at == expected
    assert found.clock_trusted is (expected is not None)
    assert bool(found.clock_reason) is (expected is None)
    assert found.passed


def test_clock_that_went_back(bundle: Path, trust: Trust, device_key: SigningKey) -> None:
    """If not: times in one bundle contradict each other and nobody says so; the newer still decides."""
    attest(bundle, trust, device_key, GOOD, clock=lambda: NOON)
    attest(bundle, trust, device_key, BAD, clock=lambda: NOON - timedelta(days=1))
    found = open_bundle(bundle, trust).attestation_for("pi")
    assert found is not None
    assert (found.measured_at, found.passed) == (None, False)
    assert "before an earlier attestation" in found.clock_reason


def test_today_is_plausible() -> None:
    """If not: EARLIEST_PLAUSIBLE_TIME lies in the future and no attestation ever carries a time."""
    assert read_clock()[1]


def test_builder_key_does_not_attest(bundle: Path, trust: Trust, key: SigningKey) -> None:
    """If not: a build host claims what only a device can show."""
    with pytest.raises(SpecError, match="device key"):
        attest(bundle, trust, key)


def test_unknown_device_does_not_count(bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """If not: anybody's result opens the gate. The bundle still opens: it may carry results of others."""
    other = KeyStore(tmp_path / "other")
    other.create("stranger", "device")
    path = attest(bundle, trust, other.load_signing_key(role="device"))
    opened = open_bundle(bundle, trust)
    assert opened.attestations == ()
    assert opened.untrusted_attestations == (f"attestations/{path.name}",)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit(attested: Path, trust: Trust, at: int, bit: int) -> None:
    """If not: "failed" becomes "passed" by one bit. A changed key id makes it a stranger's, which never counts."""
    (path,) = (attested / "attestations").iterdir()
    good = path.read_bytes()
    bad = bytearray(good)
    bad[at % len(bad)] ^= 1 << bit
    path.write_bytes(bad)
    try:
        opened = open_bundle(attested, trust)
    except EdgeError as error:
        assert "\n" not in str(error)
    else:
        assert opened.attestations == ()
        assert opened.untrusted_attestations
    finally:
        path.write_bytes(good)


def resign(path: Path, key: SigningKey, **change: Any) -> None:
    """Change an attestation and sign it again."""
    value = json.loads(path.read_bytes())["attestation"] | change
    signature = key.sign(ATTESTATION_PURPOSE, canonical_json(value)).to_json()
    path.write_bytes(canonical_json({"attestation": value, "signature": signature}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "schema version 2 is not known"),
        ({"mood": "good"}, "key 'mood' is not known"),
        ({"bundle_digest": "0" * 64}, "another bundle"),
        ({"behaviour_digest": "0" * 64}, "another bundle"),
        ({"verdict": "failed"}, "does not follow from the checks"),
        ({"checks": []}, "does not follow from the checks"),
        ({"checks": [{"name": "golden", "passed": 1, "measured": 1, "budget": 1, "detail": ""}]}, "outcome"),
        ({"checks": [{"name": "golden", "passed": True}]}, "is missing"),
        ({"checks": "all"}, "not a list"),
        ({"measured_at": None}, "clock that is not believed"),
        ({"measured_at": "yesterday"}, "RFC 3339"),
        ({"measured_at": "2026-13-45T12:00:00Z"}, "RFC 3339"),
        ({"clock_trusted": False}, "not believed"),
        ({"clock_reason": "because"}, "reason"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"device_class": "../x"}, "device class"),
        ({"device": []}, "device is not an object"),
        ({"result_sha256": "x"}, "sha256"),
    ],
)
def test_contradictions(bundle: Path, trust: Trust, device_key: SigningKey, change: dict[str, Any], says: str) -> None:
    """If not: a signed result that makes no sense, or of a later edge, is half understood."""
    path = attest(bundle, trust, device_key, clock=lambda: NOON)
    resign(path, device_key, **change)
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle, trust)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_changed_result(bundle: Path, trust: Trust, device_key: SigningKey) -> None:
    """If not: a result can be edited after it was signed."""
    path = attest(bundle, trust, device_key)
    path.write_bytes(path.read_bytes().replace(b'"aarch64"', b'"aarch65"'))
    with pytest.raises(UntrustedError, match="was changed after"):
        open_bundle(bundle, trust)


def test_verdict() -> None:
    """If not: a run that measured nothing passes."""
    assert verdict_of(GOOD) == "passed"
    assert verdict_of(BAD) == "failed"
    assert verdict_of([]) == "failed"
    assert verdict_of([Check("energy", None)]) == "failed"


def test_round_trip(bundle: Path, trust: Trust) -> None:
    """If not: an attestation reads back other than it was signed."""
    item = new_attestation(open_bundle(bundle, trust), device_class="pi", device={"a": (1,)}, checks=BAD, result=b"")
    assert Attestation.from_json(json.loads(canonical_json(item.to_json())), "x") == item
    with pytest.raises(dataclasses.FrozenInstanceError):
        item.verdict = "passed"  # type: ignore[misc]


def test_unfinished_write_is_cleared(bundle: Path, trust: Trust, device_key: SigningKey) -> None:
    """If not: litter of killed runs grows in the bundle."""
    (bundle / "attestations").mkdir()
    litter = bundle / "attestations" / ".pi.000001.x.json.0123abcd.part"
    litter.write_bytes(b"half")
    attest(bundle, trust, device_key)
    assert not litter.exists()
    assert open_bundle(bundle, trust).attestations
