"""Copy a published repository to a stick or a mirror, and check one as a device would.

The order is that of a publication: blobs, chunk manifests, then metadata with the timestamp last, each file written
beside its place and renamed: a stick that is pulled out too early holds the old state, or (in the middle of a change
of keys) one that devices refuse until it is copied again. What is there already is read and kept when it is right;
what was written is read back from the medium, not from memory. Only plain files and folders: FAT knows no links, and a
stick that has some in the place of our folders would have us write and tidy up elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.tree import digest_file, open_regular, read_small
from edge.errors import BundleError, EdgeError, ResourceError, SpecError
from edge.files import CHUNK_BYTES, atomic_file, fsync_directory, resource_error, write_atomic
from edge.fleet.updates.chunk_manifest import MAX_CHUNK_MANIFEST_BYTES, ChunkManifest, Release
from edge.fleet.updates.client import UpdateClient
from edge.fleet.updates.cutting import blob_name
from edge.fleet.updates.errors import ChangedDataError
from edge.fleet.updates.fetching import free_bytes
from edge.fleet.updates.layout import MAX_METADATA_BYTES, Layout
from edge.fleet.updates.places import UpdatePlace
from edge.fleet.updates.publishing import NUMBERED, make_folders, metadata_files
from edge.fleet.updates.repository import Repository

_FOLDERS = ("metadata", "targets", "targets/releases", "blobs")


@dataclass(frozen=True)
class Copied:
    """What a copy did. kept_bytes: blobs that were there and right."""

    releases: tuple[str, ...]
    written_bytes: int
    kept_bytes: int


def copy_published(
    repository: Repository,
    folder: Path,
    releases: Collection[str] = (),
    *,
    free: Callable[[Path], int] = free_bytes,
) -> Copied:
    """Copy the published state into `folder`; of the data only what `releases` need, all where none is named.

    Errors: SpecError when a release is not published or another repository is there; ResourceError, BundleError.
    """
    layout = repository.layout
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(layout.folder)):
        raise SpecError("lies inside the repository", where=str(folder), mend="give another folder")
    with layout.locked():
        files = metadata_files(layout)
        metadata = repository.published("targets")
        if metadata is None:
            raise SpecError("nothing was published yet", where=str(layout.folder), mend="run `edge repo publish` first")
        known = repository.releases(metadata)
        for name in releases:
            if name not in known:
                raise SpecError(f"release {name[:60]!r} is not published", mend=f"published: {', '.join(known) or '-'}")
        _check_plain(folder)
        _check_same(folder, files["1.root.json"])
        chosen = [name for name in known if not releases or name in releases]
        manifests = {}
        for target in metadata.signed.targets.values():
            if target.custom["release"] in chosen:
                name = f"targets/{target.get_prefixed_paths()[0]}"
                manifests[name] = read_small(layout.published / name, MAX_CHUNK_MANIFEST_BYTES)
        blobs: dict[str, int] = {}
        for name, data in manifests.items():
            blobs |= ChunkManifest.from_bytes(data, name).blobs()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            missing = {digest: size for digest, size in blobs.items() if not _is_there(folder, digest, size)}
            _check_space(folder, sum(missing.values()), free(folder))
            for digest in missing:
                _copy_blob(layout, folder, digest)
            for name, data in manifests.items():
                make_folders((folder / name).parent, folder)
                write_atomic(folder / name, data)
            _write_metadata(folder / "metadata", files, folder)
        except OSError as error:
            raise resource_error(error, str(folder)) from error
    written = sum(missing.values())
    return Copied(tuple(chosen), written, sum(blobs.values()) - written)


def _check_plain(folder: Path) -> None:
    """Errors: BundleError for a link in the place of a folder of ours."""
    for path in (*(folder / name for name in _FOLDERS), *(folder / "blobs").glob("*")):
        if path.is_symlink():
            raise BundleError("is a link, which a stick of ours never holds", where=str(path), mend="remove it")


def _check_same(folder: Path, root: bytes) -> None:
    path = folder / "metadata" / "1.root.json"
    if os.path.lexists(path) and read_small(path, MAX_METADATA_BYTES) != root:
        raise SpecError("holds another repository", where=str(folder), mend="give an empty folder")


def _is_there(folder: Path, digest: str, size_bytes: int) -> bool:
    with contextlib.suppress(EdgeError):
        return digest_file(folder / blob_name(digest)) == (digest, size_bytes)
    return False


def _check_space(folder: Path, needed_bytes: int, free: int) -> None:
    if free < needed_bytes:
        raise ResourceError(
            f"needs {needed_bytes / 1e6:.1f} MB, {free / 1e6:.1f} MB are free",
            where=str(folder),
            mend="name single releases with --release, or take a larger stick",
        )


def _copy_blob(layout: Layout, folder: Path, digest: str) -> None:
    source, place = layout.published / blob_name(digest), folder / blob_name(digest)
    make_folders(place.parent, folder)
    with os.fdopen(open_regular(source), "rb", buffering=0) as file, atomic_file(place) as output:
        while piece := file.read(CHUNK_BYTES):
            output.write(piece)
    with place.open("rb") as written:
        os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # read the medium, not the cache
    if digest_file(place)[0] != digest:
        place.unlink()
        raise BundleError(
            f"a blob reads back other than it should be ({digest[:16]})", where=str(folder), mend="take another stick"
        )


def _write_metadata(folder: Path, files: dict[str, bytes], top: Path) -> None:
    make_folders(folder, top)
    order = {"root": 0, "targets": 1, "snapshot": 2, "timestamp": 3}
    for name in sorted(files, key=lambda name: (order[name.split(".")[-2]], len(name), name)):
        write_atomic(folder / name, files[name])
    for path in folder.iterdir():
        if path.name not in files and NUMBERED.fullmatch(path.name):
            path.unlink()
    fsync_directory(folder)


def check_place(
    client: UpdateClient, place: UpdatePlace, say: Callable[[str], None], *, data: bool
) -> tuple[Release, ...]:
    """Read a place as a device does; `data`: every chunk of every release too. Returns the releases.

    Releases of which the place lacks data are told, not an error (a stick may carry one of many).
    Errors: as UpdateClient.refresh; ChangedDataError for the first chunk that is not what was signed.
    """
    client.refresh()
    for problem in client.problems:
        say(str(problem))
    found = client.releases()
    for release in found if data else ():
        try:
            chunks = client.source(release).chunks
            for digest, size_bytes in chunks.blobs().items():
                _check_blob(place, digest, size_bytes)
        except ChangedDataError:
            raise
        except EdgeError as error:
            say(f"{release.release}: not whole here ({error.what})")
        else:
            say(f"{release.release}: every byte is right")
    return found


def _check_blob(place: UpdatePlace, digest: str, size_bytes: int) -> None:
    seen, count = hashlib.sha256(), 0
    pieces: Iterator[bytes] = place.read(blob_name(digest))
    for piece in pieces:
        seen.update(piece)
        count += len(piece)
        if count > size_bytes:
            break
    if seen.hexdigest() != digest:
        raise ChangedDataError(
            f"a blob is not what was signed ({digest[:16]})", where=place.name, mend="copy the repository there again"
        )
