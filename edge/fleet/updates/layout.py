"""Where things lie in a repository folder, its settings, and its lock.

    REPO/repo.json                     settings: days until each role's metadata expires
    REPO/staging/<role>.json           the next version of a role, signed by none, some or all of its keys
    REPO/staging/{releases,blobs}/     what `add` cut, not yet published
    REPO/published/                    what a web server or a stick serves, and nothing else:
        metadata -> metadata.<version> a folder of N.root.json, N.snapshot.json, N.targets.json, timestamp.json
        targets/releases/<sha256>.<release>.json    chunk manifests
        blobs/ab/<sha256>              the parts of files

The link `metadata` is the one thing that a publication switches, so the old or the new state stands there, never a
mixture. Everything else in published/ is named by its digest and is there before the switch.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.bundle.canonical import SLUG, canonical_json
from edge.bundle.place import absolute
from edge.bundle.tree import read_small
from edge.errors import BundleError, ResourceError, SpecError
from edge.files import resource_error, write_atomic

ROLES = ("root", "targets", "snapshot", "timestamp")
SETTINGS_NAME = "repo.json"
SETTINGS_VERSION = 1
# How long each role's metadata is good for. The timestamp's is the longest time that a device may go without news: a
# stick or a mirror older than that is refused. Half a year covers a clinic that one car a season reaches.
EXPIRY_DAYS = {"root": 1825, "targets": 730, "snapshot": 365, "timestamp": 180}
MAX_METADATA_BYTES = 16 << 20
MAX_EXPIRY_DAYS = 3650


@dataclass(frozen=True)
class Settings:
    """expiry_days: role to days until its next metadata expires."""

    expiry_days: dict[str, int] = field(default_factory=lambda: dict(EXPIRY_DAYS))

    def __post_init__(self) -> None:
        days = self.expiry_days
        good = set(days) == set(ROLES) and all(
            isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_EXPIRY_DAYS
            for value in days.values()
        )
        if not good:
            raise SpecError(
                f"expiry_days needs {', '.join(ROLES)}, each 1 to {MAX_EXPIRY_DAYS} days", where=SETTINGS_NAME
            )

    def to_bytes(self) -> bytes:
        """The content of repo.json."""
        return canonical_json({"version": SETTINGS_VERSION, "expiry_days": self.expiry_days}, SETTINGS_NAME)

    @staticmethod
    def read(path: Path) -> Settings:
        """The settings of a repository; a person may have edited them. Errors: SpecError."""
        try:
            value: Any = json.loads(read_small(path, MAX_METADATA_BYTES))
        except (ValueError, RecursionError) as error:
            raise SpecError("is not JSON", where=str(path), mend="restore it from a backup") from error
        if not isinstance(value, dict) or set(value) != {"version", "expiry_days"}:
            raise SpecError("needs exactly 'version' and 'expiry_days'", where=str(path))
        if value["version"] != SETTINGS_VERSION:
            raise SpecError(f"version {value['version']!r} is not known (known: {SETTINGS_VERSION})", where=str(path))
        if not isinstance(value["expiry_days"], dict):
            raise SpecError("'expiry_days' is no object", where=str(path))
        return Settings(value["expiry_days"])


@dataclass(frozen=True)
class Layout:
    """The paths of one repository."""

    folder: Path

    @staticmethod
    def at(folder: Path | str) -> Layout:
        """The repository in `folder`. Errors: SpecError when there is none."""
        layout = Layout(absolute(folder))
        if not layout.settings_path.is_file():
            raise SpecError("is no update repository", where=str(folder), mend="make one with `edge repo init`")
        return layout

    @property
    def settings_path(self) -> Path:
        return self.folder / SETTINGS_NAME

    @property
    def staging(self) -> Path:
        return self.folder / "staging"

    @property
    def published(self) -> Path:
        return self.folder / "published"

    @property
    def metadata(self) -> Path:
        """The link to the folder of the published metadata."""
        return self.published / "metadata"

    def staged(self, role: str) -> Path:
        """Where the next version of a role's metadata waits for its signatures."""
        return self.staging / f"{role}.json"

    def staged_release(self, name: str) -> Path:
        return self.staging / "releases" / name

    def read(self, path: Path) -> bytes | None:
        """A metadata file, or None where there is none. Errors: ResourceError, BundleError."""
        if not os.path.lexists(path):
            return None
        return read_small(path, MAX_METADATA_BYTES)

    def published_versions(self, role: str) -> list[int]:
        """Published versions of a role's metadata, ascending (none for the timestamp, whose file bears no number)."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self.metadata.iterdir():
                number, _, rest = path.name.partition(".")
                if rest == f"{role}.json" and number.isdecimal():
                    found.append(int(number))
        return sorted(found)

    def published_bytes(self, role: str) -> bytes | None:
        """The newest published metadata of a role."""
        if role == "timestamp":
            return self.read(self.metadata / "timestamp.json")
        versions = self.published_versions(role)
        return self.read(self.metadata / f"{versions[-1]}.{role}.json") if versions else None

    def write_staged(self, role: str, data: bytes) -> None:
        """Put the next version of a role into the staging area. Errors: ResourceError."""
        try:
            self.staging.mkdir(exist_ok=True)
        except OSError as error:
            raise resource_error(error, str(self.staging)) from error
        write_atomic(self.staged(role), data)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time. Errors: ResourceError when another run is at work, or the folder cannot be written."""
        lock = self.folder / ".lock"
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise resource_error(error, str(self.folder)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise ResourceError(
                    "another run is at work in this repository", where=str(self.folder), mend="wait for it to end"
                ) from error
            raise resource_error(error, str(self.folder)) from error
        try:
            yield
        finally:
            os.close(descriptor)


def good_release(name: str) -> str:
    """A release name as given, if it is one. Errors: SpecError."""
    if not SLUG.fullmatch(name) or name.endswith(".json"):
        raise SpecError(f"release name {name[:60]!r} is not lower case letters, digits, '.', '_', '-'")
    return name


def release_path(release: str) -> str:
    """The name of a release's chunk manifest among the TUF targets."""
    return f"releases/{release}.json"


def changed(path: Path, error: Exception | None = None) -> BundleError:
    """The error for metadata in the repository that is not metadata."""
    return BundleError(
        "is not TUF metadata" if error is None else "was changed, it cannot be read as TUF metadata",
        where=str(path),
        mend="restore it from a backup or from the published copy",
    )
