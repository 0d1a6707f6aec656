"""Installing on real files: when these fail, a device is left without a model, or with one that nobody checked."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_dummies import FILES, contents
from slots_dummies import BIG, Device

from edge.bundle.archive import pack
from edge.bundle.in_use import hold_open
from edge.bundle.install.in_force import in_force
from edge.bundle.install.installer import Installer, SelfTestOutcome
from edge.bundle.install.rules import MAX_TESTS, Slot
from edge.bundle.install.source import FolderSource, Moved, TarSource, open_source, partial_path
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import FileEntry
from edge.bundle.signing import SigningKey, Trust
from edge.bundle.update_lock import LOCK_NAME, FileUpdateLock, exclusive, self_test_runs, swap_allowed
from edge.errors import BundleError, EdgeError, ExitStatus, ResourceError


def told(installer: Installer) -> str:
    """The line for a person, which is one."""
    error = installer.last_error
    assert error is not None
    assert "\n" not in str(error)
    return str(error)


def test_three_installs_take_turns(device: Device) -> None:
    """If not: an update overwrites the build that runs, or the way back is gone when it is needed."""
    first = device.install("one")
    assert (first.outcome, first.reason, first.slot, first.from_digest) == ("committed", "none", "a", None)
    assert first.moved_bytes == sum(len(data) for data in FILES.values()) - 5 - 2048 + 3 + len(BIG)
    assert (device.base / "current").readlink() == Path("a")
    old = contents(device.base / "a")
    second = device.install("two")
    assert (second.slot, second.from_digest, device.text()) == ("b", first.to_digest, "two")
    assert contents(device.base / "a") == old, "the old slot was touched"
    third = device.install("three")
    assert (third.slot, device.text()) == ("a", "three")
    assert third.kept_bytes > len(BIG), "what the slot had of the build before the last is fetched again"
    assert third.moved_bytes == len("three")
    assert device.tested == ["a", "b", "a"]
    assert not [path for path in device.base.rglob(".*") if path.name != ".install.lock"], "litter is left"
    status = device.installer().status()
    assert (status.phase, status.slot, status.previous_digest) == ("idle", "a", second.to_digest)
    assert device.running().attestation_for("dummy") is not None


def test_a_build_that_fails_is_rolled_back(device: Device) -> None:
    """If not: the golden cases decide nothing."""
    device.install("one")
    device.verdict = False
    installer = device.installer()
    outcome = installer.install(FolderSource(device.build("two")), release="r2", rollout="roll")
    assert (outcome.outcome, outcome.reason, outcome.slot) == ("rolled_back", "self_test_failed", "a")
    assert (outcome.release, outcome.rollout) == ("r2", "roll")
    assert "golden case 1 differs" in told(installer) and installer.last_error is not None
    assert installer.last_error.status is ExitStatus.GATE
    assert device.text() == "one"
    device.verdict = True
    assert device.install("two").outcome == "committed", "a build is given up for ever after one bad day"


def test_a_self_test_that_cannot_begin_is_a_failed_one(device: Device) -> None:
    """If not: a device without a key runs what it could not test."""
    device.verdict = ResourceError("there is no key", mend="make one")
    installer = device.installer()
    assert installer.install(FolderSource(device.build("one"))).outcome == "rolled_back"
    assert "there is no key" in told(installer)
    assert not os.path.lexists(device.base / "current"), "a first build that failed is shown"


def test_back_and_no_further(device: Device) -> None:
    """If not: a person at the bedside cannot get the build of yesterday, or gets the bad one by asking twice."""
    device.install("one")
    device.install("two")
    outcome = device.installer().rollback()
    assert (outcome.outcome, outcome.reason, outcome.slot, device.text()) == ("rolled_back", "requested", "a", "one")
    assert device.tested == ["a", "b"], "the way back waits for a test that passed before"
    installer = device.installer()
    assert installer.rollback().outcome == "refused"
    assert "no build before" in told(installer)
    assert device.text() == "one"


def test_the_way_back_is_verified(device: Device) -> None:
    """If not: a slot that rotted on the disk comes back into force."""
    device.install("one")
    device.install("two")
    (device.base / "a/model/decoder.onnx").write_bytes(b"0ne")
    installer = device.installer()
    assert (installer.rollback().reason, device.text()) == ("changed", "two")
    assert "was changed" in told(installer)


def test_the_same_bundle_again(device: Device) -> None:
    """If not: a repeated order costs minutes and the results of this device."""
    device.install("one")
    before = contents(device.base)
    outcome = device.install("one")
    assert (outcome.outcome, outcome.moved_bytes, outcome.slot) == ("committed", 0, "a")
    assert contents(device.base / "a") == {name[2:]: data for name, data in before.items() if name.startswith("a/")}, (
        "its attestations are gone"
    )
    assert device.tested == ["a"]
    # It rots: the same order mends it, in the other slot, with the results that it had.
    (device.base / "a/model/decoder.onnx").write_bytes(b"0ne")
    outcome = device.install("one")
    assert (outcome.outcome, outcome.slot, device.text()) == ("committed", "b", "one")
    assert len(device.running().attestations) == 2


def test_a_bundle_that_was_here_before_keeps_its_results(device: Device) -> None:
    """If not: going back and forth between two builds loses what was signed, or a stranger's result blocks a slot."""
    device.install("one")
    device.install("two")
    device.installer().rollback()
    (device.base / "b/attestations/zz.json").write_text("{}")
    outcome = device.install("two")
    assert (outcome.outcome, outcome.slot, outcome.moved_bytes) == ("committed", "b", 0)
    assert len(device.running().attestations) == 2


