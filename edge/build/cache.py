"""What the build fetched or computed once and keeps: every entry is keyed by what it is, never by a name.

The key of an entry is the sha256 of its spec (canonical JSON: source, pinned digest, member ...), so two
models never share one. An entry is a folder of plain files and an `entry.json` with the spec and the sha256
and size of each file. It appears whole by one rename or not at all, and `find` reads every file back: a
changed or damaged entry counts as absent and is replaced by the next `store`.

Layout: `<root>/<kind>/<key>/`, beside it `.<hex>.part` folders of runs now at work. A `.part` whose lock is
free belongs to a run that was killed; the next `store` removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from edge.errors import ResourceError
from edge.files import fsync_directory, resource_error, sha256_file, write_atomic

ENTRY_FILE = "entry.json"
ENTRY_VERSION = 1

Spec = Mapping[str, Any]


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache folder of this user: `EDGE_CACHE`, else the platform's own place."""
    chosen = environment.get("EDGE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("edge"))


def canonical_json(value: Any) -> bytes:
    """The one byte string of a plain JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


@dataclass(frozen=True)
class Entry:
    """A complete entry whose files were just read back. sha256: file name -> hex digest."""

    folder: Path
    spec: Spec
    sha256: Mapping[str, str]

    def path(self, name: str) -> Path:
        """Place of one file of the entry."""
        return self.folder / name


class Cache:
    """Entries below one root. Safe for several runs at once; reading needs no write permission."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, kind: str, spec: Spec) -> str:
        """Hex sha256 of kind and spec."""
        return hashlib.sha256(canonical_json({"kind": kind, "spec": dict(spec)})).hexdigest()

    def find(self, kind: str, spec: Spec) -> Entry | None:
        """The intact entry of `spec`, or None. Every file is hashed: what is returned is what was stored."""
        folder = self.root / kind / self.key(kind, spec)
        try:
            record = json.loads((folder / ENTRY_FILE).read_bytes())
            if record["version"] != ENTRY_VERSION or record["spec"] != json.loads(canonical_json(dict(spec))):
                return None
            digests = {str(name): str(digest) for name, digest in record["files"].items()}
            for name, digest in digests.items():
                if Path(name).name != name or sha256_file(folder / name) != digest:
                    return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Entry(folder, spec, digests)

    def store(self, kind: str, fill: Callable[[Path], Spec]) -> Entry:
        """Make an entry: `fill` writes plain files into an empty folder and returns the spec they answer to.

        The spec is asked for after the files are there, so that it can hold digests which were only then
        known. If `fill` raises, nothing remains. If another run stored the same spec meanwhile, its entry is
        returned and this one dropped. Errors: ResourceError (no space, not writable).
        """
        place = self.root / kind
        try:
            place.mkdir(parents=True, exist_ok=True)
            with self._stage(place) as stage:
                spec = dict(fill(stage))
                digests = _seal(stage, spec)
                return self._publish(kind, stage, spec, digests)
        except OSError as error:
            raise resource_error(error, str(self.root)) from error

    @contextlib.contextmanager
    def _stage(self, place: Path) -> Iterator[Path]:
        """A new, locked `.part` folder, gone at the end; those of killed runs are removed first."""
        stage = place / f".{secrets.token_hex(8)}.part"
        with _locked(place):  # between mkdir and its lock a folder looks like a killed run's
            for stale in place.glob(".*.part"):
                _remove_if_abandoned(stale)
            stage.mkdir()
            descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            os.close(descriptor)

    def _publish(self, kind: str, stage: Path, spec: Spec, digests: Mapping[str, str]) -> Entry:
        place = self.root / kind
        target = place / self.key(kind, spec)
        with _locked(place):
            if target.exists():
                present = self.find(kind, spec)
                if present is not None:
                    return present
                shutil.rmtree(target)
            stage.rename(target)
            fsync_directory(place)
        return Entry(target, spec, dict(digests))


def default_cache(environment: Mapping[str, str] = os.environ) -> Cache:
    """The cache of this user."""
    return Cache(cache_root(environment))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's own lock; held for moments only, never while something is fetched."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_if_abandoned(stage: Path) -> None:
    try:
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(stage, ignore_errors=True)
    except BlockingIOError:
        return  # its run is alive
    finally:
        os.close(descriptor)


def _seal(stage: Path, spec: Spec) -> dict[str, str]:
    """Make the files durable, read them back for their digests, write `entry.json`."""
    digests: dict[str, str] = {}
    for path in sorted(stage.iterdir()):
        if path.is_symlink() or not path.is_file() or path.name == ENTRY_FILE:
            raise ResourceError("is not a plain file of its own", where=str(path), mend="run the command again")
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        digests[path.name] = sha256_file(path)
    write_atomic(stage / ENTRY_FILE, canonical_json({"version": ENTRY_VERSION, "spec": dict(spec), "files": digests}))
    return digests
