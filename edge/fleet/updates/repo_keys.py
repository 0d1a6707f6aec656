"""The private keys of an update repository: Ed25519, one PEM file each, mode 0600, encrypted with a passphrase or not.

They live in a folder of their own, never inside the repository: what a web server publishes holds no secret. A file is
named after its key (`root-2.pem`), but what a key is good for is said by the signed root metadata alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundle.tree import read_small
from edge.errors import BundleError, SpecError, UntrustedError
from edge.files import fsync_directory, resource_error

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

NAME_FIELD = "x-edge-name"
MAX_KEY_BYTES = 16 << 10
_NAME = re.compile(r"(root|targets|snapshot|timestamp)-([1-9][0-9]{0,5})")

Passphrase = Callable[[Path], bytes]


@dataclass(frozen=True)
class RepoKey:
    """A private key in memory, with the TUF key that metadata knows it by. Its repr shows no secret."""

    name: str
    signer: CryptoSigner

    def __repr__(self) -> str:
        return f"RepoKey({self.name!r})"

    @property
    def keyid(self) -> str:
        """The key's id in TUF metadata."""
        return str(self.signer.public_key.keyid)

    @property
    def public(self) -> SSlibKey:
        """The public half, which root metadata holds with the key's name."""
        return self.signer.public_key


def key_name(key: object) -> str:
    """The name that root metadata gives a key, or the start of its id."""
    fields = getattr(key, "unrecognized_fields", {})
    name = fields.get(NAME_FIELD)
    return name if isinstance(name, str) and _NAME.fullmatch(name) else str(getattr(key, "keyid", "?"))[:8]


def key_number(name: str) -> int:
    """2 of `root-2`; 0 for another name."""
    match = _NAME.fullmatch(name)
    return int(match[2]) if match else 0


def new_key(name: str) -> RepoKey:
    """A new key pair in memory, not yet on disk."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner, SSlibKey

    private = Ed25519PrivateKey.generate()
    public = SSlibKey.from_crypto(private.public_key())
    public.unrecognized_fields[NAME_FIELD] = name
    return RepoKey(name, CryptoSigner(private, public))


def save_key(key: RepoKey, folder: Path, passphrase: bytes | None) -> Path:
    """Write a private key into `folder` (0700) as `<name>.pem` (0600), durable.

    Errors: SpecError when a file of that name exists (no key is ever overwritten); ResourceError.
    """
    from cryptography.hazmat.primitives import serialization

    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    plain = serialization.load_pem_private_key(key.signer.private_bytes, password=None)
    data = plain.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    path = folder / f"{key.name}.pem"
    beside = folder / f".{key.name}.{os.urandom(4).hex()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
        fsync_directory(folder)
    except FileExistsError as error:
        raise SpecError("a key of this name exists already", where=str(path), mend="give another key folder") from error
    except OSError as error:
        raise resource_error(error, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return path


def load_keys(
    places: Iterable[Path], known: Iterable[object], passphrase: Passphrase, *, strangers: bool = False
) -> tuple[RepoKey, ...]:
    """The private keys in files and folders that belong to one of the `known` TUF keys; others are passed over.

    strangers: take a key whose file is named even if it is not known (a machine that sees only the file to sign).
    Errors: UntrustedError when others can read a key, a named file is missing, or a passphrase is wrong; SpecError
    when a named file is no Ed25519 key.
    """
    by_id = {str(getattr(key, "keyid", "")): key for key in known}
    found: dict[str, RepoKey] = {}
    for place in places:
        named = not place.is_dir()
        for path in [place] if named else sorted(place.glob("*.pem")):
            loaded = _load(path, by_id, passphrase, named=named, strangers=strangers)
            if loaded is not None:
                found.setdefault(loaded.keyid, loaded)
    return tuple(found.values())


def _load(
    path: Path, known: dict[str, object], passphrase: Passphrase, *, named: bool, strangers: bool
) -> RepoKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner, SSlibKey

    try:
        data = read_small(path, MAX_KEY_BYTES)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UntrustedError("others can read this private key", where=str(path), mend=f"run `chmod 600 {path}`")
    except BundleError as error:
        raise UntrustedError(f"no private key ({error.what})", where=str(path), mend="name the key's file") from error
    except OSError as error:
        raise resource_error(error, str(path)) from error
    # The file's name says which key it should be: no passphrase is asked for a key that is not wanted.
    names = {key_name(key) for key in known.values()}
    encrypted = b"ENCRYPTED PRIVATE KEY" in data
    if encrypted and not named and path.stem not in names:
        return None
    try:
        private = serialization.load_pem_private_key(data, password=passphrase(path) if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise UntrustedError(
                "does not open with this passphrase", where=str(path), mend="type it again, or restore the key"
            ) from None
        private = None  # said below without the library's words, which may quote the file
    if not isinstance(private, Ed25519PrivateKey):
        if not named:
            return None
        raise SpecError("is not an Ed25519 private key", where=str(path), mend="restore it from a backup")
    public = SSlibKey.from_crypto(private.public_key())
    match = known.get(public.keyid)
    if match is None:
        return RepoKey(path.stem, CryptoSigner(private, public)) if named and strangers else None
    return RepoKey(key_name(match), CryptoSigner(private, public))
