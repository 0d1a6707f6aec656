"""/etc/edge-kit/agent.yaml: which device this is and how it behaves. docs/agent.md shows one with all its keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from edge.bundle.canonical import SLUG
from edge.bundle.install.in_force import default_slots
from edge.bundle.keys import default_home
from edge.bundle.update_lock import lock_folder
from edge.errors import InputError
from edge.fleet.agent.conditions import Limits
from edge.fleet.agent.outbox import OutboxLimits
from edge.fleet.wire.topics import good_device
from edge.specs.yaml_source import Spec, fault, validate

Port = Annotated[int, Field(ge=1, le=65535)]
Workload = Literal["quick", "full"]


class BrokerSpec(Spec):
    """Only where the enrolment's address does not hold here."""

    host: Annotated[str, Field(min_length=1)]
    port: Port = 8883


class BenchmarkSpec(Spec):
    """every_h: null measures only when asked, and new builds."""

    every_h: Annotated[float, Field(ge=1, le=8760)] | None = 24.0
    workload: Workload = "quick"
    time_limit_min: Annotated[float, Field(ge=1, le=600)] = 45.0
    battery_percent_min: Annotated[float, Field(ge=0, le=100)] = 40.0
    start_celsius_max: Annotated[float, Field(ge=20, le=120)] = 60.0
    memory_mb_min: Annotated[int, Field(ge=0, le=1_000_000)] = 256
    disk_mb_min: Annotated[int, Field(ge=0, le=1_000_000)] = 256


class OutboxSpec(Spec):
    """How much waits at most."""

    rows_max: Annotated[int, Field(ge=10, le=1_000_000)] = 20_000
    mb_max: Annotated[int, Field(ge=1, le=10_000)] = 64


class AgentSpec(Spec):
    """The file."""

    version: Literal[1]
    device: str
    profile: str
    home: str | None = None
    slots: str | None = None
    bundle: str | None = None
    broker: BrokerSpec | None = None
    updates: tuple[str, ...] | None = None
    telemetry_every_min: Annotated[float, Field(ge=1, le=10_080)] | None = 15.0
    benchmark: BenchmarkSpec = BenchmarkSpec()
    outbox: OutboxSpec = OutboxSpec()

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        try:
            return good_device(value)
        except InputError as error:
            raise fault("", error.what) from error

    @field_validator("profile")
    @classmethod
    def _profile(cls, value: str) -> str:
        if not SLUG.fullmatch(value):
            raise fault("", "a profile is lower case letters, digits, '.', '_', '-'")
        return value

    @field_validator("home", "slots", "bundle")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise fault("", f"'{value[:40]}' is not a path from the root")
        return value

    @field_validator("updates")
    @classmethod
    def _updates(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for index, one in enumerate(value or ()):
            if not one.startswith(("https://", "/")):
                raise fault(str(index), "is neither an https:// address nor a folder from the root")
        return value


@dataclass(frozen=True)
class AgentConfig:
    """What the agent works with. updates, broker: None takes those of the enrolment."""

    path: Path
    device: str
    profile: str
    home: Path
    keys: Path
    slots: Path
    bundle: Path | None
    lock_folder: Path
    broker: tuple[str, int] | None
    updates: tuple[str, ...] | None
    telemetry_every_s: float | None
    every: timedelta | None
    workload: Workload
    time_limit_s: float
    limits: Limits
    outbox: OutboxLimits


def load_config(path: Path) -> AgentConfig:
    """Read the file. Errors: SpecError naming file, line, key and what is allowed."""
    spec = validate(AgentSpec, path)
    bench = spec.benchmark
    return AgentConfig(
        path=path,
        device=spec.device,
        profile=spec.profile,
        home=Path(spec.home) if spec.home else default_home() / "fleet",
        keys=default_home(),
        slots=Path(spec.slots) if spec.slots else default_slots(),
        bundle=Path(spec.bundle) if spec.bundle else None,
        lock_folder=lock_folder(),
        broker=(spec.broker.host, spec.broker.port) if spec.broker else None,
        updates=spec.updates,
        telemetry_every_s=None if spec.telemetry_every_min is None else spec.telemetry_every_min * 60,
        every=None if bench.every_h is None else timedelta(hours=bench.every_h),
        workload=bench.workload,
        time_limit_s=bench.time_limit_min * 60,
        limits=Limits(
            battery_percent_min=bench.battery_percent_min,
            start_celsius_max=bench.start_celsius_max,
            memory_bytes_min=bench.memory_mb_min << 20,
            disk_bytes_min=bench.disk_mb_min << 20,
        ),
        outbox=OutboxLimits(rows=spec.outbox.rows_max, bytes=spec.outbox.mb_max << 20),
    )
