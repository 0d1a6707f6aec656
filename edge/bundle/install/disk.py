"""The slots of one profile on disk. What each call does is durable when it returns.

SLOTS/PROFILE/a/  b/         bundle folders; one of them is in force
SLOTS/PROFILE/current        a link to one of them, only ever replaced by a rename
SLOTS/PROFILE/state.json     the installer's memory (edge.bundle.install.rules)
SLOTS/PROFILE/.install.lock  held (flock) by the installer at work
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.attestation import MAX_ATTESTATION_BYTES, parse_attestation
from edge.bundle.install.memory import (
    MAX_STATE_BYTES,
    STATE_NAME,
    BrokenStateError,
    from_bytes,
    to_bytes,
)
from edge.bundle.install.rules import SLOTS, Slot, State
from edge.bundle.manifest import (
    ATTESTATIONS_FOLDER,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    Manifest,
)
from edge.bundle.open import MAX_SIGNATURE_BYTES
from edge.bundle.tree import digest_file, list_tree, read_small
from edge.errors import BundleError, EdgeError, ResourceError
from edge.files import fsync_directory, resource_error, write_atomic

CURRENT = "current"
LOCK = ".install.lock"
_LITTER = re.compile(r"\.(current|state\.json)\.[0-9a-f]{8}(\.part)?")


@dataclass(frozen=True)
class Room:
    """freed_bytes: of all files that go; replaced_bytes: of those that a source may count on, because their names come
    again or they are partial ones; missing_bytes: to come."""

    freed_bytes: int
    replaced_bytes: int
    missing_bytes: int


class BusyError(ResourceError):
    """Another installer is at work."""

    def __init__(self, where: Path) -> None:
        super().__init__("another install is at work here", where=str(where), mend="wait for it, then run this again")


class SlotsDisk:
    """base: the folder of one profile. Errors of every call: ResourceError for what the disk refuses."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def slot(self, slot: Slot) -> Path:
        """The folder of a slot."""
        return self.base / slot

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only installer here; makes the folders. Errors: BusyError while another is at work."""
        try:
            made = not self.base.is_dir()
            self.base.mkdir(parents=True, exist_ok=True)
            if made:
                fsync_directory(self.base.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.base / LOCK, flags, 0o600)
        except OSError as error:
            raise resource_error(error, str(self.base)) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(self.base) from None
            try:
                self._settle()
            except OSError as error:
                raise resource_error(error, str(self.base)) from error
            yield
        finally:
            os.close(descriptor)

    def _settle(self) -> None:
        """The folders are there; what a killed installer left beside them is not."""
        for name in SLOTS:
            if not self.slot(name).is_dir():
                self.slot(name).mkdir()
        for path in self.base.iterdir():
            if _LITTER.fullmatch(path.name):
                path.unlink()
        fsync_directory(self.base)

    # ---- the link and the memory --------------------------------------------------------------------------------

    def link(self) -> Slot | None:
        """The slot that `current` shows; None for none, and for anything that no installer put there."""
        try:
            shown = (self.base / CURRENT).readlink()
        except OSError:
            return None
        return next((slot for slot in SLOTS if slot == str(shown)), None)

    def point(self, slot: Slot | None) -> None:
        """Let `current` show a slot, or nothing."""
        place = self.base / CURRENT
        try:
            if slot is None:
                place.unlink(missing_ok=True)
            elif self.link() != slot:
                beside = self.base / f".{CURRENT}.{os.urandom(4).hex()}"
                beside.symlink_to(slot)
                beside.replace(place)
            # Also where nothing changed: whoever moved it may have died before it was durable.
            fsync_directory(self.base)
        except OSError as error:
            raise resource_error(error, str(place)) from error

    def load(self) -> State | None:
        """The installer's memory; None where there is none yet.

        Errors: BrokenStateError, FutureStateError; ResourceError when it cannot be read.
        """
        path = self.base / STATE_NAME
        if not os.path.lexists(path):
            return None
        try:
            return from_bytes(read_small(path, MAX_STATE_BYTES))
        except BundleError as error:  # a link, a folder, something large: not ours
            raise BrokenStateError from error

    def save(self, state: State) -> None:
        """Keep the memory."""
        write_atomic(self.base / STATE_NAME, to_bytes(state))

    # ---- a slot ---------------------------------------------------------------------------------------------------

    def room(self, slot: Slot, manifest: Manifest) -> Room:
        """What `clear` will free in a slot, and what it leaves to be brought; changes nothing."""
        folder = self.slot(slot)
        wanted = {entry.path: entry.size_bytes for entry in manifest.files}
        same = _mark(folder, manifest).is_file()
        try:
            foreign = self._foreign(folder, manifest, keep_hidden=same)
            going = {path.relative_to(folder).as_posix(): (size, _on_disk(path, size)) for path, size in foreign}
            staying = list_tree(folder)[0].keys() - going.keys()
        except (BundleError, OSError):  # an odd file: `clear` removes it, here it frees nothing
            return Room(0, 0, sum(wanted.values()))
        return Room(
            freed_bytes=sum(on_disk for _, on_disk in going.values()),
            replaced_bytes=sum(size for name, (size, _) in going.items() if name in wanted or _hidden(name)),
            missing_bytes=sum(size for name, size in wanted.items() if name not in staying),
        )

    def clear(self, slot: Slot, manifest: Manifest) -> None:
        """Make a slot ready for a bundle: only files that it has too, and partial ones of the same bundle, are left.

        Attestations of the same bundle stay, and those of the other slot's are added where it holds the same one.
        """
        folder = self.slot(slot)
        try:
            _clear_odd(folder)
            if _content(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES) not in (None, manifest.to_bytes()):
                # First: without its manifest, what is left is not taken for the old bundle.
                (folder / MANIFEST_NAME).unlink()
                (folder / SIGNATURE_NAME).unlink(missing_ok=True)
                fsync_directory(folder)
            mark = _mark(folder, manifest)
            going_on = mark.is_file()
            for path, _ in self._foreign(folder, manifest, keep_hidden=going_on):
                path.unlink()
            _drop_empty(folder, manifest)
            if not going_on:
                write_atomic(mark, b"")
            self._keep_attestations(folder, manifest)
        except OSError as error:
            raise resource_error(error, str(folder)) from error

    def seal(self, slot: Slot, manifest_bytes: bytes, signature: bytes) -> None:
        """The files are there: manifest and signature are written, and hidden files removed."""
        folder = self.slot(slot)
        try:
            for name in list_tree(folder)[0]:
                if _hidden(name):
                    (folder / name).unlink()
            for name, data in ((SIGNATURE_NAME, signature), (MANIFEST_NAME, manifest_bytes)):
                if _content(folder / name, max(MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES)) != data:
                    write_atomic(folder / name, data)
            for name in (*list_tree(folder)[1], ""):
                fsync_directory(folder / name)
        except OSError as error:
            raise resource_error(error, str(folder)) from error

    def _foreign(self, folder: Path, manifest: Manifest, *, keep_hidden: bool) -> Iterator[tuple[Path, int]]:
        """Files of a slot that do not belong to a bundle or have another content, with their sizes."""
        if not folder.is_dir():
            return
        wanted = {entry.path: entry for entry in manifest.files}
        for name, size in list_tree(folder)[0].items():
            top, _, _ = name.partition("/")
            if top == ATTESTATIONS_FOLDER or name in (MANIFEST_NAME, SIGNATURE_NAME):
                continue
            if _hidden(name):
                if not keep_hidden:
                    yield folder / name, size
                continue
            entry = wanted.get(name)
            if entry is None or size != entry.size_bytes or digest_file(folder / name) != (entry.sha256, size):
                yield folder / name, size

    def _keep_attestations(self, folder: Path, manifest: Manifest) -> None:
        """Only well-formed attestations of this bundle stay: another one would make the slot unreadable for ever."""
        target = folder / ATTESTATIONS_FOLDER
        for path in sorted(target.iterdir()) if target.is_dir() else ():
            if not _attests(path, manifest):
                path.unlink()
        for slot in SLOTS:
            beside = self.slot(slot)
            if beside == folder or _content(beside / MANIFEST_NAME, MAX_MANIFEST_BYTES) != manifest.to_bytes():
                continue
            for path in sorted((beside / ATTESTATIONS_FOLDER).glob("[!.]*.json")):
                if _attests(path, manifest) and not (target / path.name).exists():
                    target.mkdir(exist_ok=True)
                    write_atomic(target / path.name, path.read_bytes())


def _mark(folder: Path, manifest: Manifest) -> Path:
    """Says that the hidden files of a slot are of this bundle."""
    return folder / f".{manifest.bundle_digest}.filling"


def _on_disk(path: Path, size_bytes: int) -> int:
    """What a file takes of the disk: a partial one may have its whole length and few blocks."""
    return min(size_bytes, path.lstat().st_blocks * 512)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _content(path: Path, limit_bytes: int) -> bytes | None:
    """The bytes of a small file; None where it is not there; b"" where it is something else."""
    if not os.path.lexists(path):
        return None
    with contextlib.suppress(EdgeError):
        return read_small(path, limit_bytes)
    return b""


def _attests(path: Path, manifest: Manifest) -> bool:
    try:
        attestation, _ = parse_attestation(read_small(path, MAX_ATTESTATION_BYTES), path.name)
    except EdgeError:
        return False
    return attestation.bundle_digest == manifest.bundle_digest


def _clear_odd(folder: Path) -> None:
    """Links and devices have no place in a slot, and a listing stops at them."""
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                path.unlink()


def _drop_empty(folder: Path, manifest: Manifest) -> None:
    """Folders that the bundle has no file in."""
    used = {ATTESTATIONS_FOLDER}
    for entry in manifest.files:
        parts = entry.path.split("/")[:-1]
        used |= {"/".join(parts[: at + 1]) for at in range(len(parts))}
    for name in reversed(list_tree(folder)[1]):
        if name not in used and (folder / name).is_dir():
            shutil.rmtree(folder / name)
