"""How far a build gets: python -m benchmarks.run_rollout [--seeds N] [--json FILE]

1,000 simulated devices of mixed health (benchmarks/rollout_fleet.py), simulated time, the real controller on a real
SQLite database, hundreds of seeds. Four questions:

  1 whole rollouts: a good build, a slow one, and one that fails its golden cases on 30 % of the devices: how far it
    got, how many devices were told to install it and how many ever ran it, how long until it was stopped
  2 the first ring, for a build that fails on p = 1..100 % of the devices: how often the next ring opened
  3 the law: rings in which the build failed on more devices than the plan lets through, and how often one opened the
    next (it must be never: status 8)
  4 how often a build passes the first ring by luck, beside the binomial computation, with its interval

Peers in the same run, on the same devices: the same rings opened by the clock alone, as a plain staged rollout does;
and the same with AWS Jobs' abort on failed installs, which sees no benchmark and no golden case.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.rollout_fleet import HEALTHY, MIX, Build, Health, SimulatedFleet
from edge.errors import ExitStatus
from edge.files import write_atomic
from edge.fleet.rollout import desk
from edge.fleet.rollout.controller import published, tick
from edge.fleet.rollout.members import order_key
from edge.fleet.rollout.plan import RingDevices, RolloutPlan
from edge.fleet.rollout.rows import read_state
from edge.fleet.rollout.rules import failures_allowed
from edge.fleet.rollout.shares import at_most, interval
from edge.fleet.store.store import Store, open_store
from edge.fleet.store.tables import decisions, rollout_devices, rollouts

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
# The real one ticks each second. Rates are caught up by ten minutes' worth, so this must not be longer while devices
# are being started.
STARTING_H, WAITING_H = 1 / 6, 1.0
FIRST = 20
PLAN = RolloutPlan.from_resolved(
    {
        "version": 1,
        "rollout": "simulated",
        "release": "notes-2",
        "profile": "notes",
        "rings": [
            {
                "name": name,
                "devices": {"share": share},
                "rate_per_h": rate,
                "open_next": {"passed_share_min": 0.75, "devices_min": least, "within_h": 120.0, "soak_h": 12.0},
            }
            for name, share, rate, least in (
                ("first", 0.02, 20, 10), ("second", 0.1, 40, 15), ("third", 0.4, 60, 20), ("rest", 1.0, 100, 20),
            )
        ],
        "stop": {"failed_share_max": 0.15, "failed_max": 100},
        "timeout_h": 24.0,
        "retries": 1,
    }
)  # fmt: skip
# The peers open a ring so long after they opened the one before it: a day to start and measure, and the plan's soak.
PEER_RING_H = 36.0


@dataclass(frozen=True)
class Run:
    """One seed. ring_reached: 1 is the first. told, ran: devices that were ever set to the build, that ever ran it.

    still: that run it at the end. hours: until the end. first_failing: devices of the first ring on which the build
    cannot pass. first_open: whether the ring after it opened.
    """

    build: str
    seed: int
    phase: str
    reason: str
    ring_reached: int
    told: int
    ran: int
    still: int
    hours: float
    first_failing: int
    first_open: bool


def plan_for(seed: int, count: int) -> RolloutPlan:
    """PLAN with another name, so another draw of the rings, and FIRST devices in the first one."""
    first = PLAN.rings[0].model_copy(update={"devices": RingDevices(share=FIRST / count)})
    return PLAN.model_copy(update={"rollout": f"simulated-{seed}", "rings": (first, *PLAN.rings[1:])})


def simulate(
    store: Store, build: Build, seed: int, mix: dict[Health, float], *, only_first: bool, count: int = 1000
) -> Run:
    """One rollout from its start to its end, or until the second ring opens."""
    fleet = SimulatedFleet(store, build, seed, START, mix, count)
    plan = plan_for(seed, count)
    desk.start(store, plan, "version: 1\n", START, "benchmark")
    first = fleet.members("first")
    now, ended, (phase, opened, starting) = START, None, _progress(store, plan)
    while ended is None or fleet.rows:
        fleet.deliver(now)
        messages = tick(store, now)
        for message in messages:
            fleet.receive(message, now)
        published(store, *messages)
        phase, opened, starting = _progress(store, plan)
        if only_first and (opened > 1 or phase != "running"):
            ended = now
            break
        if ended is None and phase != "running":
            ended = now  # what is on its way still arrives: who was set back goes back
        now += timedelta(hours=STARTING_H if starting else WAITING_H)
    with store.reading() as connection:
        state = read_state(connection, plan.rollout)[1]
    found = fleet.devices.values()
    return Run(
        build.name, seed, phase, state.reason, opened,
        sum(one.told_new for one in found), sum(one.ever_ran_new for one in found), sum(one.runs_new for one in found),
        (ended - START) / timedelta(hours=1), sum(one.fails for one in first), opened > 1,
    )  # fmt: skip


def _progress(store: Store, plan: RolloutPlan) -> tuple[str, int, bool]:
    """Phase, how many rings are open, and whether devices of these wait to be started."""
    member, decision = rollout_devices.c, decisions.c
    with store.reading() as connection:
        phase = connection.execute(select(rollouts.c.phase).where(rollouts.c.rollout == plan.rollout)).scalar_one()
        opened = (
            1
            + connection.execute(
                select(func.count()).where(decision.rollout == plan.rollout, decision.decision == "ring_opened")
            ).scalar_one()
        )
        names = [ring.name for ring in plan.rings[:opened]]
        waiting = select(member.device).where(
            member.rollout == plan.rollout, member.status == "waiting", member.ring.in_(names)
        )
        starting = phase == "running" and connection.execute(waiting.limit(1)).first() is not None
    return phase, opened, starting


def peer(build: Build, fleet: SimulatedFleet, seed: int, *, sees_installs: bool) -> tuple[int, float, bool]:
    """The same rings by the clock: (devices told, hours until the last was or it was aborted, aborted).

    sees_installs: abort when more than failed_share_max of the installs so far failed. Installs fail as in the
    simulation; the peer has no self-test at install and no field result.
    """
    waiting = sorted(fleet.devices.values(), key=lambda one: order_key(f"simulated-{seed}", one.name))
    told, failed, opened_h, last_h = 0, 0, 0.0, 0.0
    for ring in PLAN.rings:
        share = ring.devices.share or 1.0
        size = -(-round(share * len(waiting) * 1e6) // 1_000_000)
        members, waiting = waiting[:size], waiting[size:]
        for number, device in enumerate(members):
            told += 1
            last_h = opened_h + number / ring.rate_per_h
            failed += device.health == "no_install"
            if sees_installs and told >= FIRST and failed > PLAN.stop.failed_share_max * told:
                return told, last_h, True
        opened_h = max(opened_h + PEER_RING_H, last_h)
    return told, last_h, False


def passes_by_luck(share: float, devices: int) -> float:
    """Computed: at most the allowed failures among the first ring, when every device answers in time."""
    return at_most(devices, failures_allowed(PLAN, 0, devices), share)


def cannot_pass(devices: int) -> int:
    """The law: with this many failing devices or more the first ring can never open the next."""
    return devices - PLAN.rings[0].open_next.needed(devices) + 1


@dataclass(frozen=True)
class Job:
    """One seed to be run."""

    build: Build
    seed: int
    mix: dict[Health, float]
    only_first: bool
    count: int = 1000


def runs_of(jobs: Sequence[Job], processes: int, say: Callable[[str], None]) -> list[Run]:
    """Every job, in some processes; the runs in the order of the jobs."""
    parts = [jobs[start::processes] for start in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_runs_of_part, parts))
    say(f"{len(jobs)} rollouts in {processes} processes")
    return [done[index % processes][index // processes] for index in range(len(jobs))]


def _runs_of_part(jobs: Sequence[Job]) -> list[Run]:
    """One after the other on one database, in memory's file system where there is one."""
    memory = Path("/dev/shm")  # noqa: S108  the database is thrown away; its fsyncs need not reach a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'fleet.db'}")
        try:
            return [
                simulate(store, job.build, job.seed, job.mix, only_first=job.only_first, count=job.count)
                for job in jobs
            ]
        finally:
            store.close()


