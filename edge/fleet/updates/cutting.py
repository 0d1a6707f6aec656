"""Cut the files of a bundle into parts and chunks, each part into a blob named by its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from edge.bundle.manifest import FileEntry
from edge.bundle.tree import open_regular, read_error
from edge.errors import BundleError
from edge.files import atomic_file, fsync_directory, resource_error
from edge.fleet.updates.chunk_manifest import CHUNK_BYTES, PART_BYTES, FileChunks, Part

MEND = "fetch or build the bundle again"


def blob_name(digest: str) -> str:
    """The path of a blob in a repository. 256 folders, because a stick is slow with many names in one."""
    return f"blobs/{digest[:2]}/{digest}"


def cut_file(
    path: Path,
    entry: FileEntry,
    keep: Callable[[str], Path | None],
    *,
    chunk_bytes: int = CHUNK_BYTES,
    part_bytes: int = PART_BYTES,
) -> FileChunks:
    """Cut one file; each part is written to where `keep(digest)` says (None: it is there already).

    part_bytes: a multiple of chunk_bytes. Errors: BundleError when the file is not what its entry says;
    ResourceError when it cannot be read or a blob cannot be written.
    """
    parts: list[Part] = []
    whole = hashlib.sha256()
    left = entry.size_bytes
    while left:
        size = min(left, part_bytes)
        start = entry.size_bytes - left
        part = _cut_part(path, start, size, chunk_bytes, whole)
        place = keep(part.sha256)
        if place is not None:
            _write_blob(path, start, part, place)
        parts.append(part)
        left -= size
    if whole.hexdigest() != entry.sha256:
        raise BundleError(f"file {entry.path!r} was changed while it was read", where=str(path), mend=MEND)
    return FileChunks(entry, tuple(parts))


def _cut_part(path: Path, start: int, size_bytes: int, chunk_bytes: int, whole: hashlib._Hash) -> Part:
    digest, chunks = hashlib.sha256(), []
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        file.seek(start)
        for offset in range(0, size_bytes, chunk_bytes):
            data = read_exactly(file.fileno(), min(chunk_bytes, size_bytes - offset), path)
            chunks.append(hashlib.sha256(data).hexdigest())
            digest.update(data)
            whole.update(data)
    return Part(digest.hexdigest(), size_bytes, tuple(chunks))


def _write_blob(path: Path, start: int, part: Part, place: Path) -> None:
    """Copy a part into its blob; it appears whole or not at all, and only with the bytes that it is named by."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fsync_directory(place.parent.parent)
    except OSError as error:
        raise resource_error(error, str(place)) from error
    with atomic_file(place) as output, os.fdopen(open_regular(path), "rb", buffering=0) as file:
        digest, left = hashlib.sha256(), part.size_bytes
        file.seek(start)
        while left:
            data = read_exactly(file.fileno(), min(left, CHUNK_BYTES), path)
            digest.update(data)
            output.write(data)
            left -= len(data)
        if digest.hexdigest() != part.sha256:
            raise BundleError("was changed while it was read", where=str(path), mend=MEND)


def read_exactly(descriptor: int, size_bytes: int, path: Path) -> bytes:
    """`size_bytes` from where the descriptor stands. Errors: BundleError when the file ends before."""
    pieces, left = [], size_bytes
    try:
        while left and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
    except OSError as error:
        raise read_error(error, str(path)) from error
    if left:
        raise BundleError("is shorter than it should be", where=str(path), mend=MEND)
    return b"".join(pieces)
