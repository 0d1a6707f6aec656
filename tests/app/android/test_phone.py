"""The whole way on Linux: a project is written, its assets unpacked, its service started, and a note comes over the
socket, word for word that of the ordinary engine. Only Java is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.app.android import jobs, verify
from edge.app.android.assets import read_index, trust_keys, unpack
from edge.app.android.places import ENGINE_SERVICE, VERIFY_SERVICE, Places
from edge.app.android.platform import Wanted
from edge.app.android.start import EngineStarter, take_job, tasks_of
from edge.app.engine.messages import DraftNote, Event, Ready, Refused, Result
from edge.app.engine.pipe import PipeClient, host_command
from edge.app.engine.socket_client import SocketClient
from edge.bench.on_device import DeviceJob, Done
from edge.bench.workload import Workload
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.errors import BundleError, EdgeError
from edge.package.android import AndroidOptions, project, write_project
from edge.runtime.android_engine import OrtJavaEngine
from tests.app.android.phone import Assets
from tests.app.engine.test_line_client import has, wait_for
from tests.e2e.conftest import built
from tests.e2e.world import REPO, World
from tests.runtime.fake_java import FakeJava

__all__ = ["built"]
pytestmark = pytest.mark.slow
SITE = sysconfig.get_paths()["purelib"]
WAIT_S = 120.0
RUN = "0123456789abcdef"


@dataclass
class Phone:
    """A project's app on this machine. told: errors that the screen would show; services: what runs."""

    project: Path
    files: Path
    debug: bool = True
    told: list[EdgeError] = field(default_factory=list)
    started: list[tuple[str, str]] = field(default_factory=list)
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)
    without: str = ""

    @property
    def places(self) -> Places:
        return Places(self.files)

    def asset(self, name: str) -> Iterator[bytes]:
        return Assets(self.project)(name)

    def external(self) -> Path:
        return self.files.parent / "sdcard"

    def debuggable(self) -> bool:
        return self.debug

    def stop_service(self, name: str) -> None:
        self.started.append((f"stop {name}", ""))

    def start_service(self, name: str, argument: str = "") -> None:
        self.started.append((name, argument))
        if name == ENGINE_SERVICE:
            script = REPO / "tests" / "app" / "android" / "phone.py"
            command = [sys.executable, "-I", "-S", "-B", str(script), "engine_service.py"]
            command += [str(self.project / "app"), SITE, str(REPO)]
            environment = {"ANDROID_PRIVATE": str(self.files), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
            environment["EDGE_TEST_WITHOUT"] = self.without
            self.services.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))

    def client(self) -> SocketClient:
        index = read_index(self.asset)
        starter = EngineStarter(index, self.asset, self.places, self, self.told.append)
        return SocketClient(self.places.socket, launch=starter, connect_s=WAIT_S)


