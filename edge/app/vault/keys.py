"""The one key of a vault: 32 random bytes, wrapped with AES-GCM under Argon2id(PIN), and what is derived from it.

The key file says with which parameters; all of it is authenticated with the wrapped key, so a changed file opens
nothing, and its costs are bounded, so it cannot ask for more memory than the device has. Each use has a key of its
own (HKDF with the purpose as info), so that what is made for one never passes for another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge.app.vault.pins import normalised
from edge.app.vault.protocol import DamagedError
from edge.errors import InputError, ResourceError

VERSION = 1
KEY_BYTES, SALT_BYTES, NONCE_BYTES, TAG_BYTES = 32, 16, 12, 16
MOST_FILE_BYTES = 4096
PURPOSE = b"edge vault: database key, version 1\x00"
LEAST_WIPE_AFTER, MOST_WIPE_AFTER = 5, 1000


@dataclass(frozen=True)
class Cost:
    """What one guess costs. memory_kib: of Argon2id; passes: over it; lanes: that may run at once."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 1

    def within_bounds(self) -> bool:
        """Whether a file may ask for this: at least what Argon2id allows, at most 256 MiB and 16 passes."""
        return 1 <= self.lanes <= 4 and 8 * self.lanes <= self.memory_kib <= 256 * 1024 and 1 <= self.passes <= 16


def stretched(secret: str, salt: bytes, cost: Cost, device_secret: bytes = b"") -> bytearray:
    """Argon2id of a PIN or passphrase: 32 bytes. device_secret: mixed in, so that no guess works without it.

    Errors: ResourceError when there is no memory for it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    word = normalised(secret)
    try:
        kdf = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=cost.passes,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
            secret=device_secret or None,
        )
        return bytearray(kdf.derive(bytes(word)))
    except UnsupportedAlgorithm as error:
        raise ResourceError(
            "this build of OpenSSL has no Argon2id", mend="install cryptography from its wheel"
        ) from error
    except MemoryError as error:
        raise ResourceError("not enough memory to check the PIN", mend="close other apps and try again") from error
    finally:
        zero(word)


def derived(master: bytes | bytearray, salt: bytes, purpose: str) -> bytearray:
    """HKDF-SHA256: the key for one use."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"edge vault v1: " + purpose.encode())
    return bytearray(kdf.derive(bytes(master)))


def zero(buffer: bytearray) -> None:
    """Overwrite in place."""
    buffer[:] = bytes(len(buffer))


class Keys:
    """The key and its children while a vault is open. `forget` overwrites what this object holds."""

    def __init__(self, master: bytes | bytearray, vault_id: bytes) -> None:
        self._master = bytearray(master)
        self._vault_id = vault_id
        self._children: dict[str, bytearray] = {}

    def __repr__(self) -> str:
        return "Keys(hidden)"

    def child(self, purpose: str) -> bytearray:
        """The key for one use: database, rows, names, seals, audit."""
        if not any(self._master):
            raise InputError("the vault is locked", mend="enter the PIN")
        if purpose not in self._children:
            self._children[purpose] = derived(self._master, self._vault_id, purpose)
        return self._children[purpose]

    def mac(self, purpose: str, *parts: bytes) -> bytes:
        """HMAC-SHA256 over the parts, each with its length, under the key for one use."""
        code = hmac.new(self.child(purpose), digestmod=hashlib.sha256)
        for part in parts:
            code.update(len(part).to_bytes(8, "big"))
            code.update(part)
        return code.digest()

    def copy(self) -> Keys:
        """The same keys, forgotten on their own."""
        return Keys(self._master, self._vault_id)

    def forget(self) -> None:
        """Overwrite all of it."""
        for key in (self._master, *self._children.values()):
            zero(key)


