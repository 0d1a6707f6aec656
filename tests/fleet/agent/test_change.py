"""Installs by the agent's child: a real TUF repository, real slots. When these fail, a ring of devices stays behind."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.bundle.install.outcome import SelfTestOutcome
from edge.bundle.install.rules import InstallOutcome
from edge.bundle.update_lock import FileUpdateLock
from edge.errors import BundleError, EdgeError
from edge.fleet.agent.change import NoUpdateError, change, refused
from edge.fleet.agent.children import Child
from edge.fleet.agent.job_files import ChangeJob, Done
from edge.fleet.agent.readings import Readings
from edge.fleet.updates.client import ship_root
from edge.fleet.updates.repository import create
from edge.fleet.wire.messages import InstallReport
from tests.fleet.updates.update_world import Clock, World, bundle_files


def passes(_folder: Path) -> SelfTestOutcome:
    return SelfTestOutcome(True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two releases, signed today: the child looks at the real clock."""
    made = World(tmp_path_factory.mktemp("updates"), Clock(datetime.now(UTC)))
    made.store.create("builder")
    made.store.create("device", "device")
    create(made.folder / "repo", made.folder / "repo-keys", clock=made.clock)
    for number in (1, 2):
        made.add(f"v{number}", bundle_files(adapter_seed=number))
    made.publish()
    return made


class Device:
    """Slots and updates of one device of that world."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        ship_root(folder / "updates", (world.published / "metadata/1.root.json").read_bytes())
        (folder / "lock").mkdir()
        self.profile = str(world_profile(world))

    def job(self, operation: str = "install", release: str | None = "v1", **changes: object) -> ChangeJob:
        values: dict[str, object] = {
            "operation": operation, "slots": str(self.folder / "slots"), "profile": self.profile,
            "keys": str(self.world.folder / "home"), "lock_folder": str(self.folder / "lock"),
            "updates_home": str(self.folder / "updates"), "updates": (str(self.world.published),), "ca": "/none",
            "certificate": "/none", "tls_key": "/none", "release": release, "rollout": "spring",
        }  # fmt: skip
        return ChangeJob(**(values | changes))  # type: ignore[arg-type]

    def change(self, job: ChangeJob) -> InstallOutcome | None:
        return change(job, self_test=passes, clock=self.world.clock)

    def readings(self) -> Readings:
        return Readings(
            profile=self.profile, slots=self.folder / "slots", bundle=None, lock_folder=self.folder / "lock",
            disk=self.folder, clock=time.monotonic,
        )  # fmt: skip


def world_profile(world: World) -> str:
    from edge.bundle.open import open_bundle

    manifest = open_bundle(world.folder / "bundles/v1", world.trust).manifest
    return str(manifest.profile.get("name", manifest.name))


@pytest.fixture
def device(world: World, tmp_path: Path) -> Device:
    return Device(world, tmp_path)


def test_there_and_back(device: Device) -> None:
    """If not: a release is not installed, its neighbour's chunks are fetched again, or there is no way back."""
    first = device.change(device.job())
    assert first is not None
    assert (first.outcome, first.release, first.rollout) == ("committed", "v1", "spring")
    second = device.change(device.job(release="v2"))
    assert second is not None
    assert second.outcome == "committed"
    assert second.kept_bytes > second.moved_bytes
    installed = device.readings().installed()
    assert (installed.digest, installed.previous_digest) == (second.to_digest, first.to_digest)
    assert (installed.release, installed.pending) == ("v2", False)
    assert installed.bundle_bytes > 0
    back = device.change(device.job("rollback", None))
    assert back is not None
    assert (back.outcome, back.to_digest) == ("rolled_back", first.to_digest)
    assert device.change(device.job("resume", None)) is None
    report = InstallReport.from_bytes(InstallReport(**vars(back)).to_bytes(), "report")
    assert report.reason == "requested"


def test_a_visit_during_the_self_test(device: Device) -> None:
    """If not: a build that a visit held up is lost, is fetched again, or is told to the fleet as a bad one."""
    visit = FileUpdateLock(device.folder / "lock")

    def visited(_folder: Path) -> SelfTestOutcome:
        visit.acquire()
        return SelfTestOutcome(False, "a visit was opened", stopped=True)

    busy = change(device.job(), self_test=visited, clock=device.world.clock)
    assert busy is not None
    assert (busy.outcome, busy.reason, busy.release, busy.rollout) == ("refused", "busy", "v1", "spring")
    assert InstallReport.from_bytes(InstallReport(**vars(busy)).to_bytes(), "report").reason == "busy"
    readings = device.readings()
    assert readings.encounter_open() and readings.installed().pending and readings.installed().digest is None
    visit.release()
    again = device.change(device.job("resume", None, updates=(str(device.folder / "no place"),)))
    assert again is not None
    assert (again.outcome, again.release, again.rollout) == ("committed", "v1", "spring")
    assert not device.readings().installed().pending


def test_what_is_not_to_be_had(device: Device) -> None:
    """If not: a release that no place has counts as a failed install, or another bundle under its name is taken."""
    with pytest.raises(NoUpdateError):
        device.change(device.job(release="v9"))
    with pytest.raises(NoUpdateError):
        device.change(device.job(updates=(str(device.folder / "no stick"),)))
    with pytest.raises(BundleError, match="another bundle"):
        device.change(device.job(digest="f" * 64))
    assert device.readings().installed().digest is None


def test_expired_metadata_is_told(device: Device, tmp_path: Path) -> None:
    """If not: a repository that nobody signs any more looks like a device that is broken."""
    late = Clock(device.world.clock.now + timedelta(days=3000))
    with pytest.raises(EdgeError) as raised:
        change(device.job(), self_test=passes, clock=late)
    assert refused(device.job(), raised.value).reason == "expired_metadata"
    early = Clock(datetime(1971, 1, 1, tzinfo=UTC))
    with pytest.raises(EdgeError) as raised:
        change(device.job(), self_test=passes, clock=early)
    assert refused(device.job(), raised.value).reason == "expired_metadata"


@pytest.mark.slow
def test_as_a_process(device: Device) -> None:
    """If not: the child that the agent really starts does nothing, or says nothing."""
    child = Child(device.folder / "jobs", device.job(release="v9"), clock=time.monotonic)
    deadline = time.monotonic() + 40
    while (found := child.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found == (Done(outcome="refused", install_reason="other", no_update=True), None)
    child = Child(device.folder / "jobs", device.job(digest="f" * 64), clock=time.monotonic)
    while (found := child.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done, data = found
    assert (done.outcome, done.install_reason) == ("refused", "changed")
    assert data is not None
    assert InstallReport.from_bytes(data, "report").to_digest == "f" * 64
