"""What can happen to an agent, and what it can do about it. The rules are in edge.fleet.agent.rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from edge.fleet.agent.conditions import Conditions, Limits
from edge.fleet.agent.memory import Job, Memory
from edge.fleet.wire.messages import (
    Command,
    CommandReason,
    CommandStatus,
    DesiredState,
    InstallOutcomeName,
    InstallReason,
)
from edge.fleet.wire.topics import Operation


@dataclass(frozen=True)
class Settings:
    """What does not change while the agent runs. every: of the schedule; None: only when asked."""

    device: str
    profile: str
    began: datetime
    every: timedelta | None = timedelta(hours=24)
    limits: Limits = field(default_factory=Limits)
    patience_s: float = 6 * 3600.0


# Events


@dataclass(frozen=True)
class Woke:
    """The agent began with this memory."""


@dataclass(frozen=True)
class Tick:
    """Time went on. now_s: monotonic seconds. now: the device's clock."""

    now_s: float
    now: datetime
    conditions: Conditions


@dataclass(frozen=True)
class CommandSeen:
    """A command's topic was heard. command: None when it is empty, "unknown" when it cannot be read."""

    operation: Operation
    id: str
    command: Command | Literal["unknown"] | None
    now_s: float = 0.0


@dataclass(frozen=True)
class DesiredSeen:
    """The desired state was heard."""

    desired: DesiredState


@dataclass(frozen=True)
class Asked:
    """Somebody at the device wants a benchmark."""

    workload: str | None = None


@dataclass(frozen=True)
class BenchEnded:
    """measured: a result of `digest` is there (and passed or not); else `reason` says why there is none."""

    measured: bool
    passed: bool
    reason: CommandReason
    now_s: float
    now: datetime
    digest: str | None = None


@dataclass(frozen=True)
class InstallEnded:
    """How an install or a rollback ended. no_update: the release is not to be had; then nothing was done."""

    outcome: InstallOutcomeName
    reason: InstallReason
    now_s: float
    no_update: bool = False


Event = Woke | Tick | CommandSeen | DesiredSeen | Asked | BenchEnded | InstallEnded

# Effects


@dataclass(frozen=True)
class Start:
    """Run a job; the memory that names it is on disk before."""

    job: Job


@dataclass(frozen=True)
class Stop:
    """End the benchmark that runs; BenchEnded with this reason follows."""

    reason: CommandReason = "encounter_open"


@dataclass(frozen=True)
class Answer:
    """Publish a command's status, retained."""

    operation: Operation
    id: str
    status: CommandStatus
    reason: CommandReason


@dataclass(frozen=True)
class Refuse:
    """Queue an InstallReport of an install that never began."""

    digest: str | None
    release: str | None
    rollout: str | None
    reason: InstallReason


@dataclass(frozen=True)
class Report:
    """Publish state and telemetry now."""


@dataclass(frozen=True)
class Tell:
    """One line for the journal."""

    line: str


Effect = Start | Stop | Answer | Refuse | Report | Tell
Step = tuple[Memory, tuple[Effect, ...]]
