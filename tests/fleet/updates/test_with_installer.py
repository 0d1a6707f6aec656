"""The real installer over chunks. When these fail, the two halves of an update do not fit together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.bundle.install.installer import Installer, SelfTestOutcome
from edge.bundle.open import open_bundle
from edge.fleet.updates.fetching import FetchOptions, Progress
from edge.fleet.updates.places import FolderPlace
from tests.fleet.updates.update_world import World, bundle_files

ADAPTER_BYTES = len(bundle_files()["model/adapter.weights"])


def installer(world: World) -> Installer:
    """A device whose self-test passes."""
    return Installer(
        world.folder / "slots",
        "notes",
        trust=world.trust,
        lock_folder=world.folder / "locks",
        self_test=lambda _: SelfTestOutcome(True),
        margin_bytes=0,
    )


def test_install_and_update(world: World) -> None:
    """v1 moves whole, v2 the adapter alone, v1 again nothing; each opens with all checks."""
    client = world.device()
    client.refresh()
    current = world.folder / "slots" / "notes" / "current"
    for release, moved in (("v1", None), ("v2", ADAPTER_BYTES), ("v1", 0)):
        source = client.source(release)
        outcome = installer(world).install(source, release=release)
        assert outcome.outcome == "committed", outcome
        assert moved in (None, outcome.moved_bytes)
        assert outcome.moved_bytes + outcome.kept_bytes == pytest.approx(source.release.size_bytes, abs=10)
        assert open_bundle(current, world.trust).bundle_digest == source.release.bundle_digest


def test_resumed_after_a_kill(world: World) -> None:
    """Killed in the middle of the fetch: the next install keeps what is there."""
    client = world.device()
    client.refresh()
    client.source("v1")
    child = os.fork()
    if child == 0:

        def die(progress: Progress) -> None:
            if progress.fetched_bytes * 2 > progress.total_bytes:
                os.kill(os.getpid(), 9)

        mine = world.device(options=FetchOptions(progress=die))
        installer(world).install(mine.source("v1"), release="v1")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    outcome = installer(world).install(client.source("v1"), release="v1")
    assert outcome.outcome == "committed"
    assert outcome.moved_bytes < outcome.kept_bytes


def test_reasons(world: World, tmp_path: Path) -> None:
    """What an install report says of a tampered chunk, a lost place and a full disk."""
    client = world.device()
    client.refresh()
    installer(world).install(client.source("v1"), release="v1")
    blobs = sorted(path for path in (world.published / "blobs").rglob("*") if path.is_file())
    kept = {path: path.read_bytes() for path in blobs}
    for path, data in kept.items():
        path.write_bytes(bytes(len(data)))
    assert installer(world).install(client.source("v2"), release="v2").reason == "changed"
    for path in blobs:
        path.unlink()
    assert installer(world).install(client.source("v2"), release="v2").reason == "interrupted"
    for path, data in kept.items():
        path.write_bytes(data)
    full = world.device("full", FolderPlace(world.published), options=FetchOptions(free_bytes=lambda _: 0))
    full.refresh()
    assert installer(world).install(full.source("v2"), release="v2").reason == "no_space"
    assert installer(world).install(client.source("v2"), release="v2").outcome == "committed"
