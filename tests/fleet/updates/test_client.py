"""The attacks of the TUF specification, against the real client and a folder. When these fail, a device installs what
it should not, or stops updating for no reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Timestamp

from edge.errors import ClockError, EdgeError, InputError, OfflineError, ResourceError, UntrustedError
from edge.fleet.updates.client import UpdateClient, ship_root
from edge.fleet.updates.errors import (
    ChangedDataError,
    ChangedMetadataError,
    ExpiredError,
    MixedError,
    RefusedError,
    RollbackError,
    SignatureError,
)
from edge.fleet.updates.layout import EXPIRY_DAYS, Settings
from edge.fleet.updates.metadata import SIGNED_AT_FIELD, role_keys
from edge.fleet.updates.places import FolderPlace
from edge.fleet.updates.repo_keys import load_keys
from tests.fleet.updates.update_world import World, bundle_files, expected


def refused(call: Callable[[], object], kind: type[EdgeError]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def snapshot_of(world: World, name: str) -> Path:
    """A copy of what is published, to be served later."""
    place = world.folder / name
    shutil.copytree(world.published, place, symlinks=True)
    return place


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON of a metadata file and keep its signatures."""
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(json.dumps(value).encode())


def test_lists_and_fills(world: World) -> None:
    """The straight way: what was added comes out, byte for byte, also for a second process without a place."""
    client = world.device()
    client.refresh()
    assert [item.release for item in client.releases()] == ["v1", "v2"]
    slot = world.slot("a")
    client.source("v1").fill(slot, None)
    assert {path.relative_to(slot).as_posix() for path in slot.rglob("*") if path.is_file()} == set(
        expected(world.folder / "bundles" / "v1")
    )
    later = UpdateClient(client.home, (), world.clock)
    assert later.releases() == client.releases()
    assert later.source("v1").head() == client.source("v1").head()


def test_head_is_the_bundles_own(world: World) -> None:
    """If not: the installer checks a signature over something else than what it installs."""
    client = world.device()
    client.refresh()
    manifest, signature = client.source("v2").head()
    bundle = world.folder / "bundles" / "v2"
    assert (manifest, signature) == ((bundle / "manifest.json").read_bytes(), (bundle / "signature").read_bytes())


def test_rollback(empty: World) -> None:
    """An older publication, signed by the right keys, is refused once a newer one was seen."""
    old = snapshot_of(empty, "old")
    empty.add("v1")
    empty.publish()
    client = empty.device()
    client.refresh()
    back = UpdateClient(client.home, [FolderPlace(old)], empty.clock)
    assert "older metadata" in refused(back.refresh, RollbackError)
    assert [item.release for item in back.releases()] == ["v1"]  # what was seen stays


def test_rolled_back_snapshot_below_a_new_timestamp(world: World) -> None:
    """Fresh timestamp keys alone (they are online, they may be stolen) cannot bring an old list of releases back."""
    client = world.device()
    client.refresh()
    old = snapshot_of(world, "old")
    folder = old / "metadata.3"
    from tuf.api.metadata import Metadata, MetaFile

    from edge.fleet.updates.repo_keys import load_keys

    timestamp: Any = Metadata.from_file(str(folder / "timestamp.json"))
    timestamp.signed.version += 5
    timestamp.signed.snapshot_meta = MetaFile.from_data(1, (folder / "1.snapshot.json").read_bytes(), ["sha256"])
    root: Any = Metadata.from_file(str(folder / "1.root.json"))
    (key,) = load_keys([world.keys / "timestamp-1.pem"], root.signed.keys.values(), lambda _: b"")
    timestamp.sign(key.signer)
    timestamp.to_file(str(folder / "timestamp.json"))
    attacked = UpdateClient(client.home, [FolderPlace(old)], world.clock)
    refused(attacked.refresh, RollbackError)


def test_freeze(world: World) -> None:
    """A place that stands still is refused once its timestamp expires, and what is kept here expires as well."""
    client = world.device()
    client.refresh()
    client.source("v1").fill(world.slot("a"), None)
    world.clock.add(days=179)
    client.refresh()
    world.clock.add(days=2)
    line = refused(client.refresh, ExpiredError)
    assert "timestamp" in line
    assert "installed model runs on" in line
    refused(client.releases, ExpiredError)
    refused(lambda: client.source("v1"), ExpiredError)


