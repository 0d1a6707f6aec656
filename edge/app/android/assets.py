"""The bundle as the app carries it: parts among its assets, with an index that says what they make.

    assets/edge/index.json       AssetIndex: the bundle's digest, every file with size and sha256, its parts
    assets/edge/part-00001.bin   at most PART_BYTES of a file
    assets/edge/key-1.pem        public keys that the app trusts, with their roles

A bundle that is too large for an app comes with an index without parts (`carried` false): its files are then looked for
in the folder that `adb push` writes to. Either way every file is hashed while it is copied, the copy is made beside its
place and renamed when it is whole, and a bundle that is there already and has the index's digest is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.bundle.keys import KeyStore
from edge.bundle.manifest import ATTESTATIONS_FOLDER, MANIFEST_NAME
from edge.bundle.place import beside, locked, recover_locked, swap_in
from edge.bundle.signing import fingerprint, parse_public_pem
from edge.errors import BundleError, EdgeError, ResourceError
from edge.files import CHUNK_BYTES, fsync_directory, resource_error, sha256_file, write_atomic

VERSION: Final = 1
FOLDER: Final = "edge"
INDEX: Final = "index.json"
PART_BYTES: Final = 256 << 20
_MEND: Final = "install the app again"

Pieces = Callable[[str], Iterator[bytes]]  # name of an asset -> its bytes, a piece at a time. Errors: OSError
Progress = Callable[[float], None]


@dataclass(frozen=True)
class AssetFile:
    """One file of the bundle. parts: names of assets that make it, in order; none where it is pushed by hand."""

    path: str
    sha256: str
    size_bytes: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class TrustedAsset:
    """A public key in the app's assets."""

    asset: str
    name: str
    role: str


