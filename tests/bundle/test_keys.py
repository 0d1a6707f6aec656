"""Keys: when these fail, somebody else signs, a key is lost, or trust is given by accident."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.bundle.keys import KeyInfo, KeyStore, default_home
from edge.bundle.signing import MANIFEST_PURPOSE, PublicKey, grouped
from edge.errors import EdgeError, ExitStatus, ResourceError, SpecError, UntrustedError


@pytest.fixture
def own(tmp_path: Path) -> KeyStore:
    """A home with one builder key."""
    store = KeyStore(tmp_path / "home")
    store.create("anna")
    return store


def public_file(store: KeyStore, name: str, path: Path) -> Path:
    """The public key as it is handed to others."""
    path.write_bytes(store.public(name).to_pem())
    return path


def test_create(own: KeyStore) -> None:
    """If not: the first build cannot be signed, or the key is readable by others."""
    info = KeyInfo("anna", "builder", own.fingerprint("anna"), own=True, trusted=True)
    assert own.list() == (info,)
    path = own.home / "keys" / "anna.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (own.home / "trusted" / "anna.pub.pem").exists()
    assert sorted(item.name for item in own.home.rglob("*.*")) == ["anna.pem", "anna.pub.pem"]
    key = own.load_signing_key()
    own.trust_store().verify(MANIFEST_PURPOSE, b"x", key.sign(MANIFEST_PURPOSE, b"x"), role="builder", where="x")


def test_umask_does_not_open_a_private_key(tmp_path: Path) -> None:
    """If not: a loose umask leaks the key for as long as the write takes."""
    before = os.umask(0)
    try:
        KeyStore(tmp_path / "home").create("anna")
    finally:
        os.umask(before)
    assert (tmp_path / "home/keys/anna.pem").stat().st_mode & 0o777 == 0o600
    assert KeyStore(tmp_path / "home").list()


def test_never_overwrites(own: KeyStore) -> None:
    """If not: one command makes every signed bundle worthless."""
    before = (own.home / "keys/anna.pem").read_bytes()
    for role in ("builder", "device"):
        with pytest.raises(SpecError, match="exists already"):
            own.create("anna", role)
    assert (own.home / "keys/anna.pem").read_bytes() == before
    own.untrust("anna")
    with pytest.raises(SpecError, match="exists already"):
        own.create("anna")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".x", "a b", "x" * 200, "x.pub", "x.pem"])
def test_names(own: KeyStore, name: str) -> None:
    """If not: a key name is a path."""
    for call in (own.create, own.load_signing_key):
        with pytest.raises(SpecError):
            call(name)
    with pytest.raises(SpecError):
        own.create("x", "admin")


def test_trust_and_untrust(own: KeyStore, tmp_path: Path) -> None:
    """If not: a clinic cannot accept its vendor's bundles, or cannot stop accepting them."""
    clinic = KeyStore(tmp_path / "clinic")
    assert clinic.trust_store().keys == clinic.list() == ()
    pem = public_file(own, "anna", tmp_path / "anna.pub.pem")
    info = clinic.trust(pem, "vendor")
    assert info == KeyInfo("vendor", "builder", own.fingerprint("anna"), own=False, trusted=True)
    assert clinic.trust(pem, "vendor") == info
    assert clinic.list() == (info,)
    signature = own.load_signing_key().sign(MANIFEST_PURPOSE, b"x")
    assert clinic.trust_store().verify(MANIFEST_PURPOSE, b"x", signature, role="builder", where="x").name == "vendor"
    clinic.untrust("vendor")
    with pytest.raises(UntrustedError, match="not trusted here"):
        clinic.trust_store().verify(MANIFEST_PURPOSE, b"x", signature, role="builder", where="x")
    with pytest.raises(SpecError, match="no key 'vendor' is trusted"):
        clinic.untrust("vendor")


def test_trust_is_careful(own: KeyStore, tmp_path: Path) -> None:
    """If not: a key slips into a second name or a second role."""
    own.create("tablet", "device")
    clinic = KeyStore(tmp_path / "clinic")
    pem = public_file(own, "anna", tmp_path / "anna.pub.pem")
    clinic.trust(pem, "vendor")
    with pytest.raises(SpecError, match="trusted as 'vendor'"):
        clinic.trust(pem, "again")
    with pytest.raises(SpecError, match="is a builder key, not a device key"):
        clinic.trust(pem, "vendor", "device")
    tablet = public_file(own, "tablet", tmp_path / "tablet.pub.pem")
    with pytest.raises(SpecError, match="is a device key, not a builder key"):
        clinic.trust(tablet, "tablet")
    with pytest.raises(SpecError, match="another key is trusted as 'vendor'"):
        clinic.trust(tablet, "vendor", "device")
    clinic.trust(tablet, "tablet", "device")
    assert [key.role for key in clinic.list()] == ["device", "builder"]