def test_from_a_tar(device: Device, tmp_path: Path) -> None:
    """If not: a stick with one file cannot bring a build."""
    pack(device.build("one"), tmp_path / "one.tar")
    with TarSource(tmp_path / "one.tar") as source:
        assert device.installer().install(source).outcome == "committed"
    assert device.text() == "one"
    assert contents(device.base / "a")["model/decoder.onnx.data"] == BIG
    with pytest.raises(BundleError, match="there is no bundle"):
        open_source(tmp_path / "nothing")
    assert isinstance(open_source(tmp_path / "one.tar"), TarSource)


class CutShort(FolderSource):
    """A stick that is pulled out in the middle of the large file."""

    def _read(self, entry: FileEntry, offset: int) -> Iterator[bytes]:
        for piece in super()._read(entry, offset):
            if len(piece) > 4000:
                yield piece[:4000]
                raise ResourceError("the stick is gone", mend="put it back")
            yield piece


def test_a_partial_file_is_resumed(device: Device) -> None:
    """If not: a large model never arrives over a bad line."""
    place = device.build("one")
    installer = device.installer()
    outcome = installer.install(CutShort(place))
    assert (outcome.outcome, outcome.reason) == ("failed", "other")
    assert "the stick is gone" in told(installer)
    partial = partial_path(device.base / "a/model/decoder.onnx.data")
    assert partial.stat().st_size == 4000
    needed = FolderSource(place).needed_bytes(device.base / "a", None)
    outcome = device.installer(free=lambda _: needed).install(FolderSource(place))
    assert outcome.outcome == "committed"
    assert outcome.kept_bytes >= 4000
    assert outcome.moved_bytes == needed
    assert device.text() == "one"


def test_a_partial_file_of_another_content_is_begun_anew(device: Device) -> None:
    """If not: what a power cut left of a file makes the bundle broken for ever."""
    place = device.build("one")
    device.installer().install(CutShort(place))
    partial_path(device.base / "a/model/decoder.onnx.data").write_bytes(b"\0" * 5000)
    assert device.install("one").outcome == "committed"


def test_a_partial_file_of_another_bundle_is_not_used(device: Device) -> None:
    """If not: two bundles are mixed, found only after all was fetched."""
    device.installer().install(CutShort(device.build("one")))
    assert device.install("two").outcome == "committed"
    assert not list(device.base.rglob("*.partial"))


# ---- bad input ------------------------------------------------------------------------------------------------------


def unsigned(device: Device) -> Path:
    place = device.build("bad")
    (place / "signature").unlink()
    return place


def tampered(device: Device) -> Path:
    place = device.build("bad")
    (place / "model/decoder.onnx").write_bytes(b"b@d")
    return place


def manifest_changed(device: Device) -> Path:
    place = device.build("bad")
    data = (place / "manifest.json").read_bytes()
    (place / "manifest.json").write_bytes(data.replace(b'"int4"', b'"int8"'))
    return place


def of_another_profile(device: Device) -> Path:
    return device.build("bad", profile={"version": 1, "name": "differential", "context_tokens": 64})


def without_its_golden_cases(device: Device) -> Path:
    return device.build("bad", required_features=("onnx-decoder-1", "golden-1"))


