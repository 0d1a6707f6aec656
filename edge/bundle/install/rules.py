"""Two slots and what may happen to them, as a pure function: `advance(state, event)` and `due(state)`. No IO.

    idle -> filling -> filled -> verified -> switched -> idle (committed)
              |          |          |            |
              |          +----------+------------+--> rolling_back -> idle (rolled back, refused, failed)
              +--> idle (failed)                    +--> filled (waits, where a visit was opened)

Rules
1. `slot` is the confirmed slot: the one whose build passed its self-test on this device. Only the other slot is ever
   filled, and `current` shows the confirmed slot whenever nothing is under way.
2. `current` is moved only in `verified` (to the new slot) and in `rolling_back` (to the confirmed one). `verified` is
   reached only by `Checked`: signature, listing, every digest, target, features.
3. Between switch and commit the build is unconfirmed. It is committed by a passed self-test and by nothing else; a way
   back to `previous` is a build that passed here before, so it is verified and switched, and not tested again.
4. A self-test that is begun is counted before it runs. Whoever wakes in `switched` after MAX_TESTS of them rolls back
   (boots_exhausted): a build that kills its device is tried so many times, and not for ever.
5. Waking (`Woke`) trusts no memory of the one that died: `filled` and `verified` are verified anew, `filling` ends as
   interrupted (its files stay, the next install keeps them), and in `idle` a link that shows something else than the
   confirmed slot is put back.
6. What is refused after the link may have moved goes through `rolling_back`, which puts the link back whether it moved
   or not.
7. `previous` is the way back; it is given up when the other slot is filled for the next install, and kept until then.
8. A patient comes first. A visit may be opened at any time, also during a self-test; that is ended then (`VisitOpened`)
   and nothing is held against the build: the begun test is not counted, the link goes back, and the order waits in
   `filled` with all its files, to be verified, switched and tested again.
9. The update lock is held alone where `current` or this memory changes what is in force or shown, and only for that
   instant: at the switch (with the commit of a way back, which is the same step), at the commit, and where a link that
   somebody moved is put back. It is not held during the self-test, nor on the way back from an unconfirmed build: from
   the switch on apps open the confirmed slot by its own path, whatever the link shows (edge.bundle.install.in_force),
   and it is the confirmed slot before and after.
10. The commit waits some seconds for the lock, and goes back as in rule 8 when a visit keeps it. It could not disturb
   an engine that runs, but one that has to be started again in the middle of that visit would find another build in
   force and be refused: the patient's visit would be left without a model.
11. A self-test that failed while a visit is open has not failed: the visit may have taken its memory or its time.
12. While nothing is confirmed, as during a first install, nothing is in force: no visit gets the build that is tested.
   Such a visit ends the self-test too; it has what the package brought, or no model, and the order waits.
13. An event that does not fit the phase changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Slot = Literal["a", "b"]
SLOTS: tuple[Slot, Slot] = ("a", "b")
Phase = Literal["idle", "filling", "filled", "verified", "switched", "rolling_back"]
PHASES: tuple[Phase, ...] = get_args(Phase)
OutcomeName = Literal["committed", "rolled_back", "refused", "failed"]
OUTCOMES: tuple[OutcomeName, ...] = get_args(OutcomeName)
Reason = Literal[
    "none",
    "self_test_failed",
    "no_space",
    "untrusted",
    "changed",
    "wrong_target",
    "expired_metadata",
    "interrupted",
    "busy",
    "boots_exhausted",
    "requested",
    "other",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
STATE_VERSION = 1
MAX_TESTS = 3


@dataclass(frozen=True)
class InstallOutcome:
    """How an install ended: names, digests, numbers, nothing else. slot: the one that is in force afterwards."""

    outcome: OutcomeName
    reason: Reason
    from_digest: str | None
    to_digest: str | None
    release: str | None
    slot: Slot | None
    moved_bytes: int
    kept_bytes: int
    duration_s: float
    rollout: str | None = None


@dataclass(frozen=True)
class Build:
    """What a slot holds. digest: of the bundle."""

    digest: str
    release: str | None = None


def other(slot: Slot) -> Slot:
    """The slot beside it."""
    return "b" if slot == "a" else "a"


@dataclass(frozen=True)
class Order:
    """The build that is on its way into `slot`. back: a way back, to a build that passed here before."""

    build: Build
    slot: Slot = "a"
    rollout: str | None = None
    back: bool = False
    reason: Reason = "none"


@dataclass(frozen=True)
class State:
    """All that an installer must remember. tests: self-tests that were begun; spent_s: seconds of work so far.

    ending: (outcome, reason) that `rolling_back` leads to; None there means that only the link is put right, and that
    an order, if there is one, waits.
    """

    phase: Phase = "idle"
    slot: Slot | None = None
    build: Build | None = None
    previous: Build | None = None
    order: Order | None = None
    tests: int = 0
    moved_bytes: int = 0
    kept_bytes: int = 0
    spent_s: float = 0.0
    ending: tuple[OutcomeName, Reason] | None = None
    last: InstallOutcome | None = None

    @property
    def target(self) -> Slot:
        """The slot that an order goes into."""
        if self.order is not None:
            return self.order.slot
        return other(self.slot) if self.slot else "a"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"version": STATE_VERSION} | asdict(self) | {"ending": list(self.ending) if self.ending else None}


# ---- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Woke:
    """A process took the state up. link: the slot that `current` shows, None for none."""

    link: Slot | None


@dataclass(frozen=True)
class Begin:
    """An install was asked for and may begin: head trusted, space there, the other slot not in use."""

    order: Order


@dataclass(frozen=True)
class Filled:
    """All files are in the other slot."""

    moved_bytes: int
    kept_bytes: int


@dataclass(frozen=True)
class Checked:
    """The other slot was opened with everything checked, and it is the order's build."""


