"""A build goes out to two devices and a bad one does not: every part is the real one, nothing is called but commands.

When this fails, the fleet's parts may each be right and still not be a fleet.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fleet_world import FleetWorld, fleet_tools, wait_until, with_wrong_golden
from tests.e2e.world import World

pytestmark = pytest.mark.slow
INSTALL_S = 240.0


def publish(world: World, bundle: str, release: str) -> None:
    """Into the repository, signed and published."""
    world.edge("repo", "add", "repo", bundle, "--release", release).ok()
    world.edge("repo", "sign", "repo", "targets").ok()
    world.edge("repo", "publish", "repo").ok()


def test_a_good_build_goes_out_and_a_bad_one_stops(world: World, tmp_path: Path) -> None:
    """Ring by ring on evidence; the bad build is on no device afterwards, and the second one never saw it."""
    if reason := fleet_tools():
        pytest.skip(reason)
    good = world.digest()
    with_wrong_golden(world, world.bundle, world.root / "out" / "bad")
    bad = world.digest("bad")
    world.edge("repo", "init", "repo").ok()
    publish(world, "out/tiny", "tiny-1")
    with FleetWorld(world) as fleet:
        fleet.dev(2)
        world.edge("rollout", "add-release", "out/tiny", "--release", "tiny-1", "--database", fleet.database).ok()
        start = ("rollout", "start", "--database", fleet.database)
        world.edge(*start, fleet.plan("tiny-1"), "--without-way-back").ok()
        canary = fleet.agent(1)
        fleet.agent(2)
        wait_until(lambda: fleet.current(1) == good, INSTALL_S, fleet.state)
        wait_until(lambda: fleet.phase("tiny-1") == "done", INSTALL_S, fleet.state)
        assert fleet.current(2) == good
        devices = {row["device"]: row for row in fleet.get("api/v1/devices")["devices"]}
        assert set(devices) == {"tablet-1", "tablet-2"}
        decisions = world.edge("rollout", "decisions", "to-tiny-1", "--database", fleet.database).ok().out
        assert "canary" in decisions and "clinic" in decisions

        # kill -9 of an agent between two builds loses nothing.
        canary.kill()
        publish(world, "out/bad", "tiny-2")
        world.edge("rollout", "add-release", "out/bad", "--release", "tiny-2", "--database", fleet.database).ok()
        world.edge(*start, fleet.plan("tiny-2")).ok()
        fleet.agent(1)
        wait_until(lambda: fleet.phase("tiny-2") == "stopped", INSTALL_S, fleet.state)
        wait_until(lambda: fleet.current(1) == good, 60, fleet.state)
        assert fleet.current(2) == good
        assert bad not in fleet.state()
        assert not any("Traceback" in fleet.log(name) for name in ("dev", "agent-1", "agent-2"))
