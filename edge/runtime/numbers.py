"""No number in the answer that was not given: a constraint on digits.

A small model that writes 5 mg where 2.5 mg was said does harm. This constraint lets digits be written only as one of
the given numbers, whole: with "120/80" given, neither 120 nor 12 nor 120/8 can be written. What it does not see:
numbers in words ("five"), digits of other scripts, and whether the number stands where it belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from edge.runtime.constraint import GrammarTokenizer, Mask

# A number is as long as it can be: digits with single . , / between them, and a point before them.
_NUMBER = re.compile(r"(?<![0-9])\.?[0-9]+(?:[.,/][0-9]+)*")
_DIGITS = frozenset(b"0123456789")
_JOINS = frozenset(b".,/")
_POINT = ord(".")


def numbers_in(text: str) -> frozenset[str]:
    """Every number of a text as NumberConstraint reads it, e.g. {"2.5", "120/80", "1,000"}."""
    return frozenset(_NUMBER.findall(text))


# (number so far, a join after it that may belong to it): both empty outside numbers
_State = tuple[bytes, bytes]
_NONE: _State = (b"", b"")


class NumberConstraint:
    """Implements edge.runtime.constraint.Constraint. allowed: the numbers, as `numbers_in` finds them in a source.

    before: what stands before the answer, in case it ends with a number; that one counts as given too.
    """

    def __init__(self, tokenizer: GrammarTokenizer, allowed: Iterable[str], *, before: str = "") -> None:
        self._tokens = tokenizer.token_bytes
        self._stops = sorted(tokenizer.stop_ids)
        given = re.search(rf"({_NUMBER.pattern})([.,/]?)\Z", before)
        self._whole = frozenset(number.encode() for number in [*allowed, *([given[1]] if given else [])])
        self._begun = frozenset(number[:end] for number in self._whole for end in range(1, len(number) + 1))
        # Only tokens with a digit, or that begin or end with a join, need a look of their own.
        self._special = [
            index
            for index, token in enumerate(self._tokens)
            if token and (not _DIGITS.isdisjoint(token) or token[0] in _JOINS or token[-1] == _POINT)
        ]
        self._masks: dict[_State, Mask] = {}
        self._states = [(given[1].encode(), given[2].encode()) if given else (b"", b"." if before[-1:] == "." else b"")]

    @property
    def may_stop(self) -> bool:
        return self._ends(self._states[-1])

    @property
    def finished(self) -> bool:
        return False

    def allowed(self) -> Mask:
        """See Constraint.allowed."""
        state = self._states[-1]
        if state not in self._masks:
            mask = np.full(len(self._tokens), self._ends(state))
            for index in self._special:
                mask[index] = self._after(state, self._tokens[index]) is not None
            mask[self._stops] = self.may_stop
            self._masks[state] = mask
        return self._masks[state]

    def allows(self, token: int) -> bool:
        """See Constraint.allows."""
        if token in self._stops:
            return self.may_stop
        return self._after(self._states[-1], self._tokens[token]) is not None

    def forced(self) -> Sequence[int]:
        """See Constraint.forced: never anything."""
        return ()

    def commit(self, token: int) -> None:
        """See Constraint.commit."""
        state = self._after(self._states[-1], self._tokens[token])
        if state is None:
            raise ValueError("a token that would write another number")
        self._states.append(state)

    def rollback(self, tokens: int) -> None:
        """See Constraint.rollback."""
        if tokens:
            del self._states[-tokens:]

    def _ends(self, state: _State) -> bool:
        return not state[0] or state[0] in self._whole

    def _after(self, state: _State, token: bytes) -> _State | None:
        if not token:
            return state if self._ends(state) else None
        for byte in token:
            following = self._step(state, byte)
            if following is None:
                return None
            state = following
        return state

    def _step(self, state: _State, byte: int) -> _State | None:
        """The state after a byte; None where it would make a number that was not given."""
        number, join = state
        if byte in _DIGITS:
            longer = number + join + bytes((byte,))
            return (longer, b"") if longer in self._begun else None
        if byte in _JOINS and number and not join:
            joined = bytes((byte,))
            return (number, joined) if number in self._whole or number + joined in self._begun else None
        if number and number not in self._whole:
            return None
        return (b"", b".") if byte == _POINT else _NONE
