"""If these fail, a request or an enrolment can be changed on its way, or is taken in by the wrong device or fleet."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.keys import KeyStore
from edge.bundle.signing import SigningKey
from edge.errors import EdgeError, InputError, SpecError, UntrustedError
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.certificates import certificate_pem
from edge.fleet.pki.enrolment import (
    Enrolment,
    ca_fingerprint,
    make_enrolment,
    make_request,
    new_tls_key,
    read_enrolment,
    read_request,
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    store = KeyStore(tmp_path_factory.mktemp("home"))
    store.create("unit", "device")
    return store.load_signing_key("unit", "device")


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    store = KeyStore(tmp_path_factory.mktemp("other"))
    store.create("unit", "device")
    return store.load_signing_key("unit", "device")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.create(tmp_path_factory.mktemp("fleet") / "pki")


def changed(data: bytes, **values: Any) -> bytes:
    return json.dumps({**json.loads(data), **values}).encode()


def enrolled(pki: Pki, device: str, tls_key: bytes, key: SigningKey, **more: Any) -> Enrolment:
    request = read_request(make_request(device, key, tls_key), "x")
    certificate = certificate_pem(pki.issue(device, request.tls_key))
    return Enrolment(device, certificate, pki.ca.read_bytes(), "127.0.0.1", 8883, **more)


def test_request_round_trip(key: SigningKey) -> None:
    """What the device asked for is not what the fleet reads; or a secret is in the file."""
    data = make_request("tablet-1", key, new_tls_key())
    request = read_request(data, "x")
    assert (request.device, request.public_raw, request.fingerprint) == ("tablet-1", key.raw_public, key.fingerprint)
    assert b"PRIVATE" not in data


def test_no_key_can_be_swapped(key: SigningKey, other_key: SigningKey) -> None:
    """Somebody puts his own key beside another's and gets that device's certificate or its results."""
    mine = make_request("tablet-1", key, new_tls_key())
    other = json.loads(make_request("tablet-1", other_key, new_tls_key()))
    same_key = json.loads(make_request("tablet-1", key, new_tls_key()))
    for values in (
        {"csr": other["csr"]},
        {"public_key": other["public_key"]},
        {"public_key": other["public_key"], "signature": other["signature"]},
        {"csr": same_key["csr"]},  # signed by the same key, but not for this TLS key
        {"device": "tablet-2"},
    ):
        with pytest.raises(UntrustedError):
            read_request(changed(mine, **values), "x")


def test_the_tls_key_vouches_for_the_device_key(key: SigningKey, other_key: SigningKey) -> None:
    """A device key signs a request for a TLS key whose owner never said so."""
    from edge.fleet.pki import enrolment as format_of

    foreign = json.loads(make_request("tablet-1", other_key, new_tls_key()))["csr"]
    mine = format_of.RequestFile.from_bytes(make_request("tablet-1", key, new_tls_key()), "x")
    forged = mine.model_copy(update={"csr": foreign})
    signature = key.sign(format_of.REQUEST_PURPOSE, forged.signed_bytes())
    forged = forged.model_copy(update={"signature": base64.b64encode(signature.value).decode()})
    with pytest.raises(UntrustedError, match="vouch"):
        read_request(forged.to_bytes(), "x")


def test_requests_that_are_none(key: SigningKey, tmp_path: Path) -> None:
    """A request of the future or a broken one is half understood."""
    data = make_request("tablet-1", key, new_tls_key())
    for bad in (changed(data, version=2), changed(data, extra=1), changed(data, kind="x"), b"", b"[]", b"\xff",
                changed(data, public_key="AAAA"), b" " * (2 << 20)):  # fmt: skip
        with pytest.raises(InputError):
            read_request(bad, "x")
    for name in ("collector", "operator-1", "A", "x" * 65):
        with pytest.raises(InputError):
            make_request(name, key, new_tls_key())
    store = KeyStore(tmp_path)
    store.create("b", "builder")
    with pytest.raises(SpecError, match="builder key"):
        make_request("tablet-1", store.load_signing_key("b"), new_tls_key())
    with pytest.raises(SpecError, match="private TLS key"):
        make_request("tablet-1", key, b"-----BEGIN nothing")


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Bytes on a stick end in a traceback."""
    for read in (read_request, read_enrolment):
        with pytest.raises(EdgeError):
            read(data, "x")


def test_any_change_is_noticed(key: SigningKey) -> None:
    """One changed character of a request passes."""
    data = make_request("tablet-1", key, new_tls_key())
    before = read_request(data, "x")
    for at in range(0, len(data) - 1, 37):
        try:
            after = read_request(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "x")
        except EdgeError:
            continue
        assert (after.device, after.public_raw, after.tls_key) == (before.device, before.public_raw, before.tls_key)


