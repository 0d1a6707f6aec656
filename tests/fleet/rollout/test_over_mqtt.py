"""A rollout as it really happens: a broker, a collector that leads, devices that sign what they measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge.fleet.collector.service import Collector
from edge.fleet.collector.settings import Settings
from edge.fleet.rollout import desk
from edge.fleet.rollout.plan import load_plan
from edge.fleet.rollout.rows import read_state
from edge.fleet.rollout.state import State
from edge.fleet.store.store import Store, open_store
from edge.fleet.wire.messages import DesiredState
from tests.fleet.collector.parts import SimDevice, new_key, register, result, until
from tests.fleet.real_broker import Broker, running_broker
from tests.fleet.rollout.small_fleet import NEW, OLD, changed_plan, write_plan
from tests.fleet.wire.reports import make_report

pytestmark = pytest.mark.slow
GOOD = make_report(bundle_digest=NEW, release="notes-2", passed=True).to_bytes()
BAD = make_report(bundle_digest=NEW, release="notes-2", passed=False).to_bytes()


class Answering(SimDevice):
    """A device that measures what it is set to, and says so once for each version."""

    def __init__(self, *arguments: Any, says: bytes = GOOD) -> None:
        self.says = says
        self.wishes: list[DesiredState] = []
        super().__init__(*arguments)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        super()._on_message(client, data, message)
        if message.topic.endswith("/down/desired"):
            wanted = DesiredState.from_bytes(message.payload, "device")
            if wanted not in self.wishes:
                self.wishes.append(wanted)
                if wanted.release == "notes-2":
                    self.send(result(self.key, len(self.wishes), self.says))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real one."""
    with running_broker(tmp_path_factory.mktemp("fleet")) as running:
        yield running


def run(broker: Broker, folder: Path, bad: int) -> tuple[State, list[Answering]]:
    """Eight devices, four in the first ring, of which `bad` measure a failure; until the rollout ends."""
    with ExitStack() as stack:
        store: Store = open_store(f"sqlite:///{folder / 'fleet.db'}")
        stack.callback(store.close)
        for name, digest in (("notes-1", OLD), ("notes-2", NEW)):
            desk.add_release(store, desk.Release(name, "notes", digest, digest, "pi5-8gb"), store.clock())
        devices = []
        for index in range(8):
            name = f"bad{bad}-{index}"
            key = new_key(name)
            register(store, key, profile="notes", ring="first" if index < 4 else "rest")
            credentials = broker.pki.issue_device(name)
            says = BAD if index < bad else GOOD
            devices.append(Answering(key, credentials, broker.host, broker.port, says=says))
            stack.callback(devices[-1].close)
        settings = Settings(
            "collector", broker.host, broker.port, broker.pki.credentials("collector"), f"sqlite:///{folder}/fleet.db"
        )
        collector = Collector(settings, say=lambda _line: None)
        collector.start()
        stack.callback(collector.stop)
        plan = write_plan(folder, changed_plan(
            rings__0__devices={"label": "first"}, rings__0__rate_per_h=36000, rings__0__open_next__soak_h=0,
            rings__1__rate_per_h=36000,
        ))  # fmt: skip
        desk.start(store, load_plan(plan), plan.read_text(), store.clock(), "tester")

        def state() -> State:
            with store.reading() as connection:
                return read_state(connection, "notes-2")[1]

        def settled() -> bool:
            told = {one.key.name: one.wishes[-1].release for one in devices if one.wishes}
            back = {"notes-2"} if bad == 0 else {None}
            return state().phase not in ("running", "paused") and set(told.values()) == back

        until(settled, 40)
        return state(), devices


def test_a_good_build_reaches_all(broker: Broker, tmp_path: Path) -> None:
    """Signed results do not become evidence, or the wish does not reach a device."""
    state, devices = run(broker, tmp_path, bad=0)
    assert state.phase == "done"
    assert all([one.release for one in device.wishes] == ["notes-2"] for device in devices)
    assert all(device.status == "passed" for device in state.devices.values())


def test_a_bad_build_goes_back_and_no_further(broker: Broker, tmp_path: Path) -> None:
    """A device outside the first ring hears of a bad build, or one inside keeps it."""
    state, devices = run(broker, tmp_path, bad=2)
    assert (state.phase, state.reason, state.ring) == ("stopped", "failures", 0)
    assert all(device.wishes == [] for device in devices[4:])
    asked = [device for device in devices[:4] if device.wishes]
    assert len(asked) >= 2 and all(device.wishes[-1].release is None for device in asked), "they had no release before"
