"""A bundle as one .tar: the same bytes from every host, and nothing taken out of it that was not checked.

Only regular files with a bundle's paths, each once, followed by zeros to the end. A .tar is unpacked once,
into a cache folder named by bundle digest and signer, and the copy is checked like any folder at every
opening.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge.bundle.attestation import MAX_ATTESTATION_BYTES, UNFINISHED, parse_attestation, verify_attestation
from edge.bundle.canonical import MEND
from edge.bundle.manifest import (
    ATTESTATIONS_FOLDER,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    FileEntry,
    Manifest,
    behaviour_digest,
)
from edge.bundle.open import (
    MAX_SIGNATURE_BYTES,
    DeviceFacts,
    OpenBundle,
    check_head,
    check_listing,
    open_folder,
    split_listing,
    unsigned,
)
from edge.bundle.place import absolute, beside, discard, locked, recover_locked
from edge.bundle.signing import SignatureFile, Trust
from edge.bundle.tree import check_path, list_tree, open_regular, read_error, read_small
from edge.errors import BundleError, EdgeError, ResourceError
from edge.files import CHUNK_BYTES, atomic_file, fsync_directory, resource_error, write_atomic

BLOCK_BYTES = 512


def default_cache() -> Path:
    """`EDGE_CACHE`, or the user's cache folder of edge, `bundles` below it."""
    if cache := os.environ.get("EDGE_CACHE"):
        return Path(cache) / "bundles"
    import platformdirs

    return Path(platformdirs.user_cache_dir("edge")) / "bundles"


@dataclass(frozen=True)
class _Member:
    path: str
    offset: int
    size_bytes: int


def pack(folder: Path, tar_path: Path) -> None:
    """Write a bundle folder with its attestations as a .tar, and read it back.

    The order is manifest, signature, the rest by name; no times, owners or modes of this machine.
    Errors: BundleError when the folder is not exactly a bundle; ResourceError when it cannot be written.
    """
    if Path(os.path.realpath(tar_path)).is_relative_to(os.path.realpath(folder)):
        raise BundleError("lies inside the bundle", where=str(tar_path), mend="write the .tar somewhere else")
    manifest = Manifest.from_bytes(read_small(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES), str(folder / MANIFEST_NAME))
    attestations = check_listing(folder, manifest)
    names = (
        MANIFEST_NAME,
        SIGNATURE_NAME,
        *sorted([*(entry.path for entry in manifest.files), *attestations]),
    )
    with atomic_file(tar_path) as output:
        # PAX is plain ustar, extended only for files above 8 GiB and long or non-ASCII names.
        with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in names:
                with os.fdopen(open_regular(folder / name), "rb") as file:
                    info = tarfile.TarInfo(name)
                    info.size = os.fstat(file.fileno()).st_size
                    info.mode = 0o644
                    tar.addfile(info, file)
        output.flush()
        with TarReader(Path(output.name)) as written:
            written.check_all(manifest)


def unpack(tar_path: Path, cache: Path) -> Path:
    """Unpack a .tar into `cache`, once; returns the folder, which open_bundle checks like any other.

    Every file is checked against the manifest while it is written; the folder appears whole or not at all.
    Errors: BundleError when the .tar is cut short, changed, or holds anything but a bundle's files;
    ResourceError when the cache cannot be written.
    """
    with TarReader(tar_path) as tar:
        return tar.unpack(cache)


def open_tar(
    tar_path: Path, trust: Trust, *, check_files: bool, device: DeviceFacts | None, cache: Path | None
) -> OpenBundle:
    """As open_bundle, for a .tar. Nothing is unpacked from a .tar whose signature is not trusted."""
    with TarReader(tar_path) as tar:
        manifest, _ = check_head(*tar.head(), trust, device=device, where=str(tar_path))
        attestations = tar.attestations(manifest)
        for name, data in attestations.items():
            verify_attestation(
                data,
                trust,
                bundle_digest=manifest.bundle_digest,
                behaviour_digest=behaviour_digest(manifest),
                where=f"{tar_path}/{name}",
            )
        folder = tar.unpack(cache if cache is not None else default_cache())
    # The copy may be older than this .tar: results of other devices that came since are added.
    for name, data in attestations.items():
        if not (folder / name).exists():
            try:
                (folder / ATTESTATIONS_FOLDER).mkdir(exist_ok=True)
            except OSError as error:
                raise resource_error(error, str(folder)) from error
            write_atomic(folder / name, data)
    try:
        return open_folder(folder, trust, check_files=check_files, device=device)
    except BundleError as error:
        raise BundleError(
            f"the unpacked copy of {tar_path.name} is broken ({error.what})",
            where=str(folder),
            mend="delete that folder and open the .tar again",
        ) from error


