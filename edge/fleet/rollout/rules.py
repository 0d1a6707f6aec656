"""The rules of a rollout: a pure state machine. State, time and evidence in; state and effects out.

Rules
- A rollout is running, paused, done, stopped or aborted. The last three are ends; only `abort` leaves `done` and
  `stopped`, to set back what is still on the new build.
- Evidence is a message of a device of an open ring that was set to the new build, about that build's bundle digest,
  received (by the collector's clock, not the device's) after that moment, and not emulated. Nothing else counts.
- Passed: benchmark and golden cases passed. Failed: one of them did not, or the self-test at install did not, or
  somebody took the new build off (evidence.py). Failed outweighs passed whatever the order, so repeated and reordered
  messages change nothing.
- A device is asked (set to the new build) at most 1 + `retries` times: again when it refused the build (signature,
  content, target), and when it is silent for `timeout_h`. An install that fails otherwise (network, disk) goes on by
  itself until then. After the last time it is install_failed, if it said that an install failed or was refused: that is
  a failure; else timed_out, which is no failure and not passed.
- A device without a result counts as not passed. One that left (revoked) leaves its ring's count, unless it failed.
- A failed device is set back at once. More failures than `stop` or the ring's own passed_share_min leaves room for, in
  any open ring, stop the rollout and set back every device that was started.
- Rate: a ring's devices are started evenly, at most rate_per_h an hour; what was missed is caught up by ten
  minutes' worth at most.
- The next ring opens when at least needed(devices) devices of the newest ring passed, the last of them within within_h
  of its opening, and that has held for soak_h. After the last ring, and when no device is waiting, the rollout is done.
- within_h without that, or a ring that can no longer reach it because devices left, ends in stopped
  (not_enough_evidence): devices that passed keep the new build, all others that were started are set back.
- Paused: nothing is started, asked again or opened, and no time limit ends; failures still stop it. Time in a pause
  does not count towards within_h.
- abort sets back every device that was started.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from edge.fleet.rollout.evidence import Evidence
from edge.fleet.rollout.plan import EPSILON, OpenNext, RolloutPlan
from edge.fleet.rollout.ring_facts import Facts, devices_facts, ring_facts
from edge.fleet.rollout.state import ACTIVE, Device, Reason, RingState, State

HOUR_MS = 3_600_000
BURST_MS = 600_000
Kind = Literal[
    "started", "devices_started", "devices_asked_again", "devices_failed", "devices_timed_out", "devices_left",
    "ring_opened", "paused", "resumed", "aborted", "stopped", "done",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SetDesired:
    """Set the device to the new build; a second time: ask again, with a new version."""

    device: str


@dataclass(frozen=True, slots=True)
class SetBack:
    """Set the device to the release that it had; None: it had none, nothing is asked of it any more."""

    device: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and on what. ring: its name, None when it is about the whole rollout."""

    kind: Kind
    ring: str | None
    evidence: Facts
    by: str = "controller"


Effect = SetDesired | SetBack | Decision


@dataclass(frozen=True, slots=True)
class Step:
    """The new state and what must be done in the same transaction. Without a change `state` is the one given."""

    state: State
    effects: tuple[Effect, ...] = ()

    @property
    def is_decisive(self) -> bool:
        """Whether a ring opened or the rollout ended: what may never rest on a part of the evidence."""
        kinds = ("ring_opened", "stopped", "done")
        return any(isinstance(effect, Decision) and effect.kind in kinds for effect in self.effects)


def reached_ms(rule: OpenNext, devices: Collection[Device]) -> int | None:
    """When enough of a ring's devices had passed; None when they have not. A function of the evidence alone."""
    needed = rule.needed(sum(device.counts for device in devices))
    passes = sorted(device.passed_ms or 0 for device in devices if device.has_passed)
    return passes[needed - 1] if len(passes) >= needed else None


def failures_allowed(plan: RolloutPlan, ring: int, devices: int) -> int:
    """How many of a ring's devices may fail before all stops; failed_max holds beside it."""
    by_stop = math.floor(plan.stop.failed_share_max * devices + EPSILON)
    return min(by_stop, devices - plan.rings[ring].open_next.needed_share(devices))


def advance(state: State, now_ms: int, evidence: Iterable[Evidence] = (), left: Collection[str] = ()) -> Step:
    """One step: take in evidence and devices that left, then decide. Safe to repeat with the same evidence."""
    if state.phase not in ACTIVE:
        return Step(state)
    work = _Work(state, now_ms)
    work.take_in(evidence)
    work.leave(left)
    if state.phase == "running":
        work.ask_again()
    work.set_failed_back()
    if work.too_many_failures():
        work.stop("failures")
    elif state.phase == "running":
        while work.open_or_end():
            pass  # the ring that was opened may be one that can never reach its share: its devices have left
        if work.phase == "running":
            work.start_devices()
            work.finish()
    return work.step()


def pause(state: State, now_ms: int, by: str) -> Step:
    """Start nothing more. Without effect unless it runs."""
    if state.phase != "running":
        return Step(state)
    fresh = replace(state, phase="paused", paused_at_ms=now_ms)
    return Step(fresh, (Decision("paused", None, devices_facts(state.devices.values()), by),))


