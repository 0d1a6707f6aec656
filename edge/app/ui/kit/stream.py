"""A text that grows while it is read: finished paragraphs are frozen, only the last one is drawn anew."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.properties import NumericProperty, OptionProperty, StringProperty

from edge.app.ui.kit.base import KINDS, EdgeLabel, EdgeScroll
from edge.app.ui.kit.load import load_kv

RATE_S = 1 / 12
# Longer paragraphs are cut at a space: one label is one texture, and those end at 4,096 pixels on small GPUs.
MOST_CHARACTERS = 1200


def paragraphs(text: str) -> list[str]:
    """The pieces that a text is shown in: its lines, long ones cut at a space. Joined they say the same words."""
    found: list[str] = []
    for line in text.split("\n"):
        while len(line) > MOST_CHARACTERS:
            cut = line.rfind(" ", 1, MOST_CHARACTERS)
            cut = cut if cut > 0 else MOST_CHARACTERS
            found.append(line[:cut])
            line = line[cut:].lstrip(" ")
        found.append(line)
    return found


class EdgeStreamText(EdgeScroll):
    """`text` may be set at each token: it is drawn 12 times a second, and follows the end while the reader is there."""

    text = StringProperty("")
    kind = OptionProperty("body", options=KINDS)
    tone = StringProperty("ink")
    drawn = NumericProperty(0)

    def __init__(self, **kwargs: Any) -> None:
        self._timer = Clock.create_trigger(self.draw, RATE_S)
        self._labels: list[EdgeLabel] = []
        self._follow_end, self._above = True, 0.0
        super().__init__(**kwargs)

    def on_kv_post(self, _base: Any) -> None:
        """Draw once the kv rule made the column."""
        self.fbind("text", lambda *_: self._timer())
        self.ids.column.fbind("height", self._grown)
        self.fbind("height", self._grown)
        self.draw()

    def draw(self, *_: object) -> None:
        """Draw what has come since; a text that is another one is drawn whole."""
        self._follow_end = self.at_end
        self._above = (1 - self.scroll_y) * max(0.0, self.ids.column.height - self.height)
        pieces = paragraphs(self.text) if self.text else []
        while len(self._labels) > len(pieces):
            self.ids.column.remove_widget(self._labels.pop())
        for label, piece in zip(self._labels, pieces, strict=False):
            if label.text != piece:
                label.text = piece
        for piece in pieces[len(self._labels) :]:
            label = EdgeLabel(text=piece, kind=self.kind, tone=self.tone, line_height=1.2)
            self._labels.append(label)
            self.ids.column.add_widget(label)
        self.drawn += 1

    def _grown(self, *_: object) -> None:
        if self._follow_end:
            self.scroll_y = 0 if self.ids.column.height > self.height else 1
        elif self.ids.column.height > self.height:
            # Kivy keeps the share that is scrolled; a reader wants the same lines.
            self.scroll_y = max(0.0, 1 - self._above / (self.ids.column.height - self.height))

    def clear_text(self) -> None:
        """Empty it now."""
        self.text = ""
        self._timer.cancel()
        self.draw()
        self.scroll_y = 1


load_kv(__file__)
