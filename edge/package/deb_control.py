"""The texts of a .deb that dpkg reads: control, md5sums, conffiles, copyright, changelog. Pure functions."""

from __future__ import annotations

import email.utils
import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InputError
from edge.package.deb_archive import Entry, md5
from edge.package.deb_scripts import PACKAGE

# Debian policy 5.6.12, without an epoch and without a dash: a native version.
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~]*")
_REVISION = re.compile(r"[0-9]{1,9}")
# Whoever makes packages for others says who they are, as Debian's own tools ask it; else nobody is named.
NOBODY = "edge-kit <edge-kit@localhost>"
_MAINTAINER = re.compile(r"[^<>,\x00-\x1f\x7f]{1,80} <[^<>\s,]{1,80}@[^<>\s,@]{1,80}>")
DEPENDS_BEFORE = "init-system-helpers (>= 1.54)"
SUMMARY = "clinical language model, with its app, on this device"
# Names of files in *.dist-info that say under what licence a wheel is.
LICENCE_FILES = re.compile(r"(?i)(licen[cs]e|copying|notice|authors)")


@dataclass(frozen=True)
class About:
    """What the control file says. arch: as Debian names it; installed_bytes: of all files; depends: of the wheels."""

    version: str
    arch: str
    installed_bytes: int
    depends: tuple[str, ...]
    recommends: tuple[str, ...]
    bundles: tuple[tuple[str, str], ...]  # (name, behaviour digest)
    maintainer: str = NOBODY


def version_text(edge_version: str, revision: str, content_digest: str) -> str:
    """EDGE+REVISION.CONTENT: a higher revision is an upgrade, whatever the content. Errors: InputError."""
    if not _REVISION.fullmatch(revision):
        raise InputError(f"revision {revision[:20]!r} is not a whole number", mend="count up: 1, 2, 3")
    text = f"{edge_version}+{int(revision)}.{content_digest[:8]}"
    if not _VERSION.fullmatch(text):
        raise InputError(
            f"edge's version {edge_version[:40]!r} is none that Debian takes", mend="use a release of edge"
        )
    return text


def maintainer_text(environment: Mapping[str, str]) -> str:
    """Maintainer from DEBFULLNAME and DEBEMAIL. Errors: InputError for what is no name and address."""
    if not environment.get("DEBEMAIL"):
        return NOBODY
    text = f"{environment.get('DEBFULLNAME') or 'edge-kit'} <{environment['DEBEMAIL']}>"
    if not _MAINTAINER.fullmatch(text):
        raise InputError("DEBFULLNAME and DEBEMAIL are no name and address", mend="set them right, or unset them")
    return text


def control_text(about: About) -> str:
    """The control file."""
    shown = "".join(f" {name}: behaviour {digest[:16]}\n" for name, digest in about.bundles)
    lines = [
        f"Package: {PACKAGE}",
        f"Version: {about.version}",
        f"Architecture: {about.arch}",
        f"Maintainer: {about.maintainer}",
        f"Installed-Size: {-(-about.installed_bytes // 1024)}",
        f"Depends: {', '.join((*about.depends, DEPENDS_BEFORE))}",
        *([f"Recommends: {', '.join(about.recommends)}"] if about.recommends else []),
        "Section: science",
        "Priority: optional",
        f"Description: {SUMMARY}",
        " The runner, its Python packages in a folder of their own, and these bundles:",
    ]
    return (
        "\n".join(lines)
        + "\n"
        + shown
        + " Nothing of a visit leaves the device: the app and its engines run without a network.\n"
    )


def md5sums_text(entries: Sequence[Entry], sums: dict[str, str]) -> str:
    """The md5sums file: regular files but conffiles. sums: path -> md5."""
    return "".join(f"{sums[entry.path]}  {entry.path}\n" for entry in entries if entry.path in sums)


def sums_of(entries: Sequence[Entry]) -> dict[str, str]:
    """Path -> md5 of all regular files outside /etc. Errors: SourceError."""
    return {entry.path: md5(entry) for entry in entries if entry.is_file and not entry.path.startswith("etc/")}


def conffiles_text(entries: Sequence[Entry]) -> str:
    """The conffiles file: everything below /etc."""
    return "".join(f"/{entry.path}\n" for entry in entries if entry.is_file and entry.path.startswith("etc/"))


def changelog(version: str, bundles: Sequence[tuple[str, str]], time_s: int, maintainer: str = NOBODY) -> bytes:
    """changelog.gz, without a time or name of this machine."""
    lines = "".join(f"  * {name}\n    behaviour {digest}\n" for name, digest in bundles)
    date = email.utils.formatdate(time_s)
    text = f"{PACKAGE} ({version}) unstable; urgency=medium\n\n{lines}\n -- {maintainer}  {date}\n"
    return gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)


def copyright_text(site: Path, bundles: Sequence[tuple[str, str]]) -> str:
    """Who holds what: edge, each wheel as its own metadata says it, each bundle's model by its licence.

    bundles: (name, licence of the base model).
    """
    parts = [
        "Copyright: the authors of edge. edge is under the Apache License 2.0; on Debian its text is in\n"
        "/usr/share/common-licenses/Apache-2.0.\n"
    ]
    for name, licence in bundles:
        parts.append(f"Bundle {name}: base model under {licence}; see model_card.md and sbom.cdx.json in it.\n")
    rows = sorted(_licence(folder) for folder in site.glob("*.dist-info"))
    parts.append("Python packages (their own files are in /usr/lib/edge-kit/site/NAME.dist-info):\n" + "".join(rows))
    return "\n".join(parts)


def _licence(folder: Path) -> str:
    """One line about a wheel: name, version, licence as its METADATA states it, else the names of its files."""
    found: dict[str, str] = {}
    metadata = folder / "METADATA"
    text = metadata.read_text(encoding="utf-8", errors="replace") if metadata.is_file() else ""
    for line in text.partition("\n\n")[0].splitlines():
        key, colon, value = line.partition(": ")
        if colon and key in ("Name", "Version", "License-Expression", "License"):
            found.setdefault(key, value.strip()[:80])
        elif colon and key == "Classifier" and value.startswith("License :: "):
            found.setdefault(key, value.rpartition(" :: ")[2].strip())
    files = sorted(path.name for path in folder.rglob("*") if path.is_file() and LICENCE_FILES.match(path.name))
    said = found.get("License-Expression") or found.get("Classifier") or found.get("License") or ", ".join(files)
    return f"  {found.get('Name', folder.name)} {found.get('Version', '')}: {said or 'not stated'}\n"