def resume(state: State, now_ms: int, by: str) -> Step:
    """Go on. Without effect unless it is paused."""
    if state.phase != "paused":
        return Step(state)
    length = max(0, now_ms - (state.paused_at_ms or now_ms))
    rings = [replace(ring, next_start_ms=max(ring.next_start_ms, now_ms)) for ring in state.rings]
    rings[-1] = replace(rings[-1], paused_ms=rings[-1].paused_ms + length)
    fresh = replace(state, phase="running", paused_at_ms=None, rings=tuple(rings))
    return Step(fresh, (Decision("resumed", None, {"paused_s": round(length / 1000)}, by),))


def abort(state: State, now_ms: int, by: str) -> Step:
    """Set back every device that was started and is not back yet. Without effect after an abort."""
    if state.phase == "aborted":
        return Step(state)
    work = _Work(state, now_ms)
    work.end("aborted", "by_operator", keep_passed=False, by=by)
    return work.step()


class _Work:
    """One step in the making; a function's local variables, never seen outside."""

    def __init__(self, state: State, now_ms: int) -> None:
        self.state, self.now_ms, self.plan = state, now_ms, state.plan
        self.devices = dict(state.devices)
        self.rings = list(state.rings)
        self.phase, self.reason = state.phase, state.reason
        self.effects: list[Effect] = []

    def step(self) -> Step:
        """The outcome; the given state itself where nothing changed."""
        changed = bool(self.effects) or self.devices != self.state.devices or tuple(self.rings) != self.state.rings
        if not changed:
            return Step(self.state)
        fresh = replace(
            self.state, devices=self.devices, rings=tuple(self.rings), phase=self.phase, reason=self.reason,
            paused_at_ms=self.state.paused_at_ms if self.phase == "paused" else None,
        )  # fmt: skip
        return Step(fresh, tuple(self.effects))

    def of_ring(self, ring: int) -> list[Device]:
        """The devices of one ring."""
        return [device for device in self.devices.values() if device.ring == ring]

    def say(self, kind: Kind, ring: int | None, facts: Facts, by: str = "controller") -> None:
        """Keep a decision."""
        self.effects.append(Decision(kind, None if ring is None else self.plan.rings[ring].name, facts, by))

    def say_of_devices(self, kind: Kind, names: list[str]) -> None:
        """Keep a decision about some devices, one for each ring."""
        for ring in sorted({self.devices[name].ring for name in names}):
            found = [self.devices[name] for name in names if self.devices[name].ring == ring]
            self.say(kind, ring, devices_facts(found))

    def take_in(self, evidence: Iterable[Evidence]) -> None:
        """Keep what counts. The earliest pass and the smallest failing message stay, whatever the order."""
        for one in evidence:
            device = self.devices.get(one.device)
            if device is None or device.assigned_ms is None or device.set_back:
                continue
            if one.digest != self.state.digest or one.received_ms <= device.assigned_ms:
                continue
            verdict = one.verdict()
            if verdict == "passed":
                earlier = (one.received_ms, one.message) < (device.passed_ms or math.inf, device.passed)
                if device.passed_ms is None or earlier:
                    device = replace(device, passed_ms=one.received_ms, passed=one.message)
            elif verdict == "failed":
                device = replace(device, failed=min(filter(None, (device.failed, one.message))))
            elif verdict == "refused" and one.message not in device.refused:
                refused = tuple(sorted((*device.refused, one.message)))
                device = replace(device, refused=refused, broken=len(refused) > self.plan.retries)
            elif verdict == "install_failed" and one.message not in device.install_failures:
                device = replace(device, install_failures=tuple(sorted((*device.install_failures, one.message))))
            self.devices[one.device] = device

    def leave(self, names: Collection[str]) -> None:
        """Devices that were revoked or are gone."""
        gone = [name for name in names if name in self.devices and not self.devices[name].left]
        for name in gone:
            self.devices[name] = replace(self.devices[name], left=True)
        self.say_of_devices("devices_left", gone)

    def set_failed_back(self) -> None:
        """A build that failed on a device does not stay there, whatever becomes of the rollout."""
        failed = [one.name for one in self.devices.values() if one.has_failed and not one.set_back]
        for name in failed:
            self.set_back(name)
        self.say_of_devices("devices_failed", failed)

    def set_back(self, name: str) -> None:
        """Once each."""
        device = self.devices[name]
        self.devices[name] = replace(device, set_back=True)
        self.effects.append(SetBack(name, device.previous))

    def too_many_failures(self) -> bool:
        """Whether any open ring, or all together, has more than the plan allows."""
        failed = sum(device.has_failed for device in self.devices.values())
        if failed == 0:
            return False
        if failed > self.plan.stop.failed_max:
            return True
        for ring in range(len(self.rings)):
            found = self.of_ring(ring)
            counted = sum(device.counts for device in found)
            if sum(device.has_failed for device in found) > failures_allowed(self.plan, ring, counted):
                return True
        return False

    def stop(self, reason: Reason) -> None:
        """End without success."""
        self.end("stopped", reason, keep_passed=reason == "not_enough_evidence", by="controller")

    def end(self, phase: Literal["stopped", "aborted"], reason: Reason, *, keep_passed: bool, by: str) -> None:
        """Set back what was started, and say why."""
        ring = len(self.rings) - 1
        facts = self.facts(ring)
        back = [
            one.name
            for one in self.devices.values()
            if one.assigned_ms is not None and not one.set_back and not (keep_passed and one.has_passed)
        ]
        for name in back:
            self.set_back(name)
        had_none = [name for name in back if self.devices[name].previous is None]
        self.phase, self.reason = phase, reason
        self.say(phase, ring, {**facts, "reason": reason, "set_back": back, "had_no_release_before": had_none}, by)

    def facts(self, ring: int) -> Facts:
        """What a decision about a ring rests on."""
        found = self.of_ring(ring)
        counted = sum(device.counts for device in found)
        return ring_facts(
            self.plan,
            ring,
            found,
            opened_ms=self.rings[ring].opened_ms,
            reached_ms=reached_ms(self.plan.rings[ring].open_next, found),
            failures_allowed=failures_allowed(self.plan, ring, counted),
            failed_in_all=sum(device.has_failed for device in self.devices.values()),
        )

    def ask_again(self) -> None:
        """Devices that refused the build, or are silent for too long; after the last time judge them."""
        timeout_ms = self.plan.timeout_h * HOUR_MS
        again, silent = [], []
        for device in list(self.devices.values()):
            if device.assigned_ms is None or device.timed_out or device.left or device.set_back:
                continue
            refused = len(device.refused) >= device.asks
            if device.passed_ms is not None or (not refused and self.now_ms < device.asked_ms + timeout_ms):
                continue
            if device.asks <= self.plan.retries:
                self.devices[device.name] = replace(device, asks=device.asks + 1, asked_ms=self.now_ms)
                self.effects.append(SetDesired(device.name))
                again.append(device.name)
            elif device.refused or device.install_failures:
                self.devices[device.name] = replace(device, broken=True)
            else:
                self.devices[device.name] = replace(device, timed_out=True)
                silent.append(device.name)
        self.say_of_devices("devices_asked_again", again)
        self.say_of_devices("devices_timed_out", silent)

    def open_or_end(self) -> bool:
        """Open the next ring (then True), end the rollout for lack of evidence, or neither."""
        ring = len(self.rings) - 1
        if self.has_share(ring):
            if ring + 1 == len(self.plan.rings) or not self.has_soaked(ring):
                return False
            self.say("ring_opened", ring + 1, {"on_ring": self.plan.rings[ring].name, **self.facts(ring)})
            self.rings.append(RingState(self.now_ms, self.now_ms))
            return True
        found = self.of_ring(ring)
        needed = self.plan.rings[ring].open_next.needed(sum(device.counts for device in found))
        still_able = sum(device.counts and not device.has_failed for device in found)
        if self.now_ms > self.limit_ms(ring) or still_able < needed:
            self.stop("not_enough_evidence")
        return False

    def limit_ms(self, ring: int) -> float:
        """When the ring's time is over."""
        opened = self.rings[ring]
        return opened.opened_ms + opened.paused_ms + self.plan.rings[ring].open_next.within_h * HOUR_MS

    def has_share(self, ring: int) -> bool:
        """Enough devices of the ring passed, and in time."""
        reached = reached_ms(self.plan.rings[ring].open_next, self.of_ring(ring))
        return reached is not None and reached <= self.limit_ms(ring)

    def has_soaked(self, ring: int) -> bool:
        """They did so soak_h ago."""
        rule = self.plan.rings[ring].open_next
        reached = reached_ms(rule, self.of_ring(ring))
        return reached is not None and self.now_ms >= reached + rule.soak_h * HOUR_MS

    def finish(self) -> None:
        """The rollout is done when the last ring has its share and nobody waits in any."""
        ring = len(self.rings) - 1
        waiting = any(one.assigned_ms is None and not one.left for one in self.devices.values())
        if ring + 1 == len(self.plan.rings) and not waiting and self.has_share(ring) and self.has_soaked(ring):
            self.say("done", ring, self.facts(ring))
            self.phase = "done"

    def start_devices(self) -> None:
        """As many as each open ring's rate allows."""
        for ring, opened in enumerate(self.rings):
            interval_ms = math.ceil(HOUR_MS / self.plan.rings[ring].rate_per_h)
            waiting = [one for one in self.of_ring(ring) if one.assigned_ms is None and not one.left]
            next_ms, started = opened.next_start_ms, []
            for device in waiting:
                if self.now_ms < next_ms:
                    break
                next_ms = max(next_ms, self.now_ms - BURST_MS) + interval_ms
                self.devices[device.name] = replace(
                    device, assigned_ms=self.now_ms, asked_ms=self.now_ms, asks=1
                )  # fmt: skip
                self.effects.append(SetDesired(device.name))
                started.append(device.name)
            if started:
                self.rings[ring] = replace(opened, next_start_ms=next_ms)
                self.say_of_devices("devices_started", started)
