"""Prompt lookup: what it guesses, how long, and when it gives up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InputError
from edge.runtime.drafts import ROW_COST, TRIAL_STEPS, PromptLookup, StepCosts

TEXT = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]


class Free(StepCosts):
    """Further tokens cost nothing: every guess pays."""

    def of(self, rows: int) -> float:
        return 1.0


def test_goes_on_as_the_prompt_did() -> None:
    """A phrase of the transcript that begins again in the note is guessed to its end."""
    drafter = PromptLookup(costs=Free(), draft_tokens=4)
    drafter.read([*TEXT, 1, 2, 3])
    assert list(drafter.propose(10)) == []
    drafter.read([12, 13])
    assert list(drafter.propose(10)) == [14, 15, 16, 17]
    assert list(drafter.propose(2)) == [14, 15]
    assert list(drafter.propose(0)) == []
    drafter.read([14])
    assert list(drafter.propose(10)) == [15, 16, 17, 18]


def test_the_longest_and_latest_match_decides() -> None:
    """Two mentions of a drug with different doses: the one with more words in common, then the later one."""
    drafter = PromptLookup(3, 1, 1, costs=Free())
    drafter.read([5, 1, 2, 7, 4, 2, 8, 3, 1, 2])
    assert list(drafter.propose(1)) == [7]
    drafter = PromptLookup(3, 1, 1, costs=Free())
    drafter.read([1, 2, 7, 1, 2, 8, 1, 2])
    assert list(drafter.propose(1)) == [8]


def test_a_repetition_is_followed_beyond_its_end() -> None:
    """Lists repeat their own pattern; the guess need not stop where the text does."""
    drafter = PromptLookup(2, 2, 7, costs=Free())
    drafter.read([1, 2, 3, 1, 2])
    assert list(drafter.propose(7)) == [3, 1, 2, 3, 1, 2, 3]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_a_guess_follows_its_match(ids: list[int], first: int, second: int, tokens: int) -> None:
    """The law by definition: the latest earlier place of the longest match, in any text."""
    low, high = sorted((first, second))
    drafter = PromptLookup(high, low, tokens, costs=Free())
    drafter.read(ids[: len(ids) // 2])
    for token in ids[len(ids) // 2 :]:
        drafter.read([token])
    wanted: list[int] = []
    for size in range(high, low - 1, -1):
        places = [at for at in range(size, len(ids)) if ids[at - size : at] == ids[-size:]]
        if places and size <= len(ids):
            longer = ids[:]
            for _ in range(tokens):
                longer.append(longer[len(longer) - len(ids) + places[-1]])
            wanted = longer[len(ids) :]
            break
    assert list(drafter.propose(tokens)) == wanted


def test_costs_are_what_was_seen() -> None:
    """Until a step has been measured its cost follows from the nearest one that was."""
    costs = StepCosts(0.5)
    assert (costs.of(1), costs.of(3)) == (1.0, 2.0)
    costs.saw(1, 10.0)
    assert (costs.of(1), costs.of(3)) == (10.0, 20.0)
    for value in (30.0, 100.0, 31.0):
        costs.saw(3, value)
    assert (costs.of(3), costs.of(5)) == (31.0, 31.0 * 3 / 2)


def test_a_coarse_clock_is_no_free_step() -> None:
    """A step of 0 ms would be divided by."""
    costs = StepCosts(0.5)
    costs.saw(1, 0.0)
    assert costs.of(3) == 2.0
    drafter = PromptLookup(2, 2, 3)
    drafter.read(TEXT + TEXT[:2])
    drafter.took(12, 0, 0, 0.0)
    assert list(drafter.propose(3)) == TEXT[2:5]


def drive(drafter: PromptLookup, right: float, cost: float, steps: int) -> list[int]:
    """Steps over a text that always matches; each guess is right for the first `right` of its tokens."""
    lengths = []
    for step in range(steps):
        drafter.read(TEXT[:6] if step == 0 else TEXT[4:6])
        guess = drafter.propose(8)
        rows = 1 + len(guess)
        drafter.took(rows, len(guess), int(right * len(guess)), 10.0 * (1 + cost * (rows - 1)))
        lengths.append(len(guess))
    return lengths


def test_guesses_grow_where_they_are_right() -> None:
    """With a cheap step and guesses that hold, the longest is best."""
    drafter = PromptLookup(2, 2, 8)
    assert drive(drafter, 1.0, 0.05, 20)[-1] == 8
    assert drafter.off == ""
    assert "guessed tokens were right" in drafter.report()


def test_switches_off_where_it_does_not_pay() -> None:
    """A tablet where a second token costs as much as a step must not be slowed down; and the log must say why."""
    drafter = PromptLookup(2, 2, 8)
    drafter.took(1, 0, 0, 10.0)
    lengths = drive(drafter, 0.0, 0.5, 60)
    assert max(lengths) > 0
    assert lengths.count(0) > 40
    assert drafter.report()
    assert sum(length > 0 for length in lengths) <= TRIAL_STEPS
    # It may also stop because no length promises anything; both are said.
    drafter = PromptLookup(2, 2, 8, costs=Free())
    drafter.read(TEXT[:6])
    for _ in range(TRIAL_STEPS):
        drafter.read(TEXT[:6])
        drafter.took(4, len(drafter.propose(3)), 0, 50.0)
    assert drafter.off.startswith(f"off after {TRIAL_STEPS} guesses: 0 of ")
    assert drafter.report() == drafter.off
    assert list(drafter.propose(5)) == []


def test_says_when_there_was_nothing() -> None:
    """A log line for a note that shares no words with its prompt."""
    assert PromptLookup().report() == "nothing to guess from"
    assert 0 < ROW_COST < 1


@pytest.mark.parametrize("sizes", [(0, 0, 1), (1, 2, 1), (2, 1, 0)])
def test_impossible_sizes(sizes: tuple[int, int, int]) -> None:
    """A drafter that never guesses would look like one that never helps."""
    with pytest.raises(InputError, match="impossible"):
        PromptLookup(*sizes)