def whole_table(runs: Sequence[Run], peers: dict[str, list[tuple[int, float, bool]]]) -> str:
    """Question 1."""
    lines = ["build                     seeds  outcome                      rings  told  ran  still  hours"]
    for build in dict.fromkeys(run.build for run in runs):
        of = [run for run in runs if run.build == build]
        for outcome in sorted({(run.phase, run.reason) for run in of}):
            some = [run for run in of if (run.phase, run.reason) == outcome]
            lines.append(
                f"{build:<26}{len(some):>5}  {' '.join(outcome).strip().replace('_', ' '):<28}"
                f"{_middle(run.ring_reached for run in some):>6.0f}{_middle(run.told for run in some):>6.0f}"
                f"{_middle(run.ran for run in some):>5.0f}{_middle(run.still for run in some):>7.0f}"
                f"{_middle(run.hours for run in some):>7.0f}"
            )
    for name, found in peers.items():
        aborted = sum(one[2] for one in found)
        lines.append(
            f"{name:<26}{len(found):>5}  {f'aborted {aborted} times':<28}{'':>6}"
            f"{_middle(one[0] for one in found):>6.0f}{'':>12}{_middle(one[1] for one in found):>7.0f}"
        )
    return "\n".join(lines)


def _middle(values: Any) -> float:
    return statistics.median(list(values))


