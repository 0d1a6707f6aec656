"""What a finger can reach: for the tests of targets, of the kit and of every screen."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from edge.app.ui.kit import Touchable
from tests.app.ui.driver import Driver

LEAST_DP, GAP_DP = 48, 8


def targets(ui: Driver, root: Any) -> list[Any]:
    """Everything that can be seen and touched and is not disabled."""
    return [w for w in ui.walk(root) if isinstance(w, Touchable) and not w.disabled and w.width > 1 and w.height > 1]


def name(widget: Any) -> str:
    """Class and words, for a failing test."""
    return f"{type(widget).__name__} {getattr(widget, 'text', '') or getattr(widget, 'spoken', '')!r}"


def too_small(ui: Driver, root: Any) -> list[str]:
    """Targets below 48 dp, with their sizes."""
    return [
        f"{name(w)} {w.width:.0f}x{w.height:.0f}"
        for w in targets(ui, root)
        if w.width < LEAST_DP - 0.5 or w.height < LEAST_DP - 0.5
    ]


def too_near(ui: Driver, root: Any) -> list[str]:
    """Pairs of targets that are closer than 8 dp, unless one lies inside the other."""
    boxes = [(w, *w.to_window(w.x, w.y), *w.to_window(w.right, w.top)) for w in targets(ui, root)]
    found = []
    for (one, a, b, c, d), (other, e, f, g, h) in combinations(boxes, 2):
        across, along = max(a, e) - min(c, g), max(b, f) - min(d, h)
        if across < GAP_DP - 0.5 and along < GAP_DP - 0.5 and not _inside(one, other) and not _inside(other, one):
            found.append(f"{name(one)} | {name(other)}")
    return found


def _inside(inner: Any, outer: Any) -> bool:
    parent = inner.parent
    while parent is not None and parent is not parent.parent:
        if parent is outer:
            return True
        parent = parent.parent
    return False
