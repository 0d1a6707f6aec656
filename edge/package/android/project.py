"""A buildozer project out of a bundle: everything but the SDK, the NDK and python-for-android itself.

It is written beside its place, read back and held to the rules of check.py, and only then takes the place of the
project that was there before. The same bundle and the same edge give the same files.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import edge
from edge.app.android.assets import PART_BYTES
from edge.build.cache import cache_root
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle
from edge.bundle.place import absolute, beside, locked, recover_locked, swap_in
from edge.bundle.signing import PublicKey
from edge.device.wheels import edge_source
from edge.errors import EdgeError, InputError, UntrustedError
from edge.files import resource_error
from edge.package.android import texts
from edge.package.android.bundle_assets import MOST_CARRIED_BYTES, bundle_bytes, write_assets
from edge.package.android.check import SPEC, faults
from edge.package.android.platform_table import requirements
from edge.package.android.spec import spec_text
from edge.package.android.vendor import vendor

ENGINE, SYSTEM = "onnxruntime", "android"
MARK = "hook.py"
_DOMAIN = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+")
_NAME = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True)
class AndroidOptions:
    """title: under the icon. domain, name: the package; another one needs `edge verify --device adb:` told of it.
    numeric_version: counts up with each release (Android installs nothing older over it). microphone: ask for it.
    fhir: also carry what checks a FHIR export. trusted: keys that the app trusts; None takes the bundle's signer, and
    the devices whose attestations it carries, from this machine's keys. most_carried_bytes: above it the bundle is
    pushed by hand. source: a folder with the package `edge` for a device; None makes one."""

    title: str = "edge"
    domain: str = "org.edgekit"
    name: str = "edge"
    numeric_version: int = 1
    microphone: bool = True
    fhir: bool = False
    trusted: tuple[PublicKey, ...] | None = None
    most_carried_bytes: int = MOST_CARRIED_BYTES
    part_bytes: int = PART_BYTES
    source: Path | None = None


Say = Callable[[str], None]


def write_project(
    bundle: OpenBundle, folder: Path, *, options: AndroidOptions = AndroidOptions(), say: Say = lambda _: None
) -> Path:
    """Write the project of an opened bundle to `folder`; returns its buildozer.spec.

    A project that is there is replaced when the new one is whole; any other folder is refused. Errors: InputError
    (another system or engine, odd names, a folder in the way), UntrustedError (the signer's key is not here),
    MissingToolError (a library of the app is not installed here), BundleError (changed meanwhile), ResourceError.
    """
    ort_version = _checked(bundle, options)
    keys = options.trusted if options.trusted is not None else trusted_keys(bundle, KeyStore())
    place = absolute(folder)
    with locked(place):
        recover_locked(place)
        if place.exists() and any(place.iterdir()) and not (place / MARK).is_file():
            raise InputError("holds something else than a project", where=str(folder), mend="name another folder")
        building = beside(place, "building")
        try:
            _write(bundle, keys, ort_version, options, building)
            wrong = faults(building)
            if wrong:
                raise EdgeError(f"the project would not be right: {wrong[0]}", mend="report this as a bug")
            swap_in(building, place)
        except OSError as error:
            raise resource_error(error, str(folder)) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
    say(f"{place / 'README.md'} says how to build it; nothing of it was run on a device")
    return folder / SPEC


def _checked(bundle: OpenBundle, options: AndroidOptions) -> str:
    """ONNX Runtime's version. Errors: InputError."""
    manifest = bundle.manifest
    engine = str(manifest.runtime.get("engine"))
    if str(manifest.target.get("os")) != SYSTEM:
        raise InputError(
            f"the bundle is for {manifest.target['name']}, not for Android",
            where=str(bundle.path),
            mend="build a profile for a target with Android, as targets/android-arm64.yaml",
        )
    if engine != ENGINE:
        raise InputError(
            f"an Android app runs bundles for {ENGINE}, this one is for {engine}",
            where=str(bundle.path),
            mend="build the profile with backend onnx and export native",
        )
    if not _DOMAIN.fullmatch(options.domain) or not _NAME.fullmatch(options.name):
        raise InputError(
            "not a package name", where=f"{options.domain}.{options.name}"[:80], mend="use org.example app"
        )
    if not options.title.isprintable() or not options.title.strip():
        raise InputError("not a title", mend="give a few printable characters")
    return str(manifest.runtime[ENGINE])


def trusted_keys(bundle: OpenBundle, store: KeyStore) -> tuple[PublicKey, ...]:
    """The bundle's signer and this machine's trusted devices, if the bundle carries a word of one.

    Errors: UntrustedError when the signer is not among this machine's keys.
    """
    known = store.trust_store()
    signer = known.find(bundle.signer_fingerprint)
    if signer is None:
        raise UntrustedError(
            f"the key {bundle.signer_fingerprint} that signed the bundle is not trusted here",
            where=str(bundle.path),
            mend="`edge keys trust` it first: the app will trust what you trust",
        )
    devices: Sequence[PublicKey] = [key for key in known.keys if key.role == "device"] if bundle.attestations else ()
    return (signer, *devices)


def _write(
    bundle: OpenBundle, keys: Sequence[PublicKey], ort_version: str, options: AndroidOptions, folder: Path
) -> None:
    app = folder / "app"
    source = options.source or edge_source(cache_root())
    skipped = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(source, app, ignore=skipped)
    vendor(app)
    size_bytes = bundle_bytes(bundle)
    index = write_assets(
        bundle, keys, folder / "assets", most_bytes=options.most_carried_bytes, part_bytes=options.part_bytes
    )
    grammar = importlib.metadata.version("llguidance")
    package = f"{options.domain}.{options.name}"
    files = {
        "app/main.py": texts.MAIN_PY,
        "app/engine_service.py": texts.ENGINE_PY,
        "app/verify_service.py": texts.VERIFY_PY,
        "manifest/extra.xml": texts.extra_manifest(),
        "manifest/application.txt": texts.application_arguments(),
        "manifest/debug/AndroidManifest.xml": texts.debug_manifest(),
        "res/xml/data_extraction_rules.xml": texts.extraction_rules(),
        "recipes/llguidance/__init__.py": texts.llguidance_recipe(grammar),
        MARK: texts.HOOK,
        "README.md": texts.readme(options.title, package, index.bundle_digest, index.carried, size_bytes),
        SPEC: spec_text(
            title=options.title,
            domain=options.domain,
            name=options.name,
            version=edge.__version__,
            numeric_version=options.numeric_version,
            ort_version=ort_version,
            requirements=requirements(grammar, fhir=options.fhir),
            microphone=options.microphone,
        ),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