def test_private_key_is_not_handed_out(own: KeyStore, tmp_path: Path) -> None:
    """If not: a user who mixes up two files gives his key away and nobody says so."""
    with pytest.raises(SpecError, match="is a private key"):
        KeyStore(tmp_path / "clinic").trust(own.home / "keys/anna.pem", "anna")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_readable_private_key(own: KeyStore, mode: int) -> None:
    """If not: a key that others may have copied goes on signing."""
    (own.home / "keys/anna.pem").chmod(mode)
    with pytest.raises(UntrustedError, match="chmod 600") as caught:
        own.load_signing_key()
    assert caught.value.status == ExitStatus.UNTRUSTED


@pytest.mark.parametrize("what", ["trusted", "trusted/anna.pub.pem"])
def test_writable_trust(own: KeyStore, what: str) -> None:
    """If not: another user of the tablet decides whom it trusts."""
    (own.home / what).chmod(0o777)
    with pytest.raises(UntrustedError, match="others can change whom you trust"):
        own.trust_store()


def test_which_key_signs(own: KeyStore) -> None:
    """If not: a build is signed by a key nobody chose."""
    with pytest.raises(UntrustedError, match="edge keys new NAME --role device"):
        own.load_signing_key(role="device")
    with pytest.raises(UntrustedError, match="no private key 'ben'"):
        own.load_signing_key("ben")
    with pytest.raises(SpecError, match="is a builder key"):
        own.load_signing_key("anna", "device")
    own.create("ben")
    with pytest.raises(SpecError, match="anna, ben"):
        own.load_signing_key()
    assert own.load_signing_key("ben").name == "ben"
    with pytest.raises(SpecError, match="no key 'carl'"):
        own.public("carl")


@pytest.mark.parametrize(
    "data", [b"", b"Edge-Role: builder\nnonsense", b"Edge-Role: king\n", b"\xff" * 99, b"x" * 99999]
)
def test_broken_files(own: KeyStore, tmp_path: Path, data: bytes) -> None:
    """If not: a damaged key file ends in a traceback."""
    (tmp_path / "x.pem").write_bytes(data)
    (own.home / "keys/anna.pem").write_bytes(data)
    for call in (own.load_signing_key, own.list, lambda: own.trust(tmp_path / "x.pem", "x")):
        with pytest.raises(SpecError) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(SpecError, match="is missing"):
        own.trust(tmp_path / "nothing", "x")


def test_other_kinds_of_key(own: KeyStore, tmp_path: Path) -> None:
    """If not: an RSA key is taken for one of ours."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519

    public = x25519.X25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "x.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, form))
    with pytest.raises(SpecError, match="not an Ed25519 public key"):
        own.trust(tmp_path / "x.pem", "x")


def test_pem_is_that_of_the_world(own: KeyStore, tmp_path: Path) -> None:
    """If not: a key made by a hardware token's tool cannot be trusted, or ours cannot be read by others."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    ours = serialization.load_pem_public_key(own.public("anna").to_pem())
    assert isinstance(ours, Ed25519PublicKey)
    assert ours.public_bytes_raw() == own.public("anna").raw
    other = Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "token.pem").write_bytes(other.public_bytes(serialization.Encoding.PEM, form))
    own.trust(tmp_path / "token.pem", "token")
    assert own.public("token") == PublicKey("token", "builder", other.public_bytes_raw())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_it(own: KeyStore, tmp_path: Path) -> None:
    """If not: an auditor needs our code to check a signature."""
    signature = own.load_signing_key().sign(MANIFEST_PURPOSE, b"data")
    (tmp_path / "signature").write_bytes(signature.value)
    (tmp_path / "data").write_bytes(MANIFEST_PURPOSE + b"data")
    pem = public_file(own, "anna", tmp_path / "anna.pem")
    command = f"openssl pkeyutl -verify -pubin -inkey {pem} -rawin -in {tmp_path}/data -sigfile {tmp_path}/signature"
    done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout, done.stderr


def test_secrets_are_not_shown(own: KeyStore) -> None:
    """If not: a log or a traceback carries the key."""
    key = own.load_signing_key()
    assert repr(key) == f"SigningKey('anna', 'builder', '{grouped(key.fingerprint)}')"
    assert len(grouped(key.fingerprint)) == 19


def test_litter_is_ignored(own: KeyStore) -> None:
    """If not: an editor's backup or a killed write counts as a key."""
    for folder in ("keys", "trusted"):
        for name in (".anna.pem.0123abcd.part", "anna.pub.pem~", "README", ".pub.pem"):
            (own.home / folder / name).write_bytes(b"x")
    assert [key.name for key in own.list()] == ["anna"]


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: keys are looked for in another place than they were made."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "h"))
    assert default_home() == KeyStore().home == tmp_path / "h"
    monkeypatch.delenv("EDGE_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert default_home() == tmp_path / "xdg" / "edge"


def test_home_cannot_be_written(tmp_path: Path) -> None:
    """If not: a full or read-only disk ends in a traceback."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError) as caught:
        KeyStore(tmp_path / "file").create("anna")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, EdgeError)