def of_a_stranger(device: Device) -> Path:
    store = KeyStore(device.folder / "stranger")
    store.create("stranger")
    other = Device(device.folder, store.load_signing_key(), device.device_key, device.trust)
    return other.build("bad")


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (unsigned, "untrusted", "not signed"),
        (tampered, "changed", "sha256 differs"),
        (manifest_changed, "untrusted", "was changed after"),
        (of_another_profile, "wrong_target", "differential"),
        (without_its_golden_cases, "changed", "golden/cases.json is missing"),
        (of_a_stranger, "untrusted", "not trusted here"),
    ],
)
def test_a_bundle_that_is_not_what_it_should_be(device: Device, make: object, reason: str, words: str) -> None:
    """If not: something that nobody vouches for gets as far as the self-test, or costs the running build."""
    device.install("one")
    before = device.installer().status()
    installer = device.installer()
    outcome = installer.install(FolderSource(make(device)))  # type: ignore[operator]
    assert outcome.outcome in ("refused", "failed")
    assert outcome.reason == reason
    assert words in told(installer)
    assert device.text() == "one"
    assert device.tested == ["a"]
    after = device.installer().status()
    assert (after.phase, after.slot, after.bundle_digest) == ("idle", before.slot, before.bundle_digest)
    assert device.install("two").outcome == "committed", "one bad bundle blocks the next"


class Elsewhere:
    arch = "aarch64"
    isa_features = frozenset({"asimd"})


def test_another_device(device: Device) -> None:
    """If not: a build for another board is found out by its crash."""
    installer = device.installer(device=Elsewhere())
    outcome = installer.install(FolderSource(device.build("one")))
    assert (outcome.outcome, outcome.reason) == ("refused", "wrong_target")
    assert "this device is aarch64" in told(installer)
    assert not list((device.base).glob("*/model")), "it was refused after it was copied"


def test_too_little_space_is_said_before_a_byte_is_written(device: Device) -> None:
    """If not: the vault cannot save a visit because a model fills the disk."""
    device.install("one")
    place = device.build("two")
    installer = device.installer(free=lambda _: 2000, margin_bytes=1 << 20)
    before = contents(device.base)
    outcome = installer.install(FolderSource(place))
    assert (outcome.outcome, outcome.reason) == ("refused", "no_space")
    assert "1 MB are needed and 0 MB are free" in told(installer)
    assert contents(device.base) == before
    # What the old build in the other slot will free counts.
    device.install("two")
    exact = FolderSource(device.build("three")).needed_bytes(device.base / "a", None)
    assert exact < 10
    assert device.installer(free=lambda _: exact).install(FolderSource(device.build("three"))).outcome == "committed"


