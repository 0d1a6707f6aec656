"""The chunk manifest: which bytes a release is made of. It is a target of the TUF repository, so TUF signs its digest.

Each file of a bundle is a row of parts, each part a row of chunks. A part is one file of the repository,
`blobs/ab/<sha256>`, named by its content: a base model that two releases share lies there once, and a reader asks for
ranges of it. A file up to PART_BYTES is one part, its digest that of the file; a larger one is split, because a FAT32
stick holds no file of 4 GiB. A chunk is what is checked, kept and fetched again: CHUNK_BYTES of a part, the last one
shorter.

The bundle's own manifest and signature are in here as text, so that who installs can check the builder's signature
before one byte of the model moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge.bundle.canonical import HEX_DIGEST, SLUG, canonical_json, exact_keys, parse_canonical
from edge.bundle.manifest import FileEntry, Manifest, behaviour_digest
from edge.errors import BundleError

VERSION = 1
# Measured (docs/updates.md): at 1 MiB a chunk manifest has 0.1 permille of the model's size, a killed fetch loses at
# most 1 MiB, and finer chunks save next to nothing between two real bundles.
CHUNK_BYTES = 1 << 20
PART_BYTES = 1 << 30
MAX_CHUNK_BYTES = 16 << 20
MAX_CHUNK_MANIFEST_BYTES = 64 << 20
_MEND = "fetch it again, or add the release to the repository anew"


@dataclass(frozen=True)
class Part:
    """One blob of the repository: hex sha256, size in bytes, and the hex sha256 of each chunk in order."""

    sha256: str
    size_bytes: int
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class FileChunks:
    """One file of the bundle and the parts that it is joined of."""

    entry: FileEntry
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Span:
    """One chunk at its place: `offset_bytes` in the bundle's file `path`, `part_offset_bytes` in the blob `part`."""

    path: str
    offset_bytes: int
    size_bytes: int
    sha256: str
    part: str
    part_offset_bytes: int


