"""The controller on a real database: evidence in, desired versions and decisions out, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from edge.errors import ResourceError
from edge.fleet.rollout import desk
from edge.fleet.rollout.controller import published
from edge.fleet.store.store import time_text
from edge.fleet.store.tables import decisions, desired, devices, rollout_devices, rollouts
from edge.fleet.wire.messages import Command
from edge.fleet.wire.topics import parse_topic
from tests.fleet.rollout.small_fleet import NEW, OLD, OTHER, SmallFleet, changed_plan, desired_of, sqlite_fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SmallFleet]:
    """Twenty devices, nothing started."""
    found = sqlite_fleet(tmp_path)
    yield found
    found.store.close()


def evidence_of(fleet: SmallFleet, decision: str) -> dict[str, Any]:
    """What the newest decision of a kind was kept with."""
    with fleet.store.reading() as connection:
        rows_found = connection.execute(
            select(decisions.c.evidence).where(decisions.c.decision == decision).order_by(decisions.c.id)
        ).scalars()
        return dict(json.loads(list(rows_found)[-1]))


def test_a_good_build_reaches_every_device(fleet: SmallFleet, tmp_path: Path) -> None:
    """The whole way: ring, evidence, soak, next ring, done; every decision with what it rests on."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    said = sorted(fleet.result(device) for device in first)
    fleet.tick(1)
    assert fleet.state().ring == 0, "not before it has soaked"
    fleet.tick(1.1)
    opened = evidence_of(fleet, "ring_opened")
    assert sorted(opened["passed_messages"]) == said
    assert (opened["passed"], opened["needed"], opened["passed_share"]) == (4, 3, 1.0)
    assert opened["interval"] == [0.3976, 1.0] and opened["confidence"] == 0.95
    assert opened["passed_share_min"] == 0.75 and opened["failures_allowed"] == 1
    for device in set(fleet.tick_until_started(20)) - set(first):
        fleet.result(device)
    fleet.tick(0.1)
    assert fleet.state().phase == "done"
    assert fleet.on("notes-2") == fleet.names
    with fleet.store.reading() as connection:
        statuses = set(connection.execute(select(rollout_devices.c.status)).scalars())
    assert statuses == {"passed"}


@pytest.mark.parametrize(
    "spoilt",
    [
        {"bundle_digest": OTHER},
        {"emulated": True},
        {"golden_passed": None},
        {"received_at": "2026-11-22T11:59:59.999Z"},
    ],
    ids=["another build", "emulated", "no golden cases", "before it was assigned"],
)
def test_what_never_counts(fleet: SmallFleet, tmp_path: Path, spoilt: dict[str, Any]) -> None:
    """A ring opens on results that say nothing of the new build on real devices."""
    fleet.start(tmp_path)
    for device in fleet.tick_until_started(4):
        fleet.result(device, **spoilt)
    fleet.tick(3)
    assert evidence_of(fleet, "started")["rings"] == {"first": 4, "rest": 16}
    assert fleet.state().ring == 0
    assert not any(device.has_passed for device in fleet.state().devices.values())


def test_results_of_devices_of_other_rings_do_not_count(fleet: SmallFleet, tmp_path: Path) -> None:
    """Devices that have the build for another reason open the ring."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    for device in set(fleet.names) - set(first):
        fleet.result(device)
    fleet.tick(3)
    assert fleet.state().ring == 0


def test_the_devices_clock_is_not_read(fleet: SmallFleet, tmp_path: Path) -> None:
    """A tablet that thinks it is 1987 is no evidence, or one of 2099 is evidence for ever."""
    fleet.start(tmp_path)
    for device in fleet.tick_until_started(4):
        fleet.result(device, measured_at="1987-01-01T00:00:00.000Z")
    fleet.tick(2.1)
    assert fleet.state().ring == 1


def test_failures_stop_everything_and_set_back(fleet: SmallFleet, tmp_path: Path) -> None:
    """A bad build stays on the devices that got it."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    fleet.result(first[0], passed=False)
    messages = fleet.tick(0.1)
    assert [(one.device, desired_of(one).release) for one in messages] == [(first[0], "notes-1")], "one is set back"
    fleet.install(first[1], "rolled_back", "self_test_failed")
    messages = fleet.tick(0.1)
    assert sorted(one.device for one in messages) == first[1:]
    assert {desired_of(one).release for one in messages} == {"notes-1"}
    assert {desired_of(one).desired_version for one in messages} == {2}
    state = fleet.state()
    assert (state.phase, state.reason) == ("stopped", "failures")
    assert fleet.on("notes-1") == first and fleet.on("notes-2") == []
    stopped = evidence_of(fleet, "stopped")
    assert stopped["failed"] == 2 and len(stopped["failed_messages"]) == 2
    assert sorted(stopped["set_back"]) == first[2:], "the others were back already"


