"""The engineer's side: keys, staging, signatures, locks. When these fail, a key leaks, a signature is taken for more
than it is, or a run leaves a repository that the next one cannot use."""

from __future__ import annotations

import fcntl
import re
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BundleError, ClockError, EdgeError, ResourceError, SpecError, UntrustedError
from edge.fleet.updates.layout import Layout, Settings
from edge.fleet.updates.publishing import prune, publish
from edge.fleet.updates.repository import Repository, create, sign_file
from tests.fleet.updates.update_world import NOW, World, bundle_files, contents, no_passphrase


def refused(call: Callable[[], object], kind: type[EdgeError]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- keys ------------------------------------------------------------------------------------------------


def test_keys_lie_apart_and_are_private(empty_world: World) -> None:
    """0600, in a 0700 folder, and no byte of a private key below the repository."""
    names = sorted(path.name for path in empty_world.keys.iterdir())
    assert names == ["root-1.pem", "root-2.pem", "root-3.pem", "snapshot-1.pem", "targets-1.pem", "timestamp-1.pem"]
    for path in empty_world.keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(empty_world.keys.stat().st_mode) == 0o700
    for name, data in contents(empty_world.folder / "repo").items():
        assert b"PRIVATE" not in data, name


def test_default_roles(empty_world: World) -> None:
    """Root is 2 of 3, its lives are said in days and differ by role, snapshots are consistent."""
    root, _ = empty_world.repo.roots()
    assert (root.roles["root"].threshold, len(root.roles["root"].keyids)) == (2, 3)
    assert root.consistent_snapshot
    left = {role: (empty_world.repo.published(role).signed.expires - NOW).days for role in Settings().expiry_days}  # type: ignore[union-attr]
    assert left == Settings().expiry_days
    assert left["timestamp"] < left["snapshot"] < left["targets"] < left["root"]


def test_encrypted_keys(tmp_path: Path) -> None:
    """With a passphrase no key is readable without it; a wrong one is one line, and is not asked for in vain."""
    clock = lambda: NOW  # noqa: E731
    repository = create(tmp_path / "repo", tmp_path / "keys", passphrase=b"a long passphrase", clock=clock)
    for path in (tmp_path / "keys").iterdir():
        assert b"ENCRYPTED" in path.read_bytes()
    asked: list[str] = []

    def right(path: Path) -> bytes:
        asked.append(path.name)
        return b"a long passphrase"

    publish(repository, [tmp_path / "keys"], right)
    assert sorted(asked) == ["snapshot-1.pem", "timestamp-1.pem"]
    refused(lambda: publish(repository, [tmp_path / "keys"], lambda _: b"wrong"), UntrustedError)


def test_key_files_that_cannot_be(world: World, tmp_path: Path) -> None:
    """Readable by others, missing, junk, a public key, a key of another role: each is one line."""
    key = world.keys / "targets-1.pem"
    repo = world.repo
    repo.withdraw("v1")
    key.chmod(0o644)
    assert "chmod" in refused(lambda: repo.sign("targets", [world.keys], no_passphrase), UntrustedError)
    key.chmod(0o600)
    refused(lambda: repo.sign("targets", [tmp_path / "nothing.pem"], no_passphrase), UntrustedError)
    (tmp_path / "junk.pem").write_bytes(b"junk")
    (tmp_path / "junk.pem").chmod(0o600)
    refused(lambda: repo.sign("targets", [tmp_path / "junk.pem"], no_passphrase), SpecError)
    line = refused(lambda: repo.sign("targets", [world.keys / "root-1.pem"], no_passphrase), UntrustedError)
    assert "targets-1" in line
    refused(lambda: repo.sign("timestamp", [world.keys], no_passphrase), SpecError)


def test_no_key_is_overwritten(empty: World) -> None:
    """Making a repository where keys are already is refused, and they stay."""
    before = contents(empty.keys)
    refused(lambda: create(empty.folder / "other", empty.keys, clock=empty.clock), SpecError)
    assert contents(empty.keys) == before
    refused(lambda: create(empty.folder / "repo", empty.folder / "k2", clock=empty.clock), SpecError)
    refused(lambda: create(empty.folder / "r3", empty.folder / "r3" / "keys", clock=empty.clock), SpecError)
    refused(lambda: create(empty.folder / "r4", empty.folder / "k4", root_threshold=4, clock=empty.clock), SpecError)


# ---- releases --------------------------------------------------------------------------------------------


def test_a_shared_file_lies_there_once(world: World) -> None:
    """Two releases with the same base weights: the repository and the stick hold them once."""
    blobs = [path for path in (world.published / "blobs").rglob("*") if path.is_file()]
    base = len(bundle_files()["model/decoder.onnx.data"])
    assert len([path for path in blobs if path.stat().st_size == base]) == 1


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "a/b", "-a", "é", "a" * 101, "x.json", "a\n"])
def test_odd_names(world: World, name: str) -> None:
    """A release's name becomes a file name and a topic: only plain ones are taken."""
    refused(lambda: world.repo.add(world.folder / "bundles" / "v1", name, world.trust), SpecError)