@dataclass(frozen=True)
class KeyFile:
    """The wrapped key with all that is needed to unwrap it but the PIN (and the device secret, if bound to one).

    kind: of the store it belongs to. vault_id, salt, nonce, wrapped: hex. wipe_after: wrong PINs in a row, 0 = never.
    """

    kind: str
    vault_id: str
    cost: Cost
    salt: str
    bound: bool = False
    wipe_after: int = 0
    nonce: str = ""
    wrapped: str = field(default="", repr=False)

    def _header(self) -> dict[str, Any]:
        return {
            "format": "edge-vault-key",
            "version": VERSION,
            "kind": self.kind,
            "vault_id": self.vault_id,
            "kdf": {
                "name": "argon2id",
                "memory_kib": self.cost.memory_kib,
                "passes": self.cost.passes,
                "lanes": self.cost.lanes,
                "salt": self.salt,
            },
            "bound": self.bound,
            "wipe_after": self.wipe_after,
            "nonce": self.nonce,
        }

    def _associated(self) -> bytes:
        return PURPOSE + json.dumps(self._header(), sort_keys=True, separators=(",", ":")).encode()

    def to_bytes(self) -> bytes:
        """As it is kept on disk."""
        return json.dumps(self._header() | {"wrapped": self.wrapped}, indent=1, sort_keys=True).encode() + b"\n"

    @staticmethod
    def from_bytes(data: bytes) -> KeyFile:
        """Read one. Errors: ResourceError for one of a newer edge, DamagedError for anything else that is not one."""
        broken = DamagedError("the key file is damaged", where="key.json", mend="restore a backup")
        try:
            value = json.loads(data) if len(data) <= MOST_FILE_BYTES else None
        except ValueError as error:
            raise broken from error
        if not isinstance(value, dict) or value.get("format") != "edge-vault-key":
            raise broken
        if isinstance(value.get("version"), int) and value["version"] > VERSION:
            raise ResourceError("the vault was made by a newer edge", where="key.json", mend="update edge")
        try:
            found = _parsed(value)
        except (KeyError, TypeError, ValueError) as error:
            raise broken from error
        if found is None or json.loads(found.to_bytes()) != value:
            raise broken
        return found

    def with_key(self, master: bytes | bytearray, pin: str, device_secret: bytes = b"") -> KeyFile:
        """The same vault with its key wrapped under `pin`: new salt, new nonce."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
        fresh = replace(self, salt=salt.hex(), nonce=nonce.hex(), bound=bool(device_secret), wrapped="")
        key = stretched(pin, salt, self.cost, device_secret)
        try:
            wrapped = AESGCM(bytes(key)).encrypt(nonce, bytes(master), fresh._associated())
        finally:
            zero(key)
        return replace(fresh, wrapped=wrapped.hex())

    def unwrap(self, pin: str, device_secret: bytes = b"") -> bytearray | None:
        """The key, None when the PIN (or the device secret, or any byte of the file) is another one."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = stretched(pin, bytes.fromhex(self.salt), self.cost, device_secret)
        try:
            sealed, nonce = bytes.fromhex(self.wrapped), bytes.fromhex(self.nonce)
            return bytearray(AESGCM(bytes(key)).decrypt(nonce, sealed, self._associated()))
        except InvalidTag:
            return None
        finally:
            zero(key)


def read_cost(value: Mapping[str, Any]) -> Cost:
    """Argon2id parameters from a file. Errors: ValueError when they are not within bounds."""
    numbers = [value["memory_kib"], value["passes"], value["lanes"]]
    if value["name"] != "argon2id" or not all(type(number) is int for number in numbers):
        raise ValueError("kdf")
    cost = Cost(*numbers)
    if not cost.within_bounds():
        raise ValueError("cost")
    return cost


def _parsed(value: dict[str, Any]) -> KeyFile | None:
    lengths = {"vault_id": SALT_BYTES, "nonce": NONCE_BYTES, "wrapped": KEY_BYTES + TAG_BYTES}
    if any(len(bytes.fromhex(value[name])) != size for name, size in lengths.items()):
        return None
    salt = value["kdf"]["salt"]
    after = value["wipe_after"]
    if len(bytes.fromhex(salt)) != SALT_BYTES or type(after) is not int or not 0 <= after <= MOST_WIPE_AFTER:
        return None
    if value["version"] != VERSION or type(value["bound"]) is not bool or not isinstance(value["kind"], str):
        return None
    cost = read_cost(value["kdf"])
    return KeyFile(
        value["kind"], value["vault_id"], cost, salt, value["bound"], after, value["nonce"], value["wrapped"]
    )


def new_key(kind: str, pin: str, cost: Cost, device_secret: bytes = b"") -> tuple[KeyFile, Keys]:
    """A fresh vault's key and its file."""
    vault_id, master = os.urandom(SALT_BYTES), bytearray(os.urandom(KEY_BYTES))
    try:
        file = KeyFile(kind, vault_id.hex(), cost, "").with_key(master, pin, device_secret)
        return file, Keys(master, vault_id)
    finally:
        zero(master)
