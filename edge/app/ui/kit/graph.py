"""A line over time with limits: temperature, speed. Drawn with few instructions; every figure is also a word."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.core.text import Label as CoreLabel
from kivy.graphics import Color, Line, Rectangle, SmoothLine
from kivy.metrics import dp
from kivy.properties import ListProperty, StringProperty
from kivy.uix.widget import Widget

from edge.app.ui.theme import theme


class EdgeGraph(Widget):
    """points: [(x, y)] in rising x. lines: [(y, words, tone)] limits. words: (left, right) under the time axis.

    empty: what stands there while there are fewer than two points. Its height is 160 dp unless it is set.
    """

    points = ListProperty([])
    lines = ListProperty([])
    words = ListProperty([])
    unit = StringProperty("")
    empty = StringProperty("")

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("size_hint_y", None)
        kwargs.setdefault("height", dp(160))
        self._soon = Clock.create_trigger(self.draw, -1)
        super().__init__(**kwargs)
        for name in ("points", "lines", "words", "unit", "empty", "pos", "size"):
            self.fbind(name, self._soon)
        theme.bind(overlay=self._redraw, tiny=self._redraw)
        self._soon()

    def _redraw(self, *_: object) -> None:
        # A method of its own: the theme keeps methods weakly and would keep a trigger for ever.
        self._soon()

    def _write(self, text: str, x: float, y: float, tone: str, *, right: bool = False, below: bool = False) -> float:
        label = CoreLabel(text=text, font_name="Roboto", font_size=theme.tiny)
        label.refresh()
        texture = label.texture
        Color(rgba=theme.colour(tone))
        width, height = texture.size
        Rectangle(
            texture=texture,
            size=texture.size,
            pos=(round(x - width if right else x), round(y - height if below else y)),
        )
        return float(width)

    def draw(self, *_: object) -> None:
        """Draw anew."""
        self.canvas.clear()
        text = theme.tiny * 1.3
        x0, y0, x1, y1 = self.x, self.y + text + dp(4), self.right, self.top - dp(4)
        with self.canvas:
            if len(self.points) < 2:
                Color(rgba=theme.line)
                Line(points=(x0, y0, x1, y0), width=1)
                self._write(self.empty, x0, (y0 + y1) / 2, "ink_2")
                return
            xs, ys = [p[0] for p in self.points], [p[1] for p in self.points]
            low = min([*ys, *(line[0] for line in self.lines)])
            high = max([*ys, *(line[0] for line in self.lines)])
            margin = max((high - low) * 0.08, 0.5)
            low, high = low - margin, high + margin
            top, bottom = f"{max(ys):.0f} {self.unit}".strip(), f"{min(ys):.0f} {self.unit}".strip()
            gutter = max(len(top), len(bottom)) * theme.tiny * 0.6 + dp(8)

            def place(x: float, y: float) -> tuple[float, float]:
                span = (xs[-1] - xs[0]) or 1
                return x0 + gutter + (x - xs[0]) / span * (x1 - x0 - gutter), y0 + (y - low) / (high - low) * (y1 - y0)

            Color(rgba=theme.line)
            Line(points=(x0 + gutter, y0, x1, y0), width=1)
            for y, words, tone in self.lines:
                at = place(xs[0], y)[1]
                Color(rgba=theme.colour(tone))
                Line(points=(x0 + gutter, at, x1, at), width=1, dash_length=4, dash_offset=4)
                self._write(words, x1, at + dp(2), tone, right=True)
            Color(rgba=theme.bar)
            SmoothLine(points=[v for point in self.points for v in place(*point)], width=dp(1.4))
            self._write(top, x0, place(xs[0], max(ys))[1] - text / 2, "ink")
            if max(ys) - min(ys) > (high - low) * 0.15:
                self._write(bottom, x0, place(xs[0], min(ys))[1] - text / 2, "ink")
            if len(self.words) == 2:
                self._write(self.words[0], x0 + gutter, y0 - dp(2), "ink_2", below=True)
                self._write(self.words[1], x1, y0 - dp(2), "ink_2", right=True, below=True)
