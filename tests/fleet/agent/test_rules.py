"""What the agent decides. When these fail, a device measures during a visit, or does a command twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.fleet.agent import rules
from edge.fleet.agent.conditions import Conditions, Installed, Limits, next_bench, refusal, share_of
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
    Tick,
    Woke,
)
from edge.fleet.agent.memory import MOST_RECORDS, Memory, load_memory, save_memory
from edge.fleet.wire.messages import Command, DesiredState, PausedReason

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD, NEW = "a" * 64, "b" * 64
FINE = Conditions(
    battery_percent=90.0,
    charging=False,
    hottest_celsius=40.0,
    memory_available_bytes=4 << 30,
    disk_free_bytes=10 << 30,
    installed=Installed(digest=OLD, slot="a"),
)
SETTINGS = Settings("tablet-07", "notes", NOW, every=None)
INIT = Command(status="init")
DESIRED = DesiredState(desired_version=1, release="notes-2", profile="notes", bundle_digest=NEW, rollout="r1")


class Agent:
    """A memory and what was done."""

    def __init__(self, memory: Memory | None = None, **changes: object) -> None:
        self.memory = memory or Memory(measured_digest=OLD)
        self.settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
        self.done: list[Effect] = []
        self.now_s = 1000.0
        self.conditions = FINE

    def on(self, event: Event) -> tuple[Effect, ...]:
        self.memory, effects = rules.advance(self.memory, event, self.settings)
        self.done += effects
        return effects

    def tick(self, seconds: float = 1.0, **conditions: object) -> list[str]:
        """What was started, as "kind source"."""
        self.now_s += seconds
        self.conditions = replace(self.conditions, **conditions)  # type: ignore[arg-type]
        now = NOW + timedelta(seconds=self.now_s)
        effects = self.on(Tick(self.now_s, now, self.conditions))
        return [f"{one.job.kind} {one.job.source}" for one in effects if isinstance(one, Start)]

    def command(self, operation: str, command: Command | str | None = INIT, id: str = "c1") -> list[str]:
        return self.answers(self.on(CommandSeen(operation, id, command, self.now_s)))  # type: ignore[arg-type]

    @staticmethod
    def answers(effects: tuple[Effect, ...]) -> list[str]:
        return [f"{one.status}:{one.reason}" for one in effects if isinstance(one, Answer)]

    def bench(self, *, measured: bool = True, passed: bool = True, reason: str = "none") -> list[str]:
        digest = self.conditions.installed.digest if measured else None
        now = NOW + timedelta(seconds=self.now_s)
        return self.answers(self.on(BenchEnded(measured, passed, reason, self.now_s, now, digest)))  # type: ignore[arg-type]

    def install(self, outcome: str, reason: str = "none", *, no_update: bool = False) -> list[str]:
        return self.answers(self.on(InstallEnded(outcome, reason, self.now_s, no_update)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "none"),
        ({"encounter_open": True}, "encounter_open"),
        ({"encounter_open": True, "battery_percent": 1.0}, "encounter_open"),
        ({"installed": Installed()}, "no_bundle"),
        ({"battery_percent": 20.0}, "battery"),
        ({"battery_percent": 20.0, "charging": None}, "battery"),
        ({"battery_percent": 20.0, "charging": True}, "none"),
        ({"battery_percent": None}, "none"),
        ({"hottest_celsius": 61.0}, "heat"),
        ({"hottest_celsius": None}, "none"),
        ({"memory_available_bytes": 100 << 20}, "memory"),
        ({"installed": Installed(digest=OLD, bundle_bytes=5 << 30)}, "memory"),
        ({"memory_available_bytes": 0}, "none"),
        ({"disk_free_bytes": 1 << 20}, "disk"),
    ],
)
def test_when_a_benchmark_may_run(changes: dict[str, object], reason: PausedReason) -> None:
    """If not: a tablet measures during a visit, empties its battery, or measures its heat."""
    conditions = replace(FINE, **changes)  # type: ignore[arg-type]
    assert refusal("bench", conditions, Limits(), running=False) == reason
    agent = Agent()
    agent.on(Asked())
    assert agent.tick(**changes) == (["bench local"] if reason == "none" else [])
    if reason != "none":
        assert rules.paused(agent.memory, conditions, SETTINGS) == reason
        assert agent.tick(**vars(FINE)) == ["bench local"]


def test_an_encounter_that_opens_ends_the_benchmark() -> None:
    """If not: a clinician's tablet is slow while a visit is open."""
    agent = Agent()
    agent.on(Asked())
    assert agent.tick() == ["bench local"]
    agent.tick(encounter_open=True)
    assert agent.done[-1] == Stop()
    agent.bench(measured=False, reason="encounter_open")
    assert agent.tick(10) == []
    assert agent.tick(10, encounter_open=False) == [], "between two visits it begins again at once"
    assert agent.tick(400) == ["bench local"]


