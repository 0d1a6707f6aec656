"""A release becomes known from a bundle or from the update repository, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle.signing import Trust
from edge.errors import BundleError, InputError, UntrustedError
from edge.fleet.rollout.desk import Release, release_from
from tests.fleet.updates.update_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A repository with one release."""
    found = World.new(tmp_path_factory.mktemp("releases") / "world")
    found.add("notes-1")
    found.publish()
    return found


def chunk_manifest(world: World) -> Path:
    """Where the repository keeps it."""
    (path,) = world.published.rglob("*.notes-1.json")
    return path


def test_both_ways_say_the_same(world: World) -> None:
    """Devices are set to a digest that no device can have."""
    by_bundle = release_from(world.folder / "bundles" / "notes-1", world.trust, "notes-1")
    assert by_bundle == release_from(chunk_manifest(world), world.trust, None)
    assert (by_bundle.release, by_bundle.profile, by_bundle.target) == ("notes-1", "notes", "linux")
    assert len(by_bundle.bundle_digest) == 64 and by_bundle.model_bytes
    assert isinstance(by_bundle, Release)


def test_an_untrusted_build_is_refused(world: World) -> None:
    """Somebody else's build goes out to every tablet, which then refuses it."""
    for path, name in ((world.folder / "bundles" / "notes-1", "notes-1"), (chunk_manifest(world), None)):
        with pytest.raises(UntrustedError):
            release_from(path, Trust(()), name)


def test_another_name_or_a_changed_file_is_refused(world: World, tmp_path: Path) -> None:
    """The fleet knows a build by a name that the repository gives to another."""
    with pytest.raises(InputError, match="is release 'notes-1'"):
        release_from(chunk_manifest(world), world.trust, "notes-2")
    changed = tmp_path / "changed.json"
    changed.write_bytes(chunk_manifest(world).read_bytes().replace(b'"profile":"notes"', b'"profile":"other"', 1))
    with pytest.raises(BundleError):
        release_from(changed, world.trust, None)
