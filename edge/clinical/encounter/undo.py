"""Undo and redo as a pure value: what was, what is, what was undone. Nothing is undone past a signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from edge.clinical.encounter.model import Encounter

T = TypeVar("T")
LIMIT = 50


def is_closed(value: object) -> bool:
    """Whether a state is final: a signed encounter is."""
    return isinstance(value, Encounter) and value.signature is not None


@dataclass(frozen=True)
class History(Generic[T]):
    """past: oldest first, at most `limit`; future: what redo brings back, next one last.

    closed: tells of a state whether nothing before it may come back.
    """

    present: T
    past: tuple[T, ...] = field(default=(), repr=False)
    future: tuple[T, ...] = field(default=(), repr=False)
    limit: int = LIMIT
    closed: Callable[[object], bool] = field(default=is_closed, repr=False, compare=False)

    @property
    def can_undo(self) -> bool:
        """Whether `undo` changes anything."""
        return bool(self.past) and not self.closed(self.present)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` changes anything."""
        return bool(self.future) and not self.closed(self.present)

    def push(self, value: T) -> History[T]:
        """The state after an edit; what had been undone is gone. A closed state forgets all before it."""
        if self.closed(value):
            return replace(self, present=value, past=(), future=())
        return replace(self, present=value, past=(*self.past, self.present)[-self.limit :], future=())

    def undo(self) -> History[T]:
        """The state before the last edit, exactly as it was; itself when there is none."""
        if not self.can_undo:
            return self
        return replace(self, present=self.past[-1], past=self.past[:-1], future=(*self.future, self.present))

    def redo(self) -> History[T]:
        """The state that the last undo left; itself when there is none."""
        if not self.can_redo:
            return self
        return replace(self, present=self.future[-1], past=(*self.past, self.present), future=self.future[:-1])
