"""An app that runs while a build is installed: when these fail, a panel writes with the old build until somebody
restarts it, changes the build in the middle of a visit, or shows one that never passed its self-test."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app.engine.bundle_place import BundlePlace
from edge.app.engine.multiplex import engines_for, places_for
from edge.app.engine.pipe import PipeClient
from edge.app.workspace import Workspace
from edge.bundle.install.memory import STATE_NAME, to_bytes
from edge.bundle.install.rules import Build, Order, State
from edge.bundle.update_lock import FileUpdateLock, exclusive, under_test, visit_open
from edge.errors import ResourceError
from tests.app.desk import PATIENT, Desk

OLD, NEW = Build("1" * 64), Build("2" * 64)


class Slots:
    """The slots of one profile as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "slots" / "notes"
        self.current = self.base / "current"
        for slot in ("a", "b"):
            (self.base / slot).mkdir(parents=True)
        self.point("a", State(slot="a", build=OLD))

    def point(self, slot: str, state: State) -> None:
        """Move the link, then the memory."""
        self.current.unlink(missing_ok=True)
        self.current.symlink_to(slot)
        (self.base / STATE_NAME).write_bytes(to_bytes(state))

    def switched(self) -> None:
        """The new build is shown and not confirmed."""
        self.point("b", State("switched", slot="a", build=OLD, order=Order(NEW, "b"), tests=1))

    def committed(self) -> None:
        """It is."""
        self.point("b", State(slot="b", build=NEW, previous=OLD))


class Panel(Desk):
    """A desk whose engine runs from slots. starts: the folder of each start."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.slots = Slots(folder)
        self.starts: list[str] = []
        place = BundlePlace(self.slots.current)
        start = self.engine.start

        def started() -> None:
            if not self.engine.alive:
                self.starts.append(place.now().name)
            start()

        self.engine.start = started  # type: ignore[method-assign]
        self.lock = folder / "home"
        services = replace(
            self.workspace.services,
            places=dict.fromkeys(self.workspace.services.engines, place.now),
            update_lock=FileUpdateLock(self.lock),
        )
        self.workspace = Workspace(services)


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    made = Panel(tmp_path)
    made.create()
    made.workspace.runs.start_engines()
    made.wait(2)
    yield made
    made.close()


def test_between_two_visits_the_new_build_is_taken(panel: Panel) -> None:
    """If not: an update reaches a panel only when somebody pulls its plug."""
    assert panel.starts == ["a"]
    panel.slots.switched()
    panel.wait(3)
    assert panel.starts == ["a"], "a build that has not passed here was taken"
    panel.slots.committed()
    panel.wait(3)
    assert panel.starts == ["a", "b"]
    panel.wait(5)
    assert panel.starts == ["a", "b"], "it is started again and again"
    assert panel.workspace.facts("note") is not None, "the engine did not come back"


def test_a_visit_keeps_its_build(panel: Panel) -> None:
    """If not: two drafts of one visit come from two models. (An installer is held off by the lock; a person is not.)"""
    panel.with_patient()
    panel.slots.committed()
    panel.wait(5)
    assert panel.starts == ["a"]
    panel.workspace.close()
    panel.wait(3)
    assert panel.starts == ["a", "b"]


def test_a_visit_that_is_opened_has_the_build_in_force(panel: Panel) -> None:
    """If not: a visit that is opened in the second after a commit is written with the build before."""
    panel.slots.committed()
    panel.workspace.new_encounter(PATIENT)
    assert panel.starts == ["a", "b"]


def test_while_a_build_is_tested_the_memory_is_its_own(panel: Panel) -> None:
    """If not: on a small board the new build fails its self-test for lack of memory, and no update ever passes."""
    with under_test(panel.lock):
        panel.slots.switched()
        panel.wait(3)
        assert not panel.engine.alive
        panel.slots.committed()
        panel.wait(3)
        assert not panel.engine.alive, "the build before is loaded between test and commit"
    panel.wait(3)
    assert panel.starts == ["a", "b"]
    panel.workspace.new_encounter(PATIENT)


def test_a_visit_that_is_opened_during_a_self_test_has_its_model_at_once(panel: Panel) -> None:
    """If not: a patient waits for a self-test, or the visit goes without a model, or with one that never passed."""
    with under_test(panel.lock):
        panel.slots.switched()
        panel.wait(3)
        assert not panel.engine.alive
        panel.workspace.new_encounter(PATIENT)
        assert panel.starts == ["a", "a"], "it is not the confirmed build, or it waits"
        assert visit_open(panel.lock), "the self-test does not hear of it"
        panel.wait(5)  # the installer has not ended its child yet
        assert panel.engine.alive and panel.starts == ["a", "a"], "the engine of an open visit was ended"
        assert panel.workspace.facts("note") is not None
    panel.slots.point("a", State("filled", slot="a", build=OLD, order=Order(NEW, "b")))
    panel.wait(3)
    panel.workspace.close()
    panel.wait(3)
    assert panel.starts == ["a", "a"], "the way back is not seen by the app"


def test_an_exchange_is_no_self_test(panel: Panel) -> None:
    """If not: the engines are ended for the instant of a switch; or a visit opens in it, with two builds."""
    with exclusive(panel.lock):
        panel.wait(3)
        assert panel.engine.alive
        with pytest.raises(ResourceError, match="being exchanged"):
            panel.workspace.new_encounter(PATIENT)
        assert panel.workspace.encounter is None


def test_a_locked_screen_follows_too(panel: Panel) -> None:
    """If not: the first visit of the morning is written with yesterday's build."""
    panel.workspace.lock()
    panel.slots.committed()
    panel.wait(3)
    assert panel.starts == ["a", "b"]