@dataclass(frozen=True)
class Denied:
    """Filling or checking did not succeed."""

    outcome: OutcomeName
    reason: Reason


@dataclass(frozen=True)
class Switched:
    """`current` shows the other slot, durably."""


@dataclass(frozen=True)
class SelfTestBegun:
    """A self-test is about to run."""


@dataclass(frozen=True)
class SelfTestEnded:
    """It came to an end: passed, failed, crashed or timed out."""

    passed: bool


@dataclass(frozen=True)
class VisitOpened:
    """A self-test was begun and came to no verdict, or not to a commit, since a visit is open. It runs no more."""


@dataclass(frozen=True)
class Restored:
    """`current` shows the confirmed slot again, or nothing where there is none."""


@dataclass(frozen=True)
class AskedBack:
    """Somebody asked for the build before."""

    reason: Reason = "requested"


Event = (
    Woke
    | Begin
    | Filled
    | Checked
    | Denied
    | Switched
    | SelfTestBegun
    | SelfTestEnded
    | VisitOpened
    | Restored
    | AskedBack
)


# ---- effects ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fill:
    """Bring the order's files into a slot. Answered by Filled or Denied."""

    slot: Slot


@dataclass(frozen=True)
class Verify:
    """Open a slot and check everything. Answered by Checked or Denied."""

    slot: Slot
    digest: str


@dataclass(frozen=True)
class Switch:
    """Let `current` show a slot. Answered by Switched."""

    slot: Slot


@dataclass(frozen=True)
class SelfTest:
    """Save SelfTestBegun, then test a slot. Answered by SelfTestEnded or VisitOpened."""

    slot: Slot


@dataclass(frozen=True)
class Restore:
    """Let `current` show a slot, or nothing. Answered by Restored."""

    slot: Slot | None


Effect = Fill | Verify | Switch | SelfTest | Restore


def due(state: State) -> Effect | None:
    """What is to be done next; None when nothing is under way."""
    match state.phase:
        case "filling":
            return Fill(state.target)
        case "filled":
            return Verify(state.target, state.order.build.digest if state.order else "")
        case "verified":
            return Switch(state.target)
        case "switched":
            return SelfTest(state.target)
        case "rolling_back":
            return Restore(state.slot)
    return None


