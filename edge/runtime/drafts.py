"""Guesses of what an answer goes on with, to be confirmed by the model several at a time.

A clinical note repeats its transcript: drug names, numbers, whole phrases. Prompt lookup (Saxena 2023; the n-gram
variant of speculative decoding, Leviathan et al. 2023) takes the last few tokens, finds where they stood before, and
guesses that what followed there follows again. Reading k guessed tokens at once costs far less than k steps, because
the weights are read from memory once; but it is not free, so each length of match keeps count of how often it was
right, each step of how long it took, and a guess is only as long as it pays. Where guesses cost more than they saved,
the drafter switches itself off for the rest of the answer and says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Protocol

from edge.errors import InputError

# Seen on AVX512 with 135 M to 1.2 B parameters: each further token makes a step about a sixth dearer. Only used
# until the engine's own steps have been measured.
ROW_COST = 0.16
# A guess must promise this much more speed than none.
MARGIN = 1.02
# After so many steps with guesses the account is looked at, and again after each further one.
TRIAL_STEPS = 12


class Drafter(Protocol):
    """Guesses tokens. A wrong guess costs time and never changes an answer."""

    def read(self, token_ids: Sequence[int]) -> None:
        """What comes next in the text: first the prompt, then each token of the answer."""
        ...

    def propose(self, limit: int) -> Sequence[int]:
        """At most `limit` tokens that may follow what was read."""
        ...

    def took(self, rows: int, drafted: int, accepted: int, took_ms: float) -> None:
        """What became of a step: `rows` tokens read in `took_ms`, of which the last `drafted` were guesses."""
        ...

    def report(self) -> str:
        """How it went, in words for a log; no patient text."""
        ...


class StepCosts:
    """Milliseconds of a step by the number of tokens it reads: medians of the last nine of each, else a guess."""

    def __init__(self, row_cost: float = ROW_COST) -> None:
        self._row_cost = row_cost
        self._seen: dict[int, deque[float]] = {}

    def saw(self, rows: int, took_ms: float) -> None:
        """Take one measurement; a clock too coarse to see a step tells nothing."""
        if took_ms > 0.0:
            self._seen.setdefault(rows, deque(maxlen=9)).append(took_ms)

    def of(self, rows: int) -> float:
        """The expected cost of a step; 1.0 for one token as long as nothing was seen."""
        if rows in self._seen:
            return median(self._seen[rows])
        if not self._seen:
            return self._relative(rows)
        nearest = min(self._seen, key=lambda seen: (abs(seen - rows), seen))
        return median(self._seen[nearest]) * self._relative(rows) / self._relative(nearest)

    def _relative(self, rows: int) -> float:
        return 1.0 + self._row_cost * (rows - 1)


class _Rate:
    """How often the next token of a guess was right; old news counts less. It starts hopeful: two of three."""

    def __init__(self) -> None:
        self._right, self._tried = 2.0, 3.0

    def saw(self, right: int, tried: int) -> None:
        self._right = 0.9 * self._right + right
        self._tried = 0.9 * self._tried + tried

    def rest(self) -> None:
        """Not tried: hope returns slowly, since another part of the text may do better."""
        self._right += 0.02 * (2.0 - self._right)
        self._tried += 0.02 * (3.0 - self._tried)

    @property
    def value(self) -> float:
        return self._right / self._tried


class PromptLookup:
    """Implements Drafter by looking up the last tokens in the prompt and in the answer so far.

    ngram_max, ngram_min: longest and shortest match looked for, in tokens. draft_tokens: longest guess. costs: what
    is known of the engine before. One object serves one answer, or several one after the other: then it guesses from
    what was read and written before as well. Errors: InputError for impossible sizes.
    """

    def __init__(
        self, ngram_max: int = 4, ngram_min: int = 2, draft_tokens: int = 10, *, costs: StepCosts | None = None
    ) -> None:
        if not (1 <= ngram_min <= ngram_max and draft_tokens >= 1):
            raise InputError(
                f"drafts from matches of {ngram_min} to {ngram_max} tokens, {draft_tokens} at most, are impossible",
                mend="give 1 <= ngram_min <= ngram_max and draft_tokens of 1 or more",
            )
        self._sizes = range(ngram_max, ngram_min - 1, -1)
        self._draft_tokens = draft_tokens
        self.costs = costs or StepCosts()
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # the last place that followed these tokens
        self._rates = {size: _Rate() for size in self._sizes}
        self._size = 0  # of the match behind the last guess
        self._steps = self._drafted = self._accepted = self._declined = 0
        self._saved: deque[float] = deque(maxlen=TRIAL_STEPS)
        self._saved_ms = 0.0
        self._off = ""

    @property
    def off(self) -> str:
        """Why it no longer guesses; "" while it does."""
        return self._off

    def read(self, token_ids: Sequence[int]) -> None:
        """See Drafter.read."""
        ids = self._ids
        for token in token_ids:
            place = len(ids)
            for size in self._sizes:
                if size <= place:
                    self._after[tuple(ids[place - size :])] = place
            ids.append(int(token))

    def propose(self, limit: int) -> Sequence[int]:
        """See Drafter.propose; as many tokens as pay, by what was seen so far."""
        limit = min(limit, self._draft_tokens)
        if self._off or limit < 1:
            return ()
        for size in self._sizes:
            place = self._after.get(tuple(self._ids[-size:])) if size <= len(self._ids) else None
            if place is not None:
                self._size = size
                count = self._worth(self._rates[size].value, limit)
                if not count:
                    self._declined += 1
                    self._rates[size].rest()
                period = len(self._ids) - place  # a guess that reaches the end goes on with itself
                return [self._ids[place + index % period] for index in range(count)]
        return ()

    def took(self, rows: int, drafted: int, accepted: int, took_ms: float) -> None:
        """See Drafter.took."""
        self.costs.saw(rows, took_ms)
        if not drafted:
            return
        self._steps += 1
        self._drafted += drafted
        self._accepted += accepted
        self._rates[self._size].saw(accepted, min(accepted + 1, drafted))
        saved_ms = (1 + accepted) * self.costs.of(1) - took_ms
        self._saved_ms += saved_ms
        self._saved.append(saved_ms)
        if len(self._saved) == TRIAL_STEPS and sum(self._saved) < 0:
            self._off = (
                f"off after {self._steps} guesses: {self._accepted} of {self._drafted} tokens were right, and the "
                f"last {TRIAL_STEPS} cost {-sum(self._saved):.0f} ms more than they saved"
            )

    def report(self) -> str:
        """See Drafter.report."""
        if self._off:
            return self._off
        if not self._steps:
            return f"{self._declined} guesses would not have paid" if self._declined else "nothing to guess from"
        return (
            f"{self._accepted} of {self._drafted} guessed tokens were right in {self._steps} steps, "
            f"{self._saved_ms:.0f} ms saved" + (f", {self._declined} not tried" if self._declined else "")
        )

    def _worth(self, rate: float, limit: int) -> int:
        """The length of guess with the most tokens per millisecond; 0 where none is best.

        With a chance `rate` for each next token, a guess of n gives 1 + rate + ... + rate^n tokens.
        """
        best, best_speed = 0, MARGIN / self.costs.of(1)
        tokens, chance = 1.0, 1.0
        for count in range(1, limit + 1):
            chance *= rate
            tokens += chance
            speed = tokens / self.costs.of(1 + count)
            if speed > best_speed:
                best, best_speed = count, speed
        return best