def test_a_name_means_one_bundle(world: World) -> None:
    """The same bundle under its name again is fine; another one is refused."""
    world.repo.add(world.folder / "bundles" / "v1", "v1", world.trust)
    refused(lambda: world.repo.add(world.folder / "bundles" / "v2", "v1", world.trust), SpecError)


def test_only_good_bundles_are_added(world: World, tmp_path: Path) -> None:
    """Changed, unsigned and untrusted bundles do not get in, and staging stays empty."""
    bundle = tmp_path / "bundle"
    shutil.copytree(world.folder / "bundles" / "v1", bundle)
    from edge.bundle.signing import Trust

    refused(lambda: world.repo.add(bundle, "v3", Trust()), UntrustedError)
    (bundle / "model" / "decoder.onnx").write_bytes(b"graph!")
    refused(lambda: world.repo.add(bundle, "v3", world.trust), BundleError)
    refused(lambda: world.repo.add(tmp_path / "nothing", "v3", world.trust), BundleError)
    assert world.repo.staged("targets") is None


def test_withdraw_and_prune(world: World) -> None:
    """Withdrawing takes a release off the list; prune deletes what only it needed."""
    world.repo.withdraw("v2")
    refused(lambda: world.repo.withdraw("v2"), SpecError)
    refused(world.publish, UntrustedError)  # not signed
    world.sign("targets")
    world.publish()
    count, freed = prune(world.repo)
    assert count == 2  # the adapter and the chunk manifest
    assert freed > len(bundle_files()["model/adapter.weights"])
    assert prune(world.repo) == (0, 0)
    client = world.device()
    client.refresh()
    client.source("v1").fill(world.slot("a"), None)


# ---- signatures ------------------------------------------------------------------------------------------


def test_nothing_unsigned_is_published(empty: World) -> None:
    """The list of releases counts only with its signature; the published state stays as it was."""
    bundle = empty.bundle("v1")
    empty.repo.add(bundle, "v1", empty.trust)
    before = contents(empty.published)
    assert "targets-1" in refused(empty.publish, UntrustedError)
    assert contents(empty.published) == before
    empty.publish(renew=True)  # the timer goes on with what is published
    assert empty.repo.published("targets").signed.version == 1  # type: ignore[union-attr]
    assert empty.repo.staged("targets") is not None
    empty.sign("targets")
    assert empty.publish().releases == ("v1",)


def test_a_change_drops_signatures(world: World) -> None:
    """What was signed is what is published: a later change needs a new signature."""
    world.repo.withdraw("v2")
    world.sign("targets")
    world.repo.withdraw("v1")
    state = world.repo.signatures("targets")
    assert state is not None
    assert not state.enough