class TarReader:
    """An open .tar whose structure was checked: safe members, each once, whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = os.fdopen(open_regular(path), "rb")
        try:
            self.members = self._scan()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TarReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _broken(self, what: str) -> BundleError:
        return BundleError(what, where=str(self.path), mend="fetch the .tar again")

    def _scan(self) -> dict[str, _Member]:
        """All members by path, headers only. Errors: BundleError."""
        members: dict[str, _Member] = {}
        end = 0
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                for info in tar:
                    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
                        raise self._broken(f"holds {info.name[:80]!r}, which is not a regular file")
                    if info.name not in (MANIFEST_NAME, SIGNATURE_NAME) and not self._is_attestation(info.name):
                        check_path(info.name, str(self.path))
                    if info.name in members:
                        raise self._broken(f"holds {info.name[:80]!r} twice")
                    members[info.name] = _Member(info.name, info.offset_data, info.size)
                    end = info.offset_data + -(-info.size // BLOCK_BYTES) * BLOCK_BYTES
            self._check_end(end)
        except tarfile.TarError as error:
            raise self._broken("is not a whole .tar") from error
        except (ValueError, OverflowError) as error:  # tarfile on absurd header fields
            raise self._broken("is not a .tar") from error
        except OSError as error:
            raise read_error(error, str(self.path)) from error
        return members

    @staticmethod
    def _is_attestation(name: str) -> bool:
        top, _, rest = name.partition("/")
        return top == ATTESTATIONS_FOLDER and "/" not in rest and not UNFINISHED.fullmatch(rest)

    def _check_end(self, end: int) -> None:
        """Two blocks of zeros and the padding to a whole record, exactly, must follow the last member.

        tarfile takes a damaged header for the end of the archive; this does not.
        """
        whole = -(-(end + 2 * BLOCK_BYTES) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
        if os.fstat(self._file.fileno()).st_size != whole:
            raise self._broken("is cut short or damaged")
        self._file.seek(end)
        if self._file.read().strip(b"\0"):
            raise self._broken("is cut short or damaged")

    def read(self, name: str, limit_bytes: int) -> bytes:
        """The whole of a small member."""
        member = self.members[name]
        if member.size_bytes > limit_bytes:
            raise self._broken(f"holds {name[:80]!r} of more than {limit_bytes} bytes")
        return b"".join(self._pieces(member))

    def pieces_from(self, path: str, offset: int) -> Iterator[bytes]:
        """The content of a member from a place in it on; nothing is compared with the manifest."""
        return self._pieces(self.members[path], offset)

    def _pieces(self, member: _Member, skip: int = 0) -> Iterator[bytes]:
        left = member.size_bytes - skip
        try:
            self._file.seek(member.offset + skip)
            while left:
                piece = self._file.read(min(left, CHUNK_BYTES))
                if not piece:
                    raise self._broken("is cut short")
                left -= len(piece)
                yield piece
        except OSError as error:
            raise read_error(error, str(self.path)) from error

    def head(self) -> tuple[bytes, bytes]:
        """The bytes of manifest and signature. Errors: BundleError, UntrustedError when unsigned."""
        if MANIFEST_NAME not in self.members:
            raise self._broken(f"is not a bundle (no {MANIFEST_NAME})")
        if SIGNATURE_NAME not in self.members:
            raise unsigned(self.path)
        return self.read(MANIFEST_NAME, MAX_MANIFEST_BYTES), self.read(SIGNATURE_NAME, MAX_SIGNATURE_BYTES)

    def attestations(self, manifest: Manifest) -> dict[str, bytes]:
        """The attestation files by name, after comparing the listing with the manifest."""
        names = split_listing(self.members, manifest, str(self.path))
        return {name: self.read(name, MAX_ATTESTATION_BYTES) for name in names}

    def entry_pieces(self, entry: FileEntry) -> Iterator[bytes]:
        """The content of a listed file.

        Errors: BundleError at the end when it is not what the manifest says.
        """
        member, digest = self.members[entry.path], hashlib.sha256()
        for piece in self._pieces(member):
            digest.update(piece)
            yield piece
        if (digest.hexdigest(), member.size_bytes) != (entry.sha256, entry.size_bytes):
            raise BundleError(f"file {entry.path!r} was changed (its sha256 differs)", where=str(self.path), mend=MEND)

    def check_all(self, manifest: Manifest) -> None:
        """Read everything and compare it with the manifest."""
        if self.read(MANIFEST_NAME, MAX_MANIFEST_BYTES) != manifest.to_bytes():
            raise self._broken("does not hold the bundle's manifest")
        split_listing(self.members, manifest, str(self.path))
        for entry in manifest.files:
            for _ in self.entry_pieces(entry):
                pass

    def unpack(self, cache: Path) -> Path:
        """See the function of this name."""
        manifest_bytes, signature_bytes = self.head()
        manifest = Manifest.from_bytes(manifest_bytes, f"{self.path}/{MANIFEST_NAME}")
        signature = SignatureFile.from_bytes(signature_bytes, f"{self.path}/{SIGNATURE_NAME}")
        attestations = self.attestations(manifest)
        for name, data in attestations.items():
            parse_attestation(data, f"{self.path}/{name}")
        place = absolute(cache) / f"{manifest.bundle_digest}-{signature.key[:16]}"
        if place.is_dir():
            return place
        small = {MANIFEST_NAME: manifest_bytes, SIGNATURE_NAME: signature_bytes} | attestations
        with locked(place, wait=True):
            recover_locked(place)
            if not place.is_dir():
                building = beside(place, "building")
                try:
                    building.mkdir()
                    self._write(building, manifest, small)
                    building.rename(place)
                    fsync_directory(place.parent)
                except OSError as error:
                    discard(place, building)
                    raise self._no_cache(error, place) from error
                except EdgeError:
                    discard(place, building)
                    raise
        return place

    def _no_cache(self, error: OSError, place: Path) -> ResourceError:
        what = resource_error(error, str(place)).what
        return ResourceError(
            what, where=str(place), mend="free space, or set EDGE_CACHE to a folder that you may write to"
        )

    def _write(self, building: Path, manifest: Manifest, small: dict[str, bytes]) -> None:
        contents = {name: iter((data,)) for name, data in small.items()}
        contents |= {entry.path: self.entry_pieces(entry) for entry in manifest.files}
        for name, pieces in contents.items():
            path = building / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        _, folders = list_tree(building)
        for folder in ("", *folders):
            fsync_directory(building / folder)
