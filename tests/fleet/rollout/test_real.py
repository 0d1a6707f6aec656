"""The controller as it really runs: processes that are killed, and a PostgreSQL server."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from edge.fleet.rollout.plan import load_plan
from edge.fleet.store.store import open_store
from edge.fleet.store.tables import decisions
from tests.fleet.rollout.small_fleet import SmallFleet, changed_plan, write_plan

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


def test_controllers_that_are_killed(tmp_path: Path) -> None:
    """kill -9 between two steps starts a device twice, opens a ring twice, or loses a message for ever."""
    url, log = f"sqlite:///{tmp_path / 'fleet.db'}", tmp_path / "published"
    log.touch()
    fleet, dice = SmallFleet(open_store(url), 40), random.Random(7)
    plan = changed_plan(
        rings__0__rate_per_h=36000, rings__1__rate_per_h=36000, rings__0__open_next__soak_h=0.0002, timeout_h=1.0
    )
    fleet.now = datetime.now(UTC)
    fleet.start(tmp_path, plan)
    answered: set[str] = set()
    kills, deadline = 0, time.monotonic() + 60
    while fleet.state().phase == "running" and time.monotonic() < deadline:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.rollout.kill_child", url, str(log)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        end = time.monotonic() + dice.uniform(0.1, 0.9)
        while time.monotonic() < end:
            for line in log.read_text().splitlines():
                device, _, release = line.split()
                if release == "notes-2" and device not in answered:
                    fleet.now = datetime.now(UTC)
                    fleet.result(device)
                    answered.add(device)
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        kills += 1
    assert fleet.state().phase == "done"
    assert kills >= 3
    assert set(fleet.versions().values()) == {1}, "nobody was asked twice"
    assert fleet.decided().count("ring_opened") == 1
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in log.read_text().splitlines():
        device, version, release = line.split()
        told[device, version].add(release)
    assert len(told) == 40 and all(len(releases) == 1 for releases in told.values())
    fleet.store.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_on_postgresql(database_url: str, tmp_path: Path) -> None:
    """The statements that SQLite takes are refused by PostgreSQL, or mean another thing there."""
    fleet = SmallFleet(open_store(database_url))
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    for device in first:
        fleet.result(device)
    fleet.install(first[0], "refused", "busy", to_digest=None)
    fleet.tick(2.1)
    assert fleet.state().ring == 1
    rest = sorted(set(fleet.tick_until_started(20)) - set(first))
    fleet.revoke(rest[0])
    for device in rest[1:6]:
        fleet.install(device, "rolled_back", "self_test_failed")
    fleet.tick(0.1)
    assert fleet.state().reason == "failures"
    assert fleet.on("notes-1") == fleet.names
    assert fleet.tick() == (), "all is published"
    with fleet.store.reading() as connection:
        order = list(connection.execute(select(decisions.c.decision).order_by(decisions.c.id)).scalars())
    assert order[0] == "started" and order[-1] == "stopped"
    # A second start of the profile waits for the first and is refused.
    path = write_plan(tmp_path, changed_plan(rollout="notes-3", release="notes-3"))
    load_plan(path)
    fleet.start(tmp_path, changed_plan(rollout="notes-3", release="notes-3"))
    fleet.store.close()
