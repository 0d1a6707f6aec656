"""A .deb for boards and PCs with Debian or Ubuntu: runner, app, bundles, units.

Order: check the bundles against each other, fetch the wheels of the target, list every path, read what the libraries
need, write. The same inputs give the same bytes; no time, name or path of this machine goes in.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import edge
from edge.app.kiosk.install import TMPFILES, UDEV
from edge.app.kiosk.unit import render_tmpfiles, render_udev
from edge.bundle.manifest import ATTESTATIONS_FOLDER, MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.open import OpenBundle
from edge.bundle.signing import PublicKey
from edge.device import wheels
from edge.errors import InputError, ResourceError, SourceError
from edge.files import resource_error
from edge.package import deb_scripts, systemd
from edge.package.deb_archive import MOST_BYTES, Entry, too_large, with_folders, write_deb
from edge.package.deb_control import (
    NOBODY,
    About,
    changelog,
    conffiles_text,
    control_text,
    copyright_text,
    md5sums_text,
    sums_of,
    version_text,
)
from edge.package.deb_needs import DEBIAN_ARCH, depends, needs_of
from edge.package.deb_scripts import KIT, LIBRARY, PACKAGE, SHARE, SITE, TRUSTED, Device

# The time of every file of a package; SOURCE_DATE_EPOCH, where a builder sets it, wins.
TIME_S = 1_735_689_600
UNITS = PurePosixPath("usr/lib/systemd/system")
# pip's notes about how it installed; they name this machine, and nobody reads them on the device.
PIP_NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
NOT_IN_SITE = {"bin", "share", "__pycache__"}
BASE_DPI = 160.0

Say = Callable[[str], None]


class Sources(Protocol):
    """Where the runner comes from; DeviceSources is the real one."""

    def site(self, arch: str, python: tuple[int, int], requirements: Sequence[str]) -> Path:
        """A folder of installed wheels for the target."""

    def edge(self) -> Path:
        """A folder with the package `edge` as a device needs it."""


@dataclass(frozen=True)
class DeviceSources:
    """Wheels from the registry, edge from its own source. cache: where both are kept."""

    cache: Path
    say: Say = lambda _: None

    def site(self, arch: str, python: tuple[int, int], requirements: Sequence[str]) -> Path:
        """See Sources. Errors: those of edge.device.wheels.site_for."""
        return wheels.site_for(arch, python, requirements, cache=self.cache, say=self.say)

    def edge(self) -> Path:
        """See Sources. Errors: ResourceError."""
        return wheels.edge_source(self.cache, say=self.say)


@dataclass(frozen=True)
class Written:
    """A finished package. path: the file; depends: what it asks of the device."""

    path: Path
    version: str
    size_bytes: int
    depends: tuple[str, ...]
    bundles: tuple[str, ...]


def requirements_of(engines: Sequence[str], arch: str, python: tuple[int, int], *, screen: bool) -> tuple[str, ...]:
    """Exact `name==version` of all wheels, sorted. Errors: those of edge.device.wheels."""
    wanted = {line for engine in engines for line in wheels.runtime_requirements(engine)}
    engine_packages = {name for names in wheels.ENGINE_PACKAGES.values() for name in names}
    extras = ("app", "fleet") if screen else ("fleet",)
    more = wheels.closure(
        "edge-kit", extras=extras, arch=arch, python=python, without=wheels.NOT_ON_DEVICE | engine_packages
    )
    wanted |= {f"{name}=={version}" for name, version in more.items()}
    return tuple(sorted(wanted))


def folder_name(bundle: OpenBundle) -> str:
    """Of a bundle on the device: its name, what the clinician reads, and its identity.

    Two builds with one behaviour and different identities must not share a folder: the results in it are of one.
    """
    return f"{bundle.manifest.name}-{bundle.behaviour_digest[:16]}-{bundle.bundle_digest[:8]}"


def _only(values: Sequence[Any], what: str) -> Any:
    """The one value that all bundles share. Errors: InputError."""
    if any(value != values[0] for value in values):
        raise InputError(f"the bundles are for different {what}", mend="make one package for each kind of device")
    return values[0]


def check_together(bundles: Sequence[OpenBundle]) -> Mapping[str, Any]:
    """The target that all bundles share. Errors: InputError for none, for doubles and for other systems than Linux."""
    if not bundles:
        raise InputError("no bundle was named", mend="name at least one")
    target: Mapping[str, Any] = _only([bundle.manifest.target for bundle in bundles], "targets")
    if target.get("os") != "linux" or target["arch"] not in DEBIAN_ARCH:
        raise InputError(
            f"a .deb is for Linux on {' or '.join(DEBIAN_ARCH)}, the bundle is for {target['name']}",
            mend="build the profile for a target with Linux, or choose --format android",
        )
    names = [bundle.manifest.name for bundle in bundles]
    if len(set(names)) != len(names):
        raise InputError("two bundles have one name", mend="name each bundle once")
    return target


def _bundle_entries(bundle: OpenBundle) -> Iterator[Entry]:
    """The bundle's own files; results of other devices stay here, so that this device proves it itself."""
    place = PurePosixPath(*KIT.parts[1:], "bundles", folder_name(bundle))
    for name in (MANIFEST_NAME, SIGNATURE_NAME, *(entry.path for entry in bundle.manifest.files)):
        yield Entry(str(place / name), source=bundle.path / name)
    yield Entry(str(place / ATTESTATIONS_FOLDER))
    yield Entry(str(PurePosixPath(*KIT.parts[1:], bundle.manifest.name)), link=f"bundles/{folder_name(bundle)}")