def test_a_battery_that_runs_low_ends_the_benchmark() -> None:
    """If not: a tablet that nobody plugged in is empty when the next visit begins."""
    agent = Agent(Memory())
    assert agent.tick() == ["bench new_build"]
    assert agent.tick(battery_percent=31.0) == [] and not any(isinstance(one, Stop) for one in agent.done)
    agent.tick(battery_percent=29.0)
    assert agent.done[-1] == Stop("battery")
    agent.bench(measured=False, reason="battery")
    assert agent.memory.failed_runs == 0, "the build is not to blame"
    assert agent.tick(1e5) == []
    assert agent.tick(charging=True) == ["bench new_build"]
    agent.done.clear()
    agent.tick(battery_percent=10.0)
    assert not agent.done, "on mains any charge will do"
    agent.tick(charging=None)
    assert agent.done == [Stop("battery")]


def test_a_command_goes_its_way_once() -> None:
    """If not: a repeated, replayed or reordered command runs twice, or is never answered."""
    agent = Agent()
    assert agent.command("bench") == []
    assert agent.command("bench") == []
    assert agent.tick() == ["bench command"]
    assert agent.answers(tuple(agent.done)) == ["executing:none"]
    assert agent.command("bench") == ["executing:none"], "a retained init that comes again"
    assert agent.bench() == ["successful:none"]
    assert agent.command("bench") == ["successful:none"]
    assert agent.command("bench", Command(status="executing")) == ["successful:none"]
    assert agent.command("bench", Command(status="successful")) == []
    assert agent.tick() == []
    agent.command("bench", None)
    assert agent.command("bench", None) == []
    assert agent.command("bench") == ["successful:none"], "cleared, and then replayed"
    assert agent.tick() == []


def test_killed_while_a_command_runs(tmp_path: Path) -> None:
    """If not: after a power cut a command stays 'executing' for ever, or runs again unasked."""
    agent = Agent()
    agent.command("bench")
    agent.tick()
    save_memory(tmp_path / "memory.json", agent.memory)
    memory, line = load_memory(tmp_path / "memory.json")
    assert (memory, line) == (agent.memory, "")
    again = Agent(memory)
    assert again.answers(again.on(Woke())) == ["failed:interrupted"]
    assert again.tick() == []
    assert again.command("bench", Command(status="executing")) == ["failed:interrupted"]
    assert again.answers(again.on(Woke())) == []


def test_a_memory_that_is_lost() -> None:
    """If not: a device that was set up again runs old commands, or leaves one 'executing'."""
    agent = Agent()
    assert agent.command("bench", Command(status="executing"), "c1") == ["failed:interrupted"]
    assert agent.command("bench", Command(status="failed", reason="heat"), "c2") == []
    assert agent.command("bench", INIT, "c2") == ["failed:heat"]
    assert agent.tick() == []


@pytest.mark.parametrize(
    ("operation", "command", "answer"),
    [
        ("install", INIT, "failed:bad_arguments"),
        ("bench", Command(status="init", workload="strange"), "failed:bad_arguments"),
        ("rollback", Command(status="init", workload="quick"), "failed:bad_arguments"),
        ("bench", "unknown", "failed:bad_arguments"),
        ("report", INIT, "successful:none"),
    ],
)
def test_commands_that_end_at_once(operation: str, command: Command | str, answer: str) -> None:
    """If not: an operator waits for a command that can never run."""
    agent = Agent()
    assert agent.command(operation, command) == [answer]
    assert agent.command(operation, command) in ([answer], [])
    assert agent.tick() == []
    assert (Report() in agent.done) == (operation == "report")


def test_a_command_that_waits_too_long() -> None:
    """If not: a command of last month runs tonight."""
    agent = Agent()
    agent.command("bench")
    assert agent.tick(hottest_celsius=80.0) == []
    effects = agent.tick(7 * 3600)
    assert effects == []
    assert agent.answers(tuple(agent.done)) == ["failed:heat"]
    assert agent.tick(hottest_celsius=20.0) == []


def test_a_flood_of_commands() -> None:
    """If not: a fleet gone mad fills the device's memory."""
    agent = Agent()
    for number in range(500):
        agent.command("bench", INIT, f"c{number}")
    assert len(agent.memory.queue) <= 20
    assert len(agent.memory.commands) <= MOST_RECORDS + 20


def test_a_command_taken_back() -> None:
    """If not: what the fleet cleared runs all the same, or its topic comes back from the dead."""
    agent = Agent()
    agent.command("bench")
    agent.command("bench", None)
    assert agent.tick() == []
    agent.command("bench", INIT, "c2")
    agent.tick()
    agent.command("bench", None, "c2")
    assert agent.bench() == []


