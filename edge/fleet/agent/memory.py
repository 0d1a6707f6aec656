"""What an agent remembers over a restart: commands, the desired state, the run in progress. One JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from edge.bundle.canonical import HEX_DIGEST, SLUG
from edge.files import write_atomic
from edge.fleet.agent.conditions import JobKind
from edge.fleet.wire.messages import CommandReason, CommandStatus, DesiredState
from edge.fleet.wire.topics import Operation

VERSION = 1
MOST_RECORDS = 200
MAX_BYTES = 1 << 20
Source = Literal["schedule", "command", "local", "desired", "new_build", "resume"]
Name = Annotated[str, Field(pattern=f"^{SLUG.pattern}$")]
Digest = Annotated[str, Field(pattern=f"^{HEX_DIGEST.pattern}$")]


@dataclass(frozen=True)
class Job:
    """Something to run. not_before_s: monotonic seconds; asked_s: since when it waits, for a command's patience.

    command: the id, of source "command". attempts: runs that ended without an outcome.
    """

    kind: JobKind
    source: Source
    command: Name | None = None
    release: Name | None = None
    digest: Digest | None = None
    rollout: Name | None = None
    workload: Name | None = None
    attempts: int = 0
    not_before_s: float = 0.0
    asked_s: float = 0.0


@dataclass(frozen=True)
class Record:
    """One command. cleared: the fleet took its topic away, so nothing is answered there any more."""

    operation: Operation
    id: Name
    status: CommandStatus
    reason: CommandReason = "none"
    cleared: bool = False


@dataclass(frozen=True)
class Memory:
    """See the rules of edge.fleet.agent.rules. settled_version: the desired state that needs nothing more.

    measured_digest: the bundle of the last benchmark that came to an end. last_bench: RFC 3339, by this device's clock.
    """

    version: int = VERSION
    state_version: int = 0
    desired_version: int = 0
    desired_release: Name | None = None
    desired_profile: Name | None = None
    desired_digest: Digest | None = None
    desired_rollout: Name | None = None
    settled_version: int = 0
    commands: tuple[Record, ...] = ()
    queue: tuple[Job, ...] = ()
    running: Job | None = None
    measured_digest: Digest | None = None
    failed_runs: int = 0
    last_bench: str | None = None
    last_result_seq: int = 0

    def record(self, operation: str, command_id: str) -> Record | None:
        """The record of a command, if it is known."""
        return next((one for one in self.commands if (one.operation, one.id) == (operation, command_id)), None)

    def with_record(self, record: Record) -> Memory:
        """The same with this record, the newest at the end; old ones that are over are forgotten."""
        rest = [one for one in self.commands if (one.operation, one.id) != (record.operation, record.id)]
        over = [one for one in rest if one.status in ("successful", "failed")]
        forget = set(over[: max(0, len(rest) + 1 - MOST_RECORDS)])
        return replace(self, commands=(*(one for one in rest if one not in forget), record))

    def with_desired(self, desired: DesiredState) -> Memory:
        """The same with another desired state."""
        return replace(
            self,
            desired_version=desired.desired_version,
            desired_release=desired.release,
            desired_profile=desired.profile,
            desired_digest=desired.bundle_digest,
            desired_rollout=desired.rollout,
        )


_ADAPTER = TypeAdapter(Memory)


def save_memory(path: Path, memory: Memory) -> None:
    """Write it whole, or leave what was there. Errors: ResourceError."""
    data = asdict(memory)
    write_atomic(path, json.dumps(data, sort_keys=True).encode() + b"\n")


def load_memory(path: Path) -> tuple[Memory, str]:
    """(what was remembered, one line when it could not be read and a new one begins, else "")."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
        memory = _ADAPTER.validate_json(data)
    except FileNotFoundError:
        return Memory(), ""
    except (OSError, ValidationError, ValueError, RecursionError):
        return Memory(), f"{path.name} cannot be read, so commands that were under way count as interrupted"
    if memory.version != VERSION or any(len(one.id) > 100 for one in memory.commands):
        return Memory(), f"{path.name} is of another edge, so it begins anew"
    return memory, ""


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 as this edge writes it; None for anything else."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