def test_what_was_fetched_of_another_bundle_is_room(device: Device) -> None:
    """If not: a large build that was cut short and then withdrawn leaves no room for the one that replaces it."""
    device.install("one")
    common, device.files = device.files, dict(device.files) | {"model/more.data": BIG * 20}
    assert device.installer().install(CutShort(device.build("two"))).outcome == "failed"
    device.files = common
    partial = partial_path(device.base / "b/model/more.data")
    partial.write_bytes(BIG * 20)
    three = FolderSource(device.build("three"))
    missing = sum(len(data) for data in device.files.values()) + len(BIG)
    assert device.installer(free=lambda _: missing // 2).install(three).outcome == "committed"
    # A partial file with its whole length and no blocks frees nothing, and what it seems to hold must be brought.
    device.files = dict(common) | {"model/more.data": BIG * 20}
    assert device.installer().install(CutShort(device.build("four"))).outcome == "failed"
    (device.base / "a/model/decoder.onnx.data").unlink(missing_ok=True)
    with partial_path(device.base / "a/model/decoder.onnx.data").open("wb") as file:
        file.truncate(len(BIG))
    device.files = common
    refused = device.installer(free=lambda _: len(BIG) // 2).install(FolderSource(device.build("five")))
    assert (refused.outcome, refused.reason) == ("refused", "no_space")


def test_a_disk_that_is_full_in_the_middle_and_one_that_is_read_only(device: Device, tmp_path: Path) -> None:
    """If not: a full disk costs the running build, or leaves an install that cannot go on."""
    mount = tmp_path / "small"
    mount.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        place, big = device.build("one"), device.build("two")
        small = Device(mount, device.key, device.device_key, device.trust)
        assert small.installer().install(FolderSource(place)).outcome == "committed"
        filler = mount / "filler"
        filler.write_bytes(b"0" * (os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize - 24576))
        installer = small.installer(free=lambda _: 1 << 30)
        outcome = installer.install(FolderSource(big))
        assert outcome.outcome == "failed", outcome
        assert outcome.reason == "no_space"
        assert "no space left" in told(installer)
        assert small.text() == "one"
        filler.unlink()
        assert small.installer().install(FolderSource(big)).outcome == "committed"
        assert small.text() == "two"
        # And a disk that went read-only, as a worn card does.
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        before = contents(mount)
        for outcome in (
            (installer := small.installer()).install(FolderSource(device.build("three"))),
            installer.resume(),
            installer.rollback(),
        ):
            assert outcome is not None
            assert (outcome.outcome, outcome.reason) == ("failed", "other")
            assert "cannot be written" in told(installer)
        assert contents(mount) == before
        assert (small.text(), small.installer().status().phase) == ("two", "idle")
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_folder_that_cannot_be_written(device: Device) -> None:
    """If not: a wrong mount is a traceback."""
    device.slots.write_text("a file where the folder should be")
    installer = device.installer()
    outcome = installer.install(FolderSource(device.build("one")))
    assert (outcome.outcome, outcome.reason) == ("failed", "other")
    assert told(installer)


def test_a_visit_holds_the_switch_off(device: Device) -> None:
    """If not: the model changes under a clinician's hands."""
    device.install("one")
    visit = FileUpdateLock(device.folder / "home")
    visit.acquire()
    installer = device.installer()
    outcome = installer.install(FolderSource(device.build("two")))
    assert (outcome.outcome, outcome.reason, device.text()) == ("refused", "busy", "one")
    assert "a visit is open" in told(installer)
    assert installer.status().phase == "verified"
    resumed = device.installer().resume()
    assert resumed is not None and (resumed.outcome, resumed.reason) == ("refused", "busy")
    visit.release()
    ended = device.installer().resume()
    assert ended is not None and (ended.outcome, device.text()) == ("committed", "two")
    assert device.installer().resume() is None


def test_another_order_takes_the_place_of_one_that_waits(device: Device) -> None:
    """If not: a build that waited for a visit to end comes after the one that replaced it."""
    device.install("one")
    with open_visit(device):
        device.install("two")
    assert device.install("three").outcome == "committed"
    assert device.text() == "three"
    assert device.tested == ["a", "b"], "the build that was replaced was tested"
    with open_visit(device):
        device.install("four")
    assert device.install("four").outcome == "committed"


class open_visit:  # noqa: N801
    def __init__(self, device: Device) -> None:
        self.lock = FileUpdateLock(device.folder / "home")

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class Visits:
    """A visit that is opened while a build is in its self-test, which ends then as the real one does, or goes on."""

    def __init__(self, device: Device, *, stops: bool = True) -> None:
        self.device, self.stops = device, stops
        self.lock = FileUpdateLock(device.folder / "home")
        self.shown: list[tuple[str, str]] = []

    def __call__(self, path: Path) -> SelfTestOutcome:
        self.lock.acquire()
        current = self.device.base / "current"
        self.shown.append((str(current.readlink()), in_force(current).name))
        if self.stops:
            return SelfTestOutcome(False, "a visit was opened", stopped=True)
        return self.device.self_test(path)


@pytest.mark.parametrize(
    ("stops", "verdict"), [(True, True), (False, False), (False, True)], ids=["ended", "failed", "passed"]
)
def test_a_visit_that_is_opened_during_the_self_test(device: Device, stops: bool, verdict: bool) -> None:
    """If not: a patient waits half an hour for a self-test; or a build is exchanged under a visit, or given up for it.

    passed: the visit was opened between the end of the self-test and the commit.
    """
    device.install("one")
    device.verdict = verdict
    visits = Visits(device, stops=stops)
    place = device.build("two")
    for time in (1, 2):  # the first by an order, the second by what takes it up
        installer = device.installer(self_test=visits, commit_wait_s=0.0)
        outcome = installer.install(FolderSource(place), release="r2", rollout="spring") if time == 1 else None
        outcome = outcome or installer.resume()
        assert outcome is not None
        assert (outcome.outcome, outcome.reason, outcome.slot, outcome.release) == ("refused", "busy", "a", "r2")
        assert "a visit was opened" in told(installer)
        status = installer.status()
        assert (status.phase, status.slot, status.tests, status.rollout) == ("filled", "a", 0, "spring")
        assert device.text() == "one" and in_force(device.base / "current") == device.base / "a"
        assert visits.lock._descriptor is not None, "the visit is not open"
        visits.lock.release()
    assert visits.shown == [("b", "a")] * 2, "what is in force during the self-test is the build before"
    if stops:
        assert not list((device.base / "b").glob("attestations/*")), "a result was signed that nobody measured"
    device.verdict = True
    before = (device.base / "b/model/decoder.onnx").stat()
    ended = device.install("two")
    assert (ended.outcome, ended.reason, ended.rollout, device.text()) == ("committed", "none", "spring", "two")
    assert (device.base / "b/model/decoder.onnx").stat().st_mtime_ns == before.st_mtime_ns, "it was brought again"
    assert device.installer().resume() is None


def test_a_visit_during_the_self_test_of_a_first_install(device: Device) -> None:
    """If not: a patient's note is written by a build that nobody tested, because there is no other."""
    visits = Visits(device)
    current = device.base / "current"
    outcome = device.installer(self_test=visits).install(FolderSource(device.build("one")))
    assert (outcome.outcome, outcome.reason, outcome.slot) == ("refused", "busy", None)
    ((shown, used),) = visits.shown
    assert shown == "a" and not (device.base / used).exists(), "an unconfirmed build is in force"
    assert not os.path.lexists(current)
    visits.lock.release()
    resumed = device.installer().resume()
    assert resumed is not None and (resumed.outcome, device.text()) == ("committed", "one")
    assert in_force(current) == device.base / "a"


def test_many_visits_and_a_power_cut(device: Device) -> None:
    """If not: visits use up the boots that a build has, or take away the bound on those that a bad one has."""
    device.install("one")
    place = device.build("two")
    visits = Visits(device)
    for _ in range(MAX_TESTS + 2):
        assert device.installer(self_test=visits).install(FolderSource(place)).reason == "busy"
        visits.lock.release()
    device.during = cut
    for boot in range(1, MAX_TESTS + 1):
        with pytest.raises(PowerCut):
            device.installer().resume()
        assert device.installer().status().tests == boot
    with open_visit(device):  # at the boot a visit is open already: nothing is tested, and the bound still holds
        outcome = device.installer().resume()
    assert outcome is not None and (outcome.reason, device.text()) == ("boots_exhausted", "one")


def test_a_boot_into_an_open_visit(device: Device) -> None:
    """If not: after a power cut in a self-test the next one takes the memory of the visit that is open."""
    device.install("one")
    device.during = cut
    with pytest.raises(PowerCut):
        device.install("two")
    device.during = lambda: None
    with open_visit(device):
        outcome = device.installer().resume()
        assert outcome is not None and (outcome.outcome, outcome.reason) == ("refused", "busy")
        assert device.tested == ["a", "b"], "a self-test was begun in a visit"
        assert (device.base / "current").readlink() == Path("a")
        assert device.installer().status().tests == 1
    assert device.install("two").outcome == "committed"


def test_another_order_after_a_visit(device: Device) -> None:
    """If not: a build that waits for a visit to end comes after the one that replaced it."""
    device.install("one")
    visits = Visits(device)
    device.installer(self_test=visits).install(FolderSource(device.build("two")))
    visits.lock.release()
    assert device.install("three").outcome == "committed"
    assert device.text() == "three" and device.tested == ["a", "b"]
    device.installer(self_test=visits).install(FolderSource(device.build("four")))
    visits.lock.release()
    outcome = device.installer().rollback()
    assert (outcome.outcome, outcome.reason, device.text()) == ("rolled_back", "requested", "three")


def test_the_lock_is_held_for_instants(device: Device) -> None:
    """If not: a visit cannot be opened while a build is tested; or two builds are tested at once on a small board."""
    seen: list[tuple[bool, bool, str]] = []

    def look() -> None:
        installer = device.installer()
        other = Installer(
            device.slots, "letters", trust=device.trust, lock_folder=device.folder / "home", self_test=device.self_test
        )
        profile = {"version": 1, "name": "letters", "context_tokens": 64}
        refused = other.install(FolderSource(device.build("letters", profile=profile)))
        assert "another build is being tested" in told(other)
        home = device.folder / "home"
        seen.append((swap_allowed(home), self_test_runs(home), refused.reason))
        assert installer.status().phase == "switched"

    device.install("one")
    device.during = look
    assert device.install("two").outcome == "committed"
    assert seen == [(True, True, "busy")]
    assert not self_test_runs(device.folder / "home")


def test_a_failed_build_goes_back_beside_no_lock(device: Device) -> None:
    """If not: the way back waits for a visit, and the link shows a bad build to its end."""
    device.install("one")
    device.verdict = False
    visit = FileUpdateLock(device.folder / "home")
    installer = device.installer()
    point = installer.disk.point

    def pointed(slot: Slot | None) -> None:
        if slot == "a":
            visit.acquire()
        point(slot)

    installer.disk.point = pointed  # type: ignore[method-assign]
    assert installer.install(FolderSource(device.build("two"))).reason == "self_test_failed"
    assert device.text() == "one"


def test_the_other_slot_is_not_touched_while_a_program_runs_from_it(device: Device) -> None:
    """If not: an app that has not taken the new build yet writes with files that are exchanged beneath it."""
    device.install("one")
    running = hold_open(device.running().path)
    device.install("two")
    before = contents(device.base / "a")
    installer = device.installer()
    outcome = installer.install(FolderSource(device.build("three")))
    assert (outcome.outcome, outcome.reason) == ("refused", "busy")
    assert "still runs from this folder" in told(installer)
    assert contents(device.base / "a") == before
    running.close()
    assert device.install("three").outcome == "committed"


class Looking(FolderSource):
    """Tries to run from the slot while it is filled."""

    def fill(self, folder: Path, installed: Path | None) -> Moved:
        with pytest.raises(ResourceError, match="being installed into"):
            hold_open(folder)
        return super().fill(folder, installed)


def test_nobody_opens_a_slot_that_is_filled(device: Device) -> None:
    """If not: an app that starts late maps half a model."""
    assert device.installer().install(Looking(device.build("one"))).outcome == "committed"


def test_two_installers(device: Device) -> None:
    """If not: two of them fill one slot."""
    device.install("one")
    with (device.base / ".install.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        installer = device.installer()
        for outcome in (installer.install(FolderSource(device.build("two"))), installer.resume(), installer.rollback()):
            assert outcome is not None
            assert (outcome.outcome, outcome.reason) == ("refused", "busy")
            assert "another install" in told(installer)
        assert installer.status().phase == "idle"


class PowerCut(BaseException):
    """Nothing catches it: the process is gone."""


def cut() -> None:
    raise PowerCut


def test_boots_are_counted(device: Device) -> None:
    """If not: a build that hangs its device is tried at each boot, for ever."""
    device.install("one")
    device.build("two")
    device.during = cut
    with pytest.raises(PowerCut):
        device.install("two")
    for boot in range(1, MAX_TESTS):
        assert device.installer().status().tests == boot
        with pytest.raises(PowerCut):
            device.installer().resume()
    installer = device.installer()
    outcome = installer.resume()
    assert outcome is not None
    assert (outcome.outcome, outcome.reason, device.text()) == ("rolled_back", "boots_exhausted", "one")
    assert "never ended its self-test" in told(installer)
    assert len(device.tested) == 1 + MAX_TESTS


def test_a_boot_in_the_middle_goes_on(device: Device) -> None:
    """If not: a power cut during the self-test costs the update."""
    device.install("one")
    device.build("two")
    device.during = cut
    with pytest.raises(PowerCut):
        device.install("two")
    assert in_force(device.base / "current").name == "a"
    device.during = lambda: None
    outcome = device.installer().resume()
    assert outcome is not None and (outcome.outcome, device.text()) == ("committed", "two")


def test_a_memory_from_the_future(device: Device) -> None:
    """If not: an edge that was put back to an older version loses the running build."""
    device.install("one")
    (device.base / "state.json").write_text('{"version":9}')
    installer = device.installer()
    for outcome in (installer.install(FolderSource(device.build("two"))), installer.resume()):
        assert outcome is not None and outcome.outcome == "refused"
        assert "newer edge (version 9)" in told(installer)
    status = installer.status()
    assert (status.phase, status.slot) == ("unknown", "a")
    assert status.bundle_digest == device.running().bundle_digest
    assert (device.base / "state.json").read_text() == '{"version":9}'
    assert in_force(device.base / "current").name == "a"


@pytest.mark.parametrize("damage", ["{", "gone", "folder"])
def test_a_lost_memory_is_made_anew(device: Device, damage: str) -> None:
    """If not: a bad block costs the running build."""
    device.install("one")
    device.install("two")
    path = device.base / "state.json"
    path.unlink()
    if damage == "folder":
        path.symlink_to("a")
    elif damage != "gone":
        path.write_text(damage)
    assert device.text() == "two"
    outcome = device.installer().resume()
    assert outcome is not None and (outcome.outcome, device.text()) == ("committed", "two"), "it was not tested anew"
    assert device.installer().rollback().outcome == "rolled_back"
    assert device.text() == "one"


def test_a_lost_memory_beside_a_build_that_failed(device: Device) -> None:
    """If not: a bad block puts the build into force that failed its self-test, since it lies there whole."""
    device.install("one")
    device.verdict = False
    device.install("two")
    for link in (True, False):
        (device.base / "state.json").unlink()
        if not link:
            (device.base / "current").unlink()
        assert device.installer().resume() is None
        assert (device.text(), in_force(device.base / "current").name, device.tested) == ("one", "a", ["a", "b"])
    assert device.installer().rollback().outcome == "refused", "the build that failed is a way back"


def test_a_lost_memory_beside_a_build_that_waited(device: Device) -> None:
    """If not: a bad block while an install waits for a visit puts an untested build into force for that visit."""
    device.install("one")
    with open_visit(device):
        device.install("two")
        (device.base / "state.json").unlink()
        assert device.installer().resume() is None
        assert (device.text(), in_force(device.base / "current").name) == ("one", "a")
    assert device.install("two").outcome == "committed"


def test_a_lost_memory_with_one_build(device: Device) -> None:
    """If not: the only build of a device is taken from it."""
    device.install("one")
    (device.base / "state.json").unlink()
    device.verdict = False
    assert device.installer().resume() is None
    assert device.text() == "one"
    shutil.rmtree(device.slots)
    assert device.installer().resume() is None
    assert device.installer().status().phase == "idle"


def test_a_link_that_somebody_moved(device: Device) -> None:
    """If not: a wrong command at a bedside puts an old build into force for good."""
    device.install("one")
    device.install("two")
    (device.base / "current").unlink()
    (device.base / "current").symlink_to("a")
    assert device.installer().resume() is None
    assert device.text() == "two"


def test_odd_things_in_a_slot(device: Device) -> None:
    """If not: a link in a slot lets an install write elsewhere, or stops it for ever."""
    device.install("one")
    device.install("two")
    shutil.rmtree(device.base / "a/model")
    (device.base / "a/model").symlink_to("/etc")
    os.mkfifo(device.base / "a/pipe")
    (device.base / "a/.x.partial").write_bytes(b"x" * 100)
    assert device.install("three").outcome == "committed"
    assert device.text() == "three"


def test_a_lock_folder_that_cannot_be_written(device: Device) -> None:
    """If not: a swap goes on without the lock that holds it off a visit."""
    (device.folder / "home").write_text("no folder")
    installer = device.installer()
    assert installer.install(FolderSource(device.build("one"))).outcome == "failed"
    assert not os.path.lexists(device.base / "current")


def test_exclusive(tmp_path: Path) -> None:
    """If not: two installers switch at once, or a lock stays after its end."""
    with exclusive(tmp_path):
        with pytest.raises(ResourceError, match="a visit is open"), exclusive(tmp_path):
            pass
        with pytest.raises(ResourceError, match="being exchanged"):
            FileUpdateLock(tmp_path).acquire()
    with exclusive(tmp_path):
        assert (tmp_path / LOCK_NAME).stat().st_size == 0


def test_a_profile_that_is_no_name(device: Device, trust: Trust, key: SigningKey) -> None:
    """If not: a profile of `..` installs into the folder above."""
    for name in ("..", "a/b", "", "Notes"):
        with pytest.raises(EdgeError):
            Installer(
                device.slots,
                name,
                trust=trust,
                lock_folder=device.folder,
                self_test=lambda _: SelfTestOutcome(True),
            )


def test_in_force_of_other_paths(tmp_path: Path) -> None:
    """If not: a bundle folder that is called `current` is taken for slots."""
    assert in_force(tmp_path / "notes") == tmp_path / "notes"
    (tmp_path / "current").mkdir()
    assert in_force(tmp_path / "current") == tmp_path / "current"