def test_too_little_evidence_stops_and_keeps_what_is_proven(fleet: SmallFleet, tmp_path: Path) -> None:
    """The time limit opens a ring, or a silent device installs the build when nobody is looking any more."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    fleet.result(first[0])
    fleet.result(first[1])
    for _ in range(49):
        fleet.tick(1)
    state = fleet.state()
    assert (state.phase, state.reason, state.ring) == ("stopped", "not_enough_evidence", 0)
    assert fleet.on("notes-2") == first[:2] and fleet.on("notes-1") == first[2:]
    assert {state.devices[name].asks for name in first[2:]} == {2}, "each was asked twice"
    assert "devices_timed_out" in fleet.decided()


def test_a_refused_build_is_asked_again(fleet: SmallFleet, tmp_path: Path) -> None:
    """One damaged download ends a device's part in the rollout, or it is asked without end."""
    fleet.start(tmp_path)
    device = fleet.tick_until_started(4)[0]
    fleet.install(device, "refused", "changed")
    messages = fleet.tick(0.1)
    assert [desired_of(one).desired_version for one in messages] == [2]
    assert fleet.tick(0.1) == ()
    fleet.install(device, "refused", "untrusted", to_digest=None)
    fleet.tick(0.1)
    assert fleet.state().devices[device].status == "install_failed"
    assert device in fleet.on("notes-1")


def test_bad_wifi_is_no_failure_before_the_timeout(fleet: SmallFleet, tmp_path: Path) -> None:
    """Three lost connections in a clinic condemn a build; or an install that never works is no failure at all."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    for device in first[:3]:
        fleet.result(device)
    for _ in range(5):
        fleet.install(first[3], "failed", "other")
        fleet.install(first[2], "refused", "busy")
        fleet.tick(0.1)
    assert fleet.state().devices[first[3]].status == "started"
    for _ in range(26):
        fleet.tick(1)
    assert fleet.state().devices[first[3]].status == "install_failed"
    assert fleet.state().devices[first[2]].status == "passed"


def test_a_build_that_somebody_took_off_failed(fleet: SmallFleet, tmp_path: Path) -> None:
    """A person goes back to the old build on a tablet, and it counts as passed."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    fleet.result(first[0])
    fleet.install(first[0], "rolled_back", "requested", from_digest=NEW, to_digest=OLD, rollout=None)
    fleet.install(first[1], "rolled_back", "requested", from_digest=NEW, to_digest=OLD, rollout="an-earlier-one")
    fleet.install(first[2], "rolled_back", "requested", from_digest=OLD, to_digest=NEW)  # it lay in the other slot
    fleet.tick(0.1)
    statuses = {name: device.status for name, device in fleet.state().devices.items() if name in first}
    assert list(statuses.values()).count("failed") == 1 and statuses[first[0]] == "failed"
    # Another build failed its self-test over this one, so this one is still in force and nobody took it off.
    fleet.install(first[3], "rolled_back", "self_test_failed", from_digest=NEW, to_digest=OTHER, rollout=None)
    fleet.tick(0.1)
    assert fleet.state().devices[first[3]].status == "started"


def test_a_device_that_has_the_build_is_told_to_measure(fleet: SmallFleet, tmp_path: Path) -> None:
    """It would wait for its schedule: the ring runs into its time."""
    with fleet.store.writing() as connection:
        connection.execute(update(devices).values(reported=json.dumps({"bundle_digest": NEW})))
    fleet.start(tmp_path, without_way_back=True)
    command, wanted = fleet.tick()
    assert command.topic == f"edge/v1/{wanted.device}/cmd/bench/notes-2-1"
    assert parse_topic(command.topic).operation == "bench"
    assert Command.from_bytes(command.payload, "test").status == "init" and command.retain


def test_a_revoked_device_does_not_block(fleet: SmallFleet, tmp_path: Path) -> None:
    """A stolen tablet keeps a ring closed for ever; or its failure is forgotten with it."""
    fleet.start(tmp_path, changed_plan(rings__0__open_next__passed_share_min=1.0))
    first = fleet.tick_until_started(4)
    for device in first[:3]:
        fleet.result(device)
    fleet.tick(3)
    assert fleet.state().ring == 0
    fleet.revoke(first[3])
    fleet.tick(0.1)
    assert fleet.state().ring == 1
    assert evidence_of(fleet, "ring_opened")["left"] == 1
    assert fleet.state().devices[first[3]].status == "left"


def test_devices_that_left_end_a_ring_that_cannot_open(fleet: SmallFleet, tmp_path: Path) -> None:
    """Everybody left, and the rollout waits for nobody."""
    fleet.start(tmp_path)
    for device in fleet.tick_until_started(4)[:2]:
        fleet.revoke(device)
    fleet.tick(0.1)
    assert fleet.state().reason == "not_enough_evidence"


