"""The agent: one loop that holds the parts together. What it does is decided in the pure rules beside it.

Order of things that must outlive a kill: a report is a file (spool) before the memory says that its run has ended; the
memory is on disk before what it decided is done; an event is in the outbox before its file goes.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from edge import __version__
from edge.errors import EdgeError, InputError
from edge.fleet.agent import rules
from edge.fleet.agent.children import Child
from edge.fleet.agent.config import AgentConfig
from edge.fleet.agent.enrolled import Enrolled
from edge.fleet.agent.events import (
    Answer,
    Asked,
    BenchEnded,
    CommandSeen,
    DesiredSeen,
    Effect,
    Event,
    InstallEnded,
    Refuse,
    Report,
    Settings,
    Start,
    Stop,
    Tell,
    Tick,
    Woke,
)
from edge.fleet.agent.job_files import REPORT, BenchJob, ChangeJob, Done
from edge.fleet.agent.link import Link
from edge.fleet.agent.memory import Job, load_memory, save_memory
from edge.fleet.agent.outbox import Outbox
from edge.fleet.agent.readings import Readings
from edge.fleet.agent.said import Said
from edge.fleet.agent.spool import Spool
from edge.fleet.wire import topics
from edge.fleet.wire.event import TELEMETRY
from edge.fleet.wire.messages import Command, DesiredState, InstallReport, ReportedState, Telemetry

TICK_S, BUSY_TICK_S = 10.0, 2.0
REPORT_EVERY_S = 5.0
MEMORY, JOBS, RESULTS, MEASURED, REQUESTS = "memory.json", "jobs", "results", "measured", "requests"
FULL = "the outbox is full; telemetry is dropped and counted"
_REQUEST = re.compile(r"bench-[0-9a-f]{8}\.json")
StartChild = Callable[[Path, BenchJob | ChangeJob], Child]


@dataclass(frozen=True)
class Parts:
    """What the agent is made of. clock: UTC; monotonic: seconds; say: one line for the journal."""

    config: AgentConfig
    enrolled: Enrolled
    outbox: Outbox
    link: Link
    readings: Readings
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    say: Callable[[str], None]
    start_child: StartChild


class Agent:
    """See the module. `link` must hand desired states and commands to `heard`."""

    def __init__(self, parts: Parts) -> None:
        self._parts, config = parts, parts.config
        self._said = Said(parts.say, parts.monotonic)
        self._spool = Spool(config.home / RESULTS, self._said, parts.monotonic)
        self._settings = Settings(config.device, config.profile, parts.clock(), config.every, config.limits)
        self._path = config.home / MEMORY
        self._memory, line = load_memory(self._path)
        if line:
            parts.say(line)
        self._child: Child | None = None
        self._conditions = parts.readings.conditions()
        self._next_tick_s = self._next_telemetry_s = self._next_report_s = parts.monotonic()
        self._told: ReportedState | None = None
        self._dropped: int | None = None
        self.happened(Woke())

    # Events and effects

    def happened(self, event: Event) -> None:
        """One event: decide, remember, do."""
        memory, effects = rules.advance(self._memory, event, self._settings)
        if memory != self._memory:
            try:
                save_memory(self._path, memory)
            except EdgeError as error:
                # Nothing is begun that a restart would not know of; the event comes again by itself.
                self._said("memory", f"nothing is begun: {error}")
                if any(isinstance(effect, Start) for effect in effects):
                    return
            self._memory = memory
        for effect in effects:
            self._do(effect)

    def heard(self, address: topics.Address, payload: bytes) -> None:
        """A desired state or a command came."""
        now_s = self._parts.monotonic()
        try:
            if address.kind == "desired":
                if payload:
                    self.happened(DesiredSeen(DesiredState.from_bytes(payload, "desired state")))
            elif address.kind == "command":
                operation = next(one for one in topics.OPERATIONS if one == address.operation)
                command: Command | None = Command.from_bytes(payload, "command") if payload else None
                self.happened(CommandSeen(operation, address.command, command, now_s))
        except InputError as error:
            self._said(address.kind, str(error))
            if address.kind == "command":
                self.happened(CommandSeen(operation, address.command, "unknown", now_s))

    def _do(self, effect: Effect) -> None:
        parts = self._parts
        match effect:
            case Start(job):
                self._start(job)
            case Stop(reason):
                if self._child is not None:
                    self._child.stop()
                    self._child = None
                self._bench_ended(Done(reason=reason), None)
            case Answer(operation, command_id, status, reason):
                answer = Command(status=status, reason=reason)
                parts.link.retain(topics.command(parts.config.device, operation, command_id), answer.to_bytes())
            case Refuse(digest, release, rollout, reason):
                report = InstallReport(
                    outcome="refused", reason=reason, from_digest=self._conditions.installed.digest, to_digest=digest,
                    release=release, slot=None, moved_bytes=0, kept_bytes=0, duration_s=0.0, rollout=rollout,
                )  # fmt: skip
                self._keep("install", report.to_bytes())
            case Report():
                self._next_report_s = self._next_telemetry_s = parts.monotonic()
                self._told = None
            case Tell(line):
                parts.say(line)

    # Runs

    def _start(self, job: Job) -> None:
        config, enrolled = self._parts.config, self._parts.enrolled
        asked: BenchJob | ChangeJob
        if job.kind == "bench":
            folder = self._parts.readings.bundle_folder()
            asked = BenchJob(
                bundle=str(folder), profile=config.profile, release=self._conditions.installed.release,
                workload="full" if (job.workload or config.workload) == "full" else "quick", keys=str(config.keys),
                lock_folder=str(config.lock_folder), results=str(config.home / MEASURED),
                time_limit_s=config.time_limit_s,
            )  # fmt: skip
        else:
            asked = ChangeJob(
                operation="resume" if job.source == "resume" else job.kind, slots=str(config.slots),
                profile=config.profile, keys=str(config.keys), lock_folder=str(config.lock_folder),
                updates_home=str(config.home / "updates"),
                updates=enrolled.updates if config.updates is None else config.updates,
                ca=str(enrolled.credentials.ca), certificate=str(enrolled.credentials.certificate),
                tls_key=str(enrolled.credentials.key), release=job.release, digest=job.digest, rollout=job.rollout,
            )  # fmt: skip
        try:
            self._child = self._parts.start_child(config.home / JOBS, asked)
        except EdgeError as error:
            self._said("child", str(error))
            self._ended(job, Done(reason="other", outcome="failed", install_reason="other"), None)

    def _ended(self, job: Job, done: Done, report: bytes | None) -> None:
        if job.kind == "bench":
            self._bench_ended(done, report)
            return
        if report is not None:
            self._keep("install", report)
        outcome = done.outcome or "committed"  # nothing to take up
        self.happened(InstallEnded(outcome, done.install_reason, self._parts.monotonic(), done.no_update))

    def _bench_ended(self, done: Done, report: bytes | None) -> None:
        measured = done.measured and report is not None
        if measured and report is not None and not self._keep("result", report):
            measured, done = False, replace(done, reason="disk")
        if not measured:
            self._parts.say(f"no benchmark: {done.reason if done.reason != 'none' else 'other'}")
        reason = "other" if done.reason == "none" and not measured else done.reason
        self.happened(
            BenchEnded(measured, done.passed, reason, self._parts.monotonic(), self._parts.clock(), done.digest)
        )

    def _keep(self, kind: str, data: bytes) -> bool:
        try:
            self._spool.put(kind, data, self._parts.config.home / JOBS / REPORT)
        except EdgeError as error:
            self._said("spool", f"a {kind} could not be kept: {error}")
            return False
        return True

    # The loop

    def step(self) -> float:
        """Do what is due; returns for how many seconds nothing will be, unless the socket has something."""
        parts, now_s = self._parts, self._parts.monotonic()
        child, running = self._child, self._memory.running
        ended = child.poll() if child is not None else None
        if ended is not None and running is not None:
            self._child = None
            self._ended(running, *ended)
            self._next_tick_s = now_s
        self._asked()
        if now_s >= self._next_tick_s:
            self._conditions = parts.readings.conditions()
            self.happened(Tick(now_s, parts.clock(), self._conditions))
            self._next_tick_s = now_s + (TICK_S if self._child is None else BUSY_TICK_S)
        self._events(now_s)
        self._report(now_s)
        parts.link.tick()
        busy_s = 0.5 if self._child is not None else TICK_S
        return max(0.0, min(busy_s, self._next_tick_s - now_s, parts.link.wait_s()))

    def _asked(self) -> None:
        """`edge agent bench` of somebody at the device leaves a file."""
        folder = self._parts.config.home / REQUESTS
        try:
            found = [path for path in folder.iterdir() if _REQUEST.fullmatch(path.name)]
        except OSError:
            return
        for path in found:
            try:
                workload = json.loads(path.read_bytes()[:1000]).get("workload")
                path.unlink()
            except (OSError, ValueError, AttributeError, RecursionError):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                continue
            self.happened(Asked(workload if workload in ("quick", "full") else None))
            self._next_tick_s = self._parts.monotonic()

    def _events(self, now_s: float) -> None:
        """Reports and telemetry into the outbox."""
        parts = self._parts
        for kind, seq in self._spool.empty_into(parts.outbox):
            parts.link.uplink.queued()
            if kind == "result":
                self._memory = replace(self._memory, last_result_seq=seq)
                self._told = None
        if now_s < self._next_telemetry_s or parts.config.telemetry_every_s is None:
            return
        self._next_telemetry_s = now_s + parts.config.telemetry_every_s
        try:
            counts, here = parts.outbox.counts(), self._conditions
            if counts.dropped > (counts.dropped if self._dropped is None else self._dropped):
                self._said("telemetry", FULL)
            self._dropped = counts.dropped
            telemetry = Telemetry(
                battery_percent=here.battery_percent, charging=here.charging, hottest_celsius=here.hottest_celsius,
                memory_available_bytes=here.memory_available_bytes, disk_free_bytes=here.disk_free_bytes,
                outbox_rows=counts.rows, outbox_bytes=counts.bytes, dropped=counts.dropped, agent_version=__version__,
            )  # fmt: skip
            if parts.outbox.queue(TELEMETRY, telemetry.to_bytes()) is None:
                self._said("telemetry", FULL)
            parts.link.uplink.queued()
        except (EdgeError, ValueError) as error:
            line = str(error) if isinstance(error, EdgeError) else "a reading is none"
            self._said("telemetry", f"no telemetry: {line}")

    def _report(self, now_s: float) -> None:
        """The reported state, when it is another."""
        if now_s < self._next_report_s:
            return
        parts, memory, installed = self._parts, self._memory, self._conditions.installed
        state = ReportedState(
            state_version=memory.state_version, agent_version=__version__, profile=parts.config.profile,
            release=installed.release, bundle_digest=installed.digest, previous_digest=installed.previous_digest,
            slot=installed.slot, phase=rules.phase(memory), desired_version=memory.desired_version,
            last_result_seq=memory.last_result_seq,
            paused_reason=rules.paused(memory, self._conditions, self._settings),
        )  # fmt: skip
        if state == self._told:
            return
        # Goes on from the clock, so that a device that was set up again is not older than it was before.
        now = parts.clock()
        version = max(memory.state_version + 1, int(now.timestamp()) if parts.enrolled.believe(now) else 0)
        self._memory = replace(memory, state_version=version)
        try:
            save_memory(self._path, self._memory)
        except EdgeError as error:
            self._said("memory", str(error))
        self._told = state.model_copy(update={"state_version": version})
        self._next_report_s = now_s + REPORT_EVERY_S
        parts.link.retain(topics.up(parts.config.device, "state"), self._told.to_bytes(), each_time=True)

    def run(self, wake: socket.socket, stop: Callable[[], bool]) -> None:
        """Until `stop`; `wake` has something to read when it should look."""
        while not stop():
            wait_s = self.step()
            link = self._parts.link
            sock = link.socket()
            watched = [wake] if sock is None else [wake, sock]
            writes = [sock] if sock is not None and link.wants_write() else []
            readable, writable, _ = select.select(watched, writes, [], wait_s)
            if sock is not None and sock in readable:
                link.readable()
            if writable:
                link.writable()
            if wake in readable:
                wake.recv(4096)

    def close(self) -> None:
        """Say goodbye. A run that goes on is ended; the next start reports it as interrupted."""
        if self._child is not None:
            self._child.stop()
        self._parts.link.close()
        self._parts.outbox.close()
