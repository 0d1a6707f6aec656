"""A desired state on a real broker, updates in a folder, real slots. When it fails, no rollout reaches a device."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.bundle.open import open_bundle
from edge.fleet.agent.config import AgentConfig
from edge.fleet.updates.client import ship_root
from edge.fleet.updates.repository import create
from edge.fleet.wire import topics
from edge.fleet.wire.event import INSTALL
from edge.fleet.wire.messages import Command, DesiredState, InstallReport, ReportedState
from tests.fleet.agent.listener import listen
from tests.fleet.agent.makers import DEVICE
from tests.fleet.agent.test_change import world_profile
from tests.fleet.agent.world import Runner, events, send, statuses
from tests.fleet.real_broker import Broker
from tests.fleet.updates.update_world import Clock, World, bundle_files


@pytest.mark.slow
def test_a_build_that_no_engine_runs(config: AgentConfig, broker: Broker, tmp_path: Path) -> None:
    """If not: a bad build is committed, fetched again and again, or its failure is not told with the rollout's name."""
    (tmp_path / "world").mkdir()
    shutil.copytree(tmp_path / "home", tmp_path / "world/home")
    world = World(tmp_path / "world", Clock(datetime.now(UTC)))
    create(world.folder / "repo", world.folder / "repo-keys", clock=world.clock)
    world.add("v1", bundle_files(adapter_seed=1))
    world.publish()
    profile = world_profile(world)
    ship_root(config.home / "updates", (world.published / "metadata/1.root.json").read_bytes())
    digest = open_bundle(world.folder / "bundles/v1", world.trust).bundle_digest
    desired = DesiredState(desired_version=3, release="v1", profile=profile, bundle_digest=digest, rollout="spring")
    fleet = listen(broker, answer=True, filters=(topics.ALL_UP, topics.ALL_COMMANDS))
    runner = Runner(replace(config, profile=profile, updates=(str(world.published),), bundle=None), tmp_path / "root")
    send(fleet, topics.down(DEVICE, "desired"), desired.to_bytes())
    runner.until(lambda: runner.agent._memory.settled_version == 3, "the order is not settled")
    runner.until(lambda: any(event.type == INSTALL for event in events(fleet)), "the outcome is not told")
    (event,) = [event for event in events(fleet) if event.type == INSTALL]
    report = InstallReport.from_bytes(event.data, "install")
    assert (report.outcome, report.reason) == ("rolled_back", "self_test_failed")
    assert (report.release, report.rollout, report.to_digest) == ("v1", "spring", digest)
    older = desired.model_copy(update={"desired_version": 2, "release": "v0"})
    send(fleet, topics.down(DEVICE, "desired"), older.to_bytes())
    send(fleet, topics.down(DEVICE, "desired"), desired.to_bytes().replace(b'"version":1', b'"version":8'))
    send(fleet, topics.command(DEVICE, "install", "i1"), Command(status="init", release="v9").to_bytes())
    runner.until(lambda: "failed:no_update" in statuses(fleet, "install", "i1"), "the command does not end")
    assert runner.agent._memory.desired_release == "v1"
    assert any("newer edge" in line for line in runner.said)
    assert sum(event.type == INSTALL for event in events(fleet)) == 1
    states = [ReportedState.from_bytes(payload, "state") for name, payload, *_ in fleet.got if name.endswith("/state")]
    assert {"installing", "idle"} <= {state.phase for state in states}
    assert states[-1].desired_version == 3
    runner.agent.close()
    fleet.client.loop_stop()