def test_a_benchmark_that_fails_its_gates_is_told_as_that() -> None:
    """If not: a build that is too slow looks like an agent that broke."""
    agent = Agent()
    agent.command("bench")
    agent.tick()
    assert agent.bench(passed=False) == ["failed:gate_failed"]


def test_desired_state() -> None:
    """If not: an older order undoes a newer one, or a build is installed again and again."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED))
    assert agent.tick() == ["install desired"]
    agent.on(DesiredSeen(DESIRED))
    agent.on(DesiredSeen(DESIRED.model_copy(update={"desired_version": 0, "bundle_digest": "c" * 64})))
    agent.install("committed")
    installed = Installed(digest=NEW, previous_digest=OLD, slot="b", release="notes-2")
    assert agent.tick(installed=installed) == ["bench new_build"]
    agent.bench()
    assert agent.tick() == []
    assert agent.memory.settled_version == 1
    agent.on(DesiredSeen(DESIRED.model_copy(update={"desired_version": 2, "bundle_digest": OLD})))
    assert agent.tick() == ["rollback desired"], "what lies in the other slot is fetched again"
    agent.install("rolled_back", "requested")
    assert agent.tick(installed=Installed(digest=OLD, slot="a")) == ["bench new_build"]


def test_slots_that_do_not_show_what_was_installed() -> None:
    """If not: a device whose slots cannot be read installs one build every ten seconds, until its flash is worn."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED))
    assert agent.tick() == ["install desired"]
    agent.install("committed")
    assert [agent.tick(10) for _ in range(20)] == [[]] * 20
    agent.on(DesiredSeen(DESIRED.model_copy(update={"desired_version": 2})))
    assert agent.tick() == ["install desired"], "a newer order of the same build is not done"


def test_another_form_of_the_same_version_is_passed_over() -> None:
    """If not: whoever replays a number changes what a device runs."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED))
    agent.on(DesiredSeen(DESIRED.model_copy(update={"bundle_digest": "c" * 64})))
    assert agent.memory.desired_digest == NEW


@pytest.mark.parametrize("reason", ["self_test_failed", "untrusted", "changed", "wrong_target", "boots_exhausted"])
def test_an_install_that_no_second_try_mends(reason: str) -> None:
    """If not: a device downloads a bad build every ten minutes."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED))
    agent.tick()
    agent.install("rolled_back", reason)
    assert agent.tick(24 * 3600) == []
    agent.on(DesiredSeen(DESIRED.model_copy(update={"desired_version": 2})))
    assert agent.tick() == ["install desired"]


@pytest.mark.parametrize(
    ("reason", "no_update"), [("no_space", False), ("other", True), ("expired_metadata", False), ("interrupted", False)]
)
def test_an_install_that_is_tried_again(reason: str, no_update: bool) -> None:
    """If not: a clinic's bad Wi-Fi keeps a device on the old build for ever."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED))
    agent.tick()
    agent.install("failed", reason, no_update=no_update)
    assert agent.tick(60) == []
    assert agent.tick(600) == ["install desired"]
    agent.install("failed", reason, no_update=no_update)
    assert agent.tick(700) == []
    assert agent.tick(600) == ["install desired"]


def test_a_visit_in_the_way_of_an_install() -> None:
    """If not: an install that waits for a visit waits for hours after it."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED))
    agent.tick()
    agent.install("refused", "busy")
    assert agent.tick(301) == ["install desired"]


