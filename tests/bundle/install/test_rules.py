"""The rules of the slots, in every order of events: when these fail, a device can lose both builds, or show one that
nobody verified."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.bundle.install import rules
from edge.bundle.install.memory import BrokenStateError, FutureStateError, from_bytes, rebuilt, to_bytes
from edge.bundle.install.rules import (
    MAX_TESTS,
    SLOTS,
    AskedBack,
    Begin,
    Build,
    Checked,
    Denied,
    Event,
    Fill,
    Filled,
    Order,
    Restore,
    Restored,
    SelfTest,
    SelfTestBegun,
    SelfTestEnded,
    Slot,
    State,
    Switch,
    Switched,
    Verify,
    VisitOpened,
    Woke,
    advance,
    due,
)

DIGESTS = [letter * 64 for letter in "1234"]
builds = st.builds(Build, st.sampled_from(DIGESTS), st.sampled_from([None, "release-1"]))
orders = st.builds(Order, builds, rollout=st.sampled_from([None, "rollout-1"]))
events = st.one_of(
    st.builds(Woke, st.sampled_from([None, "a", "b"])),
    st.builds(Begin, orders),
    st.builds(Filled, st.integers(0, 9), st.integers(0, 9)),
    st.just(Checked()),
    st.builds(Denied, st.sampled_from(["refused", "failed"]), st.sampled_from(["changed", "no_space"])),
    st.just(Switched()),
    st.just(SelfTestBegun()),
    st.builds(SelfTestEnded, st.booleans()),
    st.just(VisitOpened()),
    st.just(Restored()),
    st.just(AskedBack()),
)


class Device(RuleBasedStateMachine):
    """An installer that may die at any moment, with a disk that does what effects say. content: what each slot holds,
    None for a mix of files; passed: slots whose build passed its self-test where it lies."""

    @initialize()
    def start(self) -> None:
        self.content: dict[Slot, str | None] = {"a": None, "b": None}
        self.passed: set[Slot] = set()
        self.link: Slot | None = None
        self.saved = self.state = State()
        self.verified: Slot | None = None
        self.tests = 0
        self.had_one = False

    def go(self, event: Event, *, saved: bool = True) -> None:
        self.state = advance(self.state, event)
        if saved:
            self.saved = self.state

    @rule(order=orders)
    def begin(self, order: Order) -> None:
        self.go(Begin(order))

    @rule()
    def ask_back(self) -> None:
        self.go(AskedBack())

    @rule(steps=st.integers(1, 4))
    def good_steps(self, steps: int) -> None:
        """All goes well for a while."""
        for _ in range(steps):
            self.work()

    @rule(order=orders)
    def good_install(self, order: Order) -> None:
        """From the beginning to the end, without a mishap."""
        self.good_steps(5)
        self.begin(order)
        self.good_steps(4)

    @rule(steps=st.integers(0, 3), succeeds=st.booleans(), answered=st.booleans(), dies=st.booleans())
    def mishap(self, steps: int, succeeds: bool, answered: bool, dies: bool) -> None:
        """One step goes wrong in some way."""
        self.good_steps(steps)
        self.work(succeeds=succeeds, answered=answered, dies=dies)

    @rule(steps=st.integers(2, 4), passes=st.booleans(), answered=st.booleans())
    def visit(self, steps: int, passes: bool, answered: bool) -> None:
        """A visit is opened during a self-test, or after it and before the commit."""
        self.good_steps(steps)
        if isinstance(effect := due(self.state), SelfTest):
            confirmed, order, begun = self.state.slot, self.state.order, self.state.tests
            self.go(SelfTestBegun())
            if passes:
                self.passed.add(effect.slot)
            self.go(VisitOpened(), saved=answered)
            if not answered:
                self.tests += 1
                self.wake()
                return
            assert due(self.state) == Restore(confirmed)
            self.work()
            assert (self.link, self.state.slot, self.state.order) == (confirmed, confirmed, order)
            assert (self.state.phase, self.state.tests) == ("filled", begun), "a boot was spent on a visit"

    @rule()
    def bad_files(self) -> None:
        """The source brings something else than its manifest says, and does not see it."""
        self.work(whole=False)

    def work(self, *, succeeds: bool = True, answered: bool = True, dies: bool = False, whole: bool = True) -> None:
        """The due effect happens, or half of it; its answer is saved, or lost with the process."""
        effect = due(self.state)
        answer: Event | None = None
        match effect:
            case Fill(slot):
                assert slot != self.state.slot, "the confirmed slot is overwritten"
                assert slot != self.link, "the shown slot is overwritten"
                self.content[slot] = None
                self.passed.discard(slot)
                if self.state.order and succeeds:
                    self.content[slot] = self.state.order.build.digest if whole else "other"
                answer = Filled(1, 2) if succeeds else Denied("failed", "no_space")
                self.tests = 0
            case Verify(slot, digest):
                good = self.content[slot] == digest
                self.verified = slot if good else None
                answer = Checked() if good else Denied("refused", "changed")
            case Switch(slot):
                assert self.verified == slot, "switched to a slot that was not verified"
                self.link = slot
                answer = Switched()
            case SelfTest(slot):
                self.go(SelfTestBegun())
                self.tests += 1
                assert self.tests <= MAX_TESTS, "tested without end"
                if not dies and succeeds:
                    self.passed.add(slot)
                answer = SelfTestEnded(succeeds)
            case Restore(slot):
                self.link = slot
                answer = Restored()
        if dies:
            self.wake()
        elif answer is not None:
            self.go(answer, saved=answered)
            if not answered:
                self.wake()

    @rule()
    def wake(self) -> None:
        self.state = self.saved
        self.verified = None
        self.go(Woke(self.link))

    @precondition(lambda self: self.state.phase == "idle")
    @rule(link=st.sampled_from([None, "a", "b"]))
    def meddle(self, link: Slot | None) -> None:
        """Somebody moves the link."""
        self.link = link
        self.wake()

    @rule()
    def finish(self) -> None:
        """Whatever is under way comes to an end in a bounded number of steps."""
        for _ in range(40):
            if due(self.state) is None:
                break
            self.work(succeeds=False)
        assert due(self.state) is None
        assert self.link == self.state.slot

    @invariant()
    def a_build_is_in_force(self) -> None:
        slot = self.state.slot
        self.had_one |= slot is not None
        assert (slot is not None) == self.had_one, "the build in force is lost"
        if slot is not None:
            assert self.state.build is not None and self.content[slot] == self.state.build.digest
            assert slot in self.passed, "committed without a passed test"
        if self.link is not None and self.state.phase not in ("idle", "rolling_back"):
            assert self.content[self.link] not in (None, "other"), "a mix is shown"
        if self.state.previous is not None and slot is not None:
            beside = rules.other(slot)
            assert self.content[beside] == self.state.previous.digest and beside in self.passed

    @invariant()
    def memory(self) -> None:
        assert from_bytes(to_bytes(self.state)) == self.state


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=30))
def test_any_order_of_events(found: list[Event]) -> None:
    """If not: an event that does not fit breaks the memory or raises, and the next start cannot read it."""
    state = State()
    for event in found:
        state = advance(state, event)
        assert from_bytes(to_bytes(state)) == state
        assert state.tests <= MAX_TESTS
        assert state.order is None or state.order.slot != state.slot


def test_boots_are_bounded() -> None:
    """If not: a build that kills its device is started for ever."""
    state = State("switched", slot="a", build=Build(DIGESTS[0]), order=Order(Build(DIGESTS[1]), "b"))
    for _ in range(MAX_TESTS):
        state = advance(advance(state, Woke("b")), SelfTestBegun())
        assert state.phase == "switched"
    state = advance(state, Woke("b"))
    assert due(state) == Restore("a")
    ended = advance(state, Restored())
    assert ended.last is not None and (ended.last.outcome, ended.last.reason) == ("rolled_back", "boots_exhausted")


def test_a_visit_spends_no_boot() -> None:
    """If not: three visits in a busy morning give a good build up for ever, or an untested one is committed by them."""
    build = Build(DIGESTS[0])
    state = State("switched", slot="a", build=build, order=Order(Build(DIGESTS[1]), "b"), tests=MAX_TESTS - 1)
    for _ in range(10):
        assert advance(state, VisitOpened()).phase == "rolling_back"
        state = advance(advance(state, SelfTestBegun()), VisitOpened())
        assert due(advance(state, Woke("b"))) == Restore("a"), "a power cut on the way back is not survived"
        state = advance(state, Restored())
        assert (state.slot, state.build, state.tests) == ("a", build, MAX_TESTS - 1)
        assert due(state) == Verify("b", DIGESTS[1])
        state = advance(advance(advance(state, Woke("a")), Checked()), Switched())
        assert due(state) == SelfTest("b")
    assert advance(State("switched", order=Order(build, "b")), VisitOpened()).phase == "switched", "none was begun"


def test_a_wait_that_is_taken_back_on_the_way() -> None:
    """If not: somebody asks for the build before, after a power cut at the wrong moment, and the new one is tested."""
    state = State("switched", slot="a", build=Build(DIGESTS[0]), order=Order(Build(DIGESTS[1]), "b"), tests=1)
    state = advance(advance(advance(state, VisitOpened()), AskedBack()), Restored())
    assert state.phase == "idle" and state.last is not None
    assert (state.last.outcome, state.last.reason) == ("rolled_back", "requested")


def test_without_a_memory() -> None:
    """If not: a lost file costs the running build, or lets an untested one pass for tested."""
    one, two = Build(DIGESTS[0]), Build(DIGESTS[1])
    assert rebuilt(None, {}) == State()
    assert rebuilt("a", {"a": one}) == State(slot="a", build=one)
    assert due(rebuilt("b", {"a": one, "b": two})) == SelfTest("b")
    assert due(rebuilt("a", {"b": two})) == Verify("b", two.digest)
    assert due(rebuilt(None, {"b": two})) == Verify("b", two.digest)
    assert due(rebuilt(None, {"a": one, "b": two})) == Verify("b", two.digest)
    both: dict[Slot, Build] = {"a": one, "b": two}
    for link, verdicts, confirmed in (
        ("b", {"a": True}, "a"),  # shown, never tested: tested now, with the one that passed to fall back to
        ("b", {"a": True, "b": True}, "a"),
        ("b", {"a": True, "b": False}, "a"),
        ("a", {"a": True}, "a"),  # the other one was on its way in
        ("a", {"a": True, "b": False}, "a"),
        ("a", {"b": False}, "a"),
        (None, {"b": True}, "b"),
        (None, {"a": False, "b": True}, "b"),
    ):
        assert rebuilt(link, both, verdicts).slot == confirmed, (link, verdicts)
    assert rebuilt("a", both, {"a": True, "b": False}).previous is None


def test_reasons_are_those_of_the_fleet() -> None:
    """If not: an outcome cannot be reported."""
    from edge.fleet.wire import messages

    assert get_args(messages.InstallReason) == rules.REASONS == get_args(rules.Reason)
    assert get_args(messages.InstallOutcomeName) == rules.OUTCOMES
    assert set(messages.InstallReport.model_fields) - {"version"} == {
        field.name for field in rules.InstallOutcome.__dataclass_fields__.values()
    }


GOOD = json.loads(to_bytes(State(slot="a", build=Build(DIGESTS[0]))))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": True},
        {"version": "1"},
        {"phase": "flying"},
        {"slot": "c"},
        {"slot": None},
        {"build": {"digest": "x", "release": None}},
        {"build": {"digest": DIGESTS[0], "release": "No Slug"}},
        {"tests": -1},
        {"phase": "switched"},
        {"more": 1},
        {"ending": ["maybe", "none"]},
    ],
)
def test_a_memory_that_cannot_be(change: dict[str, object]) -> None:
    """If not: an installer acts on what nobody wrote."""
    from edge.bundle.canonical import canonical_json

    assert from_bytes(canonical_json(GOOD)) == State(slot="a", build=Build(DIGESTS[0]))
    with pytest.raises(BrokenStateError):
        from_bytes(canonical_json(GOOD | change))
    for bad in (b"", b"{", b"[]", b"null", canonical_json(GOOD)[:-3], b"\xff" * 40):
        with pytest.raises(BrokenStateError):
            from_bytes(bad)


def test_a_memory_from_the_future() -> None:
    """If not: an older edge rewrites what a newer one knows."""
    from edge.bundle.canonical import canonical_json

    with pytest.raises(FutureStateError):
        from_bytes(canonical_json({"version": 2, "anything": []}))


def test_slots() -> None:
    """If not: the two names drift apart."""
    assert get_args(Slot) == SLOTS