def first_ring_table(runs: Sequence[Run]) -> str:
    """Question 2, in bands of p."""
    bands = [(1, 5), (6, 10), (11, 15), (16, 20), (21, 25), (26, 30), (31, 40), (41, 60), (61, 80), (81, 100)]
    lines = ["build fails on  seeds  opened ring 2  (95 % interval)   told: most  hours to stop: median"]
    for low, high in bands:
        of = [run for run in runs if low <= _percent(run) <= high]
        if not of:
            continue
        opened = sum(run.first_open for run in of)
        least, most = interval(opened, len(of))
        stopped = [run.hours for run in of if run.phase == "stopped"]
        hours = f"{statistics.median(stopped):.0f}" if stopped else "-"
        lines.append(
            f"{f'{low}-{high} %':<15}{len(of):>6}{opened:>15}  {f'({least:.1%} to {most:.1%})':<19}"
            f"{max(run.told for run in of):>9}{hours:>23}"
        )
    return "\n".join(lines)


def _percent(run: Run) -> int:
    return int(run.build.split()[1])


def law_table(runs: Sequence[Run]) -> tuple[str, int]:
    """Question 3: by the true number of failing devices in the ring. Gives the text and how often the law broke."""
    limit = cannot_pass(FIRST)
    lines = [
        f"devices of the first {FIRST} on which it fails  seeds  opened ring 2   "
        f"(law: never from {limit}; more than {failures_allowed(PLAN, 0, FIRST)} reported failures stop it)"
    ]
    for count in range(limit):
        of = [run for run in runs if run.first_failing == count]
        if of:
            lines.append(f"{count:<40}{len(of):>7}{sum(run.first_open for run in of):>15}")
    beyond = [run for run in runs if run.first_failing >= limit]
    broken = sum(run.first_open for run in beyond)
    lines.append(f"{f'{limit} or more':<40}{len(beyond):>7}{broken:>15}")
    return "\n".join(lines), broken


