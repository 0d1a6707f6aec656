"""The fleet's PKI in one folder, made by one command.

    pki.json               version, name of the fleet, when it was made, hosts of the broker
    root.pem, root.key     the root; who has root.key can make any device
    crl.pem                the revocation list, signed; what is revoked stands here and nowhere else
    issued/SERIAL.pem      every certificate ever signed, written before it is handed out
    parts/NAME.pem, .key   of broker, page, collectors, operators; of devices only where a test made them
    lock                   held by whoever signs: two runs take turns

The folder appears whole, by one rename, and is never overwritten. A device's key is made on the device and only a
request comes here; `issue_device`, which makes the key too, is for trying things out.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge.bundle.canonical import SLUG, canonical_json, parse_canonical
from edge.errors import BundleError, InputError, ResourceError, SpecError
from edge.files import fsync_directory, resource_error
from edge.fleet.pki import certificates as make
from edge.fleet.pki.certificates import Clock, Kind, Revoked, read_time, utc_now
from edge.fleet.pki.files import locked, make_folder, read_file, read_private, write_private, write_public

if TYPE_CHECKING:
    from edge.fleet.wire.connection import Credentials

VERSION = 1
STATE, ROOT, ROOT_KEY, CRL, LOCK = "pki.json", "root.pem", "root.key", "crl.pem", "lock"
ISSUED, PARTS = "issued", "parts"
RESTORE = "restore the PKI's folder from its backup"


@dataclass(frozen=True)
class Issued:
    """A certificate as `edge fleet pki show` lists it. serial: 32 hex digits."""

    name: str
    kind: Kind
    serial: str
    not_after: datetime
    revoked: bool

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends; negative when it has."""
        return (self.not_after - now) // timedelta(days=1)


def serial_text(serial: int) -> str:
    """32 hex digits."""
    return f"{serial:032x}"