@pytest.fixture(scope="module")
def written(built: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the tiny model. Its target is this machine, so that the engine may run it here."""
    folder = tmp_path_factory.mktemp("project") / "p"
    store = KeyStore(built.root / "home")
    bundle = open_bundle(built.bundle, store.trust_store())
    keys = project.trusted_keys(bundle, store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "SYSTEM", "linux")
        patch.setenv("EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        write_project(bundle, folder, options=AndroidOptions(trusted=keys, part_bytes=100_000))
    return folder


@pytest.fixture
def phone(written: Path, tmp_path: Path) -> Iterator[Phone]:
    made = Phone(written, tmp_path / "files")
    made.files.mkdir()
    (tmp_path / "sdcard").mkdir()
    made.places.settle({})
    trust_keys(read_index(made.asset), made.asset, KeyStore(made.places.home))
    yield made
    for process in made.services:
        process.kill()
        process.communicate()


def ended(found: list[Event]) -> bool:
    return has(Result)(found) or has(Refused)(found)


def note_of(client: Any, visit: str) -> tuple[Ready, Result]:
    client.submit(DraftNote("r1", "e1", visit))
    found = wait_for(client, ended, WAIT_S)
    assert isinstance(found[-1], Result), found
    return next(event for event in found if isinstance(event, Ready)), found[-1]


def test_the_services_note_is_the_ordinary_engines(phone: Phone, built: World) -> None:
    """Unpack, start, load over Java's API, tokenise in plain Python, draft: the clinician reads the same note."""
    visit = (built.root / "visit.txt").read_text()
    client = phone.client()
    client.start()
    facts, note = note_of(client, visit)
    environment = built.environment(PYTHONPATH=str(REPO), OMP_NUM_THREADS="1")
    ordinary = PipeClient(host_command(built.bundle), environment=environment, stop_s=30.0)
    ordinary.start()
    wanted, same = note_of(ordinary, visit)
    assert note.value == same.value
    assert facts.facts.bundle_digest == wanted.facts.bundle_digest
    assert facts.facts.tasks == wanted.facts.tasks == tasks_of(read_index(phone.asset))
    assert phone.told == []
    assert [name for name, _ in phone.started] == [ENGINE_SERVICE]
    for one in (client, ordinary):
        one.close()
    assert phone.services[0].wait(30) == 0
    again = phone.client()  # the service has gone: it is started again, and nothing is unpacked a second time
    before = (phone.places.bundle / "manifest.json").stat().st_ino
    again.start()
    wait_for(again, has(Ready), WAIT_S)
    assert (phone.places.bundle / "manifest.json").stat().st_ino == before
    assert len(phone.services) == 2
    again.close()


def test_without_grammars_the_bundle_is_refused(phone: Phone) -> None:
    """llguidance was not built into the app: one line on the screen, and no note that only looks like one."""
    phone.without = "llguidance"
    client = phone.client()
    client.start()
    refused = wait_for(client, ended, WAIT_S)[-1]
    assert isinstance(refused, Refused)
    assert (refused.code, "llguidance" in refused.message) == ("unsupported", True)


def test_a_bundle_that_cannot_be_unpacked_is_said(phone: Phone, tmp_path: Path) -> None:
    """A damaged asset: the screen says so in words, the engine is told as not started, nothing runs."""
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(phone.project / "assets", damaged / "assets")
    part = next((damaged / "assets" / "edge").glob("part-*.bin"))
    part.write_bytes(b"x" + part.read_bytes()[1:])
    phone.project = damaged
    client = phone.client()
    client.start()
    from edge.app.engine.messages import Died

    wait_for(client, has(Died), WAIT_S)
    assert [type(error) for error in phone.told] == [BundleError]
    assert not phone.services
    assert not phone.places.bundle.exists()


def java_factory(model_folder: Path, *, threads: int, context_tokens: int) -> OrtJavaEngine:
    return OrtJavaEngine(model_folder, threads=threads, context_tokens=context_tokens, java=FakeJava())


def write_job(phone: Phone, built: World, **changes: Any) -> Path:
    """A pushed bundle and a pushed job, as `edge verify --device adb:` leaves them."""
    import shutil

    store = KeyStore(built.root / "home")
    bundle = open_bundle(built.bundle, store.trust_store())
    place = phone.external() / "edge"
    shutil.copytree(built.bundle, place / "bundles" / bundle.bundle_digest, dirs_exist_ok=True)
    folder = place / "verify" / RUN
    folder.mkdir(parents=True)
    builder = store.trust_store().find(bundle.signer_fingerprint)
    assert builder is not None
    work = Workload(1, "brief", 0, 1, 1, (8,), (0,), 4, 0.5, 0.25, 1, 60.0)
    job = DeviceJob(RUN, f"bundles/{bundle.bundle_digest}", bundle.bundle_digest, work, 1, {}, builder, False)
    (folder / "job.json").write_text(json.dumps(job.to_json() | changes))
    return folder


def test_a_job_is_measured_in_the_service(phone: Phone, built: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/devices.md promises: result, attestation and key lie there, done.json says how it ended."""
    monkeypatch.setenv("EDGE_HOME", str(phone.places.home))
    folder = write_job(phone, built)
    unpack(read_index(phone.asset), phone.asset, phone.places.bundle)
    assert verify.run(phone.places, phone.external(), RUN, factory=java_factory) == 0
    done = Done.from_bytes((folder / "done.json").read_bytes(), "")
    assert done.status == 0, done
    assert not done.trusted_builder  # the app was built with that key
    for name in ("result.json", "attestation.json", "key.pub.pem"):
        assert (folder / name).is_file()
    result = json.loads((folder / "result.json").read_bytes())
    assert result["decode"]
    assert result["memory"]
    opened = open_bundle(
        phone.external() / "edge" / "bundles" / result["bundle"]["bundle_digest"],
        KeyStore(phone.places.home).trust_store(),
    )
    assert len(opened.attestations) == 1
    own = open_bundle(phone.places.bundle, KeyStore(phone.places.home).trust_store())
    assert own.attestations == opened.attestations  # the app's own copy knows it too


def test_a_job_that_cannot_be_done_says_why(phone: Phone, built: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """done.json comes always: the other side waits for nothing else."""
    monkeypatch.setenv("EDGE_HOME", str(phone.places.home))

    def broken(model_folder: Path, *, threads: int, context_tokens: int) -> OrtJavaEngine:
        raise ZeroDivisionError("a patient's word")

    folder = write_job(phone, built)
    assert verify.run(phone.places, phone.external(), RUN, factory=broken) != 0
    done = (folder / "done.json").read_text()
    assert "ZeroDivisionError" in done
    assert "patient's word" not in done
    assert verify.run(phone.places, phone.external(), "../../etc", factory=broken) == 2


def test_only_a_debug_build_takes_a_job(phone: Phone, built: World) -> None:
    """Another app on the tablet must not start anything; a second job is answered, not queued."""
    folder = write_job(phone, built)
    asked = Wanted(jobs.ACTION, RUN)
    phone.debug = False
    assert not take_job(asked, phone.places, phone)
    phone.debug = True
    for odd in (Wanted("android.intent.action.MAIN", RUN), Wanted(jobs.ACTION, "../x"), Wanted(jobs.ACTION, "f" * 16)):
        assert not take_job(odd, phone.places, phone)
    assert phone.started == []
    with jobs.held(phone.places):
        assert not take_job(asked, phone.places, phone)
    assert Done.from_bytes((folder / "done.json").read_bytes(), "").status == 7
    assert take_job(asked, phone.places, phone)
    assert phone.started == [(f"stop {ENGINE_SERVICE}", ""), (VERIFY_SERVICE, f"{phone.external()}\n{RUN}")]
    assert verify.asked(phone.started[1][1]) == (phone.external(), RUN)


def test_a_pushed_bundle_is_copied_in(phone: Phone, built: World) -> None:
    """Too large for the app: what a cable brought is hashed and copied; without it the screen says what to do."""
    index = read_index(phone.asset)
    from dataclasses import replace

    listed = replace(index, carried=False)
    with pytest.raises(BundleError, match="was not pushed"):
        unpack(listed, phone.asset, phone.places.bundle, pushed=phone.external() / "nothing")
    assert unpack(listed, phone.asset, phone.places.bundle, pushed=built.bundle)
    assert not unpack(listed, phone.asset, phone.places.bundle, pushed=None)
    open_bundle(phone.places.bundle, KeyStore(phone.places.home).trust_store())
