"""The two files that make a device a member of the fleet; a USB stick carries them. There is no endpoint to ask.

    DEVICE.request.json     made on the device: its name, a certificate request, its Ed25519 key (role device)
    DEVICE.enrolment.json   made by the fleet: certificate, root, broker's address, builders to trust, TUF root

(1) The request is signed by the device's Ed25519 key over all of it, and the certificate request by the TLS key over
    the digest of the Ed25519 key: neither key can be taken out and put beside another.
(2) Both private keys stay on the device; neither file holds a secret.
(3) The enrolment is signed by the root's key over all of it: who carries it cannot put a builder, an update root or a
    broker of his own beside the genuine certificate. The device has nothing yet to check the first root against: both
    sides show its fingerprint, to compare. A later enrolment must have the same root.
(4) A reader refuses a version or a field that it does not know.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import Field, StringConstraints

from edge.bundle.canonical import canonical_json
from edge.bundle.signing import PublicKey, SignatureFile, SigningKey, Trust, fingerprint, parse_public_pem
from edge.errors import InputError, SpecError, UntrustedError
from edge.fleet.pki import certificates as make
from edge.fleet.wire.documents import Document, Part, Slug

REQUEST_PURPOSE = b"edge enrolment request 1\n"
# The root's key signs certificates too, which begin with another byte.
ENROLMENT_PURPOSE = b"edge enrolment 1\n"
KEY_URI = "urn:edge:device-key:sha256:"
MAX_BYTES = 1 << 20
AGAIN = "make the request again on the device"
ANEW = "have the fleet make the enrolment again"
# What cryptography raises for bytes that are no certificate, or one of a kind that it does not know.
UNREADABLE = (
    ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
    x509.InvalidVersion, UnsupportedAlgorithm,
)  # fmt: skip
REQUEST_SUFFIX, ENROLMENT_SUFFIX = ".request.json", ".enrolment.json"

Pem = Annotated[str, StringConstraints(max_length=8192, pattern=r"^[\n -~]+$")]
Base64 = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9+/=]+$")]
Host = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9.:_-]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Place = Annotated[str, StringConstraints(max_length=500, pattern=r"^https://[!-~]+$")]


class RequestFile(Document):
    """What DEVICE.request.json holds."""

    kind: Literal["edge-enrolment-request"] = "edge-enrolment-request"
    device: Slug
    csr: Pem
    public_key: Base64
    signature: Base64 = ""

    def signed_bytes(self) -> bytes:
        """What the device key signs: all but the signature."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


class Builder(Part):
    """A builder key that the device shall trust."""

    name: Slug
    public_key: Pem


class EnrolmentFile(Document):
    """What DEVICE.enrolment.json holds."""

    kind: Literal["edge-enrolment"] = "edge-enrolment"
    device: Slug
    certificate: Pem
    ca: Pem
    broker_host: Host
    broker_port: Port
    updates: tuple[Place, ...] = ()
    builders: tuple[Builder, ...] = ()
    tuf_root: Annotated[str, StringConstraints(max_length=MAX_BYTES)] | None = None
    signature: Base64

    def signed_bytes(self) -> bytes:
        """What the root's key signs: the purpose, and all but the signature."""
        return ENROLMENT_PURPOSE + canonical_json(self.model_dump(mode="json", exclude={"signature"}))


@dataclass(frozen=True)
class Request:
    """A request whose signatures hold. public_raw: the Ed25519 key, 32 bytes; tls_key: for the certificate."""

    device: str
    public_raw: bytes
    tls_key: ec.EllipticCurvePublicKey

    @property
    def fingerprint(self) -> str:
        """Of the Ed25519 key, 16 hex digits."""
        return fingerprint(self.public_raw)


