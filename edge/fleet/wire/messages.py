"""The documents of the fleet beside the result: installs, telemetry, states, acknowledgements, commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from edge.bundle.install.rules import OutcomeName, Reason
from edge.fleet.wire.documents import Celsius, Count, Digest, Document, Epoch, Positive, Sequence, Slug, Version

# The installer's own words.
InstallOutcomeName = OutcomeName
InstallReason = Reason
# Why a device does not measure or install now.
PausedReason = Literal[
    "none",
    "encounter_open",
    "battery",
    "heat",
    "memory",
    "disk",
    "running",
    "not_due",
    "no_bundle",
    "clock",
]
CommandStatus = Literal["init", "executing", "successful", "failed"]
CommandReason = Literal[
    "none",
    "interrupted",
    "unknown_operation",
    "bad_arguments",
    "refused",
    "timed_out",
    "gate_failed",
    "encounter_open",
    "battery",
    "heat",
    "memory",
    "disk",
    "no_bundle",
    "no_update",
    "other",
]
QuarantineReason = Literal[
    "malformed",
    "unknown_device",
    "revoked",
    "wrong_device",
    "wrong_key",
    "forged",
    "sequence_reused",
    "future_schema",
    "schema",
    "oversize",
    "implausible",
    "unknown_type",
]


class InstallReport(Document):
    """How an install ended. moved_bytes: fetched; kept_bytes: taken from the installed slot."""

    outcome: InstallOutcomeName
    reason: InstallReason
    from_digest: Digest | None
    to_digest: Digest | None
    release: Slug | None
    slot: Literal["a", "b"] | None
    moved_bytes: Count
    kept_bytes: Count
    duration_s: Positive
    rollout: Slug | None = None


class Telemetry(Document):
    """How the device is between two benchmarks. dropped: telemetry that the outbox had no room for, so far."""

    battery_percent: Annotated[float, Field(ge=0, le=100)] | None
    charging: bool | None
    hottest_celsius: Celsius | None
    memory_available_bytes: Count
    disk_free_bytes: Count
    outbox_rows: Count
    outbox_bytes: Count
    dropped: Count
    agent_version: Version


class ReportedState(Document):
    """What a device runs. state_version counts up; the newest counts. desired_version: the last it has seen."""

    state_version: Count
    agent_version: Version
    profile: Slug | None
    release: Slug | None
    bundle_digest: Digest | None
    previous_digest: Digest | None
    slot: Literal["a", "b"] | None
    phase: Slug
    desired_version: Count
    last_result_seq: Count
    paused_reason: PausedReason


class DesiredState(Document):
    """What a device shall run. desired_version counts up; one that is older than seen is passed over.

    release None: nothing is asked of the device.
    """

    desired_version: Count
    release: Slug | None
    profile: Slug | None
    bundle_digest: Digest | None
    rollout: Slug | None


class Ack(Document):
    """What a collector has committed; the outbox deletes these rows and no others."""

    epoch: Epoch
    accepted: tuple[Sequence, ...]
    quarantined: tuple[tuple[Sequence, QuarantineReason], ...]


class Command(Document):
    """The content of a command's topic; its operation and id stand in the topic. release: of an install."""

    status: CommandStatus
    release: Slug | None = None
    workload: Slug | None = None
    reason: CommandReason = "none"


class Presence(Document):
    """Retained; the broker says `online: false` for a device that went without a word, after the will's delay."""

    online: bool


@dataclass(frozen=True)
class Publish:
    """A message that the collector shall publish. device, desired_version: of a desired state, else "" and 0."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    device: str = ""
    desired_version: int = 0