@pytest.mark.parametrize("role", ["root", "targets", "snapshot"])
def test_each_role_expires(tmp_path: Path, role: str) -> None:
    """Not the timestamp alone: an old root or list of releases is refused as well, by name."""
    world = World.new(tmp_path / "world", Settings(EXPIRY_DAYS | {role: 10}))
    client = world.device()
    client.refresh()
    world.clock.add(days=11)
    assert f"the {role} metadata" in refused(client.refresh, ExpiredError)
    if role != "snapshot":
        refused(lambda: world.publish(renew=True), ExpiredError)  # what devices would refuse is not published
        world.sign(role)
    world.publish()
    client.refresh()
    assert client.releases() == ()


def test_expiry_blocks_updates_and_never_the_installed_model(world: World) -> None:
    """If not: devices that nobody visits for half a year go dark."""
    from edge.bundle.open import open_folder

    client = world.device()
    client.refresh()
    source, slot = client.source("v1"), world.slot("a")
    source.fill(slot, None)
    for name, data in zip(("manifest.json", "signature"), source.head(), strict=True):
        (slot / name).write_bytes(data)
    world.clock.add(days=4000)
    refused(client.refresh, ExpiredError)
    opened = open_folder(slot, world.trust)  # all that the runtime asks for
    assert opened.bundle_digest == source.release.bundle_digest


def test_runtime_reads_nothing_of_updates() -> None:
    """The rooms that run the installed model import nothing from here."""
    root = Path(__file__).parents[3] / "edge"
    for room in ("runtime", "clinical", "app", "bench"):
        for path in (root / room).rglob("*.py"):
            assert "fleet.updates" not in path.read_text(encoding="utf-8"), path


def test_renewal_ends_the_freeze(world: World) -> None:
    """`publish --renew` on the engineer's machine is all it takes."""
    client = world.device()
    client.refresh()
    world.clock.add(days=181)
    refused(client.refresh, ExpiredError)
    world.publish(renew=True)
    client.refresh()
    assert len(client.releases()) == 2


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_wrong_key(world: World, tmp_path: Path, role: str) -> None:
    """Metadata by the keys of another repository counts for nothing."""
    other = World.new(tmp_path / "other")
    other.add("v1")
    other.add("v2")
    other.publish()
    place = snapshot_of(world, "attacked") / "metadata"
    foreign = other.published / "metadata"
    newest = "timestamp.json" if role == "timestamp" else f"3.{role}.json"
    theirs = "timestamp.json" if role == "timestamp" else f"2.{role}.json"
    shutil.copy(foreign / theirs, place / newest)
    refused(world.device("d", FolderPlace(place.parent)).refresh, RefusedError)


def test_whole_other_repository(world: World, tmp_path: Path) -> None:
    """A stick of another fleet is refused at its root or its timestamp, and the device's state is untouched."""
    other = World.new(tmp_path / "other")
    client = world.device("d", FolderPlace(other.published))
    refused(client.refresh, SignatureError)
    with pytest.raises(EdgeError):
        client.releases()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_tampered_metadata(world: World, role: str) -> None:
    """One changed field, signatures kept."""
    place = snapshot_of(world, "attacked")
    path = place / "metadata" / ("timestamp.json" if role == "timestamp" else f"3.{role}.json")
    edit(path, lambda value: value["signed"].update(expires="2036-01-01T00:00:00Z"))
    refused(world.device("d", FolderPlace(place)).refresh, RefusedError)


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[]", b"null", b'{"signed":{},"signatures":[]}', b"\xff" * 200, b"[" * 9000, b"0" * 15000]
)
def test_junk_instead_of_metadata(world: World, junk: bytes) -> None:
    """Bytes of a broken stick are one line, no traceback."""
    place = snapshot_of(world, "attacked")
    (place / "metadata" / "timestamp.json").write_bytes(junk)
    refused(world.device("d", FolderPlace(place)).refresh, RefusedError)


def test_endless_metadata(world: World) -> None:
    """A timestamp without end is cut off after what one may have."""
    place = snapshot_of(world, "attacked")
    (place / "metadata" / "timestamp.json").write_bytes(b" " * 20_000_000)
    refused(world.device("d", FolderPlace(place)).refresh, ChangedMetadataError)


def test_mix_and_match(world: World) -> None:
    """Targets of one publication below the snapshot of another are refused."""
    place = snapshot_of(world, "attacked")
    shutil.copy(place / "metadata" / "2.targets.json", place / "metadata" / "3.targets.json")
    refused(world.device("d", FolderPlace(place)).refresh, RefusedError)
    place = snapshot_of(world, "attacked2")
    shutil.copy(place / "metadata" / "2.snapshot.json", place / "metadata" / "3.snapshot.json")
    refused(world.device("e", FolderPlace(place)).refresh, RefusedError)


