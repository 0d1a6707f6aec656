"""The keys of this machine, and whom it trusts.

They live below `EDGE_HOME` (or the user's configuration folder): `keys/NAME.pem` (private, 0600) and
`trusted/NAME.pub.pem`. A line before the PEM says the role, builder or device.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.canonical import SLUG
from edge.bundle.signing import ROLE_HEADER, ROLES, PublicKey, SigningKey, Trust, parse_public_pem, stated_role
from edge.bundle.tree import read_small
from edge.errors import BundleError, SpecError, UntrustedError
from edge.files import fsync_directory, resource_error

MAX_KEY_BYTES = 16 << 10


def default_home() -> Path:
    """`EDGE_HOME`, or the user's configuration folder of edge."""
    if home := os.environ.get("EDGE_HOME"):
        return Path(home)
    import platformdirs

    return Path(platformdirs.user_config_dir("edge"))


@dataclass(frozen=True)
class KeyInfo:
    """A key as `edge keys list` shows it. own: the private half is here; trusted: signatures by it count."""

    name: str
    role: str
    fingerprint: str
    own: bool
    trusted: bool


class KeyStore:
    """The keys below one home folder.

    A key that is created here is trusted here at once, for its own role: who may write to this home may
    decide what it trusts. Every other key is trusted only by `trust`.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = home if home is not None else default_home()

    @property
    def _private_folder(self) -> Path:
        return self.home / "keys"

    @property
    def _trusted_folder(self) -> Path:
        return self.home / "trusted"

    def _private_path(self, name: str) -> Path:
        return self._private_folder / f"{_good_name(name)}.pem"

    def _trusted_path(self, name: str) -> Path:
        return self._trusted_folder / f"{_good_name(name)}.pub.pem"

    def create(self, name: str, role: str = "builder") -> KeyInfo:
        """Make a key pair and trust it here for its role. The private key gets mode 0600.

        Errors: SpecError for an odd name or role, or when a key of that name exists (it is never
        overwritten).
        """
        _good_role(role)
        private_path, trusted_path = self._private_path(name), self._trusted_path(name)
        for path in (private_path, trusted_path):
            if os.path.lexists(path):
                raise SpecError(f"a key '{name}' exists already", where=str(path), mend="choose another name")
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = PublicKey(name, role, private.public_key().public_bytes_raw())
        _write_new(private_path, f"{ROLE_HEADER}{role}\n".encode() + pem, 0o600)
        _write_new(trusted_path, public.to_pem(), 0o644)
        return KeyInfo(name, role, public.fingerprint, own=True, trusted=True)

    def list(self) -> tuple[KeyInfo, ...]:
        """All keys, own and trusted, by name. Errors: as trust_store and load_signing_key."""
        trusted = {key.name: key for key in self.trust_store().keys}
        own = {name: self._load(name).public for name in self._own_names()}
        return tuple(
            KeyInfo(
                name=name,
                role=(own.get(name) or trusted[name]).role,
                fingerprint=(own.get(name) or trusted[name]).fingerprint,
                own=name in own,
                trusted=name in trusted,
            )
            for name in sorted(own.keys() | trusted.keys())
        )

    def trust(self, public_pem: Path, name: str, role: str = "builder") -> KeyInfo:
        """Trust the public key in a PEM file for `role` under `name`. Idempotent for the same key and role.

        Errors: SpecError when the file is no Ed25519 public key, says another role, or the name or the key is
        taken already.
        """
        _good_role(role)
        path = self._trusted_path(name)
        key, stated = parse_public_pem(_read_key(public_pem), name, role, str(public_pem))
        if stated not in (None, role):
            raise SpecError(
                f"is a {stated} key, not a {role} key",
                where=str(public_pem),
                mend=f"trust it as {stated}",
            )
        info = KeyInfo(name, role, key.fingerprint, own=name in self._own_names(), trusted=True)
        for known in self.trust_store().keys:
            if known == key:
                return info
            if known.name == name:
                raise SpecError(f"another key is trusted as '{name}'", where=str(path), mend="choose another name")
            if known.raw == key.raw:
                raise SpecError(
                    f"this key is trusted as '{known.name}' ({known.role}) already",
                    where=str(public_pem),
                    mend=f"`edge keys untrust {known.name}` first",
                )
        _write_new(path, key.to_pem(), 0o644)
        return info

    def untrust(self, name: str) -> KeyInfo:
        """Trust a key no longer; its private half, if here, stays.

        Errors: SpecError when it is not trusted.
        """
        key = next((item for item in self.trust_store().keys if item.name == name), None)
        if key is None:
            raise SpecError(f"no key '{name}' is trusted", where=str(self._trusted_folder), mend="see `edge keys list`")
        try:
            self._trusted_path(name).unlink()
            fsync_directory(self._trusted_folder)
        except OSError as error:
            raise resource_error(error, str(self._trusted_folder)) from error
        return KeyInfo(name, key.role, key.fingerprint, own=name in self._own_names(), trusted=False)

    def trust_store(self) -> Trust:
        """All keys trusted here; none is a valid answer.

        Errors: UntrustedError when others can write to what decides trust; SpecError for a broken key file.
        """
        keys = []
        for path in _pem_files(self._trusted_folder, ".pub.pem"):
            for item in (self._trusted_folder, path):
                if item.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise UntrustedError(
                        "others can change whom you trust", where=str(item), mend=f"run `chmod go-w {item}`"
                    )
            name = path.name.removesuffix(".pub.pem")
            key, role = parse_public_pem(_read_key(path), name, "builder", str(path))
            keys.append(PublicKey(name, role or "builder", key.raw))
        return Trust(tuple(keys))

    def load_signing_key(self, name: str | None = None, role: str = "builder") -> SigningKey:
        """The private key `name`, or the only one of that role.

        Errors: UntrustedError when there is none or when others can read the file; SpecError when several
        fit, the role differs or the file is broken.
        """
        _good_role(role)
        if name is not None:
            if not os.path.lexists(self._private_path(name)):
                raise UntrustedError(
                    f"no private key '{name}'",
                    where=str(self._private_folder),
                    mend=f"`edge keys new {name}`",
                )
            key = self._load(name)
            if key.role != role:
                raise SpecError(f"key '{name}' is a {key.role} key", where=str(self._private_path(name)))
            return key
        fitting = [key for key in map(self._load, self._own_names()) if key.role == role]
        if not fitting:
            raise UntrustedError(
                f"there is no {role} key to sign with",
                where=str(self._private_folder),
                mend=f"`edge keys new NAME --role {role}`",
            )
        if len(fitting) > 1:
            names = ", ".join(key.name for key in fitting)
            raise SpecError(f"several {role} keys ({names})", where=str(self._private_folder), mend="say which")
        return fitting[0]

    def fingerprint(self, name: str) -> str:
        """16 hex digits of the own or trusted key `name`. Errors: SpecError when there is none."""
        return self.public(name).fingerprint

    def public(self, name: str) -> PublicKey:
        """The public half of the own or trusted key `name`, to hand to others. Errors: SpecError."""
        if name in self._own_names():
            return self._load(name).public
        for key in self.trust_store().keys:
            if key.name == name:
                return key
        raise SpecError(f"no key '{name}'", where=str(self.home), mend="see `edge keys list`")

    def _own_names(self) -> tuple[str, ...]:
        return tuple(path.name.removesuffix(".pem") for path in _pem_files(self._private_folder, ".pem"))

    def _load(self, name: str) -> SigningKey:
        path = self._private_path(name)
        data = _read_key(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UntrustedError("others can read this private key", where=str(path), mend=f"run `chmod 600 {path}`")
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        role = stated_role(data, str(path))
        try:
            private = serialization.load_pem_private_key(data[max(0, data.find(b"-----BEGIN")) :], password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None  # told below without the library's words, which may quote the file
        if role is None or not isinstance(private, Ed25519PrivateKey):
            raise SpecError("is not an Ed25519 private key of edge", where=str(path), mend="restore it from a backup")
        return SigningKey(name, role, private.public_key().public_bytes_raw(), private)


def _good_name(name: str) -> str:
    if not SLUG.fullmatch(name) or name.endswith((".pub", ".pem")):
        raise SpecError(f"key name {name[:60]!r} is not lower case letters, digits, '.', '_', '-'")
    return name


def _good_role(role: str) -> None:
    if role not in ROLES:
        raise SpecError(f"role {role!r} is not known (known: {', '.join(ROLES)})")


def _pem_files(folder: Path, suffix: str) -> tuple[Path, ...]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return tuple(sorted(path for path in folder.iterdir() if _is_key_file(path.name, suffix)))
    return ()


def _is_key_file(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and SLUG.fullmatch(name.removesuffix(suffix)) is not None


def _read_key(path: Path) -> bytes:
    try:
        return read_small(path, MAX_KEY_BYTES)
    except BundleError as error:
        raise SpecError(error.what, where=str(path), mend="give the PEM file of a key") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet: whole, durable, and never readable by more than `mode` says."""
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.link(beside, path)
        fsync_directory(path.parent)
    except FileExistsError as error:
        raise SpecError("a key of this name exists already", where=str(path), mend="choose another name") from error
    except OSError as error:
        raise resource_error(error, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