@dataclass(frozen=True)
class Release:
    """What the signed list of targets says of a release, before anything of it is fetched."""

    release: str
    profile: str
    target: str
    bundle_digest: str
    behaviour_digest: str
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the `custom` field of the TUF target."""
        return dict(vars(self))

    @staticmethod
    def from_json(value: Any, where: str) -> Release:
        """Inverse of to_json. Errors: BundleError for anything unknown, missing or odd."""
        if not isinstance(value, dict):
            raise BundleError("says nothing about the release", where=where, mend=_MEND)
        exact_keys(value, frozenset(Release.__dataclass_fields__), where)
        names, digests = ("release", "profile", "target"), ("bundle_digest", "behaviour_digest")
        good = (
            all(isinstance(value[key], str) and SLUG.fullmatch(value[key]) for key in names)
            and all(isinstance(value[key], str) and HEX_DIGEST.fullmatch(value[key]) for key in digests)
            and _is_size(value["size_bytes"])
        )
        if not good:
            raise BundleError("a field of the release is not what it should be", where=where, mend=_MEND)
        return Release(**value)


@dataclass(frozen=True)
class ChunkManifest:
    """A release as chunks. manifest, signature: the bytes of the bundle's two files of these names.

    Errors: BundleError where it contradicts itself or the bundle's manifest.
    """

    release: Release
    chunk_bytes: int
    manifest: bytes
    signature: bytes
    files: tuple[FileChunks, ...]

    def __post_init__(self) -> None:
        where = f"chunk manifest of {self.release.release}"
        if not 0 < self.chunk_bytes <= MAX_CHUNK_BYTES:
            raise BundleError("the size of a chunk is odd", where=where, mend=_MEND)
        bundle = Manifest.from_bytes(self.manifest, where)
        if [item.entry for item in self.files] != list(bundle.files):
            raise BundleError("lists other files than the bundle's manifest", where=where, mend=_MEND)
        if hashlib.sha256(self.manifest).hexdigest() != self.release.bundle_digest:
            raise BundleError("holds another bundle than it says", where=where, mend=_MEND)
        if behaviour_digest(bundle) != self.release.behaviour_digest:
            raise BundleError("states another behaviour digest than its bundle has", where=where, mend=_MEND)
        if sum(item.entry.size_bytes for item in self.files) != self.release.size_bytes:
            raise BundleError("states another size than its bundle has", where=where, mend=_MEND)
        for item in self.files:
            _check_parts(item, self.chunk_bytes, where)

    def spans(self, path: str | None = None) -> Iterator[Span]:
        """Every chunk at its place, of all files or of one."""
        for item in self.files:
            if path is not None and item.entry.path != path:
                continue
            start = 0
            for part in item.parts:
                for number, digest in enumerate(part.chunks):
                    offset = number * self.chunk_bytes
                    size = min(self.chunk_bytes, part.size_bytes - offset)
                    yield Span(item.entry.path, start + offset, size, digest, part.sha256, offset)
                start += part.size_bytes

    def blobs(self) -> dict[str, int]:
        """The blobs that the release needs: {hex sha256: size in bytes}."""
        return {part.sha256: part.size_bytes for item in self.files for part in item.parts}

    def to_bytes(self) -> bytes:
        """Canonical JSON, the content of the target."""
        value = {
            "version": VERSION,
            "release": self.release.to_json(),
            "chunk_bytes": self.chunk_bytes,
            "manifest": self.manifest.decode("utf-8"),
            "signature": self.signature.decode("utf-8"),
            "files": [
                {
                    "path": item.entry.path,
                    "sha256": item.entry.sha256,
                    "size_bytes": item.entry.size_bytes,
                    "parts": [
                        {"sha256": part.sha256, "size_bytes": part.size_bytes, "chunks": list(part.chunks)}
                        for part in item.parts
                    ],
                }
                for item in self.files
            ],
        }
        return canonical_json(value, "chunk manifest")

    @staticmethod
    def from_bytes(data: bytes, where: str) -> ChunkManifest:
        """Inverse of to_bytes. Errors: BundleError, one line, for anything not exactly as written."""
        value = parse_canonical(data, where)
        if value.get("version") != VERSION or isinstance(value.get("version"), bool):
            raise BundleError(
                f"chunk manifest version {str(value.get('version'))[:20]} is not known (known: {VERSION})",
                where=where,
                mend="update edge on this device",
            )
        exact_keys(value, _FIELDS, where)
        try:
            files = tuple(_file(item, where) for item in value["files"])
            chunk_bytes = value["chunk_bytes"]
            if not _is_size(chunk_bytes):
                raise TypeError
            manifest, signature = value["manifest"].encode("utf-8"), value["signature"].encode("utf-8")
        except (TypeError, AttributeError, ValueError) as error:
            raise BundleError("is not a chunk manifest", where=where, mend=_MEND) from error
        return ChunkManifest(Release.from_json(value["release"], where), chunk_bytes, manifest, signature, files)


_FIELDS = frozenset(("version", "release", "chunk_bytes", "manifest", "signature", "files"))


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _file(item: Any, where: str) -> FileChunks:
    exact_keys(item, frozenset(("path", "sha256", "size_bytes", "parts")), where)
    parts = []
    for part in item["parts"]:
        exact_keys(part, frozenset(("sha256", "size_bytes", "chunks")), where)
        parts.append(Part(part["sha256"], part["size_bytes"], tuple(part["chunks"])))
    return FileChunks(FileEntry(item["path"], item["sha256"], item["size_bytes"]), tuple(parts))


def _check_parts(item: FileChunks, chunk_bytes: int, where: str) -> None:
    for part in item.parts:
        digests = (part.sha256, *part.chunks)
        good = (
            _is_size(part.size_bytes)
            and part.size_bytes > 0
            and all(isinstance(digest, str) and HEX_DIGEST.fullmatch(digest) for digest in digests)
            and len(part.chunks) == -(-part.size_bytes // chunk_bytes)
        )
        if not good:
            raise BundleError(f"the chunks of {item.entry.path!r} do not add up", where=where, mend=_MEND)
    whole = sum(part.size_bytes for part in item.parts) == item.entry.size_bytes
    same = len(item.parts) != 1 or item.parts[0].sha256 == item.entry.sha256
    if not (whole and same):
        raise BundleError(f"the parts of {item.entry.path!r} do not add up", where=where, mend=_MEND)