def test_pause_starts_nothing_and_still_stops(fleet: SmallFleet, tmp_path: Path) -> None:
    """A pause over the weekend lets a bad build stay, or runs into the time limit."""
    fleet.start(tmp_path, changed_plan(rings__0__rate_per_h=2))
    fleet.tick()
    desk.pause(fleet.store, "notes-2", fleet.now, "tester")
    for _ in range(10):
        assert fleet.tick(10) == ()
    assert len(fleet.on("notes-2")) == 1
    desk.resume(fleet.store, "notes-2", fleet.now, "tester")
    fleet.tick(1)
    assert fleet.state().phase == "running", "the pause does not count towards the time"
    desk.pause(fleet.store, "notes-2", fleet.now, "tester")
    for device in fleet.on("notes-2"):
        fleet.result(device, golden_passed=False)
    fleet.tick(1)
    assert fleet.state().reason == "failures"
    assert fleet.on("notes-2") == []


def test_late_commits_are_found_before_a_ring_opens(fleet: SmallFleet, tmp_path: Path) -> None:
    """A failure that a second collector committed hours late is not read, and the ring opens over it."""
    plan = changed_plan(rings__0__open_next__soak_h=8, stop__failed_share_max=0.0)
    fleet.start(tmp_path, plan)
    first = fleet.tick_until_started(4)
    fleet.tick(0.1)
    received = time_text(fleet.now)
    for device in first[:3]:
        fleet.result(device)
    for _ in range(14):
        fleet.tick(0.5)
    fleet.result(first[3], passed=False, received_at=received)  # received long ago, committed now
    fleet.tick(0.1)
    assert fleet.state().phase == "running", "outside of what is read each time"
    fleet.tick(1)
    assert (fleet.state().phase, fleet.state().ring) == ("stopped", 0)


def test_messages_are_published_until_they_are_confirmed(fleet: SmallFleet, tmp_path: Path) -> None:
    """A desired state is lost between the database and the broker."""
    fleet.start(tmp_path)
    first = fleet.tick(confirm=False)
    assert len(first) == 1 and first[0].retain and first[0].qos == 1
    assert first[0].topic == f"edge/v1/{first[0].device}/down/desired"
    assert fleet.tick(confirm=False)[:1] == first, "again, the same"
    published(fleet.store, *first)
    assert fleet.tick(confirm=False) == ()
    with fleet.store.writing() as connection:
        connection.execute(update(desired).values(version=5))
    published(fleet.store, *first)
    (newer,) = fleet.tick(confirm=False)
    assert newer.desired_version == 5, "an old confirmation does not stand for a new version"


def test_an_online_device_that_does_not_report_it_is_told_again(fleet: SmallFleet, tmp_path: Path) -> None:
    """A broker that forgot its retained messages leaves a device on the old, or on a bad, build."""
    fleet.start(tmp_path)
    fleet.tick_until_started(4)
    fleet.tick()
    with fleet.store.writing() as connection:
        connection.execute(update(devices).values(online=True))
    told = set()
    for _ in range(12):
        told |= {one.device for one in fleet.tick(1 / 60)}
    assert len(told) == 4
    with fleet.store.writing() as connection:
        connection.execute(update(devices).values(reported='{"desired_version":1}'))
    for _ in range(12):
        assert fleet.tick(1 / 60) == ()


def test_versions_go_on_after_a_lost_database(fleet: SmallFleet, tmp_path: Path) -> None:
    """A restored database counts from 1 again, and devices that saw version 9 pass over all of it in silence."""
    fleet.start(tmp_path)
    fleet.tick_until_started(4)
    fleet.tick()
    with fleet.store.writing() as connection:
        connection.execute(update(devices).values(online=True, reported='{"desired_version":9}'))
    told = [one for _ in range(12) for one in fleet.tick(1 / 60)]
    assert {one.desired_version for one in told} == {10} and len({one.device for one in told}) == 4
    with fleet.store.writing() as connection:
        connection.execute(update(devices).values(reported='{"desired_version":9223372036854775807}'))
    assert [one for _ in range(12) for one in fleet.tick(1 / 60)] == []


def test_an_unreadable_rollout_holds_up_no_other(fleet: SmallFleet, tmp_path: Path) -> None:
    """One broken row stops the rollouts of all profiles, or is passed over in silence."""
    fleet.start(tmp_path)
    with fleet.store.writing() as connection:
        connection.execute(update(rollouts).values(state='{"version":7}'))
    with pytest.raises(ResourceError, match=r"rollout notes-2: the rollout's state is of version 7 \(known: 1\)"):
        fleet.tick()


def test_set_back_leaves_alone_what_another_decided(fleet: SmallFleet, tmp_path: Path) -> None:
    """An abort undoes what a later rollout, or a person, has set since."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    with fleet.store.writing() as connection:
        connection.execute(
            update(desired)
            .where(desired.c.device == first[0])
            .values(release="notes-3", rollout="notes-3", version=desired.c.version + 1)
        )
    desk.abort(fleet.store, "notes-2", fleet.now, "tester")
    assert fleet.on("notes-3") == first[:1]
    assert fleet.on("notes-1") == first[1:]