@dataclass(frozen=True)
class Enrolment:
    """A checked enrolment. certificate, ca: PEM; updates: https places; tuf_root: the bytes of root.json."""

    device: str
    certificate: bytes
    ca: bytes
    broker_host: str
    broker_port: int
    updates: tuple[str, ...] = ()
    builders: tuple[PublicKey, ...] = ()
    tuf_root: bytes | None = None

    @property
    def ca_fingerprint(self) -> str:
        """Of the root's certificate, 16 hex digits: to compare with what the fleet shows."""
        return ca_fingerprint(x509.load_pem_x509_certificate(self.ca))

    @property
    def not_after(self) -> datetime:
        """When the certificate ends; the device asks for a new one `RENEW_BEFORE` that."""
        return certificate_end(self.certificate)


def ca_fingerprint(root: x509.Certificate) -> str:
    """The first 16 hex digits of the sha256 of a root's DER."""
    return root.fingerprint(hashes.SHA256()).hex()[:16]


def certificate_end(pem: bytes) -> datetime:
    """When a certificate ends. Errors: SpecError when it is none."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as error:
        raise SpecError("is not a certificate", where="certificate", mend="enrol again") from error


def new_tls_key() -> bytes:
    """A private TLS key in PEM, for the device to keep with mode 0600."""
    return make.key_pem(make.new_key())


def make_request(device: str, device_key: SigningKey, tls_key_pem: bytes) -> bytes:
    """The bytes of DEVICE.request.json.

    Errors: InputError for a name that no device may have, SpecError when the keys are not of their kinds.
    """
    _device_name(device)
    if device_key.role != "device":
        raise SpecError(f"key '{device_key.name}' is a {device_key.role} key, not a device key")
    key = _private(tls_key_pem)
    tie = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_tie(device_key.raw_public))])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(tie, critical=False)
    unsigned = RequestFile(
        device=device,
        csr=csr.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(),
        public_key=base64.b64encode(device_key.raw_public).decode(),
        signature="none",
    )
    signature = device_key.sign(REQUEST_PURPOSE, unsigned.signed_bytes())
    return unsigned.model_copy(update={"signature": base64.b64encode(signature.value).decode()}).to_bytes() + b"\n"


def read_request(data: bytes, where: str) -> Request:
    """Check all of a request. Errors: InputError when it is no request, UntrustedError when a signature is wrong."""
    found = RequestFile.from_bytes(_small(data, where), where)
    _device_name(found.device)
    raw = _decoded(found.public_key, 32, where)
    key = PublicKey(found.device, "device", raw)
    signature = SignatureFile(key.fingerprint, _decoded(found.signature, 64, where))
    try:
        Trust((key,)).verify(REQUEST_PURPOSE, found.signed_bytes(), signature, role="device", where=where)
    except UntrustedError as error:
        raise UntrustedError("was changed after the device signed it", where=where, mend=AGAIN) from error
    try:
        csr = x509.load_pem_x509_csr(found.csr.encode())
        genuine, public_key = csr.is_signature_valid, csr.public_key()
        ties = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        tied = _tie(raw) in ties.get_values_for_type(x509.UniformResourceIdentifier)
        name = make.common_name(csr.subject, where)
    except UNREADABLE as error:
        raise InputError("holds no certificate request", where=where, mend=AGAIN) from error
    if not (genuine and tied and name == found.device):
        raise UntrustedError("its two keys do not vouch for each other", where=where, mend=AGAIN)
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise InputError("its TLS key is not EC P-256", where=where, mend=AGAIN)
    return Request(found.device, raw, public_key)


def make_enrolment(enrolment: Enrolment, sign: Callable[[bytes], bytes]) -> bytes:
    """The bytes of DEVICE.enrolment.json, read back once. sign: `Pki.sign` of the fleet.

    Errors: as read_enrolment, and those of `sign`.
    """
    try:
        unsigned = EnrolmentFile(
            device=enrolment.device,
            certificate=enrolment.certificate.decode("ascii"),
            ca=enrolment.ca.decode("ascii"),
            broker_host=enrolment.broker_host,
            broker_port=enrolment.broker_port,
            updates=enrolment.updates,
            builders=tuple(Builder(name=key.name, public_key=key.to_pem().decode()) for key in enrolment.builders),
            tuf_root=None if enrolment.tuf_root is None else enrolment.tuf_root.decode("utf-8"),
            signature="none",
        )
    except ValueError as error:
        raise InputError(
            "the enrolment cannot be written", where=enrolment.device, mend="check broker, updates and TUF root"
        ) from error
    signature = base64.b64encode(sign(unsigned.signed_bytes())).decode()
    data = unsigned.model_copy(update={"signature": signature}).to_bytes() + b"\n"
    read_enrolment(data, enrolment.device, device=enrolment.device)
    return data


def read_enrolment(
    data: bytes,
    where: str,
    *,
    device: str | None = None,
    tls_key_pem: bytes | None = None,
    known_ca: bytes | None = None,
) -> Enrolment:
    """Check an enrolment. device, tls_key_pem: of this device; known_ca: PEM of the fleet that it is in already.

    Errors: InputError when it is no enrolment; UntrustedError when it is for another device, another key or of
    another fleet, or was changed; SpecError when known_ca is no certificate.
    """
    found = EnrolmentFile.from_bytes(_small(data, where), where)
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.encode())
        root = x509.load_pem_x509_certificate(found.ca.encode())
        name = make.common_name(certificate.subject, where)
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        may_sign = root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        public_key = certificate.public_key()
    except UNREADABLE as error:
        raise InputError("its certificates cannot be read", where=where, mend=ANEW) from error
    make.check_signed(root, root, where)
    make.check_signed(certificate, root, where)
    if not may_sign or name != found.device or list(purposes) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise UntrustedError("its certificate is not one of a device", where=where, mend=ANEW)
    if device is not None and found.device != device:
        raise UntrustedError(f"is for {found.device}, this device is {device}", where=where, mend="take the right file")
    if tls_key_pem is not None and public_key != _private(tls_key_pem).public_key():
        raise UntrustedError("is for another key than this device's", where=where, mend=f"{AGAIN} and enrol that")
    if known_ca is not None and _known(known_ca) != root:
        raise UntrustedError("is of another fleet than this device's", where=where, mend="take the right file")
    builders = []
    for item in found.builders:
        try:
            builders.append(parse_public_pem(item.public_key.encode(), item.name, "builder", where)[0])
        except SpecError as error:
            raise InputError(f"the key of builder {item.name} cannot be read", where=where, mend=ANEW) from error
    _check_signature(found, root, where)
    return Enrolment(
        device=found.device,
        certificate=found.certificate.encode(),
        ca=found.ca.encode(),
        broker_host=found.broker_host,
        broker_port=found.broker_port,
        updates=found.updates,
        builders=tuple(builders),
        tuf_root=None if found.tuf_root is None else found.tuf_root.encode(),
    )


def _known(ca: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(ca)
    except ValueError as error:
        raise SpecError(
            "the fleet's root on this device cannot be read", where="ca.pem", mend="take the file away and enrol again"
        ) from error


def _check_signature(found: EnrolmentFile, root: x509.Certificate, where: str) -> None:
    """Rule 3."""
    key = root.public_key()
    try:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        key.verify(base64.b64decode(found.signature), found.signed_bytes(), ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature) as error:
        raise UntrustedError("was changed after the fleet signed it", where=where, mend=ANEW) from error


def _tie(raw_public_key: bytes) -> str:
    return f"{KEY_URI}{hashlib.sha256(raw_public_key).hexdigest()}"


def _device_name(name: str) -> None:
    if make.kind_of(name) != "device":
        raise InputError(f"the name {name!r} is reserved for the fleet's own parts", mend="choose another name")


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None  # without the library's words, which may quote the key
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SpecError("is not a private TLS key of edge", where="TLS key", mend="make a new request")
    return key


def _decoded(text: str, length: int, where: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        value = b""
    if len(value) != length or base64.b64encode(value).decode() != text:
        raise InputError("holds a key or signature that is none", where=where, mend=AGAIN)
    return value


def _small(data: bytes, where: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise InputError("is too large to be an enrolment", where=where, mend="take the right file")
    return data
