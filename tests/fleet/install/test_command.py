"""`edge install` as a person and a boot meet it, with a real model: when these fail, a device cannot be updated by
hand, or a build that does not run there comes into force."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge.bundle.update_lock import FileUpdateLock
from edge.errors import EdgeError, ExitStatus
from edge.fleet.install.command import install, profiles_in
from edge.fleet.install.self_test import started_by
from tests.e2e.conftest import built, world
from tests.e2e.world import World

__all__ = ["built", "world"]


def call(*arguments: str | Path, home: Path) -> tuple[int, str]:
    """Exit code, and what was said; an EdgeError ends as edge.cli ends it."""
    done = CliRunner(env={"EDGE_HOME": str(home)}).invoke(install, [str(one) for one in arguments])
    if isinstance(done.exception, EdgeError):
        return int(done.exception.status), str(done.exception)
    return done.exit_code, done.output


def test_without_any_slots(tmp_path: Path) -> None:
    """If not: a device that never installed anything fails at each boot."""
    assert call("resume", home=tmp_path) == (0, "")
    status, said = call("status", home=tmp_path)
    assert status == 0 and "no build is installed" in said
    assert json.loads(call("status", "--json", home=tmp_path)[1]) == []
    assert call("rollback", home=tmp_path)[0] == ExitStatus.INPUT
    assert call(tmp_path / "nothing.tar", home=tmp_path)[0] == ExitStatus.BUNDLE
    assert call("--help", home=tmp_path)[0] == 0
    assert call(home=tmp_path)[1].startswith("Usage")
    assert not (tmp_path / "slots").exists()


def test_which_profiles(tmp_path: Path) -> None:
    """If not: a stray file in the slots' folder stops the boot."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "file").touch()
    assert list(profiles_in(tmp_path)) == ["notes"]


def in_world(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str, slots: str = "slots") -> tuple[int, str]:
    """`edge install` on a machine with a model."""
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(world.root)
    return call(*arguments, "--slots", slots, home=world.root / "home")


@pytest.mark.slow
def test_a_real_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: what passes here is not what the runtime takes; or golden cases that do not hold come into force."""
    work = ("--workload", "work.yaml")
    status, said = in_world(world, monkeypatch, "out/tiny", "--release", "r1", *work)
    assert status == 0, said
    assert "tiny: committed" in said and "in force in slot a" in said
    current = world.root / "slots/tiny/current"
    assert len(list((current / "attestations").glob("*.json"))) == 1
    shown = json.loads(in_world(world, monkeypatch, "status", "--json")[1])
    assert [(one["profile"], one["slot"], one["release"], one["phase"]) for one in shown] == [
        ("tiny", "a", "r1", "idle")
    ]
    assert "has not passed" not in world.note("slots/tiny/current").ok().err, "the runtime does not know its result"

    bad = signed_with_wrong_golden_cases(world)
    status, said = in_world(world, monkeypatch, str(bad), *work)
    assert status == ExitStatus.GATE, said
    assert "the self-test failed" in said and "golden" in said
    assert current.readlink() == Path("a")
    assert in_world(world, monkeypatch, "resume") == (0, "")
    status, said = in_world(world, monkeypatch, "rollback")
    assert status == ExitStatus.RESOURCE and "no build before" in said


@pytest.mark.slow
def test_a_visit_during_a_real_self_test(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: the child that holds a real model lives on in a visit, signs a bad result, or the install is lost."""
    lock, slots = FileUpdateLock(world.root / "home"), world.root / "visited"
    found: list[int] = []

    def with_the_model(process: int) -> bool:
        try:
            return "onnxruntime" in Path(f"/proc/{process}/maps").read_text()
        except OSError:
            return False

    def of_edge() -> list[int]:
        """Without a database server or a broker that another test of this process keeps running."""
        own = []
        for process in started_by(os.getpid()):
            with contextlib.suppress(OSError):
                if b"edge." in Path(f"/proc/{process}/cmdline").read_bytes():
                    own.append(process)
        return own

    before = set(of_edge())

    def open_one() -> None:
        """Once a process of the self-test has the model in memory."""
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s and not any(map(with_the_model, found)):
            found[:] = set(of_edge()) - before
            time.sleep(0.005)
        lock.acquire()

    monkeypatch.setenv("EDGE_LOCK", str(world.root / "home"))
    clinician = threading.Thread(target=open_one)
    clinician.start()
    status, said = in_world(world, monkeypatch, "out/tiny", "--workload", "work.yaml", slots=slots.name)
    clinician.join()
    assert len(found) >= 2, "no process had the model in memory"
    deadline_s = time.monotonic() + 5
    while any(map(with_the_model, found)):
        assert time.monotonic() < deadline_s, "the model stays in memory"
        time.sleep(0.02)
    assert not set(found) & set(of_edge()), "the child lives on"
    assert status == ExitStatus.RESOURCE, said
    assert "refused" in said and "a visit was opened" in said
    shown = json.loads(in_world(world, monkeypatch, "status", "--json", slots=slots.name)[1])
    assert [(one["phase"], one["slot"], one["tests"]) for one in shown] == [("filled", None, 0)]
    assert not (slots / "tiny/current").is_symlink()
    assert not list((slots / "tiny/a/attestations").glob("[!.]*")), "it signed something"
    lock.release()
    status, said = in_world(world, monkeypatch, "resume", "--workload", "work.yaml", slots=slots.name)
    assert status == 0 and "tiny: committed" in said, said


def signed_with_wrong_golden_cases(world: World) -> Path:
    """The same build by the same builder, with golden cases that expect other tokens."""
    from edge.bundle.keys import KeyStore
    from edge.bundle.manifest import MANIFEST_NAME, Manifest
    from edge.bundle.writer import GIVEN, BundleWriter

    source, place = world.root / "out/tiny", world.root / "out/bad"
    manifest = Manifest.from_bytes((source / MANIFEST_NAME).read_bytes())
    fields: dict[str, Any] = {name: getattr(manifest, name) for name in GIVEN}
    with BundleWriter(place) as writer:
        for entry in manifest.files:
            (writer.folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / entry.path, writer.folder / entry.path)
        cases = writer.folder / "golden/cases.json"
        value = json.loads(cases.read_bytes())
        for case in value["cases"]:
            case["expected_top1"] = [token + 1 for token in case["expected_top1"]]
        cases.write_text(json.dumps(value))
        writer.commit(fields, KeyStore(world.root / "home").load_signing_key())
    return place
