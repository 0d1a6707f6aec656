"""A rollout's plan: which rings, how fast, what opens the next one, what stops it all. YAML to frozen objects.

Words are those of AWS IoT Jobs where it has them: rate, abort threshold (here `stop`), timeout, retry.
A plan that could never open a ring, or that could open one without evidence, is refused when it is read; what depends
on the fleet (a ring that is empty there) is refused when it is started, see members.py.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from edge.bundle.canonical import SLUG
from edge.specs.yaml_source import Spec, fault, shown, validate

HOURS_MAX = 24 * 366
# Less than half of a ring is no proof of a build.
SHARE_LEAST = 0.5
# Shares of whole numbers are compared with this much room for how 0.1 is written in binary.
EPSILON = 1e-9
Hours = Annotated[float, Field(gt=0, le=HOURS_MAX)]


def _checked_slug(name: str) -> str:
    if not SLUG.fullmatch(name):
        raise fault("", f"{shown(name)} must be lower-case letters, digits, '.', '_' and '-'")
    return name


class RingDevices(Spec):
    """Who is in a ring; exactly one of three. names: these devices. label: all whose ring in the fleet is this.

    share: of the devices of the profile that no ring before has taken, chosen by a hash of rollout and device, so that
    the same plan chooses the same ones; 1.0 takes all the rest.
    """

    names: tuple[str, ...] | None = None
    label: str | None = None
    share: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [key for key in ("names", "label", "share") if getattr(self, key) is not None]
        if len(ways) != 1:
            given = " and ".join(ways) or "none"
            raise fault("", f"give exactly one of names, label, share, not {given}")
        if self.label is not None and not SLUG.fullmatch(self.label):
            raise fault("label", f"{shown(self.label)} must be lower-case letters, digits, '.', '_' and '-'")
        for index, name in enumerate(self.names or ()):
            if not SLUG.fullmatch(name):
                raise fault(f"names.{index}", f"{shown(name)} is no device's name (letters, digits, '.', '_', '-')")
        if self.names is not None and not self.names:
            raise fault("names", "is an empty list, so the ring is empty")
        return self


class OpenNext(Spec):
    """What opens the ring after this one; for the last ring, what ends the rollout well.

    passed_share_min: of all devices of the ring, those without a result counted as not passed. devices_min: so many
    passed at least. within_h: from the ring's opening until both hold. soak_h: how long they must hold after that.
    """

    passed_share_min: float = Field(ge=SHARE_LEAST, le=1)
    devices_min: int = Field(ge=1, le=1_000_000)
    within_h: Hours
    soak_h: float = Field(default=0.0, ge=0, le=HOURS_MAX)

    def needed(self, devices: int) -> int:
        """How many of `devices` must pass."""
        return max(self.devices_min, self.needed_share(devices))

    def needed_share(self, devices: int) -> int:
        """The same by the share alone."""
        return math.ceil(self.passed_share_min * devices - EPSILON)


class Ring(Spec):
    """One step of a rollout. rate_per_h: devices started in an hour."""

    name: str
    devices: RingDevices
    rate_per_h: float = Field(ge=0.01, le=1_000_000)
    open_next: OpenNext

    _name = field_validator("name")(_checked_slug)

    def too_few(self, devices: int) -> str:
        """Why this ring could never open the next with so many devices; "" when it could."""
        rule = self.open_next
        if devices < rule.devices_min:
            return f"{devices} devices are fewer than devices_min {rule.devices_min}"
        startable = 1 + math.floor(self.rate_per_h * rule.within_h)
        if startable < rule.needed(devices):
            return (
                f"at {self.rate_per_h:g} an hour {startable} of {devices} devices are started within "
                f"{rule.within_h:g} h, and {rule.needed(devices)} must pass"
            )
        return ""


class Stop(Spec):
    """What stops everything and sets all started devices back.

    failed_share_max: the largest share of failed devices in any ring. failed_max: the largest number in all rings.
    """

    failed_share_max: float = Field(ge=0, le=SHARE_LEAST)
    failed_max: int = Field(ge=0, le=1_000_000)


class RolloutPlan(Spec):
    """One rollout. rollout: its name, used once. timeout_h: a device without a result after that time is asked again
    `retries` times, then counted as timed out."""

    version: Literal[1]
    rollout: str
    release: str
    profile: str
    rings: tuple[Ring, ...] = Field(min_length=1, max_length=50)
    stop: Stop
    timeout_h: Hours
    retries: int = Field(default=1, ge=0, le=10)

    _names = field_validator("rollout", "release", "profile")(_checked_slug)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_names(self.rings)
        for index, ring in enumerate(self.rings):
            rule = ring.open_next
            if ring.devices.names is not None and (why := ring.too_few(len(ring.devices.names))):
                raise _never(index, why)
            if self.timeout_h > rule.within_h:
                raise fault(
                    "timeout_h",
                    f"{self.timeout_h:g} is longer than within_h {rule.within_h:g} of ring '{ring.name}', "
                    "so no device would ever time out there",
                )
        return self


def _never(index: int, why: str) -> PydanticCustomError:
    return fault(f"rings.{index}.open_next", f"this ring could never open the next: {why}")


def _check_names(rings: tuple[Ring, ...]) -> None:
    """No ring, device or label twice; nothing after a ring that takes all."""
    seen: set[str] = set()
    devices: dict[str, str] = {}
    labels: set[str] = set()
    whole: str | None = None
    for index, ring in enumerate(rings):
        if ring.name in seen:
            raise fault(f"rings.{index}.name", f"{shown(ring.name)} is given twice")
        seen.add(ring.name)
        for place, name in enumerate(ring.devices.names or ()):
            if name in devices:
                raise fault(f"rings.{index}.devices.names.{place}", f"{shown(name)} is in ring '{devices[name]}' too")
            devices[name] = ring.name
        if ring.devices.label is not None:
            if ring.devices.label in labels:
                raise fault(f"rings.{index}.devices.label", f"{shown(ring.devices.label)} is another ring's already")
            labels.add(ring.devices.label)
        if whole is not None and ring.devices.names is None:
            raise fault(f"rings.{index}.devices", f"is empty: ring '{whole}' takes all the rest")
        if ring.devices.share == 1.0:
            whole = ring.name


def load_plan(path: Path) -> RolloutPlan:
    """Read a plan. Errors: SpecError naming file, line, key and what is allowed."""
    return validate(RolloutPlan, path)