def test_offline_signing(world: World, tmp_path: Path) -> None:
    """The root is signed on machines that have one key and one file each, and comes back as a whole."""
    offline = tmp_path / "offline"
    offline.mkdir()
    for number in (1, 2, 3):
        (world.keys / f"root-{number}.pem").rename(offline / f"root-{number}.pem")
    new, gone = world.repo.rotate("root", offline, replace="root-3")
    assert (new, gone) == ("root-4", "root-3")
    staged = world.folder / "repo" / "staging" / "root.json"
    seen: list[Any] = []
    for number in (1, 3):
        carried = tmp_path / f"carried-{number}.json"
        shutil.copy(staged, carried)
        sign_file(carried, [offline / f"root-{number}.pem"], no_passphrase, seen.append)
        world.repo.merge("root", carried)
    state = world.repo.signatures("root")
    assert state is not None
    assert not state.enough  # root-3 counts for the old root alone
    assert (state.signed, state.old_signed) == (("root-1",), ("root-1", "root-3"))
    refused(world.publish, UntrustedError)
    shutil.copy(staged, tmp_path / "last.json")
    sign_file(tmp_path / "last.json", [offline / "root-4.pem"], no_passphrase, seen.append)
    assert [item.signed.version for item in seen] == [2, 2, 2]
    world.repo.merge("root", tmp_path / "last.json")
    assert world.publish().versions["root"] == 2


def test_merge_takes_only_this_file_and_good_keys(world: World, tmp_path: Path) -> None:
    """A file that was changed on the way, or is another, is refused; a stranger's signature is not taken over."""
    world.repo.rotate("root", world.keys, replace="root-3")
    staged = world.folder / "repo" / "staging" / "root.json"
    carried = tmp_path / "carried.json"
    carried.write_bytes(staged.read_bytes().replace(b'"threshold":2', b'"threshold":1'))
    refused(lambda: world.repo.merge("root", carried), BundleError)
    other = World.new(tmp_path / "other")
    shutil.copy(staged, carried)
    sign_file(carried, [other.keys / "root-1.pem"], no_passphrase, lambda _: None)
    assert world.repo.merge("root", carried).signed == ()
    refused(lambda: world.repo.merge("targets", carried), SpecError)


def test_renewal_of_root_and_targets(world: World) -> None:
    """`sign ROLE` with nothing staged makes the next version with a later expiry."""
    world.clock.add(days=300)
    for role in ("root", "targets"):
        world.sign(role)
    done = world.publish()
    assert (done.versions["root"], done.versions["targets"]) == (2, 4)
    assert (done.expires["root"] - world.clock.now).days == 1825


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_rotate_online_roles(world: World, role: str) -> None:
    """The old key signs nothing any more, the new one does, and devices follow."""
    client = world.device()
    client.refresh()
    new, gone = world.repo.rotate(role, world.keys)
    assert (new, gone) == (f"{role}-2", f"{role}-1")
    world.sign("root", "root-1", "root-2")
    if role == "targets":
        refused(world.publish, UntrustedError)
        world.sign("targets")
    world.publish()
    client.refresh()
    assert len(client.releases()) == 2
    (world.keys / f"{role}-2.pem").unlink()
    if role == "targets":
        refused(lambda: world.sign("targets"), UntrustedError)
    else:
        refused(world.publish, UntrustedError)


def test_rotate_says_what_it_needs(world: World) -> None:
    """Which of three keys goes must be said; numbers are never used again."""
    refused(lambda: world.repo.rotate("root", world.keys), SpecError)
    refused(lambda: world.repo.rotate("root", world.keys, replace="root-9"), SpecError)
    refused(lambda: world.repo.rotate("mirror", world.keys), SpecError)
    for old, new in (("root-1", "root-4"), ("root-4", "root-5")):
        assert world.repo.rotate("root", world.keys, replace=old)[0] == new
    world.sign("root")
    world.publish()
    assert world.repo.rotate("root", world.keys, replace="root-5")[0] == "root-6"


# ---- publishing ------------------------------------------------------------------------------------------


