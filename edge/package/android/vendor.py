"""Pure-Python libraries copied out of this installation, with their licences."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge.errors import MissingToolError
from edge.package.android.platform_table import NOT_VENDORED, NOT_VENDORED_FOLDERS, NOT_VENDORED_NAMES, VENDORED


def vendor(folder: Path) -> dict[str, str]:
    """Copy every library of VENDORED below `folder`; returns distribution -> version.

    Errors: MissingToolError for one that is not installed here; OSError.
    """
    found: dict[str, str] = {}
    for name, package in VENDORED.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingToolError(
                f"{name} is not installed, which the Android app needs", mend="pip install 'edge-kit[app]'"
            ) from error
        found[name] = distribution.version
        for relative, source in _files(distribution, package):
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for relative, source in _licences(distribution):
            target = folder / "licences" / name / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return found


def _files(distribution: importlib.metadata.Distribution, package: str) -> Iterator[tuple[str, Path]]:
    for entry in sorted(distribution.files or (), key=str):
        parts = entry.parts
        if parts[0] != package or entry.suffix in NOT_VENDORED or set(parts) & set(NOT_VENDORED_FOLDERS):
            continue
        if any(entry.name.lower().startswith(name) for name in NOT_VENDORED_NAMES):
            continue
        yield str(entry), Path(str(distribution.locate_file(entry)))


def _licences(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for entry in sorted(distribution.files or (), key=str):
        if ".dist-info" not in entry.parts[0]:
            continue
        if any(word in entry.name.upper() for word in ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")):
            yield entry.name, Path(str(distribution.locate_file(entry)))