def _site_entries(*folders: Path) -> Iterator[Entry]:
    """The wheels and edge, without what pip noted and what names this machine's Python."""
    place = PurePosixPath(*SITE.parts[1:])
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            hidden = inner.parts[0] in NOT_IN_SITE or inner.parts[0].startswith(".")
            notes = inner.name in PIP_NOTES and inner.parent.name.endswith(".dist-info")
            if hidden or notes or "__pycache__" in inner.parts or path.suffix == ".pyc" or path.is_dir():
                continue
            yield Entry(str(place / inner.as_posix()), source=path)


def _text(path: PurePosixPath | str, text: str, *, executable: bool = False) -> Entry:
    inner = PurePosixPath(path)
    return Entry(
        str(inner.relative_to("/") if inner.is_absolute() else inner), data=text.encode(), executable=executable
    )


def memory_max_bytes(target: Mapping[str, Any]) -> int:
    """What the target leaves for edge."""
    return int(target["memory_bytes"]) - int(target["memory_reserved_bytes"])


def _unit_entries(bundles: Sequence[OpenBundle], target: Mapping[str, Any]) -> Iterator[Entry]:
    memory = memory_max_bytes(target)
    yield _text(UNITS / systemd.VERIFY, systemd.verify_unit(memory))
    yield _text(UNITS / systemd.AGENT, systemd.agent_unit(memory))
    yield _text(LIBRARY / "verify-new", deb_scripts.verify_new(), executable=True)
    yield _text(systemd.DEFAULTS, systemd.defaults_file())
    if not target.get("screen"):
        return
    panel = target.get("panel") or {}
    size = panel.get("size_px")
    kiosk = systemd.kiosk_unit(
        tuple(KIT / bundle.manifest.name for bundle in bundles),
        density=float(panel.get("dpi", BASE_DPI)) / BASE_DPI,
        size_px=(int(size[0]), int(size[1])) if size else None,
        memory_max_bytes=memory,
    )
    yield _text(UNITS / systemd.KIOSK, kiosk)
    yield _text(TMPFILES, render_tmpfiles())
    yield _text(UDEV, render_udev())


def _own_entries(
    bundles: Sequence[OpenBundle],
    target: Mapping[str, Any],
    builders: Sequence[PublicKey],
    device: Device,
    about: Mapping[str, Any],
    more: Mapping[PurePosixPath, str],
) -> Iterator[Entry]:
    yield _text("/usr/bin/edge", deb_scripts.launcher(device), executable=True)
    yield from _unit_entries(bundles, target)
    for key in builders:
        yield _text(TRUSTED / f"deb-{key.fingerprint}.pub.pem", key.to_pem().decode("ascii"))
    yield _text(SHARE / "package.json", json.dumps(about, indent=1, sort_keys=True) + "\n")
    for path, text in more.items():
        yield _text(path, text)


def device_of(bundles: Sequence[OpenBundle], target: Mapping[str, Any], python: tuple[int, int]) -> Device:
    """What the scripts must know."""
    kiosk = (systemd.KIOSK,) if target.get("screen") else ()
    return Device(
        python=python,
        bundles=tuple(folder_name(bundle) for bundle in bundles),
        units=(*kiosk, systemd.VERIFY, systemd.AGENT),
        enabled=(*kiosk, systemd.VERIFY),
        screen=bool(target.get("screen")),
    )


def package_time_s(environment: Mapping[str, str] = os.environ) -> int:
    """The time of every file. Errors: InputError for a SOURCE_DATE_EPOCH that is no number of seconds."""
    text = environment.get("SOURCE_DATE_EPOCH", str(TIME_S))
    if not text.isdigit() or int(text) >= 1 << 33:
        raise InputError("SOURCE_DATE_EPOCH is not a number of seconds since 1970", mend="set it right, or unset it")
    return int(text)