def test_missing_and_changed_data(world: World) -> None:
    """A lost blob or chunk manifest stops the publication, before anything changes."""
    world.add("v3", bundle_files(adapter_seed=3))
    staging = world.folder / "repo" / "staging"
    (blob,) = [path for path in (staging / "blobs").rglob("*") if path.is_file()]
    data = blob.read_bytes()
    blob.unlink()
    assert "blob" in refused(world.publish, BundleError)
    blob.write_bytes(data[:-1])
    refused(world.publish, BundleError)
    blob.write_bytes(data)
    (manifest,) = (staging / "releases").iterdir()
    kept = manifest.read_bytes()
    manifest.write_bytes(kept.replace(b'"version":1}', b'"version":2}'))
    refused(world.publish, BundleError)
    manifest.unlink()
    refused(world.publish, BundleError)
    manifest.write_bytes(kept)
    assert world.publish().releases == ("v1", "v2", "v3")


def test_a_reader_in_the_middle(world: World) -> None:
    """A device that read the timestamp before a publication still finds its snapshot and targets after it."""
    from edge.fleet.updates.tuf_client import make_updater

    root = (world.published / "metadata" / "1.root.json").read_bytes()
    done = []

    def read(path: str) -> object:
        data = (world.published / path).read_bytes() if (world.published / path).is_file() else None
        if "snapshot" in path and not done:
            done.append(world.publish())
        if data is None:
            from edge.fleet.updates.errors import NotThereError

            raise NotThereError("gone", where=path)
        yield data

    folder = world.folder / "reader"
    folder.mkdir()
    make_updater(folder, read, root, world.clock.now).refresh()  # type: ignore[arg-type]
    assert done


def test_old_states_are_tidied(world: World) -> None:
    """Published metadata does not grow for ever: one folder before the current, some versions, every root."""
    for _ in range(12):
        world.publish()
    folders = [path.name for path in world.published.iterdir() if path.name.startswith("metadata.")]
    assert len(folders) == 2
    layout = Layout(world.folder / "repo")
    assert len(layout.published_versions("snapshot")) <= 9
    assert layout.published_versions("root") == [1]
    assert re.fullmatch(r"metadata\.\d+", str(layout.metadata.readlink()))


# ---- circumstances ---------------------------------------------------------------------------------------


def test_two_runs_at_once(world: World) -> None:
    """The second run waits for nothing and breaks nothing: one line."""
    with (world.folder / "repo" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for call in (world.publish, lambda: world.repo.withdraw("v1"), lambda: prune(world.repo)):
            assert "another run" in refused(call, ResourceError)
    world.publish()


def test_no_repository(tmp_path: Path) -> None:
    """A folder that is none, settings that are none."""
    refused(lambda: Repository(tmp_path), SpecError)
    for text in ("", "{}", '{"version":9,"expiry_days":{}}', '{"version":1,"expiry_days":{"root":1}}', "[" * 9999):
        (tmp_path / "repo.json").write_text(text, encoding="utf-8")
        refused(lambda: Repository(tmp_path), SpecError)


def test_junk_in_staging(world: World) -> None:
    """A staged file that is no metadata is named."""
    world.repo.withdraw("v1")
    staged = world.folder / "repo" / "staging" / "targets.json"
    for junk in (b"", b"{}", b"\xff\xff"):
        staged.write_bytes(junk)
        assert "targets.json" in refused(world.publish, BundleError)


@pytest.mark.parametrize("year", [1999, 2080])
def test_impossible_clock(world: World, year: int) -> None:
    """Nothing is signed with an expiry that was computed from a clock that cannot be."""
    world.clock.now = datetime(year, 1, 1, tzinfo=UTC)
    refused(world.publish, ClockError)
    refused(lambda: world.repo.withdraw("v1"), ClockError)


def test_read_only_folder(world: World, tmp_path: Path) -> None:
    """A folder that cannot be written is one line, even where root may write everywhere."""
    target = tmp_path / "file"
    target.write_bytes(b"")
    refused(lambda: create(target / "repo", tmp_path / "k", clock=world.clock), ResourceError)
    (world.folder / "repo" / ".lock").unlink()
    (world.folder / "repo" / ".lock").symlink_to("/proc/version")
    refused(world.publish, ResourceError)
