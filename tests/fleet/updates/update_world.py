"""A repository, its keys and devices in one folder, small enough to be copied for each test."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.bundle.keys import KeyStore
from edge.bundle.signing import SigningKey, Trust
from edge.fleet.updates.client import UpdateClient, ship_root
from edge.fleet.updates.fetching import FetchOptions
from edge.fleet.updates.layout import Settings
from edge.fleet.updates.places import FolderPlace, UpdatePlace
from edge.fleet.updates.publishing import Published, publish
from edge.fleet.updates.repository import Repository, create

sys.path.insert(0, str(Path(__file__).parents[2] / "bundle"))

import bundle_dummies

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
CHUNK_BYTES = 4096


def random_bytes(size_bytes: int, seed: int) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size_bytes)


def bundle_files(
    adapter_seed: int = 1, base_seed: int = 0, base_bytes: int = 40 * CHUNK_BYTES + 77
) -> dict[str, bytes]:
    """Files in the shape of a bundle with an adapter of its own: large base weights, a small adapter, small files."""
    return {
        **bundle_dummies.FILES,
        "model/decoder.onnx.data": random_bytes(base_bytes, base_seed),
        "model/adapter.weights": random_bytes(3 * CHUNK_BYTES + 5, adapter_seed + 1000),
    }


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def add(self, **more: float) -> None:
        """Let time pass."""
        self.now += timedelta(**more)


def no_passphrase(path: Path) -> bytes:
    """For keys that are not encrypted."""
    raise AssertionError(f"a passphrase was asked for {path}")


@dataclass
class World:
    """`repo`, `repo-keys`, bundles and devices below one folder."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    @property
    def repo(self) -> Repository:
        return Repository(self.folder / "repo", clock=self.clock)

    @property
    def keys(self) -> Path:
        return self.folder / "repo-keys"

    @property
    def published(self) -> Path:
        return self.folder / "repo" / "published"

    @property
    def store(self) -> KeyStore:
        return KeyStore(self.folder / "home")

    @property
    def builder(self) -> SigningKey:
        return self.store.load_signing_key()

    @property
    def trust(self) -> Trust:
        return self.store.trust_store()

    @staticmethod
    def new(folder: Path, settings: Settings | None = None) -> World:
        """An empty repository, published."""
        world = World(folder)
        world.store.create("builder")
        create(folder / "repo", folder / "repo-keys", settings=settings, clock=world.clock)
        world.publish()
        return world

    def copy(self, folder: Path) -> World:
        """The same world elsewhere, for a test to change."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return World(folder, Clock(self.clock.now))

    def bundle(self, name: str, files: Mapping[str, bytes] | None = None, **changes: Any) -> Path:
        """A signed bundle."""
        place = self.folder / "bundles" / name
        bundle_dummies.build(place, self.builder, files or bundle_files(), **changes)
        return place

    def add(self, name: str, files: Mapping[str, bytes] | None = None) -> Path:
        """Build a bundle, add it as a release of that name and sign the targets."""
        place = self.bundle(name, files)
        self.repo.add(place, name, self.trust, chunk_bytes=CHUNK_BYTES)
        self.sign("targets")
        return place

    def sign(self, role: str, *names: str) -> None:
        """Sign with the named keys, or with all there are."""
        places = [self.keys / f"{name}.pem" for name in names] or [self.keys]
        self.repo.sign(role, places, no_passphrase)

    def publish(self, **options: bool) -> Published:
        """Publish with the keys at hand."""
        return publish(self.repo, [self.keys], no_passphrase, **options)

    def device(self, name: str = "device", *places: UpdatePlace, options: FetchOptions | None = None) -> UpdateClient:
        """A device's client; its root is version 1 as it was shipped."""
        home = self.folder / name
        ship_root(home, (self.published / "metadata" / "1.root.json").read_bytes())
        return UpdateClient(
            home, places or (FolderPlace(self.published),), self.clock, options=options or FetchOptions(retry_s=0)
        )

    def slot(self, name: str) -> Path:
        """An empty folder to fill."""
        place = self.folder / "slots" / name
        place.mkdir(parents=True, exist_ok=True)
        return place


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def expected(bundle: Path) -> dict[str, bytes]:
    """What a fill writes for a bundle: its files without manifest and signature."""
    return {name: data for name, data in contents(bundle).items() if name not in ("manifest.json", "signature")}