def test_another_profile_is_refused_and_told() -> None:
    """If not: a device takes a build for another task, or its ring waits for it in vain."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED.model_copy(update={"profile": "letters"})))
    assert agent.tick() == []
    assert Refuse(NEW, "notes-2", "r1", "wrong_target") in agent.done
    agent.tick()
    assert sum(isinstance(one, Refuse) for one in agent.done) == 1


def test_nothing_desired() -> None:
    """If not: a device without an order installs something."""
    agent = Agent()
    agent.on(DesiredSeen(DESIRED.model_copy(update={"release": None, "bundle_digest": None, "profile": None})))
    assert agent.tick() == []
    assert agent.memory.settled_version == 1


def test_what_was_cut_short_is_taken_up() -> None:
    """If not: after a power cut in the middle of an install the device stays half switched."""
    agent = Agent()
    pending = Installed(digest=OLD, slot="a", pending=True)
    assert agent.tick(installed=pending) == ["install resume"]
    assert agent.tick() == []
    agent.install("failed", "busy")
    assert agent.tick(10) == []
    assert agent.tick(300) == ["install resume"]
    agent.install("rolled_back", "self_test_failed")
    assert agent.tick(installed=Installed(digest=OLD, slot="a")) == []


def test_a_new_build_is_measured_and_not_for_ever() -> None:
    """If not: the fleet has no evidence of a build, or a build that crashes is tried all day."""
    agent = Agent(Memory())
    for _ in range(3):
        assert agent.tick(6 * 3600) == ["bench new_build"]
        agent.bench(measured=False, reason="memory")
    assert agent.tick(24 * 3600) == []
    assert agent.tick(installed=Installed(digest=NEW)) == [], "failures of one build"


def test_a_benchmark_that_ends_the_device_is_not_tried_for_ever() -> None:
    """If not: a build that crashes the kernel keeps the tablet starting."""
    memory = Memory()
    starts = 0
    for _ in range(10):
        agent = Agent(memory)
        agent.on(Woke())
        starts += len(agent.tick())
        memory = agent.memory
    assert starts == rules.MOST_FAILED_RUNS


def test_the_schedule() -> None:
    """If not: a device never measures again, or all of a clinic measure in the same minute."""
    agent = Agent(every=timedelta(hours=24))
    began = [agent.tick(60) for _ in range(60)]
    assert began.count(["bench schedule"]) == 1
    agent.bench()
    hours = next(hour for hour in range(1, 60) if agent.tick(3600))
    assert 21 <= hours <= 27
    agent.bench(measured=False, reason="other")
    assert agent.tick(60) == []
    firsts = {next_bench(f"d{n}", timedelta(hours=24), None, NOW).minute for n in range(200)}
    assert len(firsts) > 40


@pytest.mark.parametrize("last", ["2090-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z", "nonsense", None])
@pytest.mark.parametrize("began", [NOW, NOW + timedelta(days=30_000), NOW - timedelta(days=20_000)])
def test_a_clock_that_was_wrong(last: str | None, began: datetime) -> None:
    """If not: a device whose clock once stood at 2090 measures again in 2090."""
    agent = Agent(Memory(measured_digest=OLD, last_bench=last), every=timedelta(hours=24), began=began)
    assert any(agent.tick(600) for _ in range(6 * 28))


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"version": 9}', b'{"commands": [{"operation": "wipe", "id": "x", "status": "init"}]}']
)
def test_a_broken_memory(tmp_path: Path, text: bytes) -> None:
    """If not: half a file ends the agent at every start."""
    (tmp_path / "memory.json").write_bytes(text)
    memory, line = load_memory(tmp_path / "memory.json")
    assert memory == Memory()
    assert line
    assert load_memory(tmp_path / "nothing.json") == (Memory(), "")


EVENTS = st.one_of(
    st.builds(
        CommandSeen,
        st.sampled_from(["bench", "install", "rollback", "report"]),
        st.sampled_from(["c1", "c2", "c3"]),
        st.sampled_from([INIT, Command(status="executing"), Command(status="init", release="r2"), None, "unknown"]),
    ),
    st.builds(lambda n, d: DesiredSeen(DESIRED.model_copy(update={"desired_version": n, "bundle_digest": d})),
              st.integers(0, 4), st.sampled_from([OLD, NEW, "c" * 64])),
    st.just(Asked()),
    st.just(Woke()),
    st.sampled_from(["visit", "no visit", "hot", "cold"]),
    st.sampled_from(["end well", "end badly", "wait"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_laws(story: list[object]) -> None:
    """If not: some order of events runs two things at once, runs during a visit, or runs one command twice."""
    agent = Agent(every=timedelta(hours=2))
    started: list[tuple[str, str]] = []
    for event in story:
        if event == "visit":
            agent.conditions = replace(agent.conditions, encounter_open=True)
        elif event == "no visit":
            agent.conditions = replace(agent.conditions, encounter_open=False)
        elif event in ("hot", "cold"):
            agent.conditions = replace(agent.conditions, hottest_celsius=90.0 if event == "hot" else 20.0)
        elif event in ("end well", "end badly"):
            running = agent.memory.running
            if running is not None and running.kind == "bench":
                agent.bench(measured=event == "end well", reason="none" if event == "end well" else "other")
            elif running is not None:
                agent.install("committed" if event == "end well" else "failed", "none")
        elif not isinstance(event, str):
            agent.on(event)  # type: ignore[arg-type]
        before = agent.memory.running
        agent.done.clear()
        agent.tick(600)
        starts = [one.job for one in agent.done if isinstance(one, Start)]
        assert len(starts) <= (before is None)
        if starts:
            assert not agent.conditions.encounter_open
            assert agent.memory.running == starts[0]
            started += [(one.kind, one.command) for one in starts if one.command]
        assert agent.memory.desired_version <= 4
    assert len(started) == len(set(started)), "a command ran twice"


def test_shares_are_spread() -> None:
    """If not: jitter is none."""
    values = [share_of("d", n) for n in range(1000)]
    assert 0 <= min(values) < 0.05
    assert 0.95 < max(values) < 1