def write_package(
    bundles: Sequence[OpenBundle],
    builders: Sequence[PublicKey],
    output: Path,
    *,
    sources: Sources,
    python: tuple[int, int] = (3, 11),
    revision: str = "1",
    time_s: int = TIME_S,
    maintainer: str = NOBODY,
    more: Mapping[PurePosixPath, str] | None = None,
    say: Say = lambda _: None,
) -> Written:
    """Write edge-kit_VERSION_ARCH.deb into the folder `output`.

    bundles: as edge.bundle.open gives them, all of one target. builders: public keys of their signers, which the device
    then trusts. python: minor version of the device's Python. revision: counts up so that dpkg sees an upgrade.
    maintainer: as Debian writes it; more: further small files, path on the device -> text.
    Errors: InputError (bundles that do not go together, an odd revision), SourceError (no wheel, a library nobody
    brings, a file that changed), OfflineError, MissingToolError, ResourceError (no space, larger than a .deb can be).
    """
    target = check_together(bundles)
    arch, screen = str(target["arch"]), bool(target.get("screen"))
    if python < (3, 11):
        raise InputError(
            f"edge needs Python 3.11 or newer, not {python[0]}.{python[1]}",
            mend="install one beside the board's own, for example the package python3.11 of Ubuntu 22.04",
        )
    engines = sorted({str(bundle.manifest.runtime.get("engine")) for bundle in bundles})
    requirements = requirements_of(engines, arch, python, screen=screen)
    site, source = sources.site(arch, python, requirements), sources.edge()
    device = device_of(bundles, target, python)
    about = {
        "version": 1, "target": target["name"], "arch": arch, "python": f"{python[0]}.{python[1]}",
        "requirements": list(requirements), "edge": edge.__version__,
        "bundles": [
            {"name": bundle.manifest.name, "folder": folder_name(bundle), "bundle_digest": bundle.bundle_digest,
             "behaviour_digest": bundle.behaviour_digest} for bundle in bundles
        ],
    }  # fmt: skip
    own = _own_entries(bundles, target, builders, device, about, more or {})
    entries = [*own, *_site_entries(site, source), *(entry for one in bundles for entry in _bundle_entries(one))]
    say("reading what the libraries need of the device")
    asked = depends(needs_of([site, *(bundle.path for bundle in bundles)], arch), python=python, screen=screen)
    return _write(entries, bundles, output, site, asked, device, arch, revision, time_s, maintainer, say)


def _write(
    entries: list[Entry],
    bundles: Sequence[OpenBundle],
    output: Path,
    site: Path,
    asked: tuple[str, ...],
    device: Device,
    arch: str,
    revision: str,
    time_s: int,
    maintainer: str,
    say: Say,
) -> Written:
    """Version, documents, control part; then the file."""
    sums = sums_of(entries)
    scripts = {
        "preinst": deb_scripts.preinst(), "postinst": deb_scripts.postinst(device),
        "prerm": deb_scripts.prerm(device), "postrm": deb_scripts.postrm(device),
    }  # fmt: skip
    content = json.dumps([sorted(sums.items()), scripts, asked]).encode()
    version = version_text(edge.__version__, revision, hashlib.sha256(content).hexdigest())
    digests = tuple((bundle.manifest.name, bundle.behaviour_digest) for bundle in bundles)
    licences = [(bundle.manifest.name, str(bundle.manifest.base_model["license"])) for bundle in bundles]
    documents = [
        Entry(f"usr/share/doc/{PACKAGE}/changelog.gz", data=changelog(version, digests, time_s, maintainer)),
        Entry(f"usr/share/doc/{PACKAGE}/copyright", data=copyright_text(site, licences).encode()),
    ]
    sums |= sums_of(documents)
    data = with_folders([*entries, *documents])
    size_bytes = sum(entry.size_bytes() for entry in data)
    path = output / f"{PACKAGE}_{version}_{DEBIAN_ARCH[arch]}.deb"
    _check_room(size_bytes, output, path)
    recommends = ("alsa-utils",) if device.screen else ()
    about = About(version, DEBIAN_ARCH[arch], size_bytes, asked, recommends, digests, maintainer)
    control = [
        Entry("conffiles", data=conffiles_text(data).encode()),
        Entry("control", data=control_text(about).encode()),
        Entry("md5sums", data=md5sums_text(data, sums).encode()),
        *(Entry(name, data=text.encode(), executable=True) for name, text in sorted(scripts.items())),
    ]
    control = [entry for entry in control if entry.data]
    say(f"writing {path.name} ({size_bytes / 1e6:.0f} MB installed)")
    write_deb(path, control, data, time_s=time_s)
    return Written(path, version, path.stat().st_size, asked, tuple(device.bundles))


def _check_room(size_bytes: int, output: Path, path: Path) -> None:
    """Said before minutes of packing. Errors: ResourceError."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(output).free
    except OSError as error:
        raise resource_error(error, str(output)) from error
    if size_bytes > MOST_BYTES * 1.3:  # int4 weights compress by some percent, wheels by two thirds
        raise too_large(size_bytes, str(path))
    if free_bytes < size_bytes:
        raise ResourceError(
            f"{size_bytes / 1e6:.0f} MB are needed and {free_bytes / 1e6:.0f} MB are free",
            where=str(output),
            mend="free space and run the same command again",
        )


def builders_of(bundles: Sequence[OpenBundle], known: Callable[[str], PublicKey]) -> tuple[PublicKey, ...]:
    """The public keys that the device must trust, each once. known: KeyStore().public. Errors: those of `known`."""
    keys = {bundle.signer_fingerprint: known(bundle.signer_name) for bundle in bundles}
    for fingerprint, key in keys.items():
        if key.fingerprint != fingerprint:
            raise SourceError(f"the key '{key.name}' is not the one that signed", mend="see `edge keys list`")
    return tuple(keys[fingerprint] for fingerprint in sorted(keys))
