"""A repository on the engineer's machine: what waits in staging, and the steps that change it.

Rules. (1) Every step holds the repository's lock. (2) Nothing in published/ is touched here; see publishing.py.
(3) What is staged is the version after the published one; a staged file that was published meanwhile (a publish that
was killed before it could tidy up) is dropped at the next step. (4) A change of a staged file drops its signatures.
(5) A private key is on disk before any metadata names it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME
from edge.bundle.open import MAX_SIGNATURE_BYTES, open_bundle
from edge.bundle.place import absolute
from edge.bundle.signing import Trust
from edge.bundle.tree import read_small
from edge.errors import BundleError, SpecError, UntrustedError
from edge.files import fsync_directory, resource_error, write_atomic
from edge.fleet.updates.chunk_manifest import CHUNK_BYTES, PART_BYTES, ChunkManifest, Release
from edge.fleet.updates.cutting import blob_name, cut_file
from edge.fleet.updates.layout import ROLES, SETTINGS_NAME, Layout, Settings, good_release, release_path
from edge.fleet.updates.metadata import (
    Signatures,
    expiry,
    fresh_root,
    parse,
    plausible,
    replace_key,
    role_keys,
    signatures,
)
from edge.fleet.updates.repo_keys import Passphrase, key_name, key_number, load_keys, new_key, save_key

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def create(
    folder: Path,
    keys_folder: Path,
    *,
    settings: Settings | None = None,
    root_keys: int = 3,
    root_threshold: int = 2,
    passphrase: bytes | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Repository:
    """Make the keys, then a repository with root version 1 and no release, staged and not yet published.

    passphrase: encrypts the private keys. Errors: SpecError for odd numbers or when something stands at `folder`;
    ResourceError.
    """
    folder, keys_folder = absolute(folder), absolute(keys_folder)
    settings = settings or Settings()
    now = plausible(clock(), "this machine's")
    if not 1 <= root_threshold <= root_keys <= 16:
        raise SpecError(f"a root signed by {root_threshold} of {root_keys} keys cannot be", mend="give 2 of 3, say")
    if os.path.lexists(folder):
        raise SpecError("something stands there already", where=str(folder), mend="give a new folder")
    if keys_folder == folder or folder in keys_folder.parents:
        raise SpecError(
            "private keys never lie inside the repository", where=str(keys_folder), mend="give another key folder"
        )
    keys = {role: [new_key(f"{role}-1")] for role in ROLES}
    keys["root"] = [new_key(f"root-{number}") for number in range(1, root_keys + 1)]
    for role in ROLES:
        for key in keys[role]:
            save_key(key, keys_folder, passphrase)
    root = fresh_root(keys, root_threshold, expiry(now, settings.expiry_days["root"]), signed_by=keys["root"])
    building = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.building")
    try:
        (building / "staging").mkdir(parents=True)
        (building / "published").mkdir()
        write_atomic(building / SETTINGS_NAME, settings.to_bytes())
        write_atomic(building / "staging" / "root.json", root.to_bytes())
        building.rename(folder)
        fsync_directory(folder.parent)
    except OSError as error:
        raise resource_error(error, str(folder)) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    repository = Repository(folder, clock=clock)
    repository.sign("targets", [keys_folder], lambda _: passphrase or b"")
    return repository


class Repository:
    """The repository in `folder`. Errors: SpecError when there is none."""

    def __init__(self, folder: Path | str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.layout = Layout.at(folder)
        self.settings = Settings.read(self.layout.settings_path)
        self.clock = clock

    # ---- reading ----------------------------------------------------------------------------------------

    def published(self, role: str) -> Metadata[Any] | None:
        """The newest published metadata of a role."""
        data = self.layout.published_bytes(role)
        return None if data is None else parse(data, role, self.layout.metadata)

    def staged(self, role: str) -> Metadata[Any] | None:
        """The staged metadata of a role, where it is newer than the published."""
        data = self.layout.read(self.layout.staged(role))
        if data is None:
            return None
        metadata = parse(data, role, self.layout.staged(role))
        published = self.published(role)
        return metadata if published is None or metadata.signed.version > published.signed.version else None

    def roots(self) -> tuple[Root, Root | None]:
        """(the root that counts next, the published root before it if the first is staged)."""
        staged, published = self.staged("root"), self.published("root")
        newest = staged or published
        if newest is None:
            raise BundleError("has no root metadata", where=str(self.layout.folder), mend="restore it from a backup")
        return newest.signed, published.signed if staged is not None and published is not None else None

    def published_root(self) -> Root:
        """The root that devices trust now. Errors: SpecError before the first publication."""
        metadata = self.published("root")
        if metadata is None:
            raise SpecError(
                "nothing was published yet", where=str(self.layout.folder), mend="run `edge repo publish` first"
            )
        root: Root = metadata.signed
        return root

    def signatures(self, role: str) -> Signatures | None:
        """Who has signed the staged metadata of a role; None where nothing is staged."""
        metadata = self.staged(role)
        if metadata is None:
            return None
        root, previous = self.roots()
        return signatures(metadata, root, previous if role == "root" else None)

    def releases(self, metadata: Metadata[Any] | None) -> dict[str, Release]:
        """The releases that targets metadata lists, by name."""
        targets = {} if metadata is None else metadata.signed.targets
        found = [Release.from_json(item.custom, path) for path, item in targets.items()]
        return {item.release: item for item in sorted(found, key=lambda item: item.release)}

    # ---- changing ---------------------------------------------------------------------------------------

    def add(
        self,
        bundle: Path,
        release: str,
        trust: Trust,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        part_bytes: int = PART_BYTES,
    ) -> ChunkManifest:
        """Check a bundle, cut it into staging and list it in the next targets metadata.

        part_bytes: largest blob, a multiple of chunk_bytes.
        Errors: those of open_bundle; SpecError for an odd name or one that lists another bundle already.
        """
        good_release(release)
        opened = open_bundle(bundle, trust)
        with self.layout.locked():
            known = self.releases(self.staged("targets") or self.published("targets")).get(release)
            if known is not None and known.bundle_digest != opened.bundle_digest:
                raise SpecError(
                    f"release '{release}' is another bundle already",
                    where=str(self.layout.folder),
                    mend="give a new name; a name means one bundle for ever",
                )
            manifest = opened.manifest
            files = tuple(
                cut_file(
                    opened.path / entry.path, entry, self._wanted_blob, chunk_bytes=chunk_bytes, part_bytes=part_bytes
                )
                for entry in manifest.files
            )
            chunks = ChunkManifest(
                Release(
                    release,
                    str(manifest.profile.get("name") or manifest.name),
                    str(manifest.target["name"]),
                    opened.bundle_digest,
                    opened.behaviour_digest,
                    sum(entry.size_bytes for entry in manifest.files),
                ),
                chunk_bytes,
                read_small(opened.path / MANIFEST_NAME, MAX_MANIFEST_BYTES),
                read_small(opened.path / SIGNATURE_NAME, MAX_SIGNATURE_BYTES),
                files,
            )
            self._stage_release(chunks)
        return chunks

    def withdraw(self, release: str) -> None:
        """List a release no longer; its data stays until `prune`. Errors: SpecError when it is not listed."""
        with self.layout.locked():
            metadata = self._next("targets")
            if metadata.signed.targets.pop(release_path(release), None) is None:
                raise SpecError(f"no release {release[:60]!r} is listed", where=str(self.layout.folder))
            self._stage(metadata)

    def rotate(
        self, role: str, keys_folder: Path, *, replace: str | None = None, passphrase: bytes | None = None
    ) -> tuple[str, str]:
        """A new key for a role, in the next root metadata; returns (the new key's name, the one that goes).

        Of targets the next version is staged too, because its signature by the old key will not count.
        Errors: SpecError when the role or the key to replace is not there.
        """
        _good_role(role)
        with self.layout.locked():
            root = self._next("root")
            everything = [*self._all_root_keys(), *root.signed.keys.values()]
            number = 1 + max(key_number(key_name(key)) for key in everything if key_name(key).startswith(f"{role}-"))
            key = new_key(f"{role}-{number}")
            gone = replace_key(root.signed, role, replace, key)
            save_key(key, keys_folder, passphrase)
            self._stage(root)
            if role == "targets":
                self._stage(self._next("targets"))
        return key.name, gone

    def sign(
        self,
        role: str,
        places: Sequence[Path],
        passphrase: Passphrase,
        *,
        show: Callable[[Metadata[Any], Metadata[Any] | None], None] = lambda _new, _published: None,
    ) -> Signatures:
        """Sign the staged metadata of a role; where none is staged, a renewed version (root and targets) is.

        places: key files or folders. show: gets what will be signed and what is published.
        Errors: UntrustedError when no key there counts for the role.
        """
        if role not in ("root", "targets"):
            raise SpecError(f"role {role[:20]!r} is signed by `edge repo publish`", mend="sign root or targets")
        with self.layout.locked():
            metadata = self.staged(role) or self._next(role)
            root, previous = self.roots()
            known = role_keys(role, root, previous if role == "root" else None)
            keys = load_keys(places, known, passphrase)
            if not keys:
                names = ", ".join(sorted(key_name(key) for key in known))
                raise UntrustedError(
                    f"no private key for {role} (it has {names})",
                    where=", ".join(str(place) for place in places),
                    mend="bring one of them and name its file with --key",
                )
            show(metadata, self.published(role))
            for key in keys:
                metadata.sign(key.signer, append=True)
            self.layout.write_staged(role, metadata.to_bytes())
            return signatures(metadata, root, previous if role == "root" else None)

    def merge(self, role: str, file: Path) -> Signatures:
        """Take the signatures over from a copy of a staged file that was signed on another machine.

        Errors: BundleError when that file is not the one staged here.
        """
        with self.layout.locked():
            metadata = self.staged(role)
            if metadata is None:
                raise SpecError(f"nothing of {role} waits for a signature here", where=str(self.layout.folder))
            other = parse(read_small(file, 16 << 20), role, file)
            if other.signed_bytes != metadata.signed_bytes:
                raise BundleError(
                    f"is not the {role} metadata that is staged here",
                    where=str(file),
                    mend=f"copy {self.layout.staged(role)} there and sign that",
                )
            root, previous = self.roots()
            good = {key.keyid for key in role_keys(role, root, previous)}
            metadata.signatures.update({key: sig for key, sig in other.signatures.items() if key in good})
            self.layout.write_staged(role, metadata.to_bytes())
            return signatures(metadata, root, previous if role == "root" else None)

    # ---- inside -----------------------------------------------------------------------------------------

    def _next(self, role: str) -> Metadata[Any]:
        """The staged metadata to change further, or the version after the published one; unsigned (rule 4)."""
        from tuf.api.metadata import Metadata, Targets

        now = plausible(self.clock(), "this machine's")
        expires = expiry(now, self.settings.expiry_days[role])
        staged, published = self.staged(role), self.published(role)
        if staged is not None:
            metadata = staged
        elif published is not None:
            metadata = published
            metadata.signed.version += 1
        elif role == "targets":
            metadata = Metadata(Targets(expires=expires))
        else:
            raise BundleError("has no root metadata", where=str(self.layout.folder), mend="restore it from a backup")
        metadata.signed.expires = expires
        metadata.signatures.clear()
        return metadata

    def _stage(self, metadata: Metadata[Any]) -> None:
        metadata.signatures.clear()
        self.layout.write_staged(metadata.signed.type, metadata.to_bytes())

    def _wanted_blob(self, digest: str) -> Path | None:
        name = blob_name(digest)
        if (self.layout.published / name).is_file() or (self.layout.staging / name).is_file():
            return None
        return self.layout.staging / name

    def _stage_release(self, chunks: ChunkManifest) -> None:
        from tuf.api.metadata import TargetFile

        path, data = release_path(chunks.release.release), chunks.to_bytes()
        target = TargetFile.from_data(path, data, ["sha256"])
        target.unrecognized_fields["custom"] = chunks.release.to_json()
        metadata = self._next("targets")
        metadata.signed.targets[path] = target
        place = self.layout.staged_release(Path(target.get_prefixed_paths()[0]).name)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise resource_error(error, str(place)) from error
        write_atomic(place, data)
        self._stage(metadata)

    def _all_root_keys(self) -> Iterable[Any]:
        for version in self.layout.published_versions("root"):
            path = self.layout.metadata / f"{version}.root.json"
            with contextlib.suppress(FileNotFoundError):
                yield from parse(path.read_bytes(), "root", path).signed.keys.values()


def sign_file(
    file: Path, places: Sequence[Path], passphrase: Passphrase, agree: Callable[[Metadata[Any]], None]
) -> Metadata[Any]:
    """Sign one metadata file that was carried here from a repository's staging area; returns what was signed.

    This machine knows nothing but the file: what its keys count for is said by the repository when the file comes
    back. agree: gets what will be signed before any key is opened, and raises to have it left alone.
    Errors: BundleError when it is not metadata; UntrustedError when there is no key.
    """
    metadata = parse(read_small(file, 16 << 20), "", file)
    agree(metadata)
    known = role_keys("root", metadata.signed) if metadata.signed.type == "root" else []
    keys = load_keys(places, known, passphrase, strangers=True)
    if not keys:
        raise UntrustedError(
            "no private key for this file", where=", ".join(map(str, places)), mend="name the key's file with --key"
        )
    for key in keys:
        metadata.sign(key.signer, append=True)
    write_atomic(file, metadata.to_bytes())
    return metadata


def _good_role(role: str) -> None:
    if role not in ROLES:
        raise SpecError(f"role {role[:20]!r} is not known (known: {', '.join(ROLES)})")
