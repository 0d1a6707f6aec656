"""Rules 4 and 5 of edge.fleet.agent.rules: commands, what is answered to them, and how long they wait. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from edge.fleet.agent.conditions import refusal
from edge.fleet.agent.events import Answer, CommandSeen, Effect, Report, Settings, Step, Tick
from edge.fleet.agent.memory import Job, Memory, Record
from edge.fleet.wire.messages import Command, CommandReason, CommandStatus, InstallReason, PausedReason
from edge.fleet.wire.topics import Operation

WORKLOADS = ("quick", "full")
MOST_WAITING = 20
ORDER = {"rollback": 0, "install": 1, "bench": 2}


def queued(memory: Memory, job: Job) -> Memory:
    """With this job in its place: rollbacks, installs, benchmarks; what was asked for before what is scheduled."""
    queue = sorted((*memory.queue, job), key=lambda one: (ORDER[one.kind], one.source == "schedule"))
    return replace(memory, queue=tuple(queue))


def answer(memory: Memory, record: Record) -> Step:
    """Remember and publish, unless the fleet took the command away."""
    effects = () if record.cleared else (Answer(record.operation, record.id, record.status, record.reason),)
    return memory.with_record(record), effects


def finish(memory: Memory, job: Job, status: CommandStatus, reason: CommandReason) -> Step:
    """The command of a job ends, where it has one."""
    record = memory.record(job.kind, job.command) if job.command else None
    return (memory, ()) if record is None else answer(memory, replace(record, status=status, reason=reason))


_REASONS: dict[PausedReason, CommandReason] = {
    "encounter_open": "encounter_open",
    "battery": "battery",
    "heat": "heat",
    "memory": "memory",
    "disk": "disk",
    "no_bundle": "no_bundle",
}


def impatient(memory: Memory, tick: Tick, settings: Settings) -> Step:
    """Rule 5."""
    effects: tuple[Effect, ...] = ()
    for job in memory.queue:
        if job.source != "command":
            continue
        asked = replace(job, asked_s=job.asked_s or tick.now_s)
        if tick.now_s - asked.asked_s < settings.patience_s:
            memory = replace(memory, queue=tuple(asked if one is job else one for one in memory.queue))
            continue
        reason = refusal(job.kind, tick.conditions, settings.limits, running=memory.running is not None)
        memory = replace(memory, queue=tuple(one for one in memory.queue if one is not job))
        memory, more = finish(memory, job, "failed", _REASONS.get(reason, "timed_out"))
        effects += more
    return memory, effects


def command_seen(memory: Memory, seen: CommandSeen) -> Step:
    """Rule 4."""
    record = memory.record(seen.operation, seen.id)
    command = seen.command
    if command is None:
        if record is None:
            return memory, ()
        if record.status == "init":
            queue = tuple(one for one in memory.queue if (one.kind, one.command) != (seen.operation, seen.id))
            memory, record = replace(memory, queue=queue), replace(record, status="failed", reason="refused")
        return memory.with_record(replace(record, cleared=True)), ()
    if record is not None:
        heard = None if command == "unknown" else (command.status, command.reason)
        if heard == (record.status, record.reason):
            return memory, ()
        return answer(memory, replace(record, cleared=False))
    new = Record(seen.operation, seen.id, "init")
    if command == "unknown":
        return answer(memory, replace(new, status="failed", reason="bad_arguments"))
    if command.status == "executing":
        return answer(memory, replace(new, status="failed", reason="interrupted"))
    if command.status != "init":
        return memory.with_record(replace(new, status=command.status, reason=command.reason)), ()
    return _new_command(memory, new, command, seen.now_s)


def _new_command(memory: Memory, new: Record, command: Command, now_s: float) -> Step:
    if new.operation == "report":
        memory, effects = answer(memory, replace(new, status="successful"))
        return memory, (*effects, Report())
    bad_release = new.operation == "install" and command.release is None
    bad_workload = command.workload is not None and (new.operation != "bench" or command.workload not in WORKLOADS)
    if bad_release or bad_workload or new.operation not in get_args(Operation):
        return answer(memory, replace(new, status="failed", reason="bad_arguments"))
    if len(memory.queue) >= MOST_WAITING:
        return answer(memory, replace(new, status="failed", reason="refused"))
    job = Job(new.operation, "command", command=new.id, release=command.release, workload=command.workload)
    return queued(memory.with_record(new), replace(job, asked_s=now_s)), ()


def install_reason(reason: InstallReason) -> CommandReason:
    """Why an install that was commanded did not succeed."""
    known: dict[InstallReason, CommandReason] = {
        "busy": "encounter_open",
        "no_space": "disk",
        "self_test_failed": "gate_failed",
        "boots_exhausted": "gate_failed",
        "interrupted": "interrupted",
        "untrusted": "refused",
        "changed": "refused",
        "wrong_target": "refused",
        "expired_metadata": "no_update",
    }
    return known.get(reason, "other")
