"""A small chart kit: inline SVG, coloured by the report's CSS variables, so that it follows light and dark.

All coordinates are of a `0 0 WIDTH height` view box. Every chart has a title for those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 560
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 38


def nice_step(span: float, ticks: int = 5) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides `span` into about `ticks` parts."""
    if not span > 0 or not math.isfinite(span):
        return 1.0
    raw = span / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= raw * 0.999)


def tick_values(high: float, ticks: int = 5) -> list[float]:
    """0, step, 2 step, ... up to the first value at or above `high`."""
    step = nice_step(high, ticks)
    return [index * step for index in range(math.ceil(high / step - 1e-9) + 1)]


def tick_text(value: float) -> str:
    """A tick without needless digits."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.2f}".rstrip("0")


@dataclass
class Canvas:
    """Collects elements; maps data to the plot area.

    height: of the view box; x_high, y_high: data at the right and top edge (both axes start at 0 unless x_low).
    """

    label: str
    height: int = 268
    x_high: float = 1.0
    y_high: float = 1.0
    x_low: float = 0.0
    left: int = LEFT
    top: int = TOP
    bottom: int = BOTTOM
    parts: list[str] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Data to view box."""
        span = (self.x_high - self.x_low) or 1.0
        return self.left + (value - self.x_low) / span * (WIDTH - self.left - RIGHT)

    def y(self, value: float) -> float:
        """Data to view box."""
        return self.height - self.bottom - value / (self.y_high or 1.0) * (self.height - self.bottom - self.top)

    def text(self, x: float, y: float, words: str, *, kind: str = "tick", anchor: str = "start") -> None:
        """A text at view box coordinates. kind: a CSS class."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line at view box coordinates."""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def rect(self, x: float, y: float, width: float, height: float, kind: str, hint: str = "") -> None:
        """A bar; hint shows under a pointer."""
        title = f"<title>{escape(hint)}</title>" if hint else ""
        size = f'width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{kind}" rx="1.5">{title}</rect>')

    def dot(self, x: float, y: float, kind: str, hint: str) -> None:
        """A point."""
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}"><title>{escape(hint)}</title></circle>'
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> None:
        """A polyline, or an area when closed."""
        if points:
            steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            self.parts.append(f'<path d="M{steps}{" Z" if closed else ""}" class="{kind}"/>')

    def y_axis(self, unit: str) -> None:
        """Grid lines with their values; rounds y_high up to the last one."""
        ticks = tick_values(self.y_high, 4)
        self.y_high = ticks[-1]
        for value in ticks:
            y = self.y(value)
            self.line(self.left, y, WIDTH - RIGHT, y, "base" if value == 0 else "grid")
            self.text(self.left - 8, y + 4, tick_text(value), anchor="end")
        self.text(self.left - 8, 10, unit, kind="unit", anchor="end")

    def x_axis(self, values: Sequence[float], unit: str) -> None:
        """Values under the plot, and the unit at its right end."""
        y = self.height - self.bottom + 16
        for value in values:
            if self.x_low <= value <= self.x_high:
                self.text(self.x(value), y, tick_text(value), anchor="middle")
        self.text(WIDTH - RIGHT, self.height - 4, unit, kind="unit", anchor="end")

    def level(self, value: float, words: str, kind: str, *, at_left: bool = False) -> None:
        """A horizontal line across the plot with its meaning at the right (or left) end."""
        y = self.y(value)
        self.line(self.left, y, WIDTH - RIGHT, y, f"level {kind}")
        if at_left:
            self.text(self.left + 6, y - 6, words, kind=f"mark {kind}")
        else:
            self.text(WIDTH - RIGHT, y - 6, words, kind=f"mark {kind}", anchor="end")

    def svg(self) -> str:
        """The finished element."""
        head = f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.label)}">'
        return f"{head}<title>{escape(self.label)}</title>{''.join(self.parts)}</svg>"