class Pki:
    """An existing PKI. `Pki.create` makes one, `Pki.open` reads one."""

    def __init__(self, folder: Path, fleet: str, hosts: tuple[str, ...], root: x509.Certificate, clock: Clock) -> None:
        self.folder, self.fleet, self.hosts, self.root, self._clock = folder, fleet, hosts, root, clock

    @classmethod
    def create(
        cls, folder: Path, *, hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"), clock: Clock = utc_now
    ) -> Pki:
        """Make root, empty revocation list, and certificates of broker, page, collector and operator.

        hosts: names and addresses under which devices reach the broker. Errors: SpecError when the folder holds
        something already or a host is none; ClockError; ResourceError.
        """
        now = read_time(clock)
        make.general_names(hosts)
        if not hosts:
            raise SpecError("the broker needs a host", mend="give --host")
        if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
            raise SpecError(
                "something is here already, and a PKI is never overwritten", where=str(folder),
                mend="choose another folder",
            )  # fmt: skip
        make_folder(folder.parent)
        beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        fleet = secrets.token_hex(4)
        key = make.new_key()
        root = make.new_root(key, fleet, hosts, now)
        try:
            for part in (beside, beside / ISSUED, beside / PARTS):
                part.mkdir(mode=0o755)
            state = {"version": VERSION, "fleet": fleet, "hosts": list(hosts), "made": now.isoformat()}
            write_public(beside / STATE, canonical_json(state))
            write_public(beside / ROOT, make.certificate_pem(root))
            write_private(beside / ROOT_KEY, make.key_pem(key))
            pki = cls(beside, fleet, tuple(hosts), root, clock)
            pki._write_revocations((), now)
            for name in ("broker", "page", "collector", "operator"):
                pki._issue_part(name, now)
            beside.rename(folder)
            fsync_directory(folder.parent)
        except FileExistsError as error:
            raise SpecError("another run made a PKI here", where=str(folder), mend="use that one") from error
        except OSError as error:
            if folder.is_dir() and any(folder.iterdir()):
                raise SpecError("another run made a PKI here", where=str(folder), mend="use that one") from error
            raise resource_error(error, str(folder)) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return cls(folder, fleet, tuple(hosts), root, clock)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock = utc_now) -> Pki:
        """Read the PKI in `folder`. Errors: SpecError when there is none or it is broken."""
        data = read_file(folder / STATE, "make a PKI with `edge fleet pki init`")
        try:
            state = parse_canonical(data, str(folder / STATE))
            version = state.get("version")
            if type(version) is int and version > VERSION:
                raise SpecError(
                    f"is of version {version}, this edge knows {VERSION}", where=str(folder / STATE), mend="update edge"
                )
            fleet, hosts = state["fleet"], tuple(state["hosts"])
            if version != VERSION or not SLUG.fullmatch(fleet) or not all(isinstance(host, str) for host in hosts):
                raise KeyError(STATE)
            root = x509.load_pem_x509_certificate(read_file(folder / ROOT, RESTORE))
        except (BundleError, ValueError, KeyError, TypeError) as error:
            raise SpecError("is not the PKI of a fleet", where=str(folder), mend=RESTORE) from error
        return cls(folder, fleet, hosts, root, clock)

    # What others read

    @property
    def ca(self) -> Path:
        """The root's certificate."""
        return self.folder / ROOT

    @property
    def crl(self) -> Path:
        """The revocation list."""
        return self.folder / CRL

    def now(self) -> datetime:
        """The clock's time, believed. Errors: ClockError."""
        return read_time(self._clock, self._revocations().last_update_utc)

    def certificate_of(self, name: str) -> Path:
        """Of a part, or of a device whose key was made here."""
        return self.folder / PARTS / f"{name}.pem"

    def key_of(self, name: str) -> Path:
        """Its private key."""
        return self.folder / PARTS / f"{name}.key"

    def credentials(self, name: str) -> Credentials:
        """Of a part. Errors: SpecError when there is none of that name."""
        from edge.fleet.wire.connection import Credentials

        for path in (self.certificate_of(name), self.key_of(name)):
            read_file(path, "issue it first")
        return Credentials(ca=self.ca, certificate=self.certificate_of(name), key=self.key_of(name))

    def issued(self) -> tuple[Issued, ...]:
        """Every certificate, by name and end. Errors: SpecError when one is broken."""
        revoked = {entry.serial for entry in make.revoked_entries(self._revocations())}
        found = []
        for path in sorted((self.folder / ISSUED).glob("[0-9a-f]*.pem")):
            certificate = _load(path)
            name = make.common_name(certificate.subject, str(path))
            serial = certificate.serial_number
            found.append(
                Issued(
                    name, make.kind_of(name), serial_text(serial), certificate.not_valid_after_utc, serial in revoked
                )
            )
        return tuple(sorted(found, key=lambda item: (item.name, item.not_after, item.serial)))

    def revoked_names(self) -> tuple[str, ...]:
        """Names with a revoked certificate and no other that counts: the ACL shuts these out too."""
        items = self.issued()
        good = {item.name for item in items if not item.revoked}
        return tuple(sorted({item.name for item in items if item.revoked} - good))

    # What signs

    def issue(self, name: str, public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """A device's certificate for a key that stays on the device; others of that name still count.

        Errors: InputError for a name that no device may have; ClockError; ResourceError.
        """
        if make.kind_of(name) != "device":
            raise InputError(f"the name {name!r} is reserved for the fleet's own parts", mend="choose another name")
        with locked(self.folder / LOCK):
            return self._sign(name, public_key, self.now())

    def issue_device(self, device: str) -> Credentials:
        """For trying things out: make the device's key here too. Errors: as issue; SpecError when it has one here."""
        if make.kind_of(device) != "device":
            raise InputError(f"the name {device!r} is reserved for the fleet's own parts", mend="choose another name")
        return self._issue_new_part(device)

    def issue_collector(self, name: str) -> Credentials:
        """A further collector. name: collector-1 to collector-32. Errors: InputError, SpecError when it exists."""
        return self._issue_role(name, "collector")

    def issue_operator(self, name: str) -> Credentials:
        """A further operator. name: operator-1 to operator-32. Errors: InputError, SpecError when it exists."""
        return self._issue_role(name, "operator")

    def renew(self, name: str) -> Path:
        """A new certificate and key for a part of the fleet; the old certificate counts until it ends.

        Returns the certificate's path. Errors: SpecError for a device, whose key is not here; ClockError.
        """
        if make.kind_of(name) == "device":
            raise SpecError(f"the key of {name} is on the device", mend="let it make a new request, then `enrol` that")
        with locked(self.folder / LOCK):
            if not self.certificate_of(name).exists():
                raise SpecError(f"there is no certificate {name!r}", where=str(self.folder), mend="see `pki show`")
            self._issue_part(name, self.now())
        return self.certificate_of(name)

    def add_hosts(self, hosts: Sequence[str]) -> None:
        """Further names and addresses of broker and page; their next certificates bear them.

        Errors: SpecError for one that the root may not vouch for.
        """
        if missing := make.uncovered_hosts(self.root, hosts):
            raise SpecError(
                f"this PKI may not vouch for {missing[0]!r}", mend=f"take a name below {', '.join(make.INSIDE_NAMES)}"
            )
        with locked(self.folder / LOCK):
            self.hosts = tuple(dict.fromkeys((*Pki.open(self.folder).hosts, *hosts)))
            state = parse_canonical(read_file(self.folder / STATE, RESTORE), STATE)
            write_public(self.folder / STATE, canonical_json({**state, "hosts": list(self.hosts)}))

    def for_browser(self, name: str, password: bytes) -> bytes:
        """PKCS 12 of a part: certificate, key and root, for a browser that shall read the page.

        Errors: SpecError when there is no such part.
        """
        from cryptography.hazmat.primitives.serialization import pkcs12

        here = self.credentials(name)
        key = serialization.load_pem_private_key(read_private(here.key, RESTORE), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SpecError("is not a key of this PKI", where=str(here.key), mend=RESTORE)
        sealed = serialization.BestAvailableEncryption(password)
        return pkcs12.serialize_key_and_certificates(
            f"edge fleet {name}".encode(), key, _load(here.certificate), [self.root], sealed
        )

    def due(self) -> tuple[Issued, ...]:
        """Newest certificates of each name that end within RENEW_BEFORE, revoked ones aside. Errors: ClockError."""
        now, newest = self.now(), {}
        for item in self.issued():
            if not item.revoked:
                newest[item.name] = item
        return tuple(item for item in newest.values() if item.not_after - now < make.RENEW_BEFORE)

    def revoke(self, name: str, reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise) -> tuple[str, ...]:
        """Revoke all certificates of `name`; returns the serials newly revoked. Idempotent.

        A broker must be told, see `edge.fleet.broker.child`. Errors: SpecError when none was ever issued; ClockError.
        """
        with locked(self.folder / LOCK):
            mine = [item for item in self.issued() if item.name == name]
            if not mine:
                raise SpecError(f"no certificate was issued for {name[:60]!r}", mend="see `edge fleet pki show`")
            fresh = [item for item in mine if not item.revoked]
            if fresh:
                now = self.now()
                entries = make.revoked_entries(self._revocations())
                self._write_revocations(
                    (*entries, *(Revoked(int(item.serial, 16), now, reason) for item in fresh)), now
                )
        return tuple(item.serial for item in fresh)

    def resign_revocations(self) -> None:
        """Sign the revocation list anew, with today's date. Errors: ClockError."""
        with locked(self.folder / LOCK):
            self._write_revocations(make.revoked_entries(self._revocations()), self.now())

    def sign(self, data: bytes) -> bytes:
        """By the root's key, over `data` that begins with a purpose. Errors: SpecError, UntrustedError."""
        return self._root_key().sign(data, ec.ECDSA(hashes.SHA256()))

    # Within

    def _root_key(self) -> ec.EllipticCurvePrivateKey:
        path = self.folder / ROOT_KEY
        try:
            key = serialization.load_pem_private_key(read_private(path, RESTORE), password=None)
        except (ValueError, TypeError):
            key = None  # without the library's words, which may quote the file
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self.root.public_key():
            raise SpecError("is not the key of this PKI's root", where=str(path), mend=RESTORE)
        return key

    def _revocations(self) -> x509.CertificateRevocationList:
        try:
            found = x509.load_pem_x509_crl(read_file(self.crl, RESTORE))
            public_key = self.root.public_key()
            genuine = isinstance(public_key, ec.EllipticCurvePublicKey) and found.is_signature_valid(public_key)
        except ValueError:
            genuine = False
        if not genuine:
            raise SpecError("is not a revocation list of this PKI", where=str(self.crl), mend=RESTORE)
        return found

    def _write_revocations(self, entries: Sequence[Revoked], now: datetime) -> None:
        previous = self._revocations() if self.crl.exists() else None
        made = make.new_revocation_list(self.root, self._root_key(), entries, now, previous)
        write_public(self.crl, made.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name: str, public_key: ec.EllipticCurvePublicKey, now: datetime) -> x509.Certificate:
        if now >= self.root.not_valid_after_utc:
            raise ResourceError("the root of this PKI has ended", where=str(self.ca), mend="make a new PKI")
        hosts = self.hosts if make.kind_of(name) in make.SERVERS else ()
        made = make.new_leaf(self.root, self._root_key(), public_key, name, now, hosts=hosts)
        write_public(self.folder / ISSUED / f"{serial_text(made.serial_number)}.pem", make.certificate_pem(made))
        return made

    def _issue_part(self, name: str, now: datetime) -> None:
        key = make.new_key()
        made = self._sign(name, key.public_key(), now)
        # Killed between the two, certificate and key do not fit: readers say so, and `renew` mends it.
        write_private(self.key_of(name), make.key_pem(key))
        write_public(self.certificate_of(name), make.certificate_pem(made))

    def _issue_new_part(self, name: str) -> Credentials:
        with locked(self.folder / LOCK):
            if self.certificate_of(name).exists():
                raise SpecError(f"{name} has a certificate here already", where=str(self.folder), mend="renew it")
            self._issue_part(name, self.now())
        return self.credentials(name)

    def _issue_role(self, name: str, kind: Kind) -> Credentials:
        if make.kind_of(name) != kind:
            raise InputError(f"{name[:60]!r} is no name of a {kind}", mend=f"use {kind}-1 to {kind}-32")
        return self._issue_new_part(name)


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(path, RESTORE))
    except ValueError as error:
        raise SpecError("is not a certificate", where=str(path), mend=RESTORE) from error
