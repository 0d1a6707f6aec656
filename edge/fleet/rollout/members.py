"""Which device falls into which ring. Pure: the plan and the fleet in, rings of devices out.

Rules
- A device is in the first ring that names it, bears its label or draws it. Devices of other profiles and revoked ones
  are in none; one that has never said its profile is in a ring only where it is named.
- Names first: a device that any ring names is in that ring, and none before it draws it.
- A share is of what the rings before have left, rounded up, drawn by a hash of rollout and device; the same hash is the
  order in which a ring's devices are started, so that the first to get a build are no special ones.
- Devices that enrol after the start are in no ring.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import InputError
from edge.fleet.rollout.plan import EPSILON, Ring, RolloutPlan


@dataclass(frozen=True, slots=True)
class FleetDevice:
    """A device as the fleet knows it. label: its ring there. runs: the release that it has, None where unknown.

    digest: of the bundle that it said it runs, None where it said nothing. busy: the active rollout that it is in.
    """

    device: str
    profile: str | None
    label: str | None = None
    revoked: bool = False
    runs: str | None = None
    digest: str | None = None
    busy: str | None = None

    @property
    def has_no_way_back(self) -> bool:
        """It runs a bundle, and the fleet does not know which release that is."""
        return self.runs is None and self.digest is not None


@dataclass(frozen=True, slots=True)
class Member:
    """A ring with its devices, in the order in which they are started."""

    ring: Ring
    devices: tuple[FleetDevice, ...]


def order_key(rollout: str, device: str) -> bytes:
    """The same on every machine; another order in another rollout."""
    return hashlib.sha256(f"{rollout}\n{device}".encode()).digest()


def members(plan: RolloutPlan, fleet: Sequence[FleetDevice]) -> tuple[Member, ...]:
    """The rings of a plan in this fleet.

    Errors: InputError for a named device that is unknown, revoked, of another profile or in another rollout, for a ring
    that is empty here, and for one that is too small to ever open the next.
    """
    named = {name: ring.name for ring in plan.rings for name in ring.devices.names or ()}
    _check_named(plan, {one.device: one for one in fleet})
    usable = sorted(
        (one for one in fleet if not one.revoked and (one.profile == plan.profile or one.device in named)),
        key=lambda one: order_key(plan.rollout, one.device),
    )
    rest = [one for one in usable if one.device not in named]
    found = []
    for ring in plan.rings:
        if ring.devices.names is not None:
            chosen = [one for one in usable if named.get(one.device) == ring.name]
        elif ring.devices.label is not None:
            chosen = [one for one in rest if one.label == ring.devices.label]
        else:
            chosen = rest[: math.ceil((ring.devices.share or 0.0) * len(rest) - EPSILON)]
        taken = {one.device for one in chosen}
        rest = [one for one in rest if one.device not in taken]
        _check_ring(plan, ring, chosen)
        found.append(Member(ring, tuple(chosen)))
    return tuple(found)


def in_no_ring(plan: RolloutPlan, fleet: Sequence[FleetDevice], rings: Sequence[Member]) -> list[str]:
    """Devices of the profile that the plan leaves out."""
    taken = {one.device for ring in rings for one in ring.devices}
    return sorted(
        one.device for one in fleet if one.profile == plan.profile and not one.revoked and one.device not in taken
    )


def _check_named(plan: RolloutPlan, fleet: dict[str, FleetDevice]) -> None:
    for ring in plan.rings:
        for name in ring.devices.names or ():
            device, where = fleet.get(name), f"ring '{ring.name}'"
            if device is None:
                raise InputError(f"device '{name}' is not in the fleet", where=where, mend="see `edge fleet devices`")
            if device.revoked:
                raise InputError(f"device '{name}' was revoked", where=where, mend="take it out of the plan")
            if device.profile not in (None, plan.profile):
                raise InputError(
                    f"device '{name}' runs profile '{device.profile}', not '{plan.profile}'",
                    where=where,
                    mend="take it out of the plan",
                )


def _check_ring(plan: RolloutPlan, ring: Ring, chosen: Sequence[FleetDevice]) -> None:
    where = f"ring '{ring.name}'"
    if not chosen:
        raise InputError(
            f"is empty: no device of profile '{plan.profile}' in this fleet falls into it",
            where=where,
            mend="take the ring out, or label devices for it",
        )
    if why := ring.too_few(len(chosen)):
        raise InputError(f"could never open the next: {why}", where=where, mend="change the ring in the plan")
    for one in chosen:
        if one.busy is not None:
            raise InputError(
                f"device '{one.device}' is in rollout '{one.busy}', which has not ended",
                where=where,
                mend=f"wait, or `edge rollout abort {one.busy}`",
            )
