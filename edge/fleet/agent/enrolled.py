"""What makes this device a member of a fleet, as files below the agent's home. The formats are the PKI's.

identity/tls.key           made here, never leaves
identity/certificate.pem   of the fleet, for that key
identity/ca.pem            the fleet's root
identity/fleet.json        broker and update places; comes last: without it the device is not enrolled
updates/root.json          the root of the updates
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.signing import SigningKey, grouped
from edge.errors import SpecError
from edge.files import resource_error, write_atomic
from edge.fleet.agent.clock import Believe, within
from edge.fleet.wire.connection import Credentials

IDENTITY, FLEET = "identity", "fleet.json"
TLS_KEY, CERTIFICATE, CA = "tls.key", "certificate.pem", "ca.pem"
UPDATES = "updates"
MAX_BYTES = 1 << 20
MEND = "`edge agent request`, have the fleet enrol this device, then `edge agent enrol FILE`"


@dataclass(frozen=True)
class Enrolled:
    """credentials: files. believe: whether a time lies in the certificate's validity. not_after: its end."""

    credentials: Credentials
    host: str
    port: int
    updates: tuple[str, ...]
    not_after: datetime
    believe: Believe


def credentials_of(home: Path) -> Credentials:
    """Where the files are, there or not."""
    folder = home / IDENTITY
    return Credentials(folder / CA, folder / CERTIFICATE, folder / TLS_KEY)


def read_enrolled(home: Path) -> Enrolled:
    """Errors: SpecError where this device is not enrolled, or what it was given is broken."""
    from cryptography import x509

    where = home / IDENTITY / FLEET
    try:
        value = json.loads(where.read_bytes()[:MAX_BYTES])
        certificate = x509.load_pem_x509_certificate(credentials_of(home).certificate.read_bytes())
        if value["version"] != 1:
            raise ValueError
        host, port, updates = str(value["host"]), int(value["port"]), tuple(str(one) for one in value["updates"])
    except FileNotFoundError as error:
        raise SpecError("this device is not enrolled", where=str(where), mend=MEND) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpecError("the enrolment cannot be read", where=str(where), mend="enrol again") from error
    earliest, latest = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Enrolled(credentials_of(home), host, port, updates, latest, within(earliest, latest))


def device_key(keys: Path, say: Callable[[str], None]) -> SigningKey:
    """The key that signs results and events, made at its first use. Errors: those of the key store."""
    return own_key(KeyStore(keys), None, "device", say)


def make_request_file(home: Path, keys: Path, device: str, to: Path, say: Callable[[str], None]) -> str:
    """Write DEVICE.request.json into the folder `to`; returns the device key's fingerprint, to compare.

    Errors: InputError for the name, ResourceError where something cannot be written.
    """
    from edge.fleet.pki.enrolment import REQUEST_SUFFIX, make_request, new_tls_key
    from edge.fleet.pki.files import write_private

    key = device_key(keys, say)
    folder = home / IDENTITY
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / TLS_KEY).exists():
            write_private(folder / TLS_KEY, new_tls_key())
        tls_key = (folder / TLS_KEY).read_bytes()
    except OSError as error:
        raise resource_error(error, str(folder)) from error
    write_atomic(to / f"{device}{REQUEST_SUFFIX}", make_request(device, key, tls_key))
    return grouped(key.fingerprint)


def take_enrolment(home: Path, keys: Path, device: str, file: Path, say: Callable[[str], None]) -> str:
    """Take what the fleet answered; returns the root's fingerprint, to compare.

    Errors: InputError, UntrustedError when it is not for this device or of another fleet; SpecError when a builder's
    name is taken by another key.
    """
    from edge.fleet.pki.enrolment import read_enrolment
    from edge.fleet.updates.client import ship_root

    here = credentials_of(home)
    try:
        with file.open("rb") as opened:  # a stick may hold a file without an end
            data = opened.read(MAX_BYTES + 1)
        tls_key = here.key.read_bytes() if here.key.exists() else None
        known_ca = here.ca.read_bytes() if here.ca.exists() else None
    except OSError as error:
        raise resource_error(error, str(error.filename or file)) from error
    if tls_key is None:
        raise SpecError("this device has made no request", where=str(here.key), mend=MEND)
    found = read_enrolment(data, str(file), device=device, tls_key_pem=tls_key, known_ca=known_ca)
    store = KeyStore(keys)
    known = {key.raw for key in store.trust_store().keys if key.role == "builder"}
    with tempfile.TemporaryDirectory() as place:
        for builder in found.builders:
            if builder.raw in known:
                continue
            pem = Path(place) / "builder.pem"
            pem.write_bytes(builder.to_pem())
            store.trust(pem, builder.name, "builder")
            say(f"trusts the builder {builder.name} {grouped(builder.fingerprint)}")
    if found.tuf_root is not None:
        ship_root(home / UPDATES, found.tuf_root)
    write_atomic(here.certificate, found.certificate)
    write_atomic(here.ca, found.ca)
    fleet = {"version": 1, "host": found.broker_host, "port": found.broker_port, "updates": list(found.updates)}
    write_atomic(home / IDENTITY / FLEET, json.dumps(fleet, sort_keys=True).encode() + b"\n")
    return grouped(found.ca_fingerprint)
