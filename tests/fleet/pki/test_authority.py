"""If these fail, the fleet's PKI can be overwritten, torn, read by others, or forgets what it revoked."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edge.errors import ClockError, EdgeError, InputError, SpecError, UntrustedError
from edge.fleet.pki import certificates as make
from edge.fleet.pki.authority import ISSUED, LOCK, ROOT_KEY, STATE, Pki, _load

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def made(folder: Path, now: datetime = NOW) -> Pki:
    return Pki.create(folder / "pki", clock=lambda: now)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_pki(tmp_path: Path) -> None:
    """The parts that a fleet starts with are missing, or a private key can be read by others."""
    pki = made(tmp_path)
    assert [item.name for item in pki.issued()] == ["broker", "collector", "operator", "page"]
    keys = list(pki.folder.rglob("*.key"))
    assert len(keys) == 5 and {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    again = Pki.open(pki.folder, clock=lambda: NOW)
    assert (again.hosts, again.fleet, again.issued()) == (pki.hosts, pki.fleet, pki.issued())


def test_never_overwritten(tmp_path: Path) -> None:
    """A second `init` destroys the fleet."""
    before = files(made(tmp_path).folder)
    with pytest.raises(SpecError, match="never overwritten"):
        made(tmp_path)
    assert files(tmp_path / "pki") == before


def test_two_runs_make_one(tmp_path: Path) -> None:
    """Two `init` at once mix two roots in one folder."""
    errors: list[EdgeError] = []

    def run() -> None:
        try:
            made(tmp_path)
        except EdgeError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3 and all(isinstance(error, SpecError) for error in errors)
    pki = Pki.open(tmp_path / "pki", clock=lambda: NOW)
    for item in pki.issued():
        certificate = x509.load_pem_x509_certificate((pki.folder / ISSUED / f"{item.serial}.pem").read_bytes())
        make.check_signed(certificate, pki.root, item.name)
    assert [path.name for path in tmp_path.iterdir()] == ["pki"]


def test_runs_take_turns(tmp_path: Path) -> None:
    """Two revocations at once lose one of them."""
    pki = made(tmp_path)
    names = [f"tablet-{number}" for number in range(6)]
    for name in names:
        pki.issue(name, make.new_key().public_key())
    threads = [threading.Thread(target=Pki.open(pki.folder, clock=lambda: NOW).revoke, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pki.revoked_names() == tuple(names)


def test_revoke(tmp_path: Path) -> None:
    """A revoked device still counts, or one that was enrolled anew is shut out for ever."""
    pki = made(tmp_path)
    pki.issue_device("tablet-1")
    first = pki.revoke("tablet-1")
    assert len(first) == 1 and pki.revoke("tablet-1") == () and pki.revoked_names() == ("tablet-1",)
    pki.issue("tablet-1", make.new_key().public_key())
    assert pki.revoked_names() == ()
    assert [item.revoked for item in pki.issued() if item.name == "tablet-1"].count(True) == 1
    with pytest.raises(SpecError, match="no certificate"):
        pki.revoke("tablet-2")


def test_renewal_and_what_is_due(tmp_path: Path) -> None:
    """Certificates end without a word, or renewing one shuts out who has the old one."""
    pki = made(tmp_path)
    pki.issue("tablet-1", make.new_key().public_key())
    assert pki.due() == ()
    later = Pki.open(pki.folder, clock=lambda: NOW + make.LEAF_LIFE - timedelta(days=30))
    assert {item.name for item in later.due()} == {"broker", "collector", "operator", "page", "tablet-1"}
    before = later.certificate_of("broker").read_bytes()
    later.renew("broker")
    assert later.certificate_of("broker").read_bytes() != before and later.revoked_names() == ()
    assert "broker" not in {item.name for item in later.due()}
    with pytest.raises(SpecError, match="on the device"):
        later.renew("tablet-1")
    with pytest.raises(SpecError, match="no certificate"):
        later.renew("collector-9")


def test_names_for_their_own_use_only(tmp_path: Path) -> None:
    """A device gets the name of a collector, and with it what all devices say."""
    pki = made(tmp_path)
    public = make.new_key().public_key()
    for name in ("collector", "collector-1", "operator", "broker", "page"):
        with pytest.raises(InputError, match="reserved"):
            pki.issue(name, public)
        with pytest.raises(InputError, match="reserved"):
            pki.issue_device(name)
    for name in ("tablet-1", "operator-1", "broker-1"):
        with pytest.raises(InputError):
            pki.issue_collector(name)
    assert pki.issue_collector("collector-1").key.exists() and pki.issue_operator("operator-1").key.exists()
    with pytest.raises(SpecError, match="already"):
        pki.issue_collector("collector-1")


def test_bad_files(tmp_path: Path) -> None:
    """A PKI that was damaged, opened to others, or comes from the future is used, or ends in a traceback."""
    pki = made(tmp_path)
    (pki.folder / ROOT_KEY).chmod(0o640)
    with pytest.raises(UntrustedError, match="others can read"):
        pki.issue_device("tablet-1")
    (pki.folder / ROOT_KEY).chmod(0o600)
    other = Pki.create(tmp_path / "other", clock=lambda: NOW)
    pki.crl.write_bytes(other.crl.read_bytes())
    with pytest.raises(SpecError, match="not a revocation list of this PKI"):
        pki.revoke("collector")
    (pki.folder / ROOT_KEY).write_bytes((other.folder / ROOT_KEY).read_bytes())
    pki.crl.write_bytes(b"")
    with pytest.raises(SpecError):
        pki.resign_revocations()
    state = (pki.folder / STATE).read_bytes()
    (pki.folder / STATE).write_bytes(state.replace(b'"version":1', b'"version":2'))
    with pytest.raises(SpecError, match="version 2"):
        Pki.open(pki.folder)
    (pki.folder / STATE).write_bytes(b"{}\n")
    with pytest.raises(SpecError, match="not the PKI"):
        Pki.open(pki.folder)
    with pytest.raises(SpecError, match="init"):
        Pki.open(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpecError, match="never overwritten"):
        Pki.create(tmp_path / "file", clock=lambda: NOW)


def test_impossible_clock_signs_nothing(tmp_path: Path) -> None:
    """A clock off by years dates certificates."""
    with pytest.raises(ClockError):
        made(tmp_path, datetime(2003, 1, 1, tzinfo=UTC))
    assert not (tmp_path / "pki").exists()
    pki = made(tmp_path, NOW + timedelta(days=400))
    back = Pki.open(pki.folder, clock=lambda: NOW)
    with pytest.raises(ClockError, match="already"):
        back.issue("tablet-1", make.new_key().public_key())
    assert not [item for item in back.issued() if item.name == "tablet-1"]
    assert (pki.folder / LOCK).exists()


def test_further_hosts(tmp_path: Path) -> None:
    """A broker that moved cannot be reached under its new name, or the root vouches for any name."""
    pki = made(tmp_path)
    pki.add_hosts(("mqtt.internal", "10.0.0.9"))
    pki.renew("broker")
    names = _load(pki.certificate_of("broker")).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mqtt.internal"]
    assert Pki.open(pki.folder).hosts == pki.hosts == ("localhost", "127.0.0.1", "::1", "mqtt.internal", "10.0.0.9")
    with pytest.raises(SpecError, match="may not vouch"):
        pki.add_hosts(("example.org",))


def test_for_a_browser(tmp_path: Path) -> None:
    """An operator's browser gets a file that it cannot open, or one that is not sealed."""
    from cryptography.hazmat.primitives.serialization import pkcs12

    pki = made(tmp_path)
    sealed = pki.for_browser("operator", b"word")
    key, certificate, others = pkcs12.load_key_and_certificates(sealed, b"word")
    assert key is not None and certificate == _load(pki.certificate_of("operator")) and others == [pki.root]
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_key_and_certificates(sealed, b"other")
    with pytest.raises(SpecError, match="no such file"):
        pki.for_browser("operator-9", b"word")
