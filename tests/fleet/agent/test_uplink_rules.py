"""Which rows go now. When these fail, a fleet floods its broker after an outage, or a row is never sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.agent import uplink_rules as rules
from edge.fleet.agent.outbox import FIRST, LAST, Waiting
from edge.fleet.agent.uplink_rules import UplinkLimits, UplinkState
from edge.fleet.wire.event import RESULT, TELEMETRY

LIMITS = UplinkLimits(window=6, telemetry=3, unsettled=4)
ONLINE = rules.connected(UplinkState(), 0.0, 0.5, LIMITS)


def rows(results: int, telemetry: int = 0) -> list[Waiting]:
    return [Waiting("e", seq, RESULT, FIRST, 500) for seq in range(1, results + 1)] + [
        Waiting("e", 100 + seq, TELEMETRY, LAST, 500) for seq in range(telemetry)
    ]


def send(state: UplinkState, waiting: list[Waiting], now_s: float) -> tuple[UplinkState, list[int]]:
    state, chosen = rules.choose(state, waiting, now_s, LIMITS)
    for key in chosen:
        state = rules.handed_over(state, key, telemetry=key[1] >= 100, now_s=now_s, chance=0.5, limits=LIMITS)
    return state, [seq for _, seq in chosen]


def test_offline_nothing_is_sent() -> None:
    """If not: the client's memory becomes a second queue, which a power cut empties."""
    assert send(UplinkState(), rows(3), 0.0)[1] == []
    assert send(rules.disconnected(ONLINE), rows(3), 0.0)[1] == []


def test_the_window() -> None:
    """If not: 10,000 rows are handed to the client at once."""
    state, sent = send(ONLINE, rows(20), 0.0)
    assert sent == [1, 2, 3, 4]  # unsettled
    assert send(state, rows(20), 0.0)[1] == []
    for seq in sent:
        state = rules.settled(state, ("e", seq), 0.0)
    state, sent = send(state, rows(20), 0.0)
    assert sent == [5, 6]  # window
    state = rules.acknowledged(state, [("e", 1)])
    assert send(state, rows(20)[1:], 0.0)[1] == [7]


def test_a_result_finds_a_place_among_telemetry() -> None:
    """If not: a result waits until a collector is back that acknowledges old telemetry."""
    state, sent = send(ONLINE, rows(0, 20), 0.0)
    assert sent == [100, 101, 102]
    assert send(state, rows(1, 20), 0.0)[1] == [1]


def test_again_after_a_time_that_doubles() -> None:
    """If not: a row whose message was lost is never sent again, or every few seconds for hours."""
    state, now_s, gaps = ONLINE, 0.0, []
    for _ in range(8):
        state, sent = send(state, rows(1), now_s)
        assert sent == [1]
        due_s = rules.wait_s(state, now_s, more=False, limits=LIMITS)
        assert due_s is not None
        assert send(state, rows(1), now_s + due_s - 0.01)[1] == []
        gaps.append(round(due_s))
        now_s += due_s
    assert gaps == [30, 60, 120, 240, 480, 900, 900, 900]


def test_a_new_connection() -> None:
    """If not: what a dead broker forgot is lost, or all of it comes back in the same second from all devices."""
    state, _ = send(ONLINE, rows(2), 0.0)
    state = rules.settled(state, ("e", 1), 0.0)
    state = rules.connected(rules.disconnected(state), 10.0, 0.5, LIMITS)
    state, sent = send(state, rows(2), 10.0)
    assert sent == [2]
    assert send(state, rows(2), 10.0 + LIMITS.grace_s / 2)[1] == [1]


def test_refused() -> None:
    """If not: a device whose right was taken away loses its events, or hammers the broker."""
    state, _ = send(ONLINE, rows(3), 0.0)
    for seq in (1, 2, 3):
        state = rules.refused(state, ("e", seq), 1.0, 0.5, LIMITS)
    assert state.refusals == 1
    assert send(state, rows(3), 60.0)[1] == []
    state, sent = send(state, rows(3), 62.0)
    assert sent == [1, 2, 3]
    state = rules.refused(state, ("e", 1), 62.0, 0.5, LIMITS)
    assert rules.wait_s(state, 62.0, more=True, limits=LIMITS) == 120.0
    state = rules.settled(state, ("e", 2), 63.0)
    assert state.refusals == 2, "another row's success ends the pause of the refused one"
    state = rules.settled(state, ("e", 2), 190.0)
    assert state.refusals == 0


def test_one_topic_refused_for_ever_is_no_flood() -> None:
    """If not: a denied topic beside an allowed one is tried in a tight loop."""
    state, tries = ONLINE, 0
    for second in range(3600):
        state, sent = send(state, rows(1, 1), float(second))
        for seq in sent:
            key = ("e", seq)
            if seq == 1:
                tries += 1
                state = rules.refused(state, key, float(second), 0.5, LIMITS)
            else:
                state = rules.settled(state, key, float(second))
    assert 2 <= tries <= 30


def test_telemetry_that_gave_way_leaves_the_window() -> None:
    """If not: rows that are gone fill the window, and nothing is ever sent again."""
    state, _ = send(ONLINE, rows(0, 3), 0.0)
    state, sent = send(state, [], 40.0)
    assert sent == []
    assert state.window == {}


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_backoff_is_bounded(chance: float, attempts: int) -> None:
    """If not: after weeks without a broker a number overflows, or a device waits for years."""
    assert 22.5 <= rules.backoff_s(30, 900, attempts, 0.25, chance) <= 1125


@given(
    st.lists(st.sampled_from(["tick", "lose", "settle", "ack", "drop", "connect", "refuse", "row"]), max_size=60),
    st.randoms(use_true_random=False),
)
def test_limits_hold_and_nothing_is_forgotten(story: list[str], random: object) -> None:
    """If not: some order of events sends more than allowed at once, or leaves a row that no time brings back."""
    state, now_s, made = UplinkState(), 0.0, 0
    waiting: list[Waiting] = []
    for word in [*story, "connect"]:
        now_s += 7.0
        keys = list(state.window)
        if word == "row":
            made += 1
            waiting.append(Waiting("e", made, RESULT, FIRST, 500))
        elif word == "settle" and keys:
            state = rules.settled(state, keys[0], now_s)
        elif word == "refuse" and keys:
            state = rules.refused(state, keys[-1], now_s, 0.3, LIMITS)
        elif word == "ack" and keys:
            state = rules.acknowledged(state, keys[:1])
            waiting = [row for row in waiting if row.key != keys[0]]
        elif word in ("drop", "lose"):
            state = rules.disconnected(state)
        elif word == "connect":
            state = rules.connected(rules.disconnected(state), now_s, 0.9, LIMITS)
        state, sent = send(state, waiting, now_s)
        assert len(state.window) <= LIMITS.window
        assert len(sent) <= LIMITS.unsettled
    for _ in range(200):  # a broker and a collector that work
        now_s += 3600.0
        state, sent = send(state, waiting, now_s)
        for seq in sent:
            state = rules.acknowledged(rules.settled(state, ("e", seq), now_s), [("e", seq)])
        waiting = [row for row in waiting if row.seq not in sent]
    assert waiting == []
