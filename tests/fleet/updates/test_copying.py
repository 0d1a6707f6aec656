"""Sticks and mirrors. When these fail, the field team carries something that devices refuse, and learns it there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import BundleError, EdgeError, ResourceError, SpecError
from edge.fleet.updates.copying import check_place, copy_published
from edge.fleet.updates.errors import ChangedDataError
from edge.fleet.updates.places import FolderPlace
from tests.fleet.updates.update_world import World, bundle_files, contents, expected


def check(world: World, stick: Path, *, data: bool = True) -> tuple[list[str], list[str]]:
    """(releases, what was said)."""
    place, said = FolderPlace(stick), []
    client = world.device(f"check-{len(list(world.folder.iterdir()))}", place)
    found = check_place(client, place, said.append, data=data)
    return [item.release for item in found], said


def test_stick(world: World, tmp_path: Path) -> None:
    """Plain files in the published layout; a second copy writes only what is new, and mends what broke."""
    stick = tmp_path / "stick"
    first = copy_published(world.repo, stick)
    assert first.kept_bytes == 0
    assert not [path for path in stick.rglob("*") if path.is_symlink()]
    assert check(world, stick)[0] == ["v1", "v2"]
    world.add("v3", bundle_files(adapter_seed=3))
    world.publish()
    again = copy_published(world.repo, stick)
    assert again.written_bytes == len(bundle_files()["model/adapter.weights"])
    assert len(list((stick / "metadata").glob("*.snapshot.json"))) <= 9
    blobs = [path for path in (stick / "blobs").rglob("*") if path.is_file()]
    largest = max(blobs, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[100] ^= 1
    largest.write_bytes(data)
    with pytest.raises(ChangedDataError):
        check(world, stick)
    assert copy_published(world.repo, stick).written_bytes == len(data)
    releases, said = check(world, stick)
    assert releases == ["v1", "v2", "v3"]
    assert all("every byte is right" in line for line in said)
    device = world.device("d", FolderPlace(stick))
    device.refresh()
    slot = world.slot("a")
    device.source("v3").fill(slot, None)
    assert contents(slot) == expected(world.folder / "bundles" / "v3")


@pytest.mark.parametrize("link", ["metadata", "blobs", "targets", "targets/releases"])
def test_a_stick_with_links(world: World, tmp_path: Path, link: str) -> None:
    """Somebody's stick has the engineer's own folder overwritten and cleaned up."""
    mine, stick = tmp_path / "mine", tmp_path / "stick"
    mine.mkdir()
    (mine / "settings.json").write_text("{}")
    (stick / link).parent.mkdir(parents=True)
    (stick / link).symlink_to(mine)
    with pytest.raises(BundleError, match="a link"):
        copy_published(world.repo, stick)
    assert [path.name for path in mine.iterdir()] == ["settings.json"]


def test_a_strangers_files_stay(world: World, tmp_path: Path) -> None:
    """A folder of that name held something else before."""
    notes = tmp_path / "stick" / "metadata" / "notes.json"
    notes.parent.mkdir(parents=True)
    notes.write_text("{}")
    copy_published(world.repo, tmp_path / "stick")
    assert notes.is_file()


def test_single_release(world: World, tmp_path: Path) -> None:
    """A small stick carries one release; the check says which are not whole."""
    stick = tmp_path / "stick"
    assert copy_published(world.repo, stick, ["v2"]).releases == ("v2",)
    _, said = check(world, stick)
    assert [line for line in said if "not whole" in line and line.startswith("v1")]
    assert [line for line in said if "every byte" in line and line.startswith("v2")]
    assert check(world, stick, data=False)[1] == []
    with pytest.raises(SpecError):
        copy_published(world.repo, stick, ["v9"])


def test_refusals(world: World, tmp_path: Path) -> None:
    """Another repository's stick, a file, a full stick, a repository that published nothing: one line each."""
    other = World.new(tmp_path / "other")
    copy_published(other.repo, tmp_path / "stick")
    with pytest.raises(SpecError, match="another repository"):
        copy_published(world.repo, tmp_path / "stick")
    with pytest.raises(SpecError, match="inside"):
        copy_published(world.repo, world.published)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EdgeError):
        copy_published(world.repo, tmp_path / "file")
    with pytest.raises(ResourceError, match="are free"):
        copy_published(world.repo, tmp_path / "new", free=lambda _: 1024)