def test_enrolment_round_trip(pki: Pki, key: SigningKey, tmp_path: Path) -> None:
    """What the fleet says does not arrive, or the file holds a secret."""
    store = KeyStore(tmp_path)
    store.create("clinic-builder")
    tls_key = new_tls_key()
    made = enrolled(
        pki, "tablet-1", tls_key, key, updates=("https://fleet.internal/repo/",),
        builders=(store.public("clinic-builder"),), tuf_root=b'{"signed": "\\u00fc"}',
    )  # fmt: skip
    data = make_enrolment(made, pki.sign)
    assert read_enrolment(data, "x", device="tablet-1", tls_key_pem=tls_key, known_ca=made.ca) == made
    assert b"PRIVATE" not in data
    assert made.ca_fingerprint == ca_fingerprint(pki.root) and made.not_after.year > 2027


def test_enrolment_for_somebody_else(pki: Pki, key: SigningKey, tmp_path: Path) -> None:
    """A device takes in what is another's, another key's or another fleet's."""
    tls_key = new_tls_key()
    data = make_enrolment(enrolled(pki, "tablet-1", tls_key, key), pki.sign)
    other = Pki.create(tmp_path / "pki")
    with pytest.raises(UntrustedError, match="is for tablet-1"):
        read_enrolment(data, "x", device="tablet-2")
    with pytest.raises(UntrustedError, match="another key"):
        read_enrolment(data, "x", tls_key_pem=new_tls_key())
    with pytest.raises(UntrustedError, match="another fleet"):
        read_enrolment(data, "x", known_ca=other.ca.read_bytes())
    with pytest.raises(UntrustedError, match="not a certificate of this fleet"):
        read_enrolment(changed(data, ca=other.ca.read_text()), "x")
    with pytest.raises(UntrustedError, match="not one of a device"):
        read_enrolment(changed(data, device="tablet-2"), "x")
    for part in ("broker", "collector"):
        with pytest.raises(UntrustedError, match="not one of a device"):
            read_enrolment(changed(data, certificate=pki.certificate_of(part).read_text()), "x")


def test_nobody_puts_a_builder_into_it(pki: Pki, key: SigningKey, tmp_path: Path) -> None:
    """Who has the stick for a minute becomes a builder whom the device trusts, and the fingerprint still compares."""
    tls_key = new_tls_key()
    store = KeyStore(tmp_path)
    store.create("stranger")
    data = make_enrolment(enrolled(pki, "tablet-1", tls_key, key), pki.sign)
    mine = {"name": "clinic", "public_key": store.public("stranger").to_pem().decode()}
    for values in ({"builders": [mine]}, {"tuf_root": "{}"}, {"updates": ["https://elsewhere.example/"]},
                   {"broker_host": "elsewhere.example"}, {"broker_port": 1}, {"signature": "AAAA"}):  # fmt: skip
        with pytest.raises(UntrustedError, match="changed after the fleet signed it"):
            read_enrolment(changed(data, **values), "x", device="tablet-1", tls_key_pem=tls_key)
    unsigned = {name: value for name, value in json.loads(data).items() if name != "signature"}
    with pytest.raises(InputError):
        read_enrolment(json.dumps(unsigned).encode(), "x")


def test_certificates_of_odd_kinds(pki: Pki, key: SigningKey) -> None:
    """A certificate with a key that nobody knows, or a broken root on the device, ends in a traceback."""
    data = make_enrolment(enrolled(pki, "tablet-1", new_tls_key(), key), pki.sign)
    oid = bytes.fromhex("06072a8648ce3d0201")  # id-ecPublicKey
    der = x509.load_pem_x509_certificate(json.loads(data)["certificate"].encode()).public_bytes(Encoding.DER)
    for harm in (
        lambda raw: raw.replace(oid, oid[:-1] + b"\x7f"),
        lambda raw: raw.replace(b"\x55\x1d\x25", b"\x55\x1d\x13"),
    ):
        text = base64.b64encode(harm(der)).decode()
        pem = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        with pytest.raises((InputError, UntrustedError)):
            read_enrolment(changed(data, certificate=pem), "x", tls_key_pem=new_tls_key())
    with pytest.raises(SpecError, match="cannot be read"):
        read_enrolment(data, "x", known_ca=b"half a file")


@pytest.mark.parametrize(
    "change",
    [lambda: {"version": 2}, lambda: {"broker_port": 0}, lambda: {"broker_host": "a b"}, lambda: {"certificate": "x"},
     lambda: {"updates": ["http://plain.example/"]}, lambda: {"builders": [{"name": "a", "public_key": "x"}]},
     lambda: {"more": True}],
)  # fmt: skip
def test_enrolments_that_are_none(pki: Pki, key: SigningKey, change: Callable[[], dict[str, Any]]) -> None:
    """A broken enrolment, one of the future, or one with an unsafe place is half understood."""
    with pytest.raises(InputError):
        good = make_enrolment(enrolled(pki, "tablet-1", new_tls_key(), key), pki.sign)
        read_enrolment(changed(good, **change()), "x")


def test_a_host_that_cannot_be_written(pki: Pki, key: SigningKey) -> None:
    """An enrolment is handed out that no device can read."""
    good = enrolled(pki, "tablet-1", new_tls_key(), key)
    with pytest.raises(InputError, match="cannot be written"):
        make_enrolment(Enrolment(good.device, good.certificate, good.ca, "a b", 8883), pki.sign)
