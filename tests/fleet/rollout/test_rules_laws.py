"""The laws of a rollout, against thousands of random fleets, clocks and messages."""

from __future__ import annotations

import math
import random
from collections import defaultdict

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.fleet.rollout import rules
from edge.fleet.rollout.evidence import Evidence
from edge.fleet.rollout.plan import RolloutPlan
from edge.fleet.rollout.rules import Decision, SetBack, SetDesired, Step
from edge.fleet.rollout.state import Device, RingState, State

HOUR_MS = 3_600_000
START_MS = 1_795_000_000_000
GOOD, BAD = "b" * 64, "c" * 64
RATES = (1.0, 6.0, 600.0)


class Rollout(RuleBasedStateMachine):
    """Devices, messages and people do anything in any order; `heard` is all that was ever received."""

    @initialize(
        sizes=st.lists(st.integers(1, 8), min_size=1, max_size=3),
        share=st.sampled_from([0.5, 0.75, 0.9, 1.0]),
        least=st.integers(1, 3),
        soak_h=st.sampled_from([0.0, 2.0]),
        failed_share=st.sampled_from([0.0, 0.2, 0.5]),
        failed_max=st.integers(0, 4),
        rate=st.sampled_from(RATES),
        retries=st.integers(0, 2),
    )
    def begin(
        self, sizes: list[int], share: float, least: int, soak_h: float, failed_share: float, failed_max: int,
        rate: float, retries: int,
    ) -> None:  # fmt: skip
        rings = [
            {
                "name": f"r{index}",
                "devices": {"share": 0.5},
                "rate_per_h": rate,
                "open_next": {"passed_share_min": share, "devices_min": least, "within_h": 24.0, "soak_h": soak_h},
            }
            for index in range(len(sizes))
        ]
        self.plan = RolloutPlan.from_resolved(
            {"version": 1, "rollout": "x", "release": "x-2", "profile": "x", "rings": rings, "timeout_h": 6.0,
             "retries": retries, "stop": {"failed_share_max": failed_share, "failed_max": failed_max}}
        )  # fmt: skip
        devices = [Device(f"d{ring}{number}", ring, "x-1") for ring, size in enumerate(sizes) for number in range(size)]
        self.names = [one.name for one in devices]
        self.ring_of = {one.name: one.ring for one in devices}
        self.now = START_MS
        self.state = State(
            self.plan, GOOD, "running", (RingState(self.now, self.now),), {one.name: one for one in devices}
        )
        self.heard: list[Evidence] = []
        self.left: set[str] = set()
        self.assigned: dict[str, int] = {}
        self.started: dict[int, list[int]] = defaultdict(list)
        self.asked: dict[str, int] = defaultdict(int)
        self.wants: dict[str, str] = {}
        self.back_at: dict[str, int] = {}
        self.aborted_at: int | None = None
        self.seq = 0

    def take(self, step: Step) -> None:
        """What the database would keep, and the laws about a single step."""
        before, self.state = self.state, step.state
        for effect in step.effects:
            if isinstance(effect, SetDesired):
                assert before.phase == "running", "nothing is started but in a running rollout"
                assert self.ring_of[effect.device] <= self.state.ring, "a device of a ring that is not open"
                if effect.device not in self.assigned:
                    self.assigned[effect.device] = self.now
                    self.started[self.ring_of[effect.device]].append(self.now)
                self.asked[effect.device] += 1
                assert self.asked[effect.device] <= 1 + self.plan.retries
                self.wants[effect.device] = "new"
            elif isinstance(effect, SetBack):
                assert self.wants.get(effect.device) == "new", "set back twice, or never started"
                assert effect.previous == "x-1"
                self.wants[effect.device] = "old"
                self.back_at[effect.device] = self.now
            elif isinstance(effect, Decision) and effect.kind == "ring_opened":
                self.opened_rightly(self.state.plan.rings.index(self.ring_named(effect.ring)) - 1, effect)
        if self.state.phase in ("stopped", "aborted") and before.phase != self.state.phase:
            self.ended_cleanly()
        assert State.from_text(self.state.to_text(), "") == self.state, "the database's copy is the state"

    def ended_cleanly(self) -> None:
        """After an end only proven devices keep the new build, and only where the build was not bad."""
        for device, build in self.wants.items():
            kept = self.state.reason == "not_enough_evidence" and self.passed(device)
            assert build == ("new" if kept else "old")

    def ring_named(self, name: str | None):  # type: ignore[no-untyped-def]
        return next(ring for ring in self.plan.rings if ring.name == name)

    # The laws, worked out anew from everything that was received, not from the machine's own bookkeeping.

    def valid(self, device: str) -> list[Evidence]:
        at = self.assigned.get(device)
        if at is None:
            return []
        return [
            one
            for one in self.heard
            if one.device == device and one.digest == GOOD and one.received_ms > at and not one.emulated
        ]

    def failed(self, device: str) -> bool:
        said = self.valid(device)
        refused = {one.message for one in said if one.reason == "wrong_target"}
        installs = any(one.reason in ("wrong_target", "other") for one in said)
        given_up = installs and self.asked[device] > self.plan.retries and self.state.devices[device].broken
        return (
            len(refused) > self.plan.retries
            or given_up
            or any(
                (not one.outcome and (not one.passed or one.golden_passed is False)) or one.reason == "self_test_failed"
                for one in said
            )
        )

    def passed(self, device: str) -> bool:
        good = any(not one.outcome and one.passed and one.golden_passed for one in self.valid(device))
        return good and not self.failed(device) and device not in self.left

    def ring_devices(self, ring: int) -> list[str]:
        """Those that are counted."""
        return [one for one in self.names if self.ring_of[one] == ring and (one not in self.left or self.failed(one))]

    def opened_rightly(self, ring: int, decision: Decision) -> None:
        counted, wanted = self.ring_devices(ring), self.plan.rings[ring].open_next
        passed = sum(map(self.passed, counted))
        assert passed >= wanted.devices_min
        assert passed / len(counted) >= wanted.passed_share_min, "opened without its share of evidence"
        assert decision.evidence["passed"] == passed
        assert len(decision.evidence["passed_messages"]) == passed

    def beyond(self) -> bool:
        """More failures than the plan allows anywhere."""
        failed = [one for one in self.assigned if self.failed(one)]
        if len(failed) > self.plan.stop.failed_max:
            return True
        for ring in range(self.state.ring + 1):
            counted = self.ring_devices(ring)
            share = sum(map(self.failed, counted)) / len(counted) if counted else 0.0
            if share > self.plan.stop.failed_share_max + 1e-9:
                return True
        return False

    # What can happen.

    @rule(hours=st.sampled_from([0.0, 0.02, 1.0, 5.0]), again=st.randoms(use_true_random=False))
    def tick(self, hours: float, again: random.Random) -> None:
        """Time goes on; the controller reads everything or a part of what it has read before, in any order."""
        self.now += round(hours * HOUR_MS)
        evidence = list(self.heard)
        again.shuffle(evidence)
        was = self.state
        step = rules.advance(was, self.now, evidence, self.left)
        straight = rules.advance(was, self.now, self.heard, self.left)
        assert step.state == straight.state, "the order of messages changes nothing"
        self.take(step)
        twice = rules.advance(self.state, self.now, evidence + evidence, self.left)
        assert twice.state is self.state and not twice.effects, "a second reading changes nothing"
        if self.state.phase in ("running", "paused"):
            assert not self.beyond(), "failures beyond the threshold stop everything"

    @rule(
        which=st.integers(0, 99),
        kind=st.sampled_from(
            ["pass", "pass", "pass", "fail", "golden", "no golden", "install", "refused", "self-test", "busy"]
        ),
        spoilt=st.sampled_from(["", "", "", "", "digest", "emulated", "old"]),
    )
    def message(self, which: int, kind: str, spoilt: str) -> None:
        """A device says something; mostly one that was asked."""
        asked = [one for one in self.assigned if one not in self.back_at]
        some = asked if asked and which < 80 else self.names
        self.say(some[which % len(some)], kind, spoilt)

    def say(self, device: str, kind: str, spoilt: str) -> None:
        self.seq += 1
        outcome, reason = {
            "install": ("failed", "other"),
            "refused": ("refused", "wrong_target"),
            "self-test": ("rolled_back", "self_test_failed"),
            "busy": ("refused", "busy"),
        }.get(kind, ("", ""))  # fmt: skip
        back = self.back_at.get(device)
        if back is not None or self.state.phase not in ("running", "paused"):
            return  # it was set back: what it says of the build is no longer asked for
        received = self.assigned.get(device, self.now) - 1 if spoilt == "old" else self.now
        self.heard.append(
            Evidence(
                device, f"00000000/{self.seq}", received, BAD if spoilt == "digest" else GOOD,
                passed=kind != "fail", golden_passed={"golden": False, "no golden": None}.get(kind, True),
                emulated=spoilt == "emulated", outcome=outcome, reason=reason,
            )
        )  # fmt: skip
        if spoilt != "emulated" or not outcome:
            return
        self.heard.pop()  # an install has no such word

    @rule(steps=st.integers(1, 8), again=st.randoms(use_true_random=False))
    def day(self, steps: int, again: random.Random) -> None:
        """An hour at a time."""
        for _ in range(steps):
            self.tick(1.0, again)

    @rule()
    def good_day(self) -> None:
        """Every device of the newest ring that was started passes."""
        ring = self.state.ring
        for device in list(self.assigned):
            if self.ring_of[device] == ring:
                self.say(device, "pass", "")

    @precondition(lambda self: len(self.left) < 4)
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        """A device is revoked."""
        self.left.add(self.names[which % len(self.names)])

    @rule(really=st.integers(0, 4))
    def pause(self, really: int) -> None:
        if really:
            return
        self.take(rules.pause(self.state, self.now, "tester"))

    @rule()
    def resume(self) -> None:
        self.take(rules.resume(self.state, self.now, "tester"))

    @precondition(lambda self: self.now > START_MS + 12 * HOUR_MS)
    @rule(really=st.integers(0, 4))
    def abort(self, really: int) -> None:
        if really:
            return
        self.take(rules.abort(self.state, self.now, "tester"))
        assert "new" not in self.wants.values(), "abort sets every started device back"
        assert rules.abort(self.state, self.now, "tester").state is self.state

    @invariant()
    def rate_is_kept(self) -> None:
        """In no hour more than the rate, the first one, and ten minutes' worth that was caught up."""
        for ring, times in getattr(self, "started", {}).items():
            rate = self.plan.rings[ring].rate_per_h
            for at in times:
                started = sum(at <= other < at + HOUR_MS for other in times)
                assert started <= math.ceil(rate + rate / 6) + 1

    @invariant()
    def failed_devices_are_back(self) -> None:
        state = getattr(self, "state", None)
        if state is not None:
            assert all(device.set_back for device in state.devices.values() if device.has_failed)


Rollout.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestRollout = Rollout.TestCase
