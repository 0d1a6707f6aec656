"""Write a bundle so that it is there whole or not at all, whatever kills the build.

    with BundleWriter(Path("build/notes")) as writer:
        ...write files below writer.folder...
        bundle = writer.commit(fields, key)

Everything is written beside the place, made durable, read back through the same code that a device uses to
open it, and only then renamed into place. Leaving the block without a commit removes what was written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.bundle.attestation import MAX_ATTESTATION_BYTES, parse_attestation
from edge.bundle.canonical import parse_canonical
from edge.bundle.manifest import (
    ATTESTATIONS_FOLDER,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SCHEMA_VERSION,
    SIGNATURE_NAME,
    FileEntry,
    Manifest,
    file_digests,
)
from edge.bundle.open import OpenBundle, open_folder
from edge.bundle.place import absolute, beside, locked, recover_locked, swap_in
from edge.bundle.signing import MANIFEST_PURPOSE, SigningKey
from edge.bundle.tree import digest_file, list_tree, open_regular, read_small
from edge.errors import BundleError, EdgeError, ResourceError, SpecError
from edge.files import fsync_directory, resource_error, write_atomic

# Fields of the manifest that the writer computes; all others are given to commit.
COMPUTED = frozenset(("schema_version", "files", "prompts_digest", "grammars_digest", "golden_digest"))
GIVEN = frozenset(field.name for field in fields_of(Manifest)) - COMPUTED
NEEDED = ("model/", "tokenizer/", "sbom.cdx.json", "model_card.md")


class BundleWriter:
    """One build into one place. A context manager; holds the lock of the place while it is open.

    Errors on entering: ResourceError when another run holds the place or it cannot be written; BundleError
    when something stands there that is not a bundle, or a bundle with files of somebody else in it (nothing
    that edge did not write is ever deleted).
    """

    def __init__(self, place: Path | str) -> None:
        self.place = absolute(place)
        self._folder: Path | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> BundleWriter:
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(self.place))
            recover_locked(self.place)
            _check_replaceable(self.place)
            folder = beside(self.place, "building")
            try:
                folder.mkdir()
            except OSError as error:
                raise resource_error(error, str(self.place)) from error
            self._folder = folder
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if self._folder is not None:
                # Not committed: removes what was written, and puts back an old bundle that a failed swap set
                # aside. What cannot be done now (a disk gone read-only) is done by the next run.
                self._folder = None
                with contextlib.suppress(EdgeError):
                    recover_locked(self.place)

    @property
    def folder(self) -> Path:
        """The folder to write the bundle's files into, in the layout of edge.bundle.manifest."""
        if self._folder is None:
            raise BundleError(
                "the writer is not open", where=str(self.place), mend="write inside `with BundleWriter(...)`"
            )
        return self._folder

    def commit(self, fields: Mapping[str, Any], key: SigningKey) -> OpenBundle:
        """Seal, sign, read back and put into place.

        fields: the fields GIVEN of edge.bundle.manifest.Manifest (all but digests, files and schema version).
        key: a builder key. An identical bundle that stood there hands on its attestations. The returned
        bundle was opened trusting `key` alone.
        Errors: BundleError for fields or files that do not make a bundle; SpecError for a device key;
        ResourceError for disk errors. After any error the place holds, whole, what it held before (or the new
        bundle, when only the last flush to disk failed).
        """
        folder = self.folder
        if key.role != "builder":
            raise SpecError(f"key '{key.name}' is a {key.role} key", mend="bundles are signed by a builder key")
        odd = (set(fields) - GIVEN) | (GIVEN - {"required_features"} - set(fields))
        if odd:
            raise BundleError(f"manifest field '{min(odd)}' is missing or unknown", where=str(self.place))
        try:
            manifest = self._manifest(folder, fields)
            data = manifest.to_bytes()
            write_atomic(folder / MANIFEST_NAME, data)
            write_atomic(folder / SIGNATURE_NAME, key.sign(MANIFEST_PURPOSE, data).to_bytes())
            self._carry_attestations(folder, data)
            _sync_folders(folder)
            opened = open_folder(folder, key.trust())
            swap_in(folder, self.place)
        except OSError as error:
            raise resource_error(error, str(self.place)) from error
        self._folder = None
        return replace(opened, path=self.place)

    def _manifest(self, folder: Path, fields: Mapping[str, Any]) -> Manifest:
        sizes, _ = list_tree(folder)
        for needed in NEEDED:
            if not any(name == needed or (needed.endswith("/") and name.startswith(needed)) for name in sizes):
                raise BundleError(f"the build wrote no {needed}", where=str(self.place), mend="this stage is missing")
        files = tuple(FileEntry(name, *_digest_and_sync(folder / name)) for name in sizes)
        given: dict[str, Any] = dict(fields)
        given["required_features"] = tuple(sorted(set(fields.get("required_features", ()))))
        return Manifest(schema_version=SCHEMA_VERSION, files=files, **(given | file_digests(files)))

    def _carry_attestations(self, folder: Path, manifest_bytes: bytes) -> None:
        """Copy the attestations of an identical bundle at the place: they cost minutes on a device."""
        try:
            if read_small(self.place / MANIFEST_NAME, MAX_MANIFEST_BYTES) != manifest_bytes:
                return
            names = [path.name for path in sorted((self.place / ATTESTATIONS_FOLDER).glob("[!.]*.json"))]
        except (BundleError, ResourceError):
            return
        for name in names:
            with contextlib.suppress(BundleError):
                data = read_small(self.place / ATTESTATIONS_FOLDER / name, MAX_ATTESTATION_BYTES)
                parse_attestation(data, name)
                (folder / ATTESTATIONS_FOLDER).mkdir(exist_ok=True)
                write_atomic(folder / ATTESTATIONS_FOLDER / name, data)


def _digest_and_sync(path: Path) -> tuple[str, int]:
    """Digest and size of a file, which is on disk afterwards and out of the page cache as far as possible.

    The cache is dropped so that the reading back before the swap reads the disk and not memory.
    """
    digest, size = digest_file(path)
    descriptor = open_regular(path)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return digest, size


def _sync_folders(folder: Path) -> None:
    _, folders = list_tree(folder)
    for name in reversed(folders):
        fsync_directory(folder / name)
    fsync_directory(folder)
    fsync_directory(folder.parent)


def _check_replaceable(place: Path) -> None:
    """Refuse to replace anything but nothing, an empty folder, or a bundle that holds only a bundle.

    A bundle counts only when it holds no file of somebody else.
    """
    mend = "choose another folder, or move that one away"
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir():
        raise BundleError("something that is not a bundle stands there", where=str(place), mend=mend)
    sizes, folders = list_tree(place)
    if not sizes and not folders:
        return
    if MANIFEST_NAME not in sizes:
        raise BundleError("the folder is not empty and not a bundle", where=str(place), mend=mend)
    try:
        manifest = parse_canonical(read_small(place / MANIFEST_NAME, MAX_MANIFEST_BYTES), str(place / MANIFEST_NAME))
        known = {str(entry["path"]) for entry in manifest["files"]} | {MANIFEST_NAME, SIGNATURE_NAME}
    except (BundleError, KeyError, TypeError) as error:
        raise BundleError("the folder holds a broken bundle, or none", where=str(place), mend=mend) from error
    foreign = [name for name in sizes if name not in known and not name.startswith(f"{ATTESTATIONS_FOLDER}/")]
    if foreign:
        raise BundleError(f"the folder holds {foreign[0]!r}, which is not of the bundle", where=str(place), mend=mend)
