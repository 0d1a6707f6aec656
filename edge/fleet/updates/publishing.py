"""Publish what is staged: checked as a device would check it, then switched in by one rename.

Order. (1) Signatures of root and targets, every chunk manifest and blob: there or a one-line refusal. (2) Snapshot and
timestamp are made and signed. (3) A client that knows the published state reads the new one, in memory; what it would
refuse is not published. (4) Blobs and chunk manifests go to published/: nobody refers to them yet. (5) The new
metadata is written into a folder of its own, with the versions before it (a client in the middle of reading needs
them). (6) The link `metadata` is renamed over: the one moment of change. (7) Staging is tidied. Killed before (6) the
old state stands, afterwards the new one; the same command again finishes the work.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import BundleError
from edge.files import fsync_directory, resource_error, write_atomic
from edge.fleet.updates.chunk_manifest import ChunkManifest
from edge.fleet.updates.cutting import blob_name
from edge.fleet.updates.errors import refusal
from edge.fleet.updates.layout import ROLES, Layout
from edge.fleet.updates.metadata import SIGNED_AT_FIELD, expiry, plausible, role_keys, signatures
from edge.fleet.updates.repo_keys import Passphrase, load_keys
from edge.fleet.updates.repository import Repository
from edge.fleet.updates.tuf_client import make_updater, mapping_reader, verified_targets

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata

# Snapshots and targets that stay readable for clients that read the timestamp before a publication and go on after it.
KEPT_VERSIONS = 8
NUMBERED = re.compile(r"([1-9][0-9]*)\.(root|targets|snapshot)\.json")
_FOLDER = re.compile(r"metadata\.([1-9][0-9]*)")


@dataclass(frozen=True)
class Published:
    """What stands there now. versions, expires: by role; releases: names."""

    versions: dict[str, int]
    expires: dict[str, datetime]
    releases: tuple[str, ...]


def publish(
    repository: Repository, places: Sequence[Path], passphrase: Passphrase, *, renew: bool = False
) -> Published:
    """Publish what is staged, or renew snapshot and timestamp where nothing is.

    places: key files or folders with the snapshot and the timestamp key. renew: leave what is staged where it is, for
    a timer that only keeps the timestamp young. Errors: UntrustedError for signatures and
    keys that are missing; BundleError for data that is missing or changed; ResourceError, ClockError.
    """
    layout = repository.layout
    with layout.locked():
        now = plausible(repository.clock(), "this machine's")
        new = _signed_set(repository, places, passphrase, now, renew=renew)
        old_files = metadata_files(layout)
        files = _with_history(old_files, new)
        releases = _check_data(repository, new["targets"])
        rehearse(old_files, files, releases, now)
        version = new["timestamp"].signed.version
        try:
            _move_data(layout, new["targets"], releases)
            _switch(layout, version, files)
            _tidy(layout, version, staging=not renew)
        except OSError as error:
            raise resource_error(error, str(layout.published)) from error
    return Published(
        {role: new[role].signed.version for role in ROLES},
        {role: new[role].signed.expires for role in ROLES},
        tuple(sorted(chunks.release.release for chunks, _ in releases.values())),
    )


def metadata_files(layout: Layout) -> dict[str, bytes]:
    """The published metadata: {file name: content}."""
    if not layout.metadata.is_dir():
        return {}
    names = sorted(path.name for path in layout.metadata.iterdir())
    wanted = [name for name in names if name == "timestamp.json" or NUMBERED.fullmatch(name)]
    return {name: layout.read(layout.metadata / name) or b"" for name in wanted}


def rehearse(
    old: dict[str, bytes], new: dict[str, bytes], releases: dict[str, tuple[ChunkManifest, bytes]], now: datetime
) -> None:
    """Read `new` as a device does that has read `old`, and as one that begins with root version 1.

    Errors: as a device would refuse it, one line.
    """
    from tuf.api import exceptions

    for before in ({}, old):
        with tempfile.TemporaryDirectory() as folder:
            root = new["1.root.json"]
            with contextlib.suppress(exceptions.ExpiredMetadataError):  # expired: why it is published anew
                if before:
                    make_updater(Path(folder), mapping_reader(_as_paths(before)), root, now).refresh()
            try:
                updater = make_updater(Path(folder), mapping_reader(_as_paths(new)), root, now)
                updater.refresh()
                for path, target in verified_targets(updater).targets.items():
                    target.verify_length_and_hashes(releases[path][1])
            except (exceptions.RepositoryError, exceptions.DownloadError, ValueError) as error:
                raise refusal(error, "what would be published") from error


def _as_paths(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"metadata/{name}": data for name, data in files.items()}


def _signed_set(
    repository: Repository, places: Sequence[Path], passphrase: Passphrase, now: datetime, *, renew: bool
) -> dict[str, Metadata[Any]]:
    from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

    where = str(repository.layout.folder)
    root, previous = repository.roots() if not renew else (repository.published_root(), None)
    made: dict[str, Metadata[Any]] = {}
    for role in ("root", "targets"):
        metadata = (None if renew else repository.staged(role)) or repository.published(role)
        if metadata is None:
            raise BundleError(f"has no {role} metadata", where=where, mend="restore it from a backup")
        signatures(metadata, root, previous if role == "root" else None).check(where)
        made[role] = metadata
    days = repository.settings.expiry_days
    keys = {role: load_keys(places, role_keys(role, root), passphrase) for role in ("snapshot", "timestamp")}
    for role, inner in (("snapshot", "targets"), ("timestamp", "snapshot")):
        before = repository.published(role)
        version = 1 if before is None else before.signed.version + 1
        entry = MetaFile.from_data(made[inner].signed.version, made[inner].to_bytes(), ["sha256"])
        if role == "snapshot":
            signed: Any = Snapshot(version, expires=expiry(now, days[role]), meta={"targets.json": entry})
        else:
            extra = {SIGNED_AT_FIELD: now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
            signed = Timestamp(version, expires=expiry(now, days[role]), snapshot_meta=entry, unrecognized_fields=extra)
        made[role] = Metadata(signed)
        for key in keys[role]:
            made[role].sign(key.signer, append=True)
        signatures(made[role], root).check(where)
    return made


def _with_history(old: dict[str, bytes], new: dict[str, Metadata[Any]]) -> dict[str, bytes]:
    files = {}
    for name, data in old.items():
        match = NUMBERED.fullmatch(name)
        if match and (match[2] == "root" or int(match[1]) > new[match[2]].signed.version - KEPT_VERSIONS):
            files[name] = data
    for role, metadata in new.items():
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        files[name] = metadata.to_bytes()
    return files


def _check_data(repository: Repository, targets: Metadata[Any]) -> dict[str, tuple[ChunkManifest, bytes]]:
    """Every chunk manifest and every blob that the targets need is here, in its size."""
    layout, found = repository.layout, {}
    for path, target in targets.signed.targets.items():
        name = target.get_prefixed_paths()[0]
        data = layout.read(layout.staged_release(Path(name).name)) or layout.read(layout.published / "targets" / name)
        if data is None:
            raise BundleError(
                f"the chunk manifest of {path} is missing", where=str(layout.folder), mend="add the release again"
            )
        chunks = ChunkManifest.from_bytes(data, path)
        for digest, size_bytes in chunks.blobs().items():
            sizes = {_size(folder / blob_name(digest)) for folder in (layout.staging, layout.published)}
            if size_bytes not in sizes:
                raise BundleError(
                    f"a blob of {path} is missing ({digest[:16]})",
                    where=str(layout.folder),
                    mend="add the release again",
                )
        found[path] = (chunks, data)
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _move_data(layout: Layout, targets: Metadata[Any], releases: dict[str, tuple[ChunkManifest, bytes]]) -> None:
    for chunks, _ in releases.values():
        for digest in chunks.blobs():
            _move(layout.staging / blob_name(digest), layout.published / blob_name(digest), layout.published)
    for target in targets.signed.targets.values():
        name = target.get_prefixed_paths()[0]
        _move(layout.staged_release(Path(name).name), layout.published / "targets" / name, layout.published)


def _move(source: Path, place: Path, top: Path) -> None:
    if not source.is_file():
        return
    make_folders(place.parent, top)
    source.replace(place)
    fsync_directory(place.parent)


def make_folders(folder: Path, top: Path) -> None:
    """Make `folder` below `top`, each name durable."""
    if folder.is_dir():
        return
    if folder != top:
        make_folders(folder.parent, top)
    folder.mkdir(exist_ok=True)
    fsync_directory(folder.parent)


def _switch(layout: Layout, version: int, files: dict[str, bytes]) -> None:
    folder = layout.published / f"metadata.{version}"
    if folder.is_dir():  # of a run that was killed before its switch: the link never named it
        shutil.rmtree(folder)
    folder.mkdir()
    for name, data in files.items():
        write_atomic(folder / name, data)
    fsync_directory(folder)
    link = layout.published / f".metadata.{os.urandom(4).hex()}.part"
    link.symlink_to(folder.name)
    fsync_directory(layout.published)
    link.replace(layout.metadata)
    fsync_directory(layout.published)


def _tidy(layout: Layout, version: int, *, staging: bool) -> None:
    """Remove what was published from staging, and what killed runs left. The state before this one stays for readers
    that have its folder open."""
    if staging:
        for role in ("root", "targets"):
            layout.staged(role).unlink(missing_ok=True)
        shutil.rmtree(layout.staging / "releases", ignore_errors=True)
        shutil.rmtree(layout.staging / "blobs", ignore_errors=True)
    folders = sorted(
        int(match[1]) for path in layout.published.iterdir() if (match := _FOLDER.fullmatch(path.name)) is not None
    )
    for number in [item for item in folders if item != version][:-1]:
        shutil.rmtree(layout.published / f"metadata.{number}", ignore_errors=True)
    for litter in (*layout.published.glob(".metadata.*.part"), *layout.staging.glob(".*.part")):
        litter.unlink(missing_ok=True)


def prune(repository: Repository) -> tuple[int, int]:
    """Delete blobs and chunk manifests that no published or staged release needs: (files, bytes)."""
    layout = repository.layout
    count, freed = 0, 0
    with layout.locked():
        needed: set[str] = set()
        for metadata in (repository.staged("targets"), repository.published("targets")):
            if metadata is None:
                continue
            needed |= {f"targets/{item.get_prefixed_paths()[0]}" for item in metadata.signed.targets.values()}
            found = _check_data(repository, metadata)
            needed |= {blob_name(digest) for chunks, _ in found.values() for digest in chunks.blobs()}
        try:
            for folder in ("blobs", "targets"):
                for path in sorted((layout.published / folder).rglob("*")):
                    if path.is_file() and path.relative_to(layout.published).as_posix() not in needed:
                        count, freed = count + 1, freed + path.stat().st_size
                        path.unlink()
        except OSError as error:
            raise resource_error(error, str(layout.published)) from error
    return count, freed