def test_one_of_two_root_signatures(world: World) -> None:
    """A new root that one of two keys signed is no root; the publisher refuses it, and so does a device."""
    world.repo.rotate("root", world.keys, replace="root-3")
    world.sign("root", "root-1")
    line = refused(world.publish, UntrustedError)
    assert "1 of 2" in line
    staged = (world.folder / "repo" / "staging" / "root.json").read_bytes()
    place = snapshot_of(world, "attacked")
    (place / "metadata" / "2.root.json").write_bytes(staged)
    assert "root" in refused(world.device("d", FolderPlace(place)).refresh, SignatureError)


def test_root_by_new_keys_alone(world: World) -> None:
    """Keys that a thief made cannot appoint themselves: the old threshold must sign as well."""
    for old in ("root-1", "root-2", "root-3"):
        world.repo.rotate("root", world.keys, replace=old)
    world.sign("root", "root-4", "root-5", "root-6")
    refused(world.publish, UntrustedError)
    place = snapshot_of(world, "attacked")
    shutil.copy(world.folder / "repo" / "staging" / "root.json", place / "metadata" / "2.root.json")
    refused(world.device("d", FolderPlace(place)).refresh, SignatureError)


def test_rotations_missed_while_offline(world: World) -> None:
    """A device that slept through rotations of every role finds its way along the chain of roots."""
    client, never = world.device(), world.device("new")
    client.refresh()
    for role, old in (
        ("root", "root-1"),
        ("timestamp", None),
        ("snapshot", None),
        ("root", "root-2"),
        ("targets", None),
    ):
        world.clock.add(days=100)
        world.repo.rotate(role, world.keys, replace=old)
        world.sign("root")
        if role == "targets":
            world.sign("targets")
        world.publish()
    world.add("v3", bundle_files(adapter_seed=3))
    world.publish()
    for each in (client, never):
        each.refresh()
        assert [item.release for item in each.releases()] == ["v1", "v2", "v3"]
    # The keys that went sign nothing any more.
    (world.keys / "timestamp-2.pem").unlink()
    refused(world.publish, UntrustedError)


def test_withdrawn(world: World) -> None:
    """A withdrawn release is not offered; a name that never was is a plain answer."""
    client = world.device()
    client.refresh()
    world.repo.withdraw("v2")
    world.sign("targets")
    world.publish()
    client.refresh()
    assert [item.release for item in client.releases()] == ["v1"]
    refused(lambda: client.source("v2"), InputError)
    refused(lambda: client.source("../../etc/passwd"), InputError)


def test_tampered_chunk_manifest(world: World) -> None:
    """TUF signs the digest of the chunk manifest: a changed one is not read."""
    place = snapshot_of(world, "attacked")
    for path in (place / "targets" / "releases").iterdir():
        path.write_bytes(path.read_bytes().replace(b'"chunk_bytes":4096', b'"chunk_bytes":4097'))
    client = world.device("d", FolderPlace(place))
    client.refresh()
    refused(lambda: client.source("v1"), ChangedDataError)


def test_second_place_helps(world: World) -> None:
    """A dead server does not keep the stick from being used, and what failed is told."""
    client = world.device("d", FolderPlace(world.folder / "nothing"), FolderPlace(world.published))
    client.refresh()
    assert len(client.problems) == 1
    client.source("v1").fill(world.slot("a"), None)


def test_no_place_no_root(world: World) -> None:
    """Each is one line that says what to do."""
    client = world.device()
    refused(UpdateClient(client.home, [], world.clock).refresh, InputError)
    refused(world.device("e", FolderPlace(world.folder / "nothing")).refresh, OfflineError)
    bare = UpdateClient(world.folder / "bare", [FolderPlace(world.published)], world.clock)
    assert "edge repo trust" in refused(bare.refresh, UntrustedError)
    refused(client.releases, OfflineError)  # nothing was refreshed yet


def test_home_that_cannot_be_written(world: World) -> None:
    """A full or broken disk on the device is one line, not python-tuf's traceback."""
    client = world.device()
    (client.home / "metadata").write_bytes(b"")
    refused(client.refresh, ResourceError)
    (client.home / "metadata").unlink()
    client.refresh()
    (client.home / "releases").write_bytes(b"")
    refused(lambda: client.source("v1"), ResourceError)


def test_ship_root(world: World, tmp_path: Path) -> None:
    """The anchor is set once: neither junk nor another root takes its place."""
    root = (world.published / "metadata" / "1.root.json").read_bytes()
    assert ship_root(tmp_path, root) == 1
    assert ship_root(tmp_path, root) == 1
    other = World.new(tmp_path / "other")
    refused(lambda: ship_root(tmp_path, (other.published / "metadata" / "1.root.json").read_bytes()), UntrustedError)
    for junk in (b"", b"{}", root[:-40], (world.published / "metadata" / "timestamp.json").read_bytes()):
        refused(lambda junk=junk: ship_root(tmp_path / "x", junk), UntrustedError)