def advance(state: State, event: Event) -> State:
    """The state after an event."""
    order = state.order
    match state.phase, event:
        case _, Woke(link):
            return _woken(state, link)
        case "idle", Begin(wanted):
            # What fills the other slot takes the way back (rule 7).
            wanted = replace(wanted, slot=state.target)
            return replace(_at_rest(state), phase="filling", order=wanted, previous=None)
        case "idle", AskedBack(reason) if state.previous is not None:
            back = Order(state.previous, state.target, back=True, reason=reason)
            return replace(_at_rest(state), phase="filled", order=back)
        case "filling", Filled(moved, kept):
            return replace(state, phase="filled", moved_bytes=moved, kept_bytes=kept)
        case "filling", Denied(outcome, reason):
            return _ended(state, outcome, reason)
        case "filling", AskedBack(reason):
            return _ended(state, "rolled_back", reason)
        case "filled" | "verified", Denied(outcome, reason):
            return replace(state, phase="rolling_back", ending=(outcome, reason))
        case "filled" | "verified" | "switched", AskedBack(reason):
            return replace(state, phase="rolling_back", ending=("rolled_back", reason))
        case "filled", Checked():
            return replace(state, phase="verified")
        case "verified", Switched() if order is not None:
            return _committed(state, order) if order.back else replace(state, phase="switched")
        case "switched", SelfTestBegun() if state.tests < MAX_TESTS:
            return replace(state, tests=state.tests + 1)
        case "switched", SelfTestEnded(passed) if order is not None and state.tests:
            if passed:
                return _committed(state, order)
            return replace(state, phase="rolling_back", ending=("rolled_back", "self_test_failed"))
        case "switched", VisitOpened() if order is not None and state.tests:
            return replace(state, phase="rolling_back", ending=None, tests=state.tests - 1)
        case "rolling_back", AskedBack(reason) if order is not None and state.ending is None:
            return replace(state, ending=("rolled_back", reason))
        case "rolling_back", Restored():
            if state.ending:
                return _ended(state, *state.ending)
            return replace(state, phase="filled") if order is not None else _at_rest(state)
    return state


def _woken(state: State, link: Slot | None) -> State:
    if state.tests >= MAX_TESTS and state.phase != "rolling_back":
        return replace(state, phase="rolling_back", ending=("rolled_back", "boots_exhausted"))
    match state.phase:
        case "idle" if link != state.slot:
            return replace(state, phase="rolling_back", ending=None)
        case "filling":
            return _ended(state, "failed", "interrupted")
        case "verified":
            return replace(state, phase="filled")
        case "switched" if link != state.target:
            return replace(state, phase="filled")  # somebody moved the link: verified and switched once more
    return state


def _at_rest(state: State) -> State:
    return State(slot=state.slot, build=state.build, previous=state.previous, last=state.last)


def _committed(state: State, order: Order) -> State:
    """The other slot is the confirmed one. After a way back there is none: the build that was left was left for good
    reason, and nobody must come back to it by asking twice."""
    outcome: OutcomeName = "rolled_back" if order.back else "committed"
    last = _told(state, outcome, order.reason, state.target)
    previous = None if order.back else state.build
    return State(slot=state.target, build=order.build, previous=previous, last=last)


def _ended(state: State, outcome: OutcomeName, reason: Reason) -> State:
    return replace(_at_rest(state), last=_told(state, outcome, reason, state.slot))


def _told(state: State, outcome: OutcomeName, reason: Reason, slot: Slot | None) -> InstallOutcome:
    order = state.order
    return InstallOutcome(
        outcome=outcome,
        reason=reason,
        from_digest=state.build.digest if state.build else None,
        to_digest=order.build.digest if order else None,
        release=order.build.release if order else None,
        slot=slot,
        moved_bytes=state.moved_bytes,
        kept_bytes=state.kept_bytes,
        duration_s=round(state.spent_s, 3),
        rollout=order.rollout if order else None,
    )
