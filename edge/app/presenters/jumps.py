"""The place that another screen shall show when it comes up: left by one screen, taken once by the other."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from edge.app.presenters.differential import shared_differential
from edge.app.presenters.places import Jump
from edge.clinical.encounter.model import Ref

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

NOTE = "note"
_NOTE: WeakKeyDictionary[Workspace, Ref] = WeakKeyDictionary()


def leave(workspace: Workspace, screen: str, ref: Ref) -> None:
    """Leave a place for a screen. Exam and Eye take theirs from the differential that they share."""
    if screen == NOTE:
        _NOTE[workspace] = ref
    else:
        shared_differential(workspace).pending = Jump(ref, "")


def take_note(workspace: Workspace) -> Ref | None:
    """The place that waits for the note: a line (kind 'line') or a place of the transcript; once."""
    ref = _NOTE.pop(workspace, None)
    if ref is not None:
        return ref
    jump = shared_differential(workspace).take_jump(NOTE)
    return jump.ref if jump is not None else None
