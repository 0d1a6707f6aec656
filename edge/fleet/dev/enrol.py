"""Enrol a device from its request, and revoke one: PKI, database and files in the order in which a crash does no harm.

Enrolling: certificate, then database, then file; the same command again makes good what a crash left out. Revoking:
revocation list first, then database: the broker is what lets a device in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from edge.bundle.signing import PublicKey
from edge.errors import InputError, SpecError
from edge.fleet.dev import registry
from edge.fleet.dev.registry import Placing
from edge.fleet.pki.authority import Pki, serial_text
from edge.fleet.pki.certificates import certificate_pem
from edge.fleet.pki.enrolment import (
    ENROLMENT_SUFFIX,
    MAX_BYTES,
    Enrolment,
    Request,
    make_enrolment,
    read_request,
)
from edge.fleet.pki.files import read_file, write_public
from edge.fleet.store.store import Store


@dataclass(frozen=True)
class Offer:
    """What every enrolment of this fleet says. broker_host must be one of the PKI's hosts."""

    broker_host: str
    broker_port: int
    updates: tuple[str, ...] = ()
    builders: tuple[PublicKey, ...] = ()
    tuf_root: bytes | None = None


def read_request_file(path: Path) -> Request:
    """Errors: SpecError when it is missing; as read_request."""
    data = read_file(path, "make it on the device with `edge agent request`")
    if len(data) > MAX_BYTES:
        raise InputError("is too large to be a request", where=str(path), mend="take the right file")
    return read_request(data, str(path))


def enrol_device(
    pki: Pki, store: Store, request: Request, offer: Offer, placing: Placing, *, replace: bool = False
) -> tuple[Enrolment, bool]:
    """Issue, enter, and say what the device must know. Returns it and whether it was a renewal.

    replace: revoke what the name has and put this device in its place; the broker must then be told. Errors:
    UntrustedError when the name belongs to another device; SpecError, ClockError, those of the database.
    """
    if offer.broker_host not in pki.hosts:
        raise SpecError(
            f"the broker's certificate is not for {offer.broker_host!r}", mend=f"give one of {', '.join(pki.hosts)}"
        )
    renewal = registry.check_may_enrol(store, request, replace=replace)
    if replace and not renewal and any(item.name == request.device for item in pki.issued()):
        pki.revoke(request.device, x509.ReasonFlags.superseded)
    certificate = pki.issue(request.device, request.tls_key)
    registry.enter(store, request, serial_text(certificate.serial_number), placing)
    enrolment = Enrolment(
        device=request.device,
        certificate=certificate_pem(certificate),
        ca=read_file(pki.ca, "restore it"),
        broker_host=offer.broker_host,
        broker_port=offer.broker_port,
        updates=offer.updates,
        builders=offer.builders,
        tuf_root=offer.tuf_root,
    )
    return enrolment, renewal


def write_enrolment(pki: Pki, enrolment: Enrolment, folder: Path) -> Path:
    """DEVICE.enrolment.json in `folder`, signed by the root; it holds no secret. Errors: ResourceError."""
    path = folder / f"{enrolment.device}{ENROLMENT_SUFFIX}"
    write_public(path, make_enrolment(enrolment, pki.sign))
    return path


def revoke_device(pki: Pki, store: Store, device: str) -> tuple[str, ...]:
    """Shut a device out; returns the serials revoked now. Errors: SpecError when it was never enrolled."""
    revoked = pki.revoke(device)
    if registry.find(store, device) is not None:
        registry.mark_revoked(store, device)
    return revoked


def builder_keys(paths: Sequence[Path]) -> tuple[PublicKey, ...]:
    """Builder keys from PEM files of `edge keys export`, named as their files. Errors: SpecError."""
    from edge.bundle.canonical import SLUG
    from edge.bundle.signing import parse_public_pem

    found = []
    for path in paths:
        name = path.name.removesuffix(".pem").removesuffix(".pub")
        if not SLUG.fullmatch(name):
            raise SpecError(
                "its name is not lower case letters, digits, '.', '_', '-'", where=str(path), mend="rename it"
            )
        key, stated = parse_public_pem(read_file(path, "export it with `edge keys export`"), name, "builder", str(path))
        if stated not in (None, "builder"):
            raise SpecError(f"is a {stated} key, not a builder key", where=str(path), mend="give a builder's key")
        found.append(key)
    return tuple(found)
