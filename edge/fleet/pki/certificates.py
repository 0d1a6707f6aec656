"""What the fleet's certificates say: pure functions from names, keys and times to certificates and revocation lists.

(1) One root signs everything directly (path length 0); keys are EC P-256, serials 128 random bits.
(2) A broker or a page serves (serverAuth, subject alternative names, never clientAuth); devices, collectors and
    operators are clients (clientAuth, never serverAuth), so that a stolen tablet cannot stand in for the broker.
(3) Whom a certificate is for is its common name; MQTT takes that as the user's name. No certificate of a device bears
    a reserved name, and none has a name longer than the 64 characters that X.509 gives it.
(4) The root is constrained to the hosts that it was made with, private addresses and names of the inside, so that a
    browser that trusts it (for the page) trusts nobody else's site by it.
(5) All certificates are valid since the root is, and that is valid since the earliest time that this edge believes: a
    device that starts with an old clock still gets through, and nobody gains by it, because keys are younger.
(6) A revocation list is valid as long as the root. It lies on the broker's own disk, so its expiry protects nothing,
    and an expired one would lock out the whole fleet. Each is dated later than the one before, by the second: OpenSSL
    inside a running broker keeps the older of two lists with the same date. And each is dated a day back: a list from
    the future, by several revocations in one second or by a broker whose clock is behind, locks out everybody too.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.bundle.attestation import EARLIEST_PLAUSIBLE_TIME
from edge.bundle.canonical import SLUG
from edge.errors import ClockError, InputError, SpecError, UntrustedError
from edge.fleet.wire.topics import good_device

if TYPE_CHECKING:
    from cryptography.x509.general_name import GeneralName

Clock = Callable[[], datetime]
Kind = Literal["device", "collector", "operator", "broker", "page"]
SERVERS = ("broker", "page")
ORGANISATION = "edge fleet"
ROOT_LIFE = timedelta(days=20 * 365)
LEAF_LIFE = timedelta(days=2 * 365)
RENEW_BEFORE = timedelta(days=180)  # a tablet may be away for months
LATEST_PLAUSIBLE_TIME = datetime(2100, 1, 1, tzinfo=UTC)
CLOCK_SLACK = timedelta(days=1)
LIST_BACKDATED = timedelta(days=1)
MAX_NAME_CHARS = 64  # X.509's limit of a common name
MAX_COLLECTORS = 32  # the shipped ACL names them all
INSIDE_NAMES = ("localhost", "local", "lan", "home.arpa", "internal")
INSIDE_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")
DEVICE_DOMAIN = "device.edge.internal"


@dataclass(frozen=True)
class Revoked:
    """An entry of the revocation list. serial: of the certificate; at: when it was revoked."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def read_time(clock: Clock, not_before: datetime | None = None) -> datetime:
    """The clock's time in whole seconds, when certificates may be dated with it.

    not_before: of the newest thing already signed. Errors: ClockError when the clock cannot be right.
    """
    now = clock().astimezone(UTC).replace(microsecond=0)
    mend = "set the clock of this machine and run the same command again"
    if now < EARLIEST_PLAUSIBLE_TIME:
        raise ClockError(f"this clock says {now:%Y-%m-%d}, before the release of this edge", mend=mend)
    if now >= LATEST_PLAUSIBLE_TIME:
        raise ClockError(f"this clock says {now:%Y-%m-%d}, which cannot be", mend=mend)
    if not_before is not None and now < not_before - CLOCK_SLACK:
        raise ClockError(
            f"this clock says {now:%Y-%m-%d}, but this PKI signed on {not_before:%Y-%m-%d} already", mend=mend
        )
    return now


def kind_of(name: str) -> Kind:
    """What a name may be used for. Errors: InputError when no certificate may bear it."""
    for kind in ("collector", "operator", "broker", "page"):
        if name == kind or name.startswith(f"{kind}-"):
            number = name.removeprefix(kind)
            good = number == "" or (number[1:].isascii() and number[1:].isdigit() and not number.startswith("-0"))
            if not good or (number and int(number[1:]) > MAX_COLLECTORS):
                raise InputError(
                    f"the name {name[:60]!r} is reserved", mend=f"use {kind} or {kind}-1 to {kind}-{MAX_COLLECTORS}"
                )
            return kind
    good_device(name)
    if len(name) > MAX_NAME_CHARS:
        raise InputError(
            f"device name {name[:20]!r}... has {len(name)} characters, a certificate holds {MAX_NAME_CHARS}",
            mend="choose a shorter name",
        )
    return "device"


