"""Folding a widget away where it stands. Invisible is not enough: what is transparent, or disabled, takes touches."""

from __future__ import annotations

from typing import Any

_KEPT = "_before_folding"


def folded(widget: Any) -> bool:
    """Whether it has no size now."""
    return _KEPT in widget.__dict__


def fold(widget: Any, wanted: bool) -> None:
    """Show a widget, or give it no size, so that neither a finger nor the keyboard's ring finds it there."""
    widget = getattr(widget, "__self__", widget)  # `ids` hold proxies
    if wanted == (not folded(widget)):
        return
    if not wanted:
        widget.__dict__[_KEPT] = (tuple(widget.size_hint), tuple(widget.size))
        widget.opacity, widget.size_hint, widget.size = 0, (None, None), (0, 0)
        widget.bind(size=_stay)
        return
    widget.unbind(size=_stay)
    hints, size = widget.__dict__.pop(_KEPT)
    widget.opacity, widget.size_hint, widget.size = 1, hints, size
    # What its size follows may have changed meanwhile.
    for name in ("minimum_width", "minimum_height"):
        if name in widget.properties():
            widget.property(name).dispatch(widget)
    arrange = getattr(widget, "arrange", None)
    if arrange is not None:
        arrange()


def _stay(widget: Any, size: Any) -> None:
    """A rule that wants to give it a size is not followed."""
    if tuple(size) != (0, 0):
        widget.size = (0, 0)
