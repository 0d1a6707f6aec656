"""The backup file: everything of a vault in one encrypted stream, readable by either kind of vault.

    magic (8) | length of header (2) | header, JSON | chunk | chunk | ... | last chunk

The key is Argon2id of the passphrase; each chunk is AES-GCM with the nonce prefix (7) | number (4) | last (1) and the
header as associated data. So a chunk that is missing, moved, repeated or cut off at the end is noticed, and so is a
stream that goes on after its last chunk.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from edge.app.vault.disk import disk_errors, private_file
from edge.app.vault.keys import SALT_BYTES, TAG_BYTES, Cost, derived, read_cost, stretched, zero
from edge.app.vault.protocol import DamagedError
from edge.errors import InputError, ResourceError

MAGIC = b"EDGEVLT\x01"
VERSION = 1
CHUNK_BYTES = 1 << 16
PREFIX_BYTES = 7
MOST_HEADER_BYTES = 4096
MOST_RECORD_BYTES = 1 << 28
Record = tuple[bytes, ...]


def write_backup(path: Path, passphrase: str, cost: Cost, records: Iterable[Record]) -> int:
    """Write the records; the file appears whole or not at all. Returns how many. Errors: ResourceError."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, prefix = os.urandom(SALT_BYTES), os.urandom(PREFIX_BYTES)
    secret = stretched(passphrase, salt, cost)
    try:
        cipher = AESGCM(bytes(derived(secret, salt, "backup")))
        check = derived(secret, salt, "backup check")
    finally:
        zero(secret)
    header = json.dumps(
        {
            "version": VERSION,
            "kdf": {
                "name": "argon2id",
                "memory_kib": cost.memory_kib,
                "passes": cost.passes,
                "lanes": cost.lanes,
                "salt": salt.hex(),
            },
            "prefix": prefix.hex(),
            "check": check.hex(),
        },
        sort_keys=True,
    ).encode()
    opening = MAGIC + len(header).to_bytes(2, "big") + header
    count, number, waiting = 0, 0, bytearray()
    with private_file(path) as file:
        file.write(opening)
        for record in records:
            count += 1
            waiting += _framed(record)
            while len(waiting) > CHUNK_BYTES:
                file.write(cipher.encrypt(_nonce(prefix, number, last=False), bytes(waiting[:CHUNK_BYTES]), opening))
                del waiting[:CHUNK_BYTES]
                number += 1
        file.write(cipher.encrypt(_nonce(prefix, number, last=True), bytes(waiting), opening))
        zero(waiting)
    return count


def read_backup(path: Path, passphrase: str) -> Iterator[Record]:
    """The records, in order. What comes before a damage is given out before it is found: keep nothing until the end.

    Errors: InputError for a wrong passphrase or a file that is no backup, DamagedError for a damaged one.
    """
    with disk_errors(path.name), path.open("rb") as file:
        yield from _records(_chunks(file, path.name, passphrase), path.name)


def _chunks(file: BinaryIO, name: str, passphrase: str) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    opening, salt, prefix, check, cost = _read_opening(file, name)
    secret = stretched(passphrase, salt, cost)
    try:
        if not hmac.compare_digest(derived(secret, salt, "backup check"), check):
            raise InputError("wrong passphrase", where=name, mend="enter the one that the backup was made with")
        cipher = AESGCM(bytes(derived(secret, salt, "backup")))
    finally:
        zero(secret)
    number, chunk = 0, file.read(CHUNK_BYTES + TAG_BYTES)
    while True:
        following = file.read(CHUNK_BYTES + TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(prefix, number, last=not following), chunk, opening)
        except (InvalidTag, ValueError) as error:
            raise _damaged(name) from error
        if not following:
            return
        number, chunk = number + 1, following


def _read_opening(file: BinaryIO, name: str) -> tuple[bytes, bytes, bytes, bytes, Cost]:
    start = file.read(len(MAGIC) + 2)
    if not start.startswith(MAGIC) or len(start) != len(MAGIC) + 2:
        raise InputError("this is no backup of edge", where=name, mend="choose another file")
    size = int.from_bytes(start[-2:], "big")
    header = file.read(size)
    try:
        value = json.loads(header) if size <= MOST_HEADER_BYTES else {}
        if isinstance(value["version"], int) and value["version"] > VERSION:
            raise ResourceError("the backup was made by a newer edge", where=name, mend="update edge")
        salt, prefix, check = (bytes.fromhex(text) for text in (value["kdf"]["salt"], value["prefix"], value["check"]))
        cost = read_cost(value["kdf"])
        if (len(salt), len(prefix), len(check)) != (SALT_BYTES, PREFIX_BYTES, 32):
            raise ValueError("lengths")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(name) from error
    return start + header, salt, prefix, check, cost


def _records(chunks: Iterator[bytes], name: str) -> Iterator[Record]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= 4:
            size = int.from_bytes(waiting[:4], "big")
            if size > MOST_RECORD_BYTES:
                raise _damaged(name)
            if len(waiting) < 4 + size:
                break
            yield _unframed(bytes(waiting[4 : 4 + size]), name)
            del waiting[: 4 + size]
    if waiting:
        raise _damaged(name)


def _framed(record: Record) -> bytes:
    body = b"".join(len(field).to_bytes(4, "big") + field for field in record)
    return len(body).to_bytes(4, "big") + body


def _unframed(body: bytes, name: str) -> Record:
    fields, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        fields.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(body):
        raise _damaged(name)
    return tuple(fields)


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _damaged(name: str) -> DamagedError:
    return DamagedError("the backup file is damaged", where=name, mend="use another copy")