def new_key() -> ec.EllipticCurvePrivateKey:
    """An EC P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS 8, without a password: its file's mode protects it."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def common_name(subject: x509.Name, where: str = "certificate") -> str:
    """The one common name. Errors: InputError when there is none or more than one."""
    found = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) != 1 or not isinstance(found[0].value, str):
        raise InputError("has not exactly one common name", where=where)
    return found[0].value


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def general_names(hosts: Iterable[str]) -> list[GeneralName]:
    """Subject alternative names of host names and addresses. Errors: SpecError."""
    names: list[GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
            continue
        except ValueError:
            pass
        labels = host.split(".")
        good = all(SLUG.fullmatch(label) and "_" not in label and not label.endswith("-") for label in labels)
        if not good or len(host) > 200:
            raise SpecError(f"{host[:60]!r} is no host name or address", mend="give for example broker.clinic.internal")
        names.append(x509.DNSName(host))
    return names


def _constraints(hosts: Sequence[str]) -> x509.NameConstraints:
    allowed: list[GeneralName] = [x509.DNSName(name) for name in INSIDE_NAMES]
    allowed += [x509.IPAddress(ipaddress.ip_network(network)) for network in INSIDE_NETWORKS]
    for name in general_names(hosts):
        if not _covered(name, allowed):
            # An address is constrained as a network, be it of one address.
            single = isinstance(name, x509.IPAddress)
            allowed.append(x509.IPAddress(ipaddress.ip_network(str(name.value))) if single else name)
    return x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None)


def _covered(name: GeneralName, allowed: Iterable[GeneralName]) -> bool:
    if isinstance(name, x509.DNSName):
        domains = [item.value for item in allowed if isinstance(item, x509.DNSName)]
        return any(name.value == domain or name.value.endswith(f".{domain}") for domain in domains)
    networks = [ipaddress.ip_network(str(item.value)) for item in allowed if isinstance(item, x509.IPAddress)]
    return any(ipaddress.ip_address(str(name.value)) in network for network in networks)


def uncovered_hosts(root: x509.Certificate, hosts: Iterable[str]) -> tuple[str, ...]:
    """Those of `hosts` that the root's constraints do not allow it to vouch for. Errors: SpecError."""
    allowed = root.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    return tuple(host for host in hosts if not all(_covered(name, allowed) for name in general_names([host])))


def _usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=certifies, crl_sign=certifies, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def new_root(key: ec.EllipticCurvePrivateKey, fleet: str, hosts: Sequence[str], now: datetime) -> x509.Certificate:
    """The root of a new fleet. fleet: a slug that tells two roots apart for the eye."""
    subject = _subject(f"edge fleet {fleet}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(128) or 1)
        .not_valid_before(min(EARLIEST_PLAUSIBLE_TIME, now))
        .not_valid_after(now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=False, certifies=True), critical=True)
        .add_extension(_constraints(hosts), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def new_leaf(
    root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey,
    name: str, now: datetime, *, hosts: Sequence[str] = (), life: timedelta = LEAF_LIFE,
) -> x509.Certificate:  # fmt: skip
    """A certificate for `name`; its kind (rule 2) follows from the name.

    hosts: of a server. Never valid longer than the root. Errors: InputError for the name, SpecError for hosts.
    """
    kind = kind_of(name)
    server = kind in SERVERS
    if server != bool(hosts):
        raise SpecError(f"a {kind} certificate {'needs' if server else 'has no'} hosts", where=name)
    if missing := uncovered_hosts(root, hosts):
        raise SpecError(
            f"this PKI may not vouch for the host {missing[0]!r}",
            mend="make a new PKI with `edge fleet pki init --host`",
        )
    # Without a DNS name of its own, a common name with a dot would be held against the root's constraints.
    names = general_names(hosts) if server else [x509.DNSName(f"{name.replace('_', '-')}.{DEVICE_DOMAIN}")]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    issuer_identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(root.subject)
        .public_key(public_key)
        .serial_number(secrets.randbits(128) or 1)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(min(now + life, root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=True, certifies=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .sign(root_key, hashes.SHA256())
    )


def new_revocation_list(
    root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, entries: Iterable[Revoked], now: datetime,
    previous: x509.CertificateRevocationList | None,
) -> x509.CertificateRevocationList:  # fmt: skip
    """All of `entries`, numbered and dated after `previous` (rule 6)."""
    number, dated = 1, now - LIST_BACKDATED
    if previous is not None:
        number = previous.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        dated = max(dated, previous.last_update_utc + timedelta(seconds=1))
    issuer_identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.subject)
        .last_update(dated)
        .next_update(root.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
    )
    for entry in sorted(entries, key=lambda item: (item.at, item.serial)):
        revoked = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.at)
        builder = builder.add_revoked_certificate(
            revoked.add_extension(x509.CRLReason(entry.reason), critical=False).build()
        )
    return builder.sign(root_key, hashes.SHA256())


def revoked_entries(revocations: x509.CertificateRevocationList | None) -> tuple[Revoked, ...]:
    """The entries of a list."""
    found = []
    for item in revocations or ():
        reason = item.extensions.get_extension_for_class(x509.CRLReason).value.reason
        found.append(Revoked(item.serial_number, item.revocation_date_utc, reason))
    return tuple(found)


def check_signed(certificate: x509.Certificate, root: x509.Certificate, where: str) -> None:
    """Errors: UntrustedError when the root did not sign it."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise UntrustedError(
            "is not a certificate of this fleet", where=where, mend="use the enrolment file of this fleet"
        ) from error
