"""Which device falls into which ring."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InputError
from edge.fleet.rollout.members import FleetDevice, in_no_ring, members
from tests.fleet.rollout.small_fleet import changed_plan, plan_of

FLEET = [FleetDevice(f"d{index:02d}", "notes", "desk" if index < 3 else None, runs="notes-1") for index in range(20)]


@given(st.permutations(FLEET))
def test_the_order_of_the_fleet_does_not_matter(fleet: list[FleetDevice]) -> None:
    """A second look would put devices into other rings than the first."""
    assert members(plan_of(), fleet) == members(plan_of(), FLEET)


@given(st.integers(5, 300), st.sampled_from([0.1, 0.2, 0.5, 0.99]))
def test_every_device_is_in_one_ring(count: int, share: float) -> None:
    """A device is forgotten, or started by two rings."""
    fleet = [FleetDevice(f"d{index}", "notes") for index in range(count)]
    plan = plan_of(changed_plan(rings__0__devices={"share": share}, rings__0__open_next__devices_min=1,
                                rings__1__open_next__devices_min=1))  # fmt: skip
    try:
        found = members(plan, fleet)
    except InputError as error:
        assert "is empty" in str(error) and count * (1 - share) < 1
        return
    taken = [one.device for ring in found for one in ring.devices]
    assert sorted(taken) == sorted(one.device for one in fleet)
    assert share * count <= len(found[0].devices) < share * count + 1


def test_another_rollout_draws_others() -> None:
    """The same tablets would be the first to get every new build."""
    first = members(plan_of(), FLEET)[0]
    second = members(plan_of(changed_plan(rollout="notes-3")), FLEET)[0]
    assert {one.device for one in first.devices} != {one.device for one in second.devices}


def test_named_and_labelled_devices_are_not_drawn_before() -> None:
    """A device that the plan names for the last ring gets the build in the first one."""
    plan = plan_of(changed_plan(rings__1__devices={"names": [one.device for one in FLEET[4:]]}))
    with pytest.raises(InputError, match="could never open"):  # a fifth of the four that are left
        members(plan, FLEET)
    labelled = plan_of(changed_plan(rings__0__devices={"label": "desk"}))
    assert sorted(one.device for one in members(labelled, FLEET)[0].devices) == ["d00", "d01", "d02"]


def test_only_the_profiles_own_devices() -> None:
    """A revoked device or one of another profile is counted in a ring and never answers."""
    fleet = [*FLEET, FleetDevice("other", "differential"), FleetDevice("gone", "notes", revoked=True),
             FleetDevice("silent", None)]  # fmt: skip
    found = members(plan_of(), fleet)
    assert {one.device for ring in found for one in ring.devices} == {one.device for one in FLEET}
    short = found[:1]
    assert set(in_no_ring(plan_of(), fleet, short)) == {one.device for one in FLEET if one not in short[0].devices}


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("nobody", "device 'nobody' is not in the fleet"),
        ("gone", "device 'gone' was revoked"),
        ("other", "runs profile 'differential', not 'notes'"),
        ("busy", "is in rollout 'notes-x', which has not ended"),
    ],
)
def test_a_named_device_that_cannot_take_part_is_said(device: str, words: str) -> None:
    """The ring would be smaller than its plan says, silently."""
    fleet = [*FLEET, FleetDevice("other", "differential"), FleetDevice("gone", "notes", revoked=True),
             FleetDevice("busy", "notes", busy="notes-x")]  # fmt: skip
    plan = plan_of(changed_plan(rings__0__devices={"names": ["d00", "d01", "d02", device]}))
    with pytest.raises(InputError, match=words):
        members(plan, fleet)


def test_a_ring_that_is_empty_here_is_said() -> None:
    """The rollout would wait for evidence from nobody."""
    plan = plan_of(changed_plan(rings__0__devices={"label": "clinic-9"}))
    with pytest.raises(InputError, match="ring 'first': is empty: no device of profile 'notes'"):
        members(plan, FLEET)