@pytest.mark.parametrize("year", [1970, 2000, 2025, 2106])
def test_impossible_clock(world: World, year: int) -> None:
    """A device whose battery is empty hears that its clock is wrong, not that updates have expired."""
    client = world.device()
    world.clock.now = datetime(year, 1, 1, tzinfo=UTC)
    assert str(year) in refused(client.refresh, ClockError)


def test_clock_behind_the_signature(world: World) -> None:
    """A clock between release and signing is plausible, but not beside metadata that was signed later."""
    client = world.device()
    world.clock.now = datetime(2026, 11, 3, tzinfo=UTC)
    assert "2026-12-01" in refused(client.refresh, ClockError)


@pytest.mark.parametrize("text", ["2026-12-01T00:00:00", "0001-01-01T00:00:00+00:00", "soon", "9999-12-31T23:59:59Z"])
def test_an_odd_time_of_signing(world: World, text: str) -> None:
    """Another tool's, or a thief's of the timestamp key: it says nothing, and ends no agent with an error of Python."""
    path = world.published / "metadata" / "timestamp.json"
    timestamp = Metadata[Timestamp].from_bytes(path.read_bytes())
    timestamp.signed.version += 1
    timestamp.signed.unrecognized_fields[SIGNED_AT_FIELD] = text
    timestamp.signatures.clear()
    for key in load_keys([world.keys], role_keys("timestamp", world.repo.published_root()), lambda _: b""):
        timestamp.sign(key.signer)
    path.write_bytes(timestamp.to_bytes())
    client = world.device()
    client.refresh()
    assert len(client.releases()) == 2


def test_a_stolen_timestamp_key_blocks_updates_until_it_is_rotated(world: World) -> None:
    """If not: the remedy of docs/updates.md is none, and devices wait decades for the thief's time or version."""
    path = world.published / "metadata" / "timestamp.json"
    honest = path.read_bytes()
    timestamp = Metadata[Timestamp].from_bytes(honest)
    timestamp.signed.version = 1_000_000
    timestamp.signed.unrecognized_fields[SIGNED_AT_FIELD] = "2050-01-01T00:00:00Z"
    timestamp.signatures.clear()
    for key in load_keys([world.keys], role_keys("timestamp", world.repo.published_root()), lambda _: b""):
        timestamp.sign(key.signer)
    path.write_bytes(timestamp.to_bytes())
    client = world.device()
    assert "2050" in refused(client.refresh, ClockError)
    path.write_bytes(honest)
    world.repo.rotate("timestamp", world.keys)
    world.sign("root", "root-1", "root-2")
    world.publish()
    client.refresh()
    assert len(client.releases()) == 2


def test_clock_ahead_of_the_server(world: World) -> None:
    """Expired by the device's clock and not by the server's: one of the clocks is wrong, and both are named."""

    class Telling(FolderPlace):
        def server_time(self) -> datetime | None:
            return datetime(2026, 12, 2, tzinfo=UTC)

    client = world.device("d", Telling(world.published))
    world.clock.add(days=3000)
    line = refused(client.refresh, ClockError)
    assert "2026-12-02" in line
    assert str(world.clock.now.year) in line


def test_torn_metadata_at_home(world: World) -> None:
    """A power cut can leave an empty file in the device's cache: it is fetched again."""
    client = world.device()
    client.refresh()
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        (client.home / "metadata" / name).write_bytes(b"")
        client.refresh()
        assert len(client.releases()) == 2
    (client.home / "metadata" / "root_history" / "1.root.json").write_bytes(b"")
    client.refresh()
    for path in (client.home / "releases").glob("*"):
        path.write_bytes(b"junk")
    client.source("v1")


def test_half_copied_stick(world: World) -> None:
    """A stick that lacks a metadata file is called incomplete, one with files in each other's places mixed."""
    for old in ("root-1", "root-2"):
        world.repo.rotate("root", world.keys, replace=old)
        world.sign("root")
        world.publish()
    place = snapshot_of(world, "attacked")
    (place / "metadata" / "5.snapshot.json").unlink()
    refused(world.device("d", FolderPlace(place)).refresh, OfflineError)
    place = snapshot_of(world, "attacked2")
    shutil.copy(place / "metadata" / "3.root.json", place / "metadata" / "2.root.json")
    refused(world.device("e", FolderPlace(place)).refresh, RefusedError)
    shutil.copy(world.published / "metadata" / "1.root.json", place / "metadata" / "2.root.json")
    refused(world.device("f", FolderPlace(place)).refresh, MixedError)