@dataclass(frozen=True)
class AssetIndex:
    """What the app carries. carried: False where the bundle's files come by `adb push`."""

    bundle_digest: str
    carried: bool
    files: tuple[AssetFile, ...]
    keys: tuple[TrustedAsset, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        value = {
            "version": VERSION,
            "bundle_digest": self.bundle_digest,
            "carried": self.carried,
            "files": [vars(one) | {"parts": list(one.parts)} for one in self.files],
            "keys": [vars(one) for one in self.keys],
        }
        return json.dumps(value, sort_keys=True, indent=1).encode()

    @staticmethod
    def from_bytes(data: bytes) -> AssetIndex:
        """Errors: BundleError for another version, an odd key, a path that leaves the folder."""
        try:
            value: Mapping[str, Any] = json.loads(data)
            if set(value) != {"version", "bundle_digest", "carried", "files", "keys"} or value["version"] != VERSION:
                raise ValueError
            files = tuple(
                AssetFile(one["path"], one["sha256"], int(one["size_bytes"]), tuple(one["parts"]))
                for one in value["files"]
            )
            keys = tuple(TrustedAsset(**one) for one in value["keys"])
            if any(part in ("", ".", "..") for one in files for part in one.path.split("/")):
                raise ValueError
            return AssetIndex(str(value["bundle_digest"]), value["carried"] is True, files, keys)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError("the app's list of assets is not known", where=INDEX, mend=_MEND) from error


def read_index(pieces: Pieces) -> AssetIndex:
    """The index of the assets. Errors: BundleError without one."""
    try:
        return AssetIndex.from_bytes(b"".join(pieces(f"{FOLDER}/{INDEX}")))
    except OSError as error:
        raise BundleError("the app has no bundle in its assets", where=INDEX, mend=_MEND) from error


def is_unpacked(index: AssetIndex, place: Path) -> bool:
    """Whether the bundle of the index stands at `place`: same manifest, every file in its size. The engine hashes."""
    try:
        wanted = next(one.sha256 for one in index.files if one.path == MANIFEST_NAME)
        sizes = all((place / one.path).stat().st_size == one.size_bytes for one in index.files if not _is_opinion(one))
        return sizes and sha256_file(place / MANIFEST_NAME) == wanted
    except (OSError, StopIteration):
        return False


def _is_opinion(one: AssetFile) -> bool:
    """Attestations come and go; they are no part of a bundle's identity."""
    return one.path.startswith(f"{ATTESTATIONS_FOLDER}/")


def unpack(
    index: AssetIndex, pieces: Pieces, place: Path, *, pushed: Path | None = None, progress: Progress = lambda _: None
) -> bool:
    """Make the bundle of the index stand at `place`; returns whether it had to be copied.

    Where it stands already only attestations are added that it lacks; those made on this device stay. pushed: folder of
    a bundle that the app does not carry. Errors: BundleError (changed, missing), ResourceError (no space).
    """
    with locked(place, wait=True):
        recover_locked(place)
        source = pieces if index.carried else _pushed_pieces(index, pushed, needed=not is_unpacked(index, place))
        if is_unpacked(index, place):
            for one in index.files:
                if _is_opinion(one) and index.carried and not (place / one.path).exists():
                    write_atomic(_made(place / one.path), b"".join(_checked(one, source, index.carried)))
            return False
        total = sum(one.size_bytes for one in index.files)
        _check_space(place.parent, total)
        building = beside(place, "building")
        try:
            building.mkdir(mode=0o700)
            done = 0
            for one in index.files:
                with _made(building / one.path).open("wb") as file:
                    for piece in _checked(one, source, index.carried):
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                done += one.size_bytes
                progress(done / max(1, total))
            for folder, _, _ in os.walk(building):
                fsync_directory(Path(folder))
            swap_in(building, place)
        except OSError as error:
            raise resource_error(error, place.name) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return True


def _made(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _checked(one: AssetFile, pieces: Pieces, carried: bool) -> Iterator[bytes]:
    """The bytes of a file. Errors: BundleError, at the end, when they are others than those of the index."""
    digest, size = hashlib.sha256(), 0
    for part in one.parts if carried else (one.path,):
        for piece in pieces(f"{FOLDER}/{part}" if carried else part):
            digest.update(piece)
            size += len(piece)
            if size > one.size_bytes:
                break
            yield piece
    if (size, digest.hexdigest()) != (one.size_bytes, one.sha256):
        raise BundleError(f"file {one.path!r} is not what the app was built with", mend=_MEND)


def _pushed_pieces(index: AssetIndex, pushed: Path | None, *, needed: bool) -> Pieces:
    if needed and (pushed is None or not pushed.is_dir()):
        raise BundleError(
            "the bundle is too large for the app and was not pushed",
            where=index.bundle_digest[:16],
            mend="push it with adb as the project's README says, then start the app again",
        )

    def pieces(name: str) -> Iterator[bytes]:
        with ((pushed or Path()) / name).open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    return pieces


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise ResourceError(
            f"no space left ({needed_bytes >> 20} MB needed, {free_bytes >> 20} MB free)",
            where="the app's folder",
            mend="free space and start the app again",
        )


def trust_keys(index: AssetIndex, pieces: Pieces, store: KeyStore) -> None:
    """Trust the keys that the app was built with. Idempotent. Errors: BundleError for a broken key."""
    for one in index.keys:
        data = b"".join(pieces(f"{FOLDER}/{one.asset}"))
        key, _ = parse_public_pem(data, one.name, one.role, one.asset)
        name = f"{one.role}-{fingerprint(key.raw)}"
        with tempfile.TemporaryDirectory(dir=store.home) as folder:
            pem = Path(folder) / "key.pem"
            pem.write_bytes(data)
            try:
                store.trust(pem, name, one.role)
            except EdgeError as error:
                with contextlib.suppress(EdgeError):
                    if store.public(name).raw == key.raw:
                        continue
                raise BundleError("a key of the app cannot be used", where=one.asset, mend=_MEND) from error


def listed(folder: Path) -> list[str]:
    """Files of a bundle folder that belong into the app, attestations included, sorted."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(f"{ATTESTATIONS_FOLDER}/."))
