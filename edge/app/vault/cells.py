"""What stands in a cell of a table: the bytes themselves, or the bytes under AES-GCM bound to their place."""

from __future__ import annotations

import os
from typing import Protocol

from edge.app.vault.keys import NONCE_BYTES, Keys
from edge.app.vault.protocol import DamagedError

DAMAGED = "a record in the vault is damaged"


class Cells(Protocol):
    """How a store keeps a name and a value."""

    def name(self, table: str, name: str) -> bytes:
        """The key column for a name."""
        ...

    def pack(self, place: tuple[str, bytes, int, str], value: bytes) -> bytes:
        """What is stored. place: table, key, change number, column."""
        ...

    def unpack(self, place: tuple[str, bytes, int, str], stored: bytes) -> bytes:
        """What was packed for this very place. Errors: DamagedError."""
        ...


class OpenCells:
    """For a database whose pages are encrypted."""

    def name(self, table: str, name: str) -> bytes:
        """The name."""
        return name.encode()

    def pack(self, place: tuple[str, bytes, int, str], value: bytes) -> bytes:
        """The value."""
        return value

    def unpack(self, place: tuple[str, bytes, int, str], stored: bytes) -> bytes:
        """The value."""
        return stored


class SealedCells:
    """AES-GCM, a random 96-bit nonce each; table, key, change number and column are the associated data."""

    def __init__(self, keys: Keys) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._keys = keys
        self._cipher = AESGCM(bytes(keys.child("rows")))

    def name(self, table: str, name: str) -> bytes:
        """A keyed hash, so that the column says nothing of the name."""
        return self._keys.mac("names", table.encode(), name.encode())[:16]

    def pack(self, place: tuple[str, bytes, int, str], value: bytes) -> bytes:
        """nonce, then sealed."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, _associated(place))

    def unpack(self, place: tuple[str, bytes, int, str], stored: bytes) -> bytes:
        """Opened; a cell from another place, or changed, is refused."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], _associated(place))
        except (InvalidTag, ValueError) as error:
            raise DamagedError(DAMAGED, where="vault.db", mend="restore a backup") from error


def _associated(place: tuple[str, bytes, int, str]) -> bytes:
    table, key, changed, column = place
    parts = (b"edge vault cell v1", table.encode(), key, changed.to_bytes(8, "big"), column.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