def luck_table(runs: Sequence[Run]) -> tuple[str, list[dict[str, float]]]:
    """Question 4: a fleet in which every device answers, so that the binomial computation is exact."""
    lines = ["build fails on  seeds  passed the first ring  (95 % interval)      binomial"]
    rows = []
    for percent in sorted({_percent(run) for run in runs}):
        of = [run for run in runs if _percent(run) == percent]
        passed = sum(run.first_open for run in of)
        low, high = interval(passed, len(of))
        computed = passes_by_luck(percent / 100, FIRST)
        inside = "" if low <= computed <= high else "  outside"
        lines.append(
            f"{f'{percent} %':<15}{len(of):>6}{passed / len(of):>23.1%}  {f'({low:.1%} to {high:.1%})':<22}"
            f"{computed:>8.1%}{inside}"
        )
        rows.append({"percent": percent, "seeds": len(of), "passed": passed, "low": low, "high": high,
                     "binomial": computed})  # fmt: skip
    return "\n".join(lines), rows


def main() -> None:
    """Run all, print the tables; status 8 when the law broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="for each p of question 2; the others in proportion")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", type=Path, help="write every run")
    options = parser.parse_args()
    started = time.monotonic()

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    whole_builds = (Build("good"), Build("slow", slow=True), Build("bad 30 %", golden_fails=0.3))
    whole = [Job(build, seed, MIX, False) for build in whole_builds for seed in range(2 * options.seeds)]
    bad = [
        Job(Build(f"bad {percent} %", golden_fails=percent / 100), 1000 * percent + seed, MIX, True)
        for percent in range(1, 101)
        for seed in range(options.seeds)
    ]
    luck = [
        Job(
            Build(f"bad {percent} %", golden_fails=percent / 100),
            200_000 + 1000 * percent + seed,
            HEALTHY,
            True,
            10 * FIRST,
        )
        for percent in (10, 20, 30)
        for seed in range(40 * options.seeds)
    ]
    runs = runs_of([*whole, *bad, *luck], options.processes, say)
    of_whole, of_bad, of_luck = (
        runs[: len(whole)], runs[len(whole) : len(whole) + len(bad)], runs[len(whole) + len(bad) :],
    )  # fmt: skip
    peers = peer_runs(2 * options.seeds)
    law, broken = law_table([*of_bad, *of_luck, *of_whole])
    luck_text, luck_rows = luck_table(of_luck)
    print(f"1. Whole rollouts, 1,000 devices (medians)\n{whole_table(of_whole, peers)}\n")
    print(f"2. A build that fails its golden cases on p % of a mixed fleet\n{first_ring_table(of_bad)}\n")
    print(f"3. The law, over all {len(runs)} rollouts\n{law}\n")
    print(f"4. By luck, in a fleet where every device answers\n{luck_text}\n")
    print(f"{len(runs)} rollouts in {time.monotonic() - started:.0f} s, {options.processes} processes")
    if options.json:
        value = {"plan": PLAN.model_dump(mode="json"), "runs": [asdict(run) for run in runs], "luck": luck_rows}
        write_atomic(options.json, json.dumps(value, indent=1).encode() + b"\n")
    if broken:
        print(f"THE LAW BROKE {broken} TIMES", file=sys.stderr)
        sys.exit(ExitStatus.GATE)


def peer_runs(seeds: int) -> dict[str, list[tuple[int, float, bool]]]:
    """The peers on the devices of a build that fails on 30 %; a good build would go as far."""
    build, found = Build("bad 30 %", golden_fails=0.3), {"by the clock: bad 30 %": [], "on installs: bad 30 %": []}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'fleet.db'}")
        for seed in range(seeds):
            fleet = SimulatedFleet(store, build, seed, START, MIX)
            found["by the clock: bad 30 %"].append(peer(build, fleet, seed, sees_installs=False))
            found["on installs: bad 30 %"].append(peer(build, fleet, seed, sees_installs=True))
        store.close()
    return found


if __name__ == "__main__":
    main()
