"""What the agent does next. Pure: `advance(memory, event, settings) -> (memory, effects)`. No IO, no clock.

Rules
1. One run at a time. Whether it may begin is `edge.fleet.agent.conditions.refusal`; the reason why not is reported.
   Rollbacks go before installs, installs before benchmarks.
2. A run is remembered before it starts. Whoever wakes and remembers one reports it as interrupted: the command failed,
   everything else waits to run again.
3. When an encounter opens, or the battery runs low, a benchmark is stopped. By schedule or for a new build it runs
   again later; a command fails and says so. An install is never stopped by us: it ends its own self-test when a visit
   opens, says `busy`, waits whole, and is taken up again (rules 6 and 8).
4. Commands: `init` (fleet) -> `executing` -> `successful` | `failed`. A command is known by its operation and id and is
   done once, however often and in whatever order its topic is heard: what is known is answered with what is known. One
   that is heard as `executing` and is not known was ours before we lost our memory: failed, interrupted. An empty
   payload takes it back; it is done no more, also when it is heard again.
5. A command waits for its conditions for `patience_s`, then it fails with the reason that held it up.
6. Desired state: an older version than seen is passed over, and so is the same version again. It is settled when the
   bundle in force is the desired one or was installed, when nothing is desired, or when the install ended in a way that
   another attempt does not change (its digest or signature is wrong, its self-test failed); all else is tried again
   after a time that doubles. A desired build that lies in the other slot is a rollback, not an install.
7. A bundle in force that was never measured here is measured, `MOST_FAILED_RUNS` times at most until the schedule.
8. An install that was cut short, or that waits for a visit to end, is taken up before another.
9. The schedule asks for a benchmark when its time has come and none waits; it stays due until one came to an end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

from edge.fleet.agent.clock import rfc3339
from edge.fleet.agent.command_rules import command_seen, finish, impatient, install_reason, queued
from edge.fleet.agent.conditions import Conditions, interruption, next_bench, refusal
from edge.fleet.agent.events import (
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
    Step,
    Stop,
    Tell,
    Tick,
    Woke,
)
from edge.fleet.agent.memory import Job, Memory, parse_time
from edge.fleet.wire.messages import CommandReason, CommandStatus, DesiredState, InstallReason, PausedReason

MOST_FAILED_RUNS = 3
AGAIN_S, AGAIN_MOST_S = 600.0, 6 * 3600.0
# A benchmark that a visit ended waits so long: visits come one after the other.
AFTER_VISIT_S = 300.0
WANTED = {"rollback": "rolled_back", "install": "committed"}
LASTING: frozenset[InstallReason] = frozenset(
    {"self_test_failed", "untrusted", "changed", "wrong_target", "boots_exhausted"}
)


def advance(memory: Memory, event: Event, settings: Settings) -> Step:
    """One event. The caller saves the memory before it does what the effects say."""
    match event:
        case Woke():
            return _woke(memory)
        case Tick():
            return _tick(memory, event, settings)
        case CommandSeen():
            return command_seen(memory, event)
        case DesiredSeen(desired):
            return _desired(memory, desired)
        case Asked(workload):
            job = Job("bench", "local", workload=workload)
            waits = any(one.source == "local" for one in memory.queue)
            return (memory if waits else queued(memory, job)), ()
        case BenchEnded():
            return _bench_ended(memory, event)
        case InstallEnded():
            return _install_ended(memory, event)


def paused(memory: Memory, conditions: Conditions, settings: Settings) -> PausedReason:
    """Why nothing runs: for the reported state. "none" while something runs."""
    if memory.running is not None:
        return "none"
    if not memory.queue:
        return "not_due"
    reason = refusal(memory.queue[0].kind, conditions, settings.limits, running=False)
    return "not_due" if reason == "none" else reason


def phase(memory: Memory) -> str:
    """What goes on, as a word for the reported state."""
    if memory.running is not None:
        return {"bench": "measuring", "install": "installing", "rollback": "rolling-back"}[memory.running.kind]
    return "waiting" if memory.queue else "idle"


def _woke(memory: Memory) -> Step:
    """Rule 2. Times of the last life mean nothing in this one."""
    job = memory.running
    queue = tuple(replace(one, not_before_s=0.0, asked_s=0.0) for one in memory.queue)
    memory = replace(memory, running=None, queue=queue)
    if job is None:
        return memory, ()
    lost = Tell(f"the agent ended during its {job.kind}; it counts as interrupted")
    if job.source == "command":
        memory, effects = finish(memory, job, "failed", "interrupted")
        return memory, (lost, *effects)
    if job.kind == "bench":
        memory = replace(memory, failed_runs=memory.failed_runs + 1)
        if job.attempts + 1 < MOST_FAILED_RUNS:  # one that ends the device itself is not tried for ever
            memory = queued(memory, replace(job, not_before_s=0.0, asked_s=0.0, attempts=job.attempts + 1))
    return memory, (lost,)


def _tick(memory: Memory, tick: Tick, settings: Settings) -> Step:
    effects: tuple[Effect, ...] = ()
    memory, more = _reconciled(memory, tick, settings)
    effects += more
    memory = _wanted(memory, tick, settings)
    memory, more = impatient(memory, tick, settings)
    effects += more
    running = memory.running
    if running is not None:
        reason = interruption(tick.conditions, settings.limits) if running.kind == "bench" else "none"
        return memory, effects if reason == "none" else (*effects, Stop(reason))
    for job in memory.queue:
        if job.not_before_s > tick.now_s:
            continue
        if refusal(job.kind, tick.conditions, settings.limits, running=False) != "none":
            continue
        rest = list(memory.queue)
        rest.remove(job)
        memory = replace(memory, running=job, queue=tuple(rest))
        memory, more = finish(memory, job, "executing", "none")
        return memory, (*effects, *more, Start(job))
    return memory, effects


def _reconciled(memory: Memory, tick: Tick, settings: Settings) -> Step:
    """Rule 6."""
    if memory.settled_version >= memory.desired_version:
        return memory, ()
    settled = replace(memory, settled_version=memory.desired_version)
    digest, installed = memory.desired_digest, tick.conditions.installed
    if memory.desired_release is None or digest is None or digest == installed.digest:
        return settled, ()
    if memory.desired_profile != settings.profile:
        refuse = Refuse(digest, memory.desired_release, memory.desired_rollout, "wrong_target")
        return settled, (refuse, Tell("the desired state is for another profile than this device's; it is refused"))
    jobs = (*memory.queue, *((memory.running,) if memory.running else ()))
    if any(one.source == "desired" for one in jobs):
        return memory, ()
    job = Job(
        "rollback" if digest == installed.previous_digest else "install",
        "desired",
        release=memory.desired_release,
        digest=digest,
        rollout=memory.desired_rollout,
        asked_s=tick.now_s,
    )
    return queued(memory, job), ()


def _wanted(memory: Memory, tick: Tick, settings: Settings) -> Memory:
    """Rules 7, 8 and 9."""
    jobs = (*memory.queue, *((memory.running,) if memory.running else ()))
    installed = tick.conditions.installed
    if installed.pending and all(one.kind == "bench" for one in jobs):
        memory = queued(memory, Job("install", "resume", asked_s=tick.now_s))
    digest = installed.digest
    if digest is None or any(one.kind == "bench" for one in jobs):
        return memory
    if digest != memory.measured_digest and memory.failed_runs < MOST_FAILED_RUNS:
        return queued(memory, Job("bench", "new_build", asked_s=tick.now_s))
    if settings.every is None:
        return memory
    last = parse_time(memory.last_bench)
    if tick.now < (last or settings.began):  # a clock that was wrong, then or now: count anew from here
        return replace(memory, last_bench=rfc3339(tick.now))
    if tick.now >= next_bench(settings.device, settings.every, last, settings.began):
        return queued(memory, Job("bench", "schedule", asked_s=tick.now_s))
    return memory


def _desired(memory: Memory, desired: DesiredState) -> Step:
    """Rule 6. What waited for an older version waits no more."""
    if desired.desired_version <= memory.desired_version:
        same = memory.with_desired(desired) == memory
        known = desired.desired_version < memory.desired_version or same
        return memory, () if known else (Tell("the desired state came again in another form; it is passed over"),)
    queue = tuple(one for one in memory.queue if one.source != "desired")
    return replace(memory.with_desired(desired), queue=queue), (Report(),)


def _again_s(attempts: int) -> float:
    return min(AGAIN_MOST_S, AGAIN_S * 2.0 ** min(attempts, 20))


def _bench_ended(memory: Memory, ended: BenchEnded) -> Step:
    """Rules 3, 7 and 9."""
    job, memory = memory.running, replace(memory, running=None)
    if job is None:
        return memory, ()
    if ended.measured:
        last = rfc3339(ended.now.astimezone(UTC))
        memory = replace(memory, failed_runs=0, last_bench=last, measured_digest=ended.digest)
        status: CommandStatus = "successful" if ended.passed else "failed"
        memory, effects = finish(memory, job, status, "none" if ended.passed else "gate_failed")
        return memory, (*effects, Report())
    memory, effects = finish(memory, job, "failed", ended.reason)
    held_up = ended.reason in ("encounter_open", "battery")  # says nothing about the build
    if not held_up:
        memory = replace(memory, failed_runs=memory.failed_runs + 1)
    if job.source != "command" and (held_up or job.attempts + 1 < MOST_FAILED_RUNS):
        wait_s = AFTER_VISIT_S if held_up else _again_s(job.attempts)
        again = replace(job, attempts=job.attempts + (not held_up), not_before_s=ended.now_s + wait_s)
        memory = queued(memory, again)
    elif job.source == "schedule":  # not once a second: at its next time
        memory = replace(memory, last_bench=rfc3339(ended.now.astimezone(UTC)))
    return memory, effects


def _install_ended(memory: Memory, ended: InstallEnded) -> Step:
    """Rule 6."""
    job, memory = memory.running, replace(memory, running=None)
    if job is None:
        return memory, (Report(),)
    # A resumed one may rightly end by going back.
    good = ("committed", "rolled_back") if job.source == "resume" else (WANTED[job.kind],)
    wanted = ended.outcome in good
    if job.source == "command":
        reason: CommandReason = "none" if wanted else "no_update" if ended.no_update else install_reason(ended.reason)
        memory, effects = finish(memory, job, "successful" if wanted else "failed", reason)
        return memory, (*effects, Report())
    if wanted:
        memory = replace(memory, failed_runs=0)
        if job.source == "desired" and memory.desired_digest == job.digest:  # whatever the slots show: not again
            memory = replace(memory, settled_version=memory.desired_version)
    elif ended.reason in LASTING and not ended.no_update:
        still = memory.desired_digest == job.digest
        memory = replace(memory, settled_version=memory.desired_version if still else memory.settled_version)
    elif job.source == "resume" or memory.desired_digest == job.digest:
        kind = "install" if job.kind == "rollback" else job.kind
        wait_s = AFTER_VISIT_S if ended.reason == "busy" else _again_s(job.attempts)
        again = replace(job, kind=kind, attempts=job.attempts + 1, not_before_s=ended.now_s + wait_s)
        memory = queued(memory, again)
    return memory, (Report(),)
