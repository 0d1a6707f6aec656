"""The waits after wrong PINs: when these fail, guessing is quicker than it should be, or a person is kept out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.app.vault.backoff import (
    WAITS_S,
    Attempts,
    Moment,
    anchored,
    counted,
    doubted,
    left_s,
    needs_anchor,
    wait_after,
)

seconds = st.floats(min_value=0, max_value=4e9, allow_nan=False)
moments = st.builds(Moment, seconds, seconds, st.sampled_from(["", "a", "b"]))
attempts = st.builds(Attempts, st.integers(0, 20), st.sampled_from([float(wait) for wait in WAITS_S]), moments)


def test_table() -> None:
    """If not: the waits are not those of the design."""
    assert [wait_after(number) for number in range(10)] == [0, 0, 0, 0, 30, 60, 300, 900, 3600, 3600]


@given(attempts, moments)
def test_never_longer_than_set(state: Attempts, now: Moment) -> None:
    """If not: somebody waits longer than anybody said, or a negative time."""
    assert 0 <= left_s(state, now) <= state.wait_s


@given(attempts, moments, seconds)
def test_back_does_not_shorten(state: Attempts, now: Moment, by: float) -> None:
    """If not: setting the wall clock back gives an early try."""
    back = Moment(now.wall_s - by, now.boot_s, now.boot)
    assert left_s(state, back) >= left_s(state, now)


@given(attempts, moments, seconds)
def test_same_start_ignores_the_wall_clock(state: Attempts, now: Moment, wall: float) -> None:
    """If not: setting the clock forward gives an early try without a restart."""
    if state.at.boot and state.at.boot == now.boot:
        assert left_s(state, now) == left_s(state, Moment(wall, now.boot_s, now.boot))


@given(attempts, moments)
def test_anchor_keeps_the_wait(state: Attempts, now: Moment) -> None:
    """If not: a restart changes the wait."""
    moved = anchored(state, now)
    assert left_s(moved, now) == left_s(state, now)
    assert moved.failures == state.failures
    assert not needs_anchor(moved, now)


@given(attempts, moments)
def test_wrong_future_clock_ends(state: Attempts, now: Moment) -> None:
    """If not: a clock that was wrong in the future keeps a person out for years."""
    state = anchored(state, now) if needs_anchor(state, now) else state
    later = Moment(now.wall_s + 3600, now.boot_s + 3600, now.boot)
    if state.at.boot != now.boot or now.boot_s >= state.at.boot_s:
        assert left_s(state, later) == 0


@given(attempts, moments)
def test_counting_only_grows(state: Attempts, now: Moment) -> None:
    """If not: a try is not counted."""
    after = counted(state, now)
    assert after.failures == state.failures + 1
    assert after.wait_s == wait_after(after.failures)


def test_doubt_leaves_one_try_before_the_wipe() -> None:
    """If not: deleting the counter's file defeats the wipe, or wipes by itself."""
    assert doubted(Moment(0)).failures == len(WAITS_S)
    assert doubted(Moment(0), wipe_after=5).failures == 4
    assert doubted(Moment(0), wipe_after=5).wait_s == 3600
