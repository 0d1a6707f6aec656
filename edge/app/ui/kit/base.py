"""The ground of the kit: surfaces, labels, icons, boxes, and what a finger or a keyboard can act on."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kivy.core.text import Label as CoreLabel
from kivy.effects.scroll import ScrollEffect
from kivy.graphics import Color, SmoothLine
from kivy.metrics import dp
from kivy.properties import (
    BooleanProperty,
    ColorProperty,
    NumericProperty,
    OptionProperty,
    StringProperty,
)
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label
from kivy.uix.scrollview import ScrollView
from kivy.uix.stacklayout import StackLayout
from kivy.uix.widget import Widget

from edge.app.ui.kit.load import load_kv
from edge.app.ui.theme import theme
from edge.app.ui.tokens import TYPE

KINDS = tuple(TYPE)


@lru_cache(maxsize=4096)
def text_width(text: str, font_name: str, font_size: float, bold: bool = False) -> float:
    """Pixels that a text is wide on one line. Cached: the same words are measured at every layout."""
    return float(CoreLabel(font_name=font_name, font_size=font_size, bold=bold).get_extents(text)[0])


class EdgeSurface:
    """Mixin: a rounded ground with an optional border. inset: the drawn shape is that much smaller than the target."""

    fill = ColorProperty([0, 0, 0, 0])
    stroke = ColorProperty([0, 0, 0, 0])
    stroke_width = NumericProperty(0)
    radius = NumericProperty(0)
    inset_x = NumericProperty(0)
    inset_y = NumericProperty(0)
    pressed = BooleanProperty(False)


class Touchable(ButtonBehavior):
    """Mixin: pressed by a finger, by Enter and by Space. `focused`: the keyboard's ring is around it.

    edge.app.ui.kit.focus moves the ring; a touch takes it away. `reason` says why a disabled one cannot be used.
    """

    focused = BooleanProperty(False)
    reason = StringProperty("")
    takes_focus = True

    def on_state(self, _widget: Any, state: str) -> None:
        """Show the press at once."""
        self.pressed = state == "down"

    def activate(self) -> None:
        """What a tap does, asked by the keyboard."""
        if not self.disabled:
            self.dispatch("on_press")
            self.dispatch("on_release")

    def on_focused(self, *_: object) -> None:
        """Draw or take away the ring."""
        self.canvas.after.remove_group("focus")
        self.unbind(pos=self._ring, size=self._ring)
        if self.focused:
            self.bind(pos=self._ring, size=self._ring)
            self._ring()

    def _ring(self, *_: object) -> None:
        self.canvas.after.remove_group("focus")
        out, width = dp(2), dp(1.5)
        inset_x, inset_y = getattr(self, "inset_x", 0), getattr(self, "inset_y", 0)
        radius = min(getattr(self, "radius", dp(8)) or dp(8), self.height / 2) + out
        box = (
            self.x + inset_x - out,
            self.y + inset_y - out,
            self.width - 2 * inset_x + 2 * out,
            self.height - 2 * inset_y + 2 * out,
            radius,
        )
        with self.canvas.after:
            Color(rgba=theme.focus, group="focus")
            SmoothLine(rounded_rectangle=box, width=width, group="focus")


class Wall:
    """Mixin, first of the bases: what lies under it gets no touch."""

    def on_touch_down(self, touch: Any) -> bool:
        """For its own children, then for nobody."""
        super().on_touch_down(touch)  # type: ignore[misc]
        return True

    def on_touch_move(self, touch: Any) -> bool:
        """For its own children, then for nobody."""
        super().on_touch_move(touch)  # type: ignore[misc]
        return True

    def on_touch_up(self, touch: Any) -> bool:
        """For its own children, then for nobody."""
        super().on_touch_up(touch)  # type: ignore[misc]
        return True


class EdgeLabel(Label):
    """Words. kind: text size by name; tone: colour token; fit: as wide as its words; elide: one line, cut at the end.

    Without `fit` it wraps in the width it is given and is as high as its lines.
    """

    kind = OptionProperty("body", options=KINDS)
    tone = StringProperty("ink")
    medium = BooleanProperty(False)
    fit = BooleanProperty(False)
    elide = BooleanProperty(False)

    def on_fit(self, *_: object) -> None:
        """Its own width or its parent's."""
        self.size_hint_x = None if self.fit else 1

    @property
    def natural_width(self) -> float:
        """Pixels its words need on one line, elided or not."""
        return text_width(self.text, self.font_name, self.font_size, self.bold)


class EdgeIcon(Label):
    """A picture of the icon font. points: its size in dp at font scale 1 (it grows up to 1.6 times)."""

    icon = StringProperty("")
    tone = StringProperty("ink")
    points = NumericProperty(24)


class EdgeColumn(BoxLayout):
    """Children one under another, as high as they need."""


class EdgeRow(BoxLayout):
    """Children side by side, as high as the highest. align: where lower ones stand, center or top; least: pixels."""

    least = NumericProperty(0)
    align = OptionProperty("center", options=("center", "top"))

    def add_widget(self, widget: Widget, *args: Any, **kwargs: Any) -> None:
        """Stand a child on the row's line unless it says where."""
        if not widget.pos_hint:
            widget.pos_hint = {"center_y": 0.5} if self.align == "center" else {"top": 1}
        super().add_widget(widget, *args, **kwargs)

    def on_align(self, *_: object) -> None:
        """Move the children that are there."""
        for child in self.children:
            child.pos_hint = {"center_y": 0.5} if self.align == "center" else {"top": 1}


class EdgeFlow(StackLayout):
    """Children side by side that go on in the next line, as high as needed: chips, buttons."""


class EdgeSpace(Widget):
    """Takes what is left in a row."""


class EdgeRule(Widget):
    """A thin line between groups."""


class EdgeCard(EdgeSurface, EdgeColumn):
    """A group on its own ground. selected: with the primary border."""

    selected = BooleanProperty(False)


class EdgeScroll(ScrollView):
    """A pane that scrolls up and down; stops at its ends, thin bar."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("effect_cls", ScrollEffect)
        super().__init__(**kwargs)

    @property
    def at_end(self) -> bool:
        """Whether the reader sees the last line."""
        if not self.children or self.children[0].height <= self.height:
            return True
        return bool(self.scroll_y * (self.children[0].height - self.height) <= dp(24))

    def show(self, widget: Widget) -> None:
        """Bring a child into view."""
        if self.children and self.children[0].height > self.height:
            self.scroll_to(widget, padding=dp(16), animate=False)


load_kv(__file__)