def test_an_engine_that_was_not_started_stays_so(panel: Panel) -> None:
    """If not: an update loads a model that nobody asked for."""
    panel.engine.kill()
    panel.slots.committed()
    panel.wait(3)
    assert panel.starts == ["a"]


def test_places(tmp_path: Path) -> None:
    """If not: an update never reaches a panel whose unit names the package's bundle, or reaches a builder's own."""
    brought = tmp_path / "kit" / "reference-notes"
    brought.mkdir(parents=True)
    place = BundlePlace(brought, tmp_path / "slots")
    assert place.now() == brought
    manifest = {"profile": {"name": "notes"}, "files": [{"path": "tasks/note.json"}]}
    (brought / "manifest.json").write_text(json.dumps(manifest))
    assert place.now() == brought
    slots = Slots(tmp_path)
    slots.point("a", State("switched", order=Order(NEW, "a"), tests=1))
    assert place.now() == brought, "the first build in the slots has not passed, and the package's has"
    assert not BundlePlace(slots.current).now().exists(), "here there is no other, and this one has not passed"
    slots.point("a", State(slot="a", build=OLD))
    assert place.now() == slots.base / "a"
    slots.switched()
    assert place.now() == slots.base / "a"
    slots.committed()
    assert place.now() == slots.base / "b"
    assert BundlePlace(brought).now() == brought, "slots count only where the app was told of them"
    assert BundlePlace(slots.current).shown == "notes"
    assert place.shown == "reference-notes"
    assert BundlePlace(tmp_path / "x.tar", tmp_path / "slots").now() == tmp_path / "x.tar"
    (brought / "manifest.json").write_text(json.dumps({"profile": {"name": "../../etc"}}))
    assert BundlePlace(brought, tmp_path / "slots").now() == brought


def test_routes_ask_the_build_in_force(tmp_path: Path) -> None:
    """If not: a task that an update brings is served by nobody."""
    slots = Slots(tmp_path)
    files = [{"path": "tasks/note.json"}]
    for slot in ("a", "b"):
        (slots.base / slot / "manifest.json").write_text(json.dumps({"files": files}))
        files.append({"path": "tasks/differential.json"})
    assert set(engines_for([slots.current])) == {"note"}
    slots.committed()
    assert set(places_for([slots.current])) == {"note", "differential"}
    assert places_for([slots.current])["note"].shown == "notes"


def test_each_start_of_a_child_asks_where_the_build_lies(tmp_path: Path) -> None:
    """If not: an engine that is started anew opens the build that it was made with."""
    asked: list[int] = []

    def command() -> tuple[str, ...]:
        asked.append(1)
        return (sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()")

    client = PipeClient(command)
    deadline_s = time.monotonic() + 20
    for count in (1, 2):
        client.start()
        while len(asked) < count or client.channel is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        client.kill()
    assert len(asked) == 2
