"""Enrolment with a real database. If these fail, a device takes the place of another, or stays when it is revoked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.bundle.keys import KeyStore
from edge.errors import InputError, SpecError, UntrustedError
from edge.fleet.dev import registry
from edge.fleet.dev.enrol import Offer, builder_keys, enrol_device, read_request_file, revoke_device, write_enrolment
from edge.fleet.dev.registry import Placing
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.enrolment import Request, make_request, new_tls_key, read_enrolment, read_request
from edge.fleet.store.store import Store, open_store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OFFER = Offer("127.0.0.1", 8883)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki.create(tmp_path / "pki", clock=lambda: NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'fleet.db'}", clock=lambda: NOW)
    yield opened
    opened.close()


def request(folder: Path, device: str, key: str) -> Request:
    """key: the same name gives the same Ed25519 key."""
    keys = KeyStore(folder / "home")
    if not (folder / "home" / "keys" / f"{key}.pem").exists():
        keys.create(key, "device")
    data = make_request(device, keys.load_signing_key(key, "device"), new_tls_key())
    return read_request(data, device)


def test_enrol(pki: Pki, store: Store, tmp_path: Path) -> None:
    """An enrolled device is not known to the collector by its key, or its file does not fit."""
    asked = request(tmp_path, "tablet-1", "a")
    placing = Placing(ring="canary", profile="notes", target="rpi5")
    enrolment, renewal = enrol_device(pki, store, asked, OFFER, placing)
    known = registry.find(store, "tablet-1")
    assert known is not None and not renewal
    assert (known.key_fingerprint, known.ring, known.profile, known.target, known.revoked_at) == (
        asked.fingerprint, "canary", "notes", "rpi5", None,
    )  # fmt: skip
    assert known.certificate_serial in {item.serial for item in pki.issued()}
    path = write_enrolment(pki, enrolment, tmp_path)
    assert read_enrolment(path.read_bytes(), "x", device="tablet-1", known_ca=pki.ca.read_bytes()) == enrolment


def test_renewal_keeps_what_was_there(pki: Pki, store: Store, tmp_path: Path) -> None:
    """A renewal moves a device out of its ring, or shuts out its old certificate before the new one arrived."""
    enrol_device(pki, store, request(tmp_path, "tablet-1", "a"), OFFER, Placing(ring="canary"))
    before = registry.find(store, "tablet-1")
    _, renewal = enrol_device(pki, store, request(tmp_path, "tablet-1", "a"), OFFER, Placing())
    after = registry.find(store, "tablet-1")
    assert renewal and before is not None and after is not None
    assert (after.ring, after.enrolled_at) == ("canary", before.enrolled_at)
    assert after.certificate_serial != before.certificate_serial
    assert not any(item.revoked for item in pki.issued())


def test_nobody_takes_a_name(pki: Pki, store: Store, tmp_path: Path) -> None:
    """A request with the name of another device gets its certificate, or a revoked device comes back."""
    enrol_device(pki, store, request(tmp_path, "tablet-1", "a"), OFFER, Placing(ring="canary"))
    issued = len(pki.issued())
    with pytest.raises(UntrustedError, match="another key"):
        enrol_device(pki, store, request(tmp_path, "tablet-1", "b"), OFFER, Placing())
    assert revoke_device(pki, store, "tablet-1") and not revoke_device(pki, store, "tablet-1")
    known = registry.find(store, "tablet-1")
    assert known is not None and known.revoked_at is not None
    with pytest.raises(UntrustedError, match="is revoked"):
        enrol_device(pki, store, request(tmp_path, "tablet-1", "a"), OFFER, Placing())
    assert len(pki.issued()) == issued
    _, renewal = enrol_device(pki, store, request(tmp_path, "tablet-1", "b"), OFFER, Placing(), replace=True)
    known = registry.find(store, "tablet-1")
    assert known is not None and known.revoked_at is None and not renewal and known.ring == "canary"
    assert pki.revoked_names() == ()


def test_a_replaced_device_is_shut_out(pki: Pki, store: Store, tmp_path: Path) -> None:
    """Both the old and the new device have a certificate that counts."""
    enrol_device(pki, store, request(tmp_path, "tablet-1", "a"), OFFER, Placing())
    enrol_device(pki, store, request(tmp_path, "tablet-1", "b"), OFFER, Placing(), replace=True)
    assert sorted(item.revoked for item in pki.issued() if item.name == "tablet-1") == [False, True]


def test_what_cannot_be_offered(pki: Pki, store: Store, tmp_path: Path) -> None:
    """A device is sent to a host for which the broker has no certificate, or a device key passes as a builder's."""
    with pytest.raises(SpecError, match="not for 'elsewhere'"):
        enrol_device(pki, store, request(tmp_path, "tablet-1", "a"), Offer("elsewhere", 8883), Placing())
    assert registry.registered(store) == ()
    keys = KeyStore(tmp_path / "keys")
    keys.create("clinic", "builder")
    keys.create("unit", "device")
    good, bad = tmp_path / "clinic.pub.pem", tmp_path / "unit.pem"
    good.write_bytes(keys.public("clinic").to_pem())
    bad.write_bytes(keys.public("unit").to_pem())
    assert [key.name for key in builder_keys([good])] == ["clinic"]
    with pytest.raises(SpecError, match="device key"):
        builder_keys([bad])
    with pytest.raises(SpecError, match="no such file"):
        read_request_file(tmp_path / "none")
    (tmp_path / "large").write_bytes(b" " * (2 << 20))
    with pytest.raises(InputError, match="too large"):
        read_request_file(tmp_path / "large")


def test_revoking_a_stranger(pki: Pki, store: Store) -> None:
    """A misspelt name looks revoked."""
    with pytest.raises(SpecError, match="no certificate"):
        revoke_device(pki, store, "tablet-9")
    with pytest.raises(SpecError, match="is enrolled"):
        registry.mark_revoked(store, "tablet-9")
