"""Segments of a text as Kivy mark-up: what must be confirmed stands out by colour and line, never by colour alone."""

from __future__ import annotations

from collections.abc import Sequence

from kivy.utils import escape_markup, get_hex_from_color

from edge.app.presenters.note_text import Segment
from edge.app.presenters.review_view import Piece
from edge.app.ui.theme import theme

# A mark that waits for a tap; what is confirmed, or needs no tap, only stands out.
OPEN_TONE = "against"


def _hex(tone: str) -> str:
    return get_hex_from_color(theme.colour(tone))[:7]


def marked(segments: Sequence[Segment], *, bold: bool = True) -> str:
    """Text with its marks. bold: also those that need no tap; not where the width of words was counted before."""
    out = []
    for segment in segments:
        words = escape_markup(segment.text)
        if not segment.kind:
            out.append(words)
        elif segment.wanted:
            out.append(f"[u][color={_hex(OPEN_TONE)}]{words}[/color][/u]")
        else:
            out.append(f"[b]{words}[/b]" if bold else words)
    return "".join(out)


def struck(text: str) -> str:
    """Text that was taken out."""
    return f"[s][color={_hex('ink_2')}]{escape_markup(text)}[/color][/s]"


def compared(pieces: Sequence[Piece]) -> str:
    """A line against its draft: added words underlined, taken out words struck, each with its own colour."""
    out: list[str] = []
    before = ""
    for piece in pieces:
        words = escape_markup(piece.text)
        if before == "removed" and piece.op == "added":
            out.append(" ")  # "8/10" and "9/10" must not read as one number
        before = piece.op
        if piece.op == "added":
            out.append(f"[u][color={_hex('support')}]{words}[/color][/u]")
        elif piece.op == "removed":
            out.append(f"[s][color={_hex('danger')}]{words}[/color][/s]")
        else:
            out.append(words)
    return "".join(out)
