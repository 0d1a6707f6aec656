"""Open a bundle: nothing in it is used before the signature, the manifest and every file have been checked.

Order: recover a swap that was killed, read the manifest's bytes, check the signature by a trusted builder
key, parse the manifest (unknown version, feature or key: refused), compare the target with this device,
compare the folder's listing with the manifest (missing, extra, other size: refused), hash every file, check
the attestations. No pydantic, numpy, onnx or torch is imported on this path.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.bundle.attestation import (
    MAX_ATTESTATION_BYTES,
    UNFINISHED,
    Attestation,
    newest,
    verify_attestation,
)
from edge.bundle.canonical import MEND, SLUG
from edge.bundle.manifest import (
    ATTESTATIONS_FOLDER,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    Manifest,
    behaviour_digest,
)
from edge.bundle.place import absolute, leftovers, recover
from edge.bundle.signing import MANIFEST_PURPOSE, PublicKey, SignatureFile, Trust
from edge.bundle.tree import digest_file, list_tree, read_error, read_small
from edge.errors import BundleError, UntrustedError

MAX_SIGNATURE_BYTES = 4096


class DeviceFacts(Protocol):
    """What opening needs to know of this device; edge.device.facts.DeviceFacts has it."""

    @property
    def arch(self) -> str:
        """x86_64, aarch64 or wasm32."""

    @property
    def isa_features(self) -> Collection[str]:
        """Instruction set features as /proc/cpuinfo names them."""


@dataclass(frozen=True)
class OpenBundle:
    """A bundle that was checked.

    path: its folder (for a .tar, the unpacked copy). files_checked: whether every file was hashed.
    attestations: those by trusted device keys, in the order of their file names; untrusted_attestations: file
    names of the well-formed others, which count for nothing.
    """

    path: Path
    manifest: Manifest
    bundle_digest: str
    behaviour_digest: str
    signer_fingerprint: str
    signer_name: str
    attestations: tuple[Attestation, ...]
    untrusted_attestations: tuple[str, ...]
    files_checked: bool

    def attestation_for(self, device_class: str) -> Attestation | None:
        """The attestation that decides for a device class, or None where it was never verified."""
        return newest(self.attestations, device_class)


def open_bundle(
    path: Path | str,
    trust: Trust,
    *,
    check_files: bool = True,
    device: DeviceFacts | None = None,
    cache: Path | None = None,
) -> OpenBundle:
    """Open a bundle folder or .tar.

    trust: KeyStore().trust_store(). check_files: False skips hashing the files; signature, manifest, listing,
    sizes and attestations are checked all the same. device: when given, a bundle for another target is
    refused. cache: where a .tar is unpacked, default `default_cache()`.
    Errors, one line each: BundleError (changed, missing, extra, unknown, wrong target), UntrustedError
    (unsigned, untrusted or wrong signature), ResourceError (cannot be read or unpacked).
    """
    place = absolute(path)
    if not os.path.lexists(place) and leftovers(place, "old"):
        recover(place)
    try:
        is_folder = place.is_dir()
        is_file = place.is_file()
    except OSError as error:
        raise read_error(error, str(path)) from error
    if is_folder:
        return open_folder(Path(os.path.realpath(place)), trust, check_files=check_files, device=device)
    if is_file:
        from edge.bundle.archive import open_tar

        return open_tar(place, trust, check_files=check_files, device=device, cache=cache)
    raise BundleError("there is no bundle", where=str(path), mend="give a bundle folder or a .tar, see `edge build`")


def open_folder(
    folder: Path, trust: Trust, *, check_files: bool = True, device: DeviceFacts | None = None
) -> OpenBundle:
    """As open_bundle, for a folder."""
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(
            f"is not a bundle (no {MANIFEST_NAME})", where=str(folder), mend="give a bundle folder or a .tar"
        )
    if not os.path.lexists(folder / SIGNATURE_NAME):
        raise unsigned(folder)
    manifest, signer = check_head(
        read_small(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES),
        read_small(folder / SIGNATURE_NAME, MAX_SIGNATURE_BYTES),
        trust,
        device=device,
        where=str(folder),
    )
    attestation_names = check_listing(folder, manifest)
    if check_files:
        check_digests(folder, manifest)
    bundle_digest, behaviour = manifest.bundle_digest, behaviour_digest(manifest)
    trusted: list[Attestation] = []
    untrusted: list[str] = []
    for name in attestation_names:
        path = folder / name
        attestation = verify_attestation(
            read_small(path, MAX_ATTESTATION_BYTES),
            trust,
            bundle_digest=bundle_digest,
            behaviour_digest=behaviour,
            where=str(path),
        )
        if attestation is None:
            untrusted.append(name)
        else:
            trusted.append(attestation)
    return OpenBundle(
        path=folder,
        manifest=manifest,
        bundle_digest=bundle_digest,
        behaviour_digest=behaviour,
        signer_fingerprint=signer.fingerprint,
        signer_name=signer.name,
        attestations=tuple(trusted),
        untrusted_attestations=tuple(untrusted),
        files_checked=check_files,
    )


def unsigned(where: Path) -> UntrustedError:
    """The error of a bundle without a signature."""
    return UntrustedError("is not signed", where=str(where), mend="build it with `edge build`, which signs it")


def check_head(
    manifest_bytes: bytes, signature_bytes: bytes, trust: Trust, *, device: DeviceFacts | None, where: str
) -> tuple[Manifest, PublicKey]:
    """Signature, then manifest, then target. Errors: as open_bundle."""
    signature = SignatureFile.from_bytes(signature_bytes, f"{where}/{SIGNATURE_NAME}")
    signer = trust.verify(MANIFEST_PURPOSE, manifest_bytes, signature, role="builder", where=where)
    manifest = Manifest.from_bytes(manifest_bytes, f"{where}/{MANIFEST_NAME}")
    if device is not None:
        check_device(manifest, device, where)
    return manifest, signer


def check_device(manifest: Manifest, device: DeviceFacts, where: str) -> None:
    """Refuse a bundle for another architecture or for instruction sets that this device lacks."""
    target = manifest.target
    if device.arch != target["arch"]:
        raise BundleError(
            f"was built for {target['name']} ({target['arch']}), this device is {device.arch}",
            where=where,
            mend="build the profile for this device's target",
        )
    isa = target.get("isa") or {}
    missing = sorted(set(isa.get("features") or ()) - set(device.isa_features))
    if missing:
        raise BundleError(
            f"was built for {target['name']}, this device lacks {', '.join(missing)}",
            where=where,
            mend="build the profile for this device's target",
        )


def split_listing(names: Collection[str], manifest: Manifest, where: str) -> tuple[str, ...]:
    """Compare file names with the manifest; returns the attestation files among them, sorted.

    Errors: BundleError names the first extra or missing file; UntrustedError when there is no signature.
    """
    listed = {entry.path for entry in manifest.files} | {MANIFEST_NAME, SIGNATURE_NAME}
    attestations = []
    for name in sorted(set(names) - listed):
        top, _, rest = name.partition("/")
        if top == ATTESTATIONS_FOLDER and UNFINISHED.fullmatch(rest):
            continue
        if top != ATTESTATIONS_FOLDER or not rest.endswith(".json") or not SLUG.fullmatch(rest):
            raise BundleError(
                f"file {name[:120]!r} does not belong to the bundle", where=where, mend=f"remove it or {MEND}"
            )
        attestations.append(name)
    for name in sorted(listed - set(names)):
        if name == SIGNATURE_NAME:
            raise unsigned(Path(where))
        raise BundleError(f"file {name!r} is missing", where=where, mend=MEND)
    return tuple(attestations)


def check_listing(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """The folder holds exactly the manifest's files in their sizes; returns its attestation files.

    Errors: BundleError names the first extra, missing, linked or resized file.
    """
    sizes, folders = list_tree(folder)
    attestations = split_listing(sizes, manifest, str(folder))
    used = {name.rpartition("/")[0] for name in sizes} | {ATTESTATIONS_FOLDER}
    for name in folders:
        if not any(name == path or path.startswith(f"{name}/") for path in used):
            raise BundleError(
                f"folder {name[:120]!r} does not belong to the bundle", where=str(folder), mend="remove it"
            )
    for entry in manifest.files:
        if sizes[entry.path] != entry.size_bytes:
            raise _changed(folder, entry.path, f"has {sizes[entry.path]} bytes instead of {entry.size_bytes}")
    return attestations


def check_digests(folder: Path, manifest: Manifest) -> None:
    """Hash every file of the manifest. Errors: BundleError names the first changed file."""
    for entry in manifest.files:
        if digest_file(folder / entry.path) != (entry.sha256, entry.size_bytes):
            raise _changed(folder, entry.path, "was changed (its sha256 differs)")


def _changed(folder: Path, path: str, what: str) -> BundleError:
    return BundleError(f"file {path!r} {what}", where=str(folder), mend=MEND)
