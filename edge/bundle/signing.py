"""Ed25519 signatures: what a signature file says, and whose signature counts for what.

A *builder* key signs manifests, a *device* key signs attestations; a key trusted for one is not trusted for the
other. What is signed carries its purpose, so that one kind of signature never passes for another. cryptography
is imported where it is used, because `edge --help` needs none of it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.bundle.canonical import canonical_json, exact_keys, known_version, parse_canonical
from edge.errors import BundleError, SpecError, UntrustedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROLES = ("builder", "device")
MANIFEST_PURPOSE = b"edge bundle manifest 1\n"
ATTESTATION_PURPOSE = b"edge attestation 1\n"
SIGNATURE_VERSION = 1
# An Ed25519 public key in SubjectPublicKeyInfo (RFC 8410) is these 12 bytes and the 32 of the key. Read here,
# because cryptography's PEM reader takes longer to import than the whole rest of opening a bundle.
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PUBLIC_MARKS = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
ROLE_HEADER = "Edge-Role: "


def fingerprint(raw_public_key: bytes) -> str:
    """The first 16 hex digits of the sha256 of the 32 bytes of a public key."""
    return hashlib.sha256(raw_public_key).hexdigest()[:16]


def grouped(fingerprint_hex: str) -> str:
    """A fingerprint for the eye: `0123 4567 89ab cdef`."""
    return " ".join(fingerprint_hex[at : at + 4] for at in range(0, len(fingerprint_hex), 4))


@dataclass(frozen=True)
class PublicKey:
    """A key trusted for one role. raw: 32 bytes."""

    name: str
    role: str
    raw: bytes

    @property
    def fingerprint(self) -> str:
        """16 hex digits."""
        return fingerprint(self.raw)

    def to_pem(self) -> bytes:
        """PEM with the role in a line before it (openssl and cryptography skip that line)."""
        body = base64.b64encode(_SPKI_PREFIX + self.raw).decode()
        return "\n".join((f"{ROLE_HEADER}{self.role}", _PUBLIC_MARKS[0], body, _PUBLIC_MARKS[1], "")).encode()


@dataclass(frozen=True)
class SignatureFile:
    """A detached signature as read. key: fingerprint of the signer; value: 64 bytes."""

    key: str
    value: bytes

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "schema_version": SIGNATURE_VERSION,
            "algorithm": "ed25519",
            "key": self.key,
            "signature": base64.b64encode(self.value).decode(),
        }

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.to_json())

    @staticmethod
    def from_json(value: dict[str, object], where: str) -> SignatureFile:
        """Inverse of to_json. Errors: BundleError for anything not exactly as written."""
        known_version(value, SIGNATURE_VERSION, where)
        exact_keys(value, frozenset(("schema_version", "algorithm", "key", "signature")), where)
        if value["algorithm"] != "ed25519":
            raise BundleError(
                f"signature algorithm {str(value['algorithm'])[:40]!r} is not known (known: ed25519)",
                where=where,
                mend="update edge on this device",
            )
        try:
            signature = SignatureFile(str(value["key"]), base64.b64decode(str(value["signature"]), validate=True))
        except binascii.Error:
            signature = SignatureFile("", b"")
        # Base64 has spare bits: only what we would write ourselves is accepted.
        if signature.to_json() != value:
            raise BundleError("the signature was changed", where=where, mend="fetch the bundle again")
        return signature

    @staticmethod
    def from_bytes(data: bytes, where: str) -> SignatureFile:
        """Inverse of to_bytes. Errors: BundleError."""
        return SignatureFile.from_json(parse_canonical(data, where), where)


@dataclass(frozen=True)
class Trust:
    """The public keys that count here."""

    keys: tuple[PublicKey, ...] = ()

    def find(self, key: str) -> PublicKey | None:
        """The trusted key of a fingerprint, whatever its role."""
        return next((item for item in self.keys if item.fingerprint == key), None)

    def verify(self, purpose: bytes, data: bytes, signature: SignatureFile, *, role: str, where: str) -> PublicKey:
        """Check a signature over `purpose + data` by a key trusted for `role`; returns that key.

        Errors: UntrustedError when the key is not trusted, is trusted for another role, or did not sign this.
        """
        key = self.find(signature.key)
        if key is None:
            raise UntrustedError(
                f"signed by {grouped(signature.key[:16])}, a key that is not trusted here",
                where=where,
                mend="compare the fingerprint with the signer, then `edge keys trust PUBLIC_KEY NAME`",
            )
        if key.role != role:
            raise UntrustedError(
                f"signed by '{key.name}', which is trusted as a {key.role} key and not as a {role} key",
                where=where,
                mend=f"have it signed with a {role} key",
            )
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature.value, purpose + data)
        except InvalidSignature as error:
            raise UntrustedError(
                f"was changed after '{key.name}' signed it",
                where=where,
                mend="fetch or build the bundle again",
            ) from error
        return key


@dataclass(frozen=True)
class SigningKey:
    """A private key in memory; its repr never shows the secret."""

    name: str
    role: str
    raw_public: bytes
    _private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, {self.role!r}, {grouped(self.fingerprint)!r})"

    @property
    def fingerprint(self) -> str:
        """16 hex digits."""
        return fingerprint(self.raw_public)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.name, self.role, self.raw_public)

    def sign(self, purpose: bytes, data: bytes) -> SignatureFile:
        """Sign `purpose + data`. Ed25519 is deterministic: the same input gives the same signature."""
        return SignatureFile(self.fingerprint, self._private.sign(purpose + data))

    def trust(self) -> Trust:
        """Trust in this key alone, to read back what it signed."""
        return Trust((self.public,))


def stated_role(data: bytes, where: str) -> str | None:
    """The role in the line before a PEM, or None. Errors: SpecError for an unknown role."""
    first = data.split(b"\n", 1)[0].decode("utf-8", errors="replace")
    if not first.startswith(ROLE_HEADER):
        return None
    role = first.removeprefix(ROLE_HEADER).strip()
    if role not in ROLES:
        raise SpecError(f"role {role[:20]!r} is not known (known: {', '.join(ROLES)})", where=where)
    return role


def parse_public_pem(data: bytes, name: str, role: str, where: str) -> tuple[PublicKey, str | None]:
    """The key in a PEM file under a given name and role, and the role that the file states, if any."""
    if b"PRIVATE KEY" in data:
        raise SpecError("is a private key", where=where, mend="hand out and trust only `edge keys export NAME`")
    stated = stated_role(data, where)
    lines = [line.strip() for line in data.decode("ascii", errors="replace").splitlines()]
    der = b""
    with contextlib.suppress(ValueError, binascii.Error):
        first, last = (lines.index(mark) for mark in _PUBLIC_MARKS)
        der = base64.b64decode("".join(lines[first + 1 : last]), validate=True)
    if len(der) != len(_SPKI_PREFIX) + 32 or not der.startswith(_SPKI_PREFIX):
        raise SpecError(
            "is not an Ed25519 public key in PEM", where=where, mend="export it with `edge keys export NAME`"
        )
    return PublicKey(name, role, der[len(_SPKI_PREFIX) :]), stated
